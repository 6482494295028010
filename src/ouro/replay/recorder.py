"""Recording a chain: its state as the engine loads it, then every event that the feed delivers."""

import asyncio
import signal
import time
from pathlib import Path

import structlog

from ouro.chain.feed import BlockFeed
from ouro.chain.pool import EndpointPool
from ouro.chain.rpc import Caller
from ouro.config.model import OuroConfig
from ouro.engine.chain_state import ChainState
from ouro.engine.errors import EngineError
from ouro.execution.image import image_of
from ouro.execution.shadow import ShadowError
from ouro.market.errors import MarketError
from ouro.replay.reads import Reads, Tap
from ouro.replay.recording import Origin, RecordingWriter
from ouro.types import BlockUpdate, FeedEvent, Resync, Rollback

log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 5.0


def chosen_chain(config: OuroConfig, name: str | None) -> str:
    """The chain ``name``, or the only one. Raises ``EngineError`` naming what there is."""
    names = list(config.chains)
    if name is None and len(names) == 1:
        return names[0]
    if name not in config.chains:
        wanted = "--chain is needed" if name is None else f"no chain {name!r} in the configuration"
        raise EngineError(f"{wanted}; it has {', '.join(names)}")
    return name


def origin_of(state: ChainState, source: str) -> Origin:
    """What ``state`` holds, as the start of a recording."""
    market = state.market
    assert market.head is not None
    left_out = market.quarantine.keys()
    states = {pool: held for pool, held in market.states.items() if pool not in left_out}
    image = None if state.shadow is None else image_of(state.shadow, states)
    announced = {pool: market.announced[pool] for pool in market.told if pool in market.announced}
    return Origin(
        state.name,
        state.config,
        market.head,
        state.fees,
        states,
        dict(market.tokens),
        image,
        source=source,
        announced=announced,
    )


class Recorder:
    """Takes events as they are delivered; what is slow (packing, the disk) happens on a thread."""

    def __init__(self, path: Path, origin: Origin) -> None:
        self._writer = RecordingWriter(path, origin)
        self._waiting: list[tuple[FeedEvent, dict[bytes, bytes]]] = []
        self._flushed = time.monotonic()

    @property
    def counts(self) -> dict[str, int]:
        """Events, blocks and logs that were written."""
        return self._writer.counts

    def add(self, event: FeedEvent, answers: dict[bytes, bytes] | None = None) -> None:
        """One more, with what the node ``answers`` at it; on the hot path, so it is only kept."""
        self._waiting.append((event, answers or {}))

    async def flush_if_due(self) -> None:
        """Between blocks."""
        if time.monotonic() - self._flushed > FLUSH_EVERY_S:
            await asyncio.to_thread(self._write)
            self._flushed = time.monotonic()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event, answers in waiting:
            if answers and isinstance(event, BlockUpdate):
                self._writer.add_answers(event.hash, answers)
            self._writer.add(event)
        self._writer.flush()

    async def finish(self) -> Path:
        """Write the rest and put the file in its place."""
        await asyncio.to_thread(self._write)
        return await asyncio.to_thread(self._writer.finish)

    def abandon(self) -> None:
        """Leave no file."""
        self._writer.abandon()


async def record_chain(config: OuroConfig, name: str, path: Path, blocks: int) -> dict[str, int]:
    """Record ``blocks`` blocks of chain ``name`` into ``path``, or until SIGINT or SIGTERM; returns what it has.

    A re-sync ends the recording as well: what follows would not continue it. Raises what loading a chain raises.
    """
    chain = config.chains[name]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
            state = await ChainState.load(
                name,
                chain,
                node,
                config.data_dir,
                lambda text: log.info("loading", chain=name, step=text),
                config.mode,
            )
            recorder = Recorder(path, origin_of(state, "node"))
            start = (state.head_number, state.head_hash)
            feed = BlockFeed(name, node, state.topics, chain.reorg_ring_depth, start=start)
            try:
                await _follow(feed, recorder, Follower(state, node), blocks, stop)
            except BaseException:
                recorder.abandon()
                raise
            finally:
                await feed.close()
            await recorder.finish()
            return recorder.counts
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Follower:
    """Goes along with the blocks as a replay will, to ask the node what the replay will want to know."""

    def __init__(self, state: ChainState, node: Caller) -> None:
        self._state, self._tap = state, Tap(node)
        self._reads = Reads(state, self._tap, searching=False)
        self._lost = False

    async def follow(self, event: FeedEvent, *, superseded: bool) -> dict[bytes, bytes]:
        """What the node answered at ``event``; nothing where a newer block waits, or once the thread is lost."""
        if self._lost:
            return {}
        state = self._state
        try:
            if isinstance(event, Rollback):
                state.rollback(event)
            elif isinstance(event, BlockUpdate):
                result = state.apply(event)
                if not superseded:
                    await self._reads.refresh()
                self._reads.born(result.new_pools)
                if not superseded:
                    await self._reads.tend()
                state.catch_up()
        except (MarketError, ShadowError) as error:
            self._lost = True
            log.warning("recording_reads_end", chain=state.name, reason=str(error))
        return self._tap.take()


async def _follow(
    feed: BlockFeed, recorder: Recorder, follower: Follower, blocks: int, stop: asyncio.Event
) -> None:
    stopping = asyncio.create_task(stop.wait())
    seen = 0
    try:
        while seen < blocks and not stop.is_set():
            coming = asyncio.ensure_future(anext(feed))
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                return
            event = coming.result()
            recorder.add(event, await follower.follow(event, superseded=feed.pending() > 0))
            if isinstance(event, Resync):
                log.warning("recording_ends", reason=event.reason)
                return
            seen += isinstance(event, BlockUpdate)
            await recorder.flush_if_due()
    finally:
        stopping.cancel()
