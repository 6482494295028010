"""A run in which things break: nodes, chains, disks, switches. Order and books are asserted, never times."""

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from e2e_running import Running, assert_sound

from ouro.engine.runner import BOOKS_LOCKED_S
from ouro.ledger.report import predicted_equals_executed
from ouro.testnet.demo import DemoOptions
from ouro.types import OutcomeKind

_LOCKS = 6

pytestmark = [pytest.mark.e2e, pytest.mark.node, pytest.mark.timeout(400)]


def test_node_killed_and_restarted(work_dir: Path) -> None:
    with Running(work_dir, DemoOptions(blocks=None, state_interval_s=1)) as run:
        run.wait_landed("ethereum", 2)
        node = run.crash_node("ethereum")
        run.wait_landed("fantom", 3)
        assert run.head("ethereum") == -1
        node.start()
        run.wait_landed("ethereum", 2)
        run.wait_landed("fantom", 1)
        assert_sound(run.finish())


def test_reorg_under_landed_trades(work_dir: Path) -> None:
    with Running(work_dir, DemoOptions(blocks=None, one_process=True)) as run:
        run.wait_landed("ethereum", 1)
        orphaned = [_reorg_under_a_trade(run, "ethereum", depth) for depth in (1, 2, 3)]
        for attempt_id in orphaned:
            run.wait(f"a final outcome of {attempt_id}", lambda a=attempt_id: _is_final_again(run, a))
        run.wait_landed("ethereum", 2)
        _assert_exact_on_their_states(run, "ethereum")
        # What was sent for a block that the reorg took away may land on another state, within its floor.
        assert_sound(run.finish(), alone=False)
        for attempt_id in orphaned:
            history = run.books.outcome_history(attempt_id)
            first, withdrawal, *later = history
            assert first[0].kind is OutcomeKind.LANDED
            assert not first[1]
            assert withdrawal[1]
            assert withdrawal[0].block_hash == first[0].block_hash
            assert later
            assert not later[-1][1]
            # The node forgot it with its block, so its nonce was taken back: never was it signed for anything else.
            assert later[-1][0].kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED)


def _reorg_under_a_trade(run: Running, chain: str, depth: int) -> str:
    """Take back ``depth`` blocks, a trade that the books call landed among them; its id."""
    deepest = 3

    def fresh() -> str | None:
        head = run.head(chain)
        for record in reversed(run.attempts(chain)):
            outcome = record.outcome
            if outcome is None or outcome.kind is not OutcomeKind.LANDED or outcome.block_number is None:
                continue
            below = head - outcome.block_number + 1
            if depth <= below <= deepest and record.reversals == 0:
                with run.demo.testnet.chains[chain].node.client() as client:
                    client.call("anvil_reorg", below, [])
                return record.attempt.attempt_id
        return None

    found = run.wait(f"a trade {depth} deep", fresh)
    run.wait("the outcome's withdrawal", lambda: len(run.books.outcome_history(found)) > 1)
    return found


def _assert_exact_on_their_states(run: Running, chain: str) -> None:
    """Every trade that landed right behind the block that it was found at has the predicted amounts, to the wei."""
    exact = 0
    with run.demo.testnet.chains[chain].node.client() as client:
        for record in run.attempts(chain):
            if record.plan is None or record.outcome is None or record.outcome.kind is not OutcomeKind.LANDED:
                continue
            block = client.call("eth_getBlockByHash", record.outcome.block_hash, False)
            if block is not None and block["parentHash"] == record.plan.found_at_hash:
                assert predicted_equals_executed(record), record.attempt.attempt_id
                exact += 1
    assert exact


def _is_final_again(run: Running, attempt_id: str) -> bool:
    return not run.books.outcome_history(attempt_id)[-1][1]


def test_switches_and_a_locked_database(work_dir: Path) -> None:
    """Kill file, halt file, a writer that holds the books: no new attempts, nothing lost, and on it goes."""
    with Running(work_dir, DemoOptions(blocks=None, one_process=True)) as run:
        run.wait_landed("ethereum", 1)
        run.wait_landed("fantom", 1)
        _switch(run, "kill", "kill_file")
        _switch(run, "halt", "signer_halted")
        _lock_books(run)
        for chain in ("ethereum", "fantom"):
            run.wait_landed(chain, 2)
        assert_sound(run.finish())


def _switch(run: Running, file_name: str, reason: str) -> None:
    path = run.demo.work_dir / file_name
    path.touch()
    for chain in ("ethereum", "fantom"):
        run.wait(f"{reason} on {chain}", lambda c=chain: run.books.refusals().get(c, {}).get(reason))
    run.wait_blocks("ethereum", 2)  # what was approved before the switch is journaled by now
    before = {chain: len(run.attempts(chain)) for chain in ("ethereum", "fantom")}
    run.wait_blocks("ethereum", 2)
    run.wait_blocks("fantom", 3)
    assert {chain: len(run.attempts(chain)) for chain in before} == before
    path.unlink()
    for chain in before:
        run.wait_landed(chain)


def _lock_books(run: Running) -> None:
    """As a process that hangs in the middle of writing would: trades are durable without it, so they go on."""
    for _ in range(_LOCKS):
        if _both_trade_under_a_lock(run):
            return
        for chain in ("ethereum", "fantom"):
            run.wait_landed(chain)
    raise AssertionError(f"a chain sent nothing under any of {_LOCKS} locks")


def _both_trade_under_a_lock(run: Running) -> bool:
    """Shorter than what the engine takes for a fault of the books."""
    until = time.monotonic() + BOOKS_LOCKED_S / 2
    with contextlib.closing(sqlite3.connect(run.demo.work_dir / "ledger.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        before, grown = _pending_nonces(run), False
        while not grown and time.monotonic() < until:
            time.sleep(0.2)
            grown = all(now > then for then, now in zip(before, _pending_nonces(run), strict=True))
        writer.execute("ROLLBACK")
    return grown


def _pending_nonces(run: Running) -> list[int]:
    """All that each chain's operators ever sent."""
    counts: list[int] = []
    for chain in run.demo.testnet.chains.values():
        with chain.node.client() as client:
            counts.append(
                sum(
                    int(client.call("eth_getTransactionCount", operator, "pending"), 16)
                    for operator in chain.deployment.operators
                )
            )
    return counts
