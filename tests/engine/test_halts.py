"""A halt under a running trader: what is open is taken back by its nonces, and nothing new is signed."""

import asyncio
import contextlib

import pytest
from engine_bench import Bench, clock

from ouro.control import ControlStore, control_folder
from ouro.engine.halt_watch import wants_taken_back, watch_halts
from ouro.types import AttemptKind, Mode, OutcomeKind


@pytest.mark.node
async def test_a_halt_takes_back_what_is_open(bench: Bench) -> None:
    update = await bench.mine()
    plans = bench.decide(update).plans[:3]
    assert len(plans) == 3
    trader, _ = await bench.live()
    sent = await trader.execute(bench.approve(plans[:2], Mode.LIVE, update), update, clock())
    assert len(sent) == 2
    data_dir = bench.folder / "data"
    control = ControlStore(control_folder(data_dir))
    watching = asyncio.create_task(watch_halts(data_dir, "ethereum", lambda: (trader, update)))
    try:
        control.halt(by="anna", why="odd trades")
        async with asyncio.timeout(60):
            while len(bench.ledger.unresolved_attempts("ethereum")) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert await trader.execute(bench.approve(plans[2:], Mode.LIVE, update), update, clock()) == []
    assert [refused.reason for refused in bench.refused] == ["signer_halted"]
    assert await trader.take_back_open(update) == 0  # once is enough

    update = await bench.mine()
    trader.applied(update)
    await trader.settle(update)
    kinds = [(attempt.kind, outcome.kind) for attempt, _, outcome in bench.heard if outcome is not None]
    assert sorted(kinds) == sorted(
        [(AttemptKind.CANCEL, OutcomeKind.LANDED)] * 2 + [(AttemptKind.TRADE, OutcomeKind.EXPIRED)] * 2
    )
    assert bench.ledger.unresolved_attempts("ethereum") == []


def test_only_a_stop_of_a_whole_chain_takes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    control = ControlStore(tmp_path_factory.mktemp("control"))
    control.halt(by="anna", why="odd", mode="reduce_only")
    control.halt(by="anna", why="odd", mode="throttle")
    control.halt(by="anna", why="odd", open_attempts="leave")
    control.halt(by="anna", why="odd", strategy="n_hop")
    assert wants_taken_back(control.all()) == frozenset()
    stop = control.halt(by="anna", why="odd")
    assert wants_taken_back(control.all()) == {stop.id}
