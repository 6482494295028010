"""The demo as a command: what it prints, how it ends, what it leaves behind."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import CHAIN_KEYS, DemoCommand, wait_all
from e2e_running import assert_sound

from ouro.ledger.books import Books
from ouro.types import OutcomeKind

pytestmark = [pytest.mark.e2e, pytest.mark.node, pytest.mark.timeout(400)]

BLOCKS = 12
CHAINS = {"ethereum", "fantom"}


def only_json(stdout: str) -> dict[str, Any]:
    """The one object that stdout is."""
    assert stdout.count("\n") == 1
    return json.loads(stdout)


def test_two_at_once_from_folders_with_blanks(tmp_path: Path) -> None:
    folders = [tmp_path / "one of two", tmp_path / "two of two"]
    for folder in folders:
        folder.mkdir()
    with (
        DemoCommand(folders[0], "--blocks", str(BLOCKS)) as first,
        DemoCommand(folders[1], "--blocks", str(BLOCKS), "--seed", "2") as second,
    ):
        assert wait_all(first, second) == [0, 0], (first.stderr[-1_500:], second.stderr[-1_500:])
        for demo in (first, second):
            figures = only_json(demo.stdout)
            assert set(figures) >= {"chains", "max_abs_reconciliation_difference_wei", "seconds"}
            assert set(figures["chains"]) == CHAINS
            for chain in figures["chains"].values():
                assert set(chain) >= CHAIN_KEYS
                assert chain["blocks"] >= chain["blocks_decided"] > 0
                assert chain["blocks"] >= BLOCKS
                assert set(chain["latency_ms"]) == {"decided", "signed", "sent"}
                assert all(set(stage) == {"p50", "p99", "max"} for stage in chain["latency_ms"].values())
            assert_sound(figures, success=False)  # whether anything lands within so few blocks is chance
            assert demo.left_behind() == set()


def landed_everywhere(books: Books) -> bool:
    """Whether a trade has landed on both chains."""
    landed = {
        record.attempt.chain
        for record in books.attempts()
        if record.is_trade and record.outcome is not None and record.outcome.kind is OutcomeKind.LANDED
    }
    return landed == CHAINS


def beaten(figures: dict[str, Any]) -> int:
    """Attempts that came too late, and opportunities that were gone before they were tried."""
    chains = figures["chains"].values()
    return sum(chain["attempts"] - chain["landed"] + sum(chain["refused"].values()) for chain in chains)


def test_rivals_make_honest_figures(tmp_path: Path) -> None:
    def both_won_and_beaten(books: Books) -> bool:
        lost = any(
            record.outcome is not None and record.outcome.kind is not OutcomeKind.LANDED
            for record in books.attempts()
            if record.is_trade
        )
        return landed_everywhere(books) and (lost or any(books.refusals().values()))

    with DemoCommand(tmp_path, "--forever", "--rivals", "2") as demo:
        demo.wait_for_books("trades won and lost", both_won_and_beaten)
        demo.send(signal.SIGTERM)
        assert demo.wait() == 0, demo.stderr[-1_500:]
        figures = only_json(demo.stdout)
    assert_sound(figures, alone=False)
    assert beaten(figures) > 0
    # A revert that nothing explains would be a bug of ours, whoever else trades.
    assert sum(chain["reverted"] for chain in figures["chains"].values()) == 0


@pytest.mark.parametrize("mode", ["paper", "observe"])
def test_nothing_is_sent(tmp_path: Path, mode: str) -> None:
    def enough(books: Books) -> bool:
        if mode == "paper":
            return landed_everywhere(books)
        return all(books.refusals(chain).get(chain, {}).get("mode") for chain in CHAINS)

    with DemoCommand(tmp_path, "--forever", "--mode", mode) as demo:
        demo.wait_for_books("opportunities on both chains", enough)
        demo.send(signal.SIGTERM)
        assert demo.wait() == 0, demo.stderr[-1_500:]
        figures = only_json(demo.stdout)
        assert demo.left_behind() == set()
    assert_sound(figures, success=mode == "paper", alone=mode != "paper")
    for chain in figures["chains"].values():
        assert chain["opportunities"] > 0
        if mode == "observe":
            assert chain["attempts"] == 0
            assert chain["refused"]["mode"] > 0
    assert not (demo.work_dir / "signer.log").exists()
    books = Books.open(f"sqlite:///{demo.work_dir / 'ledger.db'}")
    try:
        records = books.attempts()
        assert all(record.attempt.lane == "paper" and record.attempt.raw_tx == b"" for record in records)
        assert all(record.outcome is not None for record in records)
    finally:
        books.close()


def test_ended_in_order_by_a_signal(tmp_path: Path) -> None:
    with DemoCommand(tmp_path, "--forever") as demo:
        demo.wait_until_told("landed=")
        demo.send(signal.SIGTERM)
        assert demo.wait() == 0, demo.stderr[-1_500:]
        assert_sound(only_json(demo.stdout), success=False)
        assert demo.left_behind() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_before_it_trades(tmp_path: Path, number: signal.Signals) -> None:
    with DemoCommand(tmp_path) as demo:
        demo.wait_until_told("starting local chains")
        demo.wait_for_children()
        demo.send(number)
        assert demo.wait() == 130
        assert demo.stdout == ""
        assert "Traceback" not in demo.stderr
        assert demo.left_behind() == set()


def test_killed_parent_leaves_nobody(tmp_path: Path) -> None:
    with DemoCommand(tmp_path) as demo:
        demo.wait_until_told("landed=")
        demo.send(signal.SIGKILL)
        demo.wait()
        assert demo.left_behind() == set()
