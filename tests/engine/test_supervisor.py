"""The parent of many chains, with children that do as they are told."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ouro.config.model import OuroConfig
from ouro.control import ControlStore, control_folder
from ouro.engine.errors import EngineError
from ouro.engine.status import ChainStatus
from ouro.engine.status_wire import StatusReceiver, StatusSender, status_pair
from ouro.engine.supervisor import Patience, Supervisor
from ouro.types import OutcomeKind

FAKE = Path(__file__).parent / "fake_chain.py"
QUICK = Patience(first_pause_s=0.02, longest_pause_s=0.1, silent_running_s=60.0, drain_s=60.0, poll_s=0.02)


def supervisor(folder: Path, chains: Sequence[str], blocks: int | None, patience: Patience = QUICK) -> Supervisor:
    """Of children that are all fake."""
    chain = {
        "endpoints": ["ws://127.0.0.1:1"],
        "block_time_ms": 1000,
        "wrapped_native": "0x" + "aa" * 20,
        "multicall": "0x" + "bb" * 20,
        "dexes": [{"name": "v3", "family": "uniswap_v3", "factory": "0x" + "dd" * 20}],
    }
    config = OuroConfig.model_validate(
        {
            "data_dir": folder / "data",
            "chains": {name: {**chain, "chain_id": number} for number, name in enumerate(chains, 1)},
        }
    )
    (folder / "data").mkdir()
    marks = folder / "marks"
    marks.mkdir()

    def command(name: str) -> list[str]:
        return [sys.executable, str(FAKE), name, str(marks)]

    return Supervisor(config, folder / "x.toml", chains, blocks=blocks, command=command, patience=patience)


async def until(condition: object, what: str) -> None:
    assert callable(condition)
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.01)


async def test_all_end_by_themselves_and_are_told_of_together(tmp_path: Path) -> None:
    chains = supervisor(tmp_path, ["good", "good2"], 20)
    await asyncio.wait_for(chains.run(), 240)
    for status in chains.statuses():
        assert status.blocks == 20
        assert status.net_wei == 20 * 2**70
        assert status.outcomes[OutcomeKind.LANDED.value] == 20
        assert status.decided.total == 20
    assert [child.restarts for child in chains.children.values()] == [0, 0]


async def test_a_chain_that_dies_goes_on_where_it_was_and_another_notices_nothing(tmp_path: Path) -> None:
    chains = supervisor(tmp_path, ["crash", "good"], 10)
    await asyncio.wait_for(chains.run(), 240)
    crash, good = chains.children.values()
    assert crash.restarts == 3  # 3 + 3 + 3 blocks, and then the last
    assert crash.receiver.status.blocks == 10
    assert crash.receiver.status.net_wei == 10 * 2**70
    assert good.restarts == 0
    assert len(list((tmp_path / "marks").glob("crash-*"))) == 4


async def test_a_chain_that_hangs_is_told_of_killed_and_started_again(tmp_path: Path) -> None:
    patience = Patience(first_pause_s=0.02, silent_running_s=5.0, poll_s=0.02)
    chains = supervisor(tmp_path, ["hang", "good"], 10, patience)
    running = asyncio.create_task(chains.run())
    hang = chains.children["hang"]
    await until(lambda: hang.receiver.status.state == "not answering", "its silence")
    await asyncio.wait_for(running, 240)
    assert hang.restarts >= 1
    assert hang.receiver.status.blocks == 10


async def test_a_stopped_process_is_heard_again(tmp_path: Path) -> None:
    chains = supervisor(tmp_path, ["good", "good2"], None, Patience(poll_s=0.02))
    running = asyncio.create_task(chains.run())
    one, two = chains.children.values()
    await until(lambda: one.ran and two.ran, "both")
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGSTOP)
    await until(lambda: one.receiver.status.state == "not answering", "its silence")
    before = two.receiver.status.blocks
    await until(lambda: two.receiver.status.blocks > before, "the other one")
    os.kill(one.process.pid, signal.SIGCONT)
    await until(lambda: one.receiver.status.state == "running", "its voice")
    chains.stop()
    await asyncio.wait_for(running, 240)
    assert one.restarts == two.restarts == 0


async def test_what_cannot_begin_ends_all(tmp_path: Path) -> None:
    chains = supervisor(tmp_path, ["bad", "good"], None)
    with pytest.raises(EngineError, match="bad"):
        await asyncio.wait_for(chains.run(), 240)
    assert not any(child.alive for child in chains.children.values())


async def test_signals_stop_in_order_and_halt(tmp_path: Path) -> None:
    chains = supervisor(tmp_path, ["good", "good2"], None)
    running = asyncio.create_task(chains.run())
    await until(lambda: all(child.ran for child in chains.children.values()), "both")
    os.kill(os.getpid(), signal.SIGUSR1)
    control = ControlStore(control_folder(tmp_path / "data"))
    await until(control.all, "the halt")
    assert control.all()[0].by == "signal"
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 240)
    assert not any(child.alive for child in chains.children.values())


def test_a_parent_that_does_not_read_costs_the_child_nothing() -> None:
    ours, theirs = status_pair()
    sender, receiver = StatusSender(os.dup(theirs.fileno())), StatusReceiver("x")
    theirs.close()
    status = ChainStatus("x")
    sent = 0
    for number in range(2_000):
        status.blocks = number
        status.sent.add(float(number))
        sent += sender.send(status)
    assert 0 < sent < 2_000
    receiver.receive(ours)
    assert sender.send(status)
    receiver.receive(ours)
    assert receiver.status.blocks == 1_999
    assert receiver.status.sent.samples_ms[-1] == 1_999.0
    ours.close()
    assert not sender.send(status)
