"""The block feed: every canonical block once, in order, with its logs; reorgs as explicit roll-backs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog

from ouro.chain.blocklogs import HeadClock, LogReader
from ouro.chain.endpoint import Endpoint
from ouro.chain.errors import RpcError, TransportError
from ouro.chain.headers import Header, HeadRing, parse_header
from ouro.chain.poller import HeadPoller
from ouro.chain.pool import EndpointPool
from ouro.chain.rpc import Pushes
from ouro.chain.walk import (
    ContradictionError,
    LostError,
    VanishedError,
    header_by_number,
    is_canonical,
    latest_header,
    path_from_ring,
)
from ouro.types import FeedEvent, Hash, Log, Resync, Rollback

_LOG_BATCH_BLOCKS = 32
_CONTRADICTIONS_BEFORE_RESYNC = 5
_READY_LIMIT = 1_024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Times and bounds. ``poll_ms`` is for nodes without subscriptions; after ``stall_ms`` of silence it looks."""

    poll_ms: int = 250
    stall_ms: int = 5_000
    lag_grace_ms: int = 500
    max_gap_blocks: int = 2_048


class BlockFeed:
    """Asynchronous iterator of ``BlockUpdate | Rollback | Resync`` for one chain.

    A block's logs are those of ``topics`` from any address (all logs if ``topics`` is empty). After ``Rollback``
    the blocks of the new branch follow. After ``Resync`` the caller reads its state anew, calls ``start_after``
    with the block it read it at, and goes on iterating; without ``start_after`` the feed goes on from the current
    head. A lost connection or a contradicting node is no event: the feed goes on at the next healthy endpoint.
    """

    def __init__(
        self,
        chain: str,
        pool: EndpointPool,
        topics: Sequence[str],
        ring_depth: int,
        start: tuple[int, Hash] | None = None,
        settings: FeedSettings | None = None,
    ) -> None:
        self.chain = chain
        self.counters: Counter[str] = Counter()
        self.clock = HeadClock()
        self._pool = pool
        self._settings = settings or FeedSettings()
        self._ring = HeadRing(ring_depth)
        self._reader = LogReader(topics, self.counters)
        self._start = start
        self._ready: asyncio.Queue[FeedEvent] = asyncio.Queue(_READY_LIMIT)
        self._heads: Pushes | None = None
        self._task: asyncio.Task[None] | None = None
        self._contradictions = 0
        self._interruptions = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedEvent:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        event = await self._ready.get()
        if isinstance(event, Resync):
            self._task = None
        return event

    def start_after(self, number: int, block_hash: Hash) -> None:
        """Deliver the children of this block next. Events not yet taken are dropped. Any time."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._ready = asyncio.Queue(_READY_LIMIT)
        self._start = (number, block_hash.lower())

    def pending(self) -> int:
        """Events ready plus heads that wait to be looked at; 0 means that the last event is the newest known."""
        return self._ready.qsize() + (self._heads.pending() if self._heads is not None else 0)

    async def close(self) -> None:
        """Stop the background work."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        self._ring.clear()
        start, self._start = self._start, None
        if start is not None:
            self._ring.reset(*start)
        while True:
            try:
                endpoint = await self._pool.wait_ready()
                self._reader.bloom.forget()
                reason = await self._follow(endpoint)
            except Exception as error:  # whatever it is, the chain is re-read and nothing else dies
                _log.exception("feed_error", chain=self.chain)
                reason = f"internal error in the feed: {type(error).__name__}: {error}"
                await asyncio.sleep(1.0)
            if reason is not None:
                _log.warning("feed_resync", chain=self.chain, reason=reason)
                self._ring.clear()
                await self._ready.put(Resync(self.chain, reason))
                return

    async def _follow(self, endpoint: Endpoint) -> str | None:
        """Follow one endpoint; None when another should be tried, a reason when the state is lost."""
        try:
            self._heads = await self._subscribe(endpoint)
            await self._look(endpoint)
            while True:
                await self._next_head(endpoint, self._heads)
        except LostError as error:
            return str(error)
        except (TransportError, RpcError) as error:
            self.counters["connection_lost"] += 1
            _log.warning("feed_interrupted", chain=self.chain, endpoint=endpoint.label, reason=str(error))
            self._pool.failover(endpoint, str(error))
            self._interruptions += 1
            await asyncio.sleep(min(0.01 * 2 ** min(self._interruptions, 8), 1.0))
        except ContradictionError as error:
            return await self._contradicted(endpoint, error)
        finally:
            heads, self._heads = self._heads, None
            if heads is not None:
                await heads.close()
        return None

    async def _contradicted(self, endpoint: Endpoint, error: ContradictionError) -> str | None:
        self.counters["contradiction"] += 1
        self._contradictions += 1
        _log.warning("feed_contradiction", chain=self.chain, endpoint=endpoint.label, reason=str(error))
        self._pool.failover(endpoint, str(error))
        await asyncio.sleep(min(0.02 * 2 ** min(self._contradictions, 8), 5.0))
        if self._contradictions % _CONTRADICTIONS_BEFORE_RESYNC == 0:
            return f"{endpoint.label} contradicts itself: {error}"
        return None

    async def _subscribe(self, endpoint: Endpoint) -> Pushes:
        if endpoint.supports_subscriptions:
            try:
                return await endpoint.subscribe("newHeads")
            except RpcError as error:
                _log.warning("feed_polls", chain=self.chain, endpoint=endpoint.label, reason=str(error))
        return HeadPoller(endpoint, self._settings.poll_ms)

    async def _next_head(self, endpoint: Endpoint, heads: Pushes) -> None:
        try:
            async with asyncio.timeout(self._settings.stall_ms / 1000):
                received_ns, raw = await anext(heads)
        except TimeoutError:
            await self._silence(endpoint)
            return
        try:
            head = parse_header(raw)
        except ValueError as error:
            self.counters["bad_head"] += 1
            _log.warning("feed_bad_head", chain=self.chain, endpoint=endpoint.label, reason=str(error))
            await self._look(endpoint)
            return
        try:
            await self._take(endpoint, head, received_ns)
        except VanishedError:
            self.counters["vanished"] += 1
            await self._look(endpoint)

    async def _silence(self, endpoint: Endpoint) -> None:
        """No head for long: the chain may stand still, or the subscription be dead, or this node be stuck."""
        self.counters["stall"] += 1
        before = self._ring.tip if self._ring else None
        await self._look(endpoint)
        if self._ring and self._ring.tip != before:
            raise TransportError(f"{endpoint.label}: blocks came without being announced, subscribing again")
        others = [status.head_number or 0 for status in self._pool.status()]
        if before is not None and max(others, default=0) > before[0]:
            raise TransportError(f"{endpoint.label}: stuck at block {before[0]}, others are at {max(others)}")

    async def _look(self, endpoint: Endpoint) -> None:
        """Ask for the head instead of waiting for it."""
        for _ in range(_CONTRADICTIONS_BEFORE_RESYNC):
            received_ns, raw = await endpoint.call_timed("eth_getBlockByNumber", ["latest", False])
            try:
                await self._take(endpoint, _checked(raw), received_ns)
            except VanishedError:
                self.counters["vanished"] += 1
                continue
            return
        raise ContradictionError("every block that was read vanished at once")

    async def _take(self, endpoint: Endpoint, head: Header, received_ns: int) -> None:
        """Bring the ring, and the caller, from the tip to ``head``."""
        ring = self._ring
        if not ring:
            ring.reset(head.number - 1, head.parent_hash)
        tip_number, tip_hash = ring.tip
        if head.parent_hash == tip_hash and head.number == tip_number + 1:
            await self._deliver(endpoint, [head], received_ns)
            return
        if head.hash in ring:
            self.counters["duplicate_head"] += 1
            if head.hash != tip_hash:
                await self._behind(endpoint)
            return
        # Everything else is confirmed first: late heads of dead branches, nonsense, or a true reorg or gap.
        confirmed = await header_by_number(endpoint, head.number)
        if confirmed is None or confirmed.hash != head.hash:
            self.counters["stale_head"] += 1
            return
        self.counters["gap" if head.number > tip_number + 1 else "fork"] += 1
        path = await path_from_ring(endpoint, ring, confirmed, self._settings.max_gap_blocks)
        await self._rollback(ring.number_of(path[0].parent_hash), path[0].parent_hash)
        await self._deliver(endpoint, path, received_ns)

    async def _behind(self, endpoint: Endpoint) -> None:
        """A head that we already left behind: an old notification, a lagging node, or a chain that got shorter."""
        tip_number, tip_hash = self._ring.tip
        latest = await latest_header(endpoint)
        for _ in range(max(1, self._settings.lag_grace_ms // 50)):
            if await is_canonical(endpoint, tip_number, tip_hash):
                return
            latest = await latest_header(endpoint)
            if latest.hash not in self._ring:
                return  # it moved on, on whatever branch: that head is announced or will be looked for
            await asyncio.sleep(0.05)
        if latest.hash != tip_hash:
            self.counters["shortened"] += 1
            await self._rollback(latest.number, latest.hash)

    async def _rollback(self, number: int, block_hash: Hash) -> None:
        if self._ring.tip[1] == block_hash:
            return
        dropped = self._ring.cut(number)
        self.counters["rollback"] += 1
        await self._ready.put(Rollback(self.chain, number, block_hash, dropped))

    async def _deliver(self, endpoint: Endpoint, path: list[Header], received_ns: int) -> None:
        if len(path) == 1:
            logs = await self._reader.read(endpoint, path[0])
            await self._emit(endpoint, path[0], logs, received_ns)
            return
        for first in range(0, len(path), _LOG_BATCH_BLOCKS):
            part = path[first : first + _LOG_BATCH_BLOCKS]
            for header, logs in zip(part, await self._reader.read_many(endpoint, part), strict=True):
                await self._emit(endpoint, header, logs, received_ns)

    async def _emit(self, endpoint: Endpoint, header: Header, logs: tuple[Log, ...], received_ns: int) -> None:
        self._ring.extend(header)
        endpoint.note_head(header.number)
        self.counters["block"] += 1
        self._contradictions = self._interruptions = 0
        self.clock.delivered(received_ns)
        await self._ready.put(header.to_update(self.chain, logs, received_ns))


def _checked(raw: Any) -> Header:
    try:
        return parse_header(raw)
    except ValueError as error:
        raise ContradictionError(f"latest block: {error}") from None
