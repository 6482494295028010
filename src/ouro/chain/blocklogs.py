"""Reads the logs of blocks by hash, checks them, and asks again before it complains."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ouro.chain.blockparse import parse_block_logs
from ouro.chain.errors import RpcError
from ouro.chain.headers import Header
from ouro.chain.logs import BloomGuard, LogCheck, check_logs
from ouro.chain.rpc import Caller
from ouro.chain.walk import ContradictionError, VanishedError, header_by_hash
from ouro.types import Log

_ATTEMPTS = 3
_PAUSE_S = 0.02


class LogReader:
    """Logs of the watched topics (any address), always by block hash so that a reorg can't mix two blocks."""

    def __init__(self, topics: Sequence[str], counters: Counter[str]) -> None:
        self._topics = [[topic.lower() for topic in topics]] if topics else []
        self._watched = frozenset(topic.lower() for topic in topics)
        self._counters = counters
        self.bloom = BloomGuard(self._watched)

    async def read(self, node: Caller, header: Header) -> tuple[Log, ...]:
        """The logs of one block. Raises ``VanishedError`` or ``ContradictionError``."""
        if not self.bloom.may_hold_logs(header):
            self._counters["bloom_skip"] += 1
            return ()
        return await self._read_checked(node, header, await self._ask(node, header))

    async def read_many(self, node: Caller, headers: Sequence[Header]) -> list[tuple[Log, ...]]:
        """The logs of several blocks in one batch, in the order of ``headers``."""
        needed = [header for header in headers if self.bloom.may_hold_logs(header)]
        self._counters["bloom_skip"] += len(headers) - len(needed)
        answers: list[Any] = []
        if needed:
            answers = await node.batch([("eth_getLogs", [self._filter(header)]) for header in needed])
        found = {
            header.hash: await self._read_checked(node, header, answer)
            for header, answer in zip(needed, answers, strict=True)
        }
        return [found.get(header.hash, ()) for header in headers]

    def _filter(self, header: Header) -> dict[str, Any]:
        return {"blockHash": header.hash, "topics": self._topics}

    async def _ask(self, node: Caller, header: Header) -> Any:
        try:
            return await node.call("eth_getLogs", [self._filter(header)])
        except RpcError as error:
            return error

    async def _read_checked(self, node: Caller, header: Header, answer: Any) -> tuple[Log, ...]:
        fault: str | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._counters["logs_refetched"] += 1
                answer = await self._ask(node, header)
            if isinstance(answer, RpcError):
                # A node may announce a block a moment before its logs can be asked for.
                self._counters["logs_refused"] += 1
                if await header_by_hash(node, header.hash) is None:
                    raise VanishedError(f"block {header.number} {header.hash} is not known to the node any more")
                await asyncio.sleep(_PAUSE_S * (attempt + 1))
                fault = str(answer)
                continue
            logs = parse_block_logs(answer, header, self._watched)
            check = check_logs(answer, header, self._watched) if logs is None else LogCheck(logs)
            fault = self._fault(check, header, first=attempt == 0)
            if fault is None:
                self._counters.update(check.notes)
                return check.logs
        raise ContradictionError(f"logs of block {header.number} {header.hash}: {fault}")

    def _fault(self, check: LogCheck, header: Header, first: bool) -> str | None:
        if check.faults:
            self._counters["log_fault"] += len(check.faults)
            return check.faults[0]
        if not self.bloom.learn(header, check.logs):
            self._counters["bloom_contradiction"] += 1
            return None  # the block's own bloom is at fault or the chain does not fill it; blooms are ignored now
        if first and not check.logs and self.bloom.expects_logs(header):
            # Some providers answer an empty list while their index catches up. Blooms err on this side, too, so
            # it is asked once more and then believed.
            self._counters["empty_logs_doubted"] += 1
            return "empty, though the block's bloom says otherwise"
        return None


class HeadClock:
    """When heads and their logs came in, for latency figures."""

    def __init__(self) -> None:
        self.head_ns = 0
        self.delivered_ns = 0

    def delivered(self, received_ns: int) -> None:
        """A block whose head was read at ``received_ns`` is complete now."""
        self.head_ns = received_ns
        self.delivered_ns = time.monotonic_ns()

    @property
    def latency_ms(self) -> float:
        """From the head at the socket to the complete block, of the last block."""
        return (self.delivered_ns - self.head_ns) / 1e6
