"""The same recording gives the same decisions, and they hold on the contracts' own code."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ouro.engine.journal import DecisionJournal
from ouro.engine.stages import BlockTimes
from ouro.protocols.registry import FAMILIES
from ouro.replay.clock import ReplayClock
from ouro.replay.contracts import image
from ouro.replay.feed import Pace, ReplayFeed, ReplayOver
from ouro.replay.recording import Recording, RecordingWriter
from ouro.replay.session import play
from ouro.replay.wire import WireFeed
from ouro.replay.world import state_from
from ouro.types import BlockUpdate, Log, Resync

HERE = Path(__file__).parent


async def played(recording: Recording, folder: Path) -> tuple[DecisionJournal, Counter[str]]:
    journal = DecisionJournal(folder / "journal.jsonl")
    done = await play(recording, folder, journal=journal)
    journal.close()
    return journal, done.status.refused


async def test_two_runs_and_what_they_find(recording: Recording, tmp_path: Path) -> None:
    first, refused = await played(recording, tmp_path)
    lines = (tmp_path / "journal.jsonl").read_bytes()
    second, _ = await played(recording, tmp_path)
    assert (tmp_path / "journal.jsonl").read_bytes() == lines
    assert first.digest == second.digest
    assert first.blocks == recording.blocks
    assert first.plans > 5
    assert first.transactions > 2
    # the integers are what the protocols' own bytecode does on the states that the logs led to
    assert not [reason for reason in refused if reason in ("preflight_differs", "preflight_failed")]


def test_two_processes_with_other_hash_seeds(recording_path: Path, tmp_path: Path) -> None:
    said = []
    for seed in ("1", "4242"):
        folder = tmp_path / f"seed {seed}"
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(HERE / "play_once.py"), str(recording_path), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=150)
        said.append((done.stdout.splitlines()[-1], (folder / "journal.jsonl").read_bytes()))
    assert said[0] == said[1]
    assert len(said[0][1]) > 1_000


def test_every_word_of_the_shadow_follows(recording: Recording) -> None:
    """After thousands of logs, the copy has what a chain with these states would have."""
    origin = recording.origin
    state = state_from(origin, origin.config, ReplayClock(0))
    assert state.shadow is not None
    for event in recording.events():
        assert isinstance(event, BlockUpdate)
        state.apply(event)
    config = origin.config
    wanted = image(
        state.market.states.values(),
        number=0,
        wrapped_native=config.wrapped_native,
        executor=config.executor or "",
        owner=config.owner or "",
        operators=config.operators,
    )
    state.catch_up()
    words = state.shadow.database.words
    compared = 0
    for pool in state.market.states.values():
        for address, slot in FAMILIES[pool.family].places_from_logs(pool):
            assert words.get((address, slot), 0) == wanted.words[address].get(slot, 0), (pool.address, slot)
            compared += 1
    assert compared > 500
    assert state.market.counters["unknown_logs"] > 100
    assert not state.market.quarantine


async def test_bytes_of_a_node_give_the_same_events(recording: Recording) -> None:
    clock = ReplayClock(0)
    state = state_from(recording.origin, recording.origin.config, clock)
    feed = WireFeed(recording, state.topics, Pace(every_ms=0.01), clock)
    found = []
    try:
        while True:
            found.append(await anext(feed))
    except ReplayOver:
        pass
    await feed.close()
    recorded = list(recording.events())
    assert [replace(each, received_ns=0) for each in found] == [replace(each, received_ns=0) for each in recorded]


async def test_full_speed_waits_for_nobody_and_skips_nothing(recording: Recording) -> None:
    clock = ReplayClock(recording.origin.head.timestamp)
    feed = ReplayFeed(recording, clock=clock)
    seen, pending = 0, set()
    try:
        while True:
            await anext(feed)
            pending.add(feed.pending())
            seen += 1
    except ReplayOver:
        pass
    assert pending == {0}
    assert seen == recording.blocks
    assert feed.counters["empty_block"] == recording.blocks // 7
    assert feed.counters["log"] == recording.logs


async def test_a_slow_consumer_meets_what_is_newer(recording: Recording) -> None:
    """Everything is due long before it is taken: all but the last are superseded."""
    feed = ReplayFeed(recording, Pace(every_ms=0.001))
    await anext(feed)
    await asyncio.sleep(0.01)
    assert feed.pending() > 0
    times: list[BlockTimes] = []
    done = await play(recording, Path("/nonexistent"), pace=Pace(every_ms=0.0001), timed=times.append)
    assert done.status.superseded + len(times) == recording.blocks
    assert done.status.superseded > 0
    assert times[-1].number == recording.origin.head.number + recording.blocks


def with_changes(recording: Recording, path: Path, change: dict[int, dict[str, object]]) -> Recording:
    writer = RecordingWriter(path, recording.origin)
    for k, event in enumerate(recording.events()):
        writer.add(replace(event, **change.get(k, {})) if k in change else event)  # type: ignore[arg-type]
    return Recording.open(writer.finish())


async def test_a_clock_that_goes_back_is_counted(recording: Recording, tmp_path: Path) -> None:
    events = list(recording.events())
    assert isinstance(events[3], BlockUpdate)
    assert isinstance(events[5], BlockUpdate)
    changes: dict[int, dict[str, object]] = {
        3: {"timestamp": events[3].timestamp - 3_600},
        5: {"received_ns": events[5].received_ns - 10**12},
    }
    changed = with_changes(recording, tmp_path / "back.ouro", changes)
    done = await play(changed, tmp_path)
    assert done.counters["clock_stood_still"] == 1
    assert done.counters["clock_went_back"] == 1
    assert done.status.blocks_decided == recording.blocks


async def test_logs_that_make_no_sense_cost_their_pool(recording: Recording, tmp_path: Path) -> None:
    events = list(recording.events())
    block = events[1]
    assert isinstance(block, BlockUpdate)
    known = next(log for log in block.logs if log.address in recording.origin.states)
    broken = tuple(replace(log, data="0x1234") if log == known else log for log in block.logs)
    changed = with_changes(recording, tmp_path / "broken.ouro", {1: {"logs": broken}})
    done = await play(changed, tmp_path)
    assert done.market["quarantined"] == 1
    assert done.status.blocks_decided == recording.blocks


async def test_a_resync_ends_it(recording: Recording, tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "resync.ouro", recording.origin)
    events = recording.events()
    for _ in range(5):
        writer.add(next(events))
    writer.add(Resync(recording.origin.chain, "the node lost its mind"))
    done = await play(Recording.open(writer.finish()), tmp_path)
    assert done.ended == "the node lost its mind"
    assert done.status.blocks_decided == 5


def test_a_generated_block_is_as_it_was_asked_for(recording: Recording) -> None:
    blocks = [event for event in recording.events() if isinstance(event, BlockUpdate)]
    sizes = Counter(len(block.logs) for block in blocks)
    assert set(sizes) == {0, 40, 400}
    known = recording.origin.states
    ordinary = [block for block in blocks if len(block.logs) == 40]
    assert {len({log.address for log in block.logs if log.address in known}) for block in ordinary} == {8}
    assert all(isinstance(log, Log) for log in blocks[0].logs)
    families = {state.family for state in known.values()}
    assert families == {"uniswap_v2", "uniswap_v3"}
