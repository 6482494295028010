"""What a person sees of a running engine, at the sizes that terminals have."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from ouro.cli.view import EngineView, plain_line
from ouro.config.load import config_to_toml, load_config
from ouro.engine.status import ChainStatus, TradeLine
from ouro.types import Mode, OutcomeKind

EXAMPLE = Path(__file__).parents[2] / "docs" / "ouro.example.toml"
SECOND_SCREEN, FIRST_SCREEN, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


def running(name: str, trades: int = 30) -> ChainStatus:
    """A chain that has been busy."""
    status = ChainStatus(name, state="running", detail="loaded", freshness="ready", block_number=21_345_678)
    status.last_block_ns = 0
    status.pools, status.cycles, status.net_wei = 1_234, 98_765, 2_997_364_040 * 10**12
    status.best = "+0.134070 native → WBTC → USDT → USDC → native"
    status.outcomes = Counter(landed=1_234, lost=5, dropped=0)
    status.refused = Counter(preflight_unprofitable=22, not_profitable=21, max_open_attempts=3, max_notional=2)
    for number in range(trades):
        route = "native → USDT → USDC → DAI → native"
        status.trades.append(TradeLine(21_345_000 + number, OutcomeKind.LANDED, route, 36_922 * 10**12))
    for value in (12.3, 145.6):
        status.sent.add(value)
        status.decided.add(value)
    return status


def drawn(statuses: list[ChainStatus], width: int, height: int | None) -> list[str]:
    console = Console(file=StringIO(), width=width, height=height or 25)
    console.print(EngineView(statuses, "live", height=height, now_ns=1_500_000_000))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (109, 30), (110, 30), (120, 30), (200, 50)])
def test_nothing_is_cut_at_any_usual_size(width: int, height: int) -> None:
    lines = drawn([running("ethereum"), running("fantom")], width, height)
    text = "\n".join(lines)
    assert len(lines) == height  # every line is used, and none is missing
    assert max(cell_len(line) for line in lines) <= width
    assert text.count("+2997.364040") == 2
    for words in ("ethereum", "fantom", "21345678", "ready 1.5 s", "landed 1234", "p50 12.3 ms", "p99 145.6 ms"):
        assert words in text
    assert "dropped" not in text
    for name in ("ethereum", "fantom"):
        assert f"{name}: last trades" in text
    trades = [line for line in lines if "+0.036922  native → USDT → USDC → DAI → native" in line]
    assert len(trades) >= 4
    assert sum("21345029" in line for line in trades) == 2  # each chain's newest
    assert lines[-1].startswith("╰")
    assert ("98765" in text) == (width >= 110)


def test_rows_that_one_chain_does_not_need_are_the_others() -> None:
    lines = drawn([running("ethereum", 1), running("fantom")], 120, 30)
    assert len(lines) == 30
    assert sum("native → USDT" in line for line in lines) > 10


def test_a_terminal_that_is_too_small_still_shows_the_figures() -> None:
    text = " ".join(drawn([running("ethereum")], 50, 20))
    assert "landed=1234" in text
    assert "+2997.364040" in text
    assert drawn([running("ethereum"), running("fantom")], 80, 3)


def test_without_a_height_the_last_trades_are_shown() -> None:
    lines = drawn([running("ethereum")], 80, None)
    assert sum("native → USDT" in line for line in lines) == 8


def test_a_chain_in_trouble_says_what_and_why() -> None:
    status = ChainStatus("ethereum", state="recovering", detail="no endpoint of ws://127.0.0.1:1 answered " * 3)
    assert "recovering (no endpoint of ws://127.0.0.1:1 answered" in plain_line(status)
    for width in (60, 80, 120):
        text = " ".join(line.strip("│ ") for line in drawn([status], width, 24))
        assert "recovering" in text
        assert text.count("ws://127.0.0.1:1") >= 3
    # What was the case while it loaded is of no interest any more.
    assert "loaded" not in plain_line(running("ethereum"))


def test_names_from_a_chain_are_not_markup() -> None:
    status = running("ethereum", 0)
    status.trades.append(TradeLine(1, OutcomeKind.LOST, "[red]A[/red] → [/]", -1))
    assert "[red]A[/red] → [/]" in "\n".join(drawn([status], 80, 24))


@pytest.fixture
def unreachable(tmp_path: Path) -> Path:
    """The configuration of a chain whose node nobody runs."""
    loaded = load_config(EXAMPLE, {})
    [name, *_] = loaded.chains
    chosen = loaded.model_copy(
        update={
            "mode": Mode.OBSERVE,
            "data_dir": tmp_path / "data",
            "ledger": loaded.ledger.model_copy(update={"url": f"sqlite:///{tmp_path / 'ledger.db'}"}),
            "chains": {name: loaded.chains[name].model_copy(update={"endpoints": ("ws://127.0.0.1:1",)})},
        }
    )
    file = tmp_path / "ouro.toml"
    file.write_text(config_to_toml(chosen))
    return file


def test_ctrl_c_leaves_the_terminal_clean_and_the_last_picture_on_it(unreachable: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ouro.cli", "run", "--config", str(unreachable)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = ""
    interrupted = False
    deadline = time.monotonic() + 90
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    part = os.read(ours, 65_536)
                except OSError:  # Linux's way to say that the other side has closed
                    break
                seen += part.decode(errors="replace")
            if not interrupted and "recovering" in seen:
                process.send_signal(signal.SIGINT)
                interrupted = True
        assert process.wait(30) == 0, seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    drawn_over, left = seen.rsplit(FIRST_SCREEN, 1)
    assert SECOND_SCREEN in drawn_over
    assert drawn_over.rfind(SHOW_CURSOR) > drawn_over.rfind("\x1b[?25l")
    assert "ws://127.0.0.1:1" in drawn_over
    assert "Ouro · observe" in left
    log = unreachable.parent / "data" / "engine.log"
    assert "session_over" in log.read_text()
    assert "session_over" not in seen
