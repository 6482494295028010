"""A recording as the bytes that a node would have sent, read by the feed that reads nodes.

The node is in this process: what is left out is the kernel's copy and the node's own time to answer. The clock of a
block starts when its head is due, before a byte of it is parsed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Self

import orjson

from ouro.chain.errors import RpcError, TransportError
from ouro.chain.feed import BlockFeed, FeedSettings
from ouro.chain.logs import bloom_mask
from ouro.chain.wire import Call, decode
from ouro.replay.clock import ReplayClock
from ouro.replay.errors import RecordingError
from ouro.replay.feed import Pace, ReplayOver, sleep_until
from ouro.replay.recording import Recording
from ouro.types import BlockUpdate, FeedEvent, Log

_PATIENT = FeedSettings(stall_ms=3_600_000)
ALL_AHEAD = 16
_KEPT = 2 * ALL_AHEAD
_AWAKE_NS = 2_500_000


class WireNode:
    """Stands for the pool and its only endpoint: announces the recording's heads when they are due and answers for
    their logs. Raises ``RecordingError`` where the recording has more than blocks."""

    supports_subscriptions = True
    label = "replay"

    def __init__(self, recording: Recording, pace: Pace) -> None:
        self._events: Iterator[FeedEvent] = recording.events()
        self._pace = pace
        self._head = _head(
            recording.origin.head.number, recording.origin.head.hash, recording.origin.head.timestamp
        )
        self._logs: dict[str, bytes] = {}
        self.ready: deque[tuple[int, bytes]] = deque()

    async def wait_ready(self, timeout_ms: int | None = None) -> "WireNode":
        """As ``EndpointPool.wait_ready``."""
        del timeout_ms
        return self

    def failover(self, endpoint: Any, reason: str) -> None:
        """There is no other."""
        del endpoint
        raise TransportError(f"replay: {reason}")

    def status(self) -> tuple[()]:
        """Nobody else to compare with."""
        return ()

    def note_head(self, number: int) -> None:
        """Nothing is chosen by it."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """Answers as they come off the wire, parsed here."""
        return (await self.call_timed(method, params, timeout_ms))[1]

    async def call_timed(self, method: str, params: list[Any], timeout_ms: int | None = None) -> tuple[int, Any]:
        """See ``call``."""
        del timeout_ms
        if method == "eth_getLogs":
            answer = self._logs.pop(params[0]["blockHash"], None)
            if answer is not None:
                return time.monotonic_ns(), decode(answer, self.label)["result"]
        elif method == "eth_getBlockByNumber":
            return time.monotonic_ns(), self._head
        raise RpcError(-32601, f"{method}: a recording does not answer that")

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """One after the other."""
        return [await self.call(method, params, timeout_ms) for method, params in calls]

    async def subscribe(self, kind: str, params: Any | None = None) -> "_Heads":
        """The recording's heads."""
        del kind, params
        return _Heads(self)

    def prepare(self, count: int) -> None:
        """Make the bytes of up to ``count`` more blocks, as long as not many wait; for when there is time."""
        while count and len(self.ready) < ALL_AHEAD:
            count -= 1
            event = next(self._events, None)
            if event is None:
                return
            if not isinstance(event, BlockUpdate):
                raise RecordingError(
                    f"a {type(event).__name__} can't be replayed byte by byte: replay it as events"
                )
            self._logs[event.hash] = _answer(event)
            while len(self._logs) > _KEPT:
                del self._logs[next(iter(self._logs))]
            self.ready.append((self._pace.due_ns(event), _announcement(event)))


class _Heads:
    """The subscription."""

    def __init__(self, node: WireNode) -> None:
        self._node = node

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Any]:
        ready = self._node.ready
        if not ready:
            self._node.prepare(ALL_AHEAD)
        if not ready:
            await asyncio.Event().wait()
        due_ns, payload = ready[0]
        # A timer of the loop is up to 2 ms late, which a socket is not: the last stretch is waited for awake.
        await sleep_until(due_ns - _AWAKE_NS)
        while time.monotonic_ns() < due_ns:  # noqa: ASYNC110 - nothing announces a time
            await asyncio.sleep(0)
        ready.popleft()
        # What is read late was there when it was due: a busy loop is part of the figure.
        return due_ns, decode(payload, self._node.label)["params"]["result"]

    def pending(self) -> int:
        """How many heads are due already."""
        now_ns = time.monotonic_ns()
        return sum(due_ns <= now_ns for due_ns, _ in self._node.ready)

    async def close(self) -> None:
        """Nothing to tell anybody."""


class WireFeed:
    """``BlockFeed`` over a ``WireNode``; raises ``ReplayOver`` after the last block."""

    def __init__(self, recording: Recording, topics: Sequence[str], pace: Pace, clock: ReplayClock) -> None:
        origin = recording.origin
        self._node = WireNode(recording, pace)
        self._feed = BlockFeed(
            origin.chain,
            self._node,  # pyright: ignore[reportArgumentType] - the few methods of a pool that a feed calls
            topics,
            origin.config.reorg_ring_depth,
            start=(origin.head.number, origin.head.hash),
            settings=_PATIENT,
        )
        self._left = recording.blocks
        self._clock = clock
        self.counters = self._feed.counters

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedEvent:
        if not self._left:
            raise ReplayOver
        event = await anext(self._feed)
        if isinstance(event, BlockUpdate):
            self._left -= 1
            self._clock.at(event)
        return event

    def prepare(self, count: int = 2) -> None:
        """Between blocks: make the next ones' bytes."""
        self._node.prepare(count)

    def pending(self) -> int:
        """As the feed says."""
        return self._feed.pending() if self._left else 0

    async def close(self) -> None:
        """Stop the feed."""
        await self._feed.close()


def _head(number: int, block_hash: str, timestamp: int) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": block_hash,
        "parentHash": "0x" + "00" * 32,
        "timestamp": hex(timestamp),
        "gasUsed": "0x0",
        "gasLimit": "0x0",
    }


def _announcement(update: BlockUpdate) -> bytes:
    head = _head(update.number, update.hash, update.timestamp) | {
        "parentHash": update.parent_hash,
        "gasUsed": hex(update.gas_used),
        "gasLimit": hex(update.gas_limit),
        "logsBloom": f"0x{_bloom(update.logs):0512x}",
        "miner": "0x" + "00" * 20,
        "stateRoot": "0x" + "11" * 32,
        "transactionsRoot": "0x" + "22" * 32,
        "receiptsRoot": "0x" + "33" * 32,
        "extraData": "0x",
    }
    if update.base_fee_wei is not None:
        head["baseFeePerGas"] = hex(update.base_fee_wei)
    message = {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": head}}
    return orjson.dumps(message)


def _answer(update: BlockUpdate) -> bytes:
    logs = [
        {
            "address": log.address,
            "topics": log.topics,
            "data": log.data,
            "blockNumber": hex(log.block_number),
            "blockHash": log.block_hash,
            "transactionHash": log.tx_hash,
            "transactionIndex": hex(log.tx_index),
            "logIndex": hex(log.log_index),
            "removed": False,
        }
        for log in update.logs
    ]
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": logs})


def _bloom(logs: Sequence[Log]) -> int:
    bloom = 0
    for log in logs:
        bloom |= _mask(log.address)
        for topic in log.topics:
            bloom |= _mask(topic)
    return bloom


@lru_cache(maxsize=1 << 14)
def _mask(text: str) -> int:
    return bloom_mask(bytes.fromhex(text[2:]))
