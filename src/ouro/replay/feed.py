"""A recording as a feed: the same events, in order, at full, recorded or scaled speed."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from ouro.replay.clock import ReplayClock
from ouro.replay.recording import Recording
from ouro.types import BlockUpdate, FeedEvent

_AHEAD = 8


class ReplayOver(Exception):  # noqa: N818 - an event, not an error
    """The recording has been played to its end."""


async def sleep_until(due_ns: int) -> None:
    """Return at once where ``due_ns`` has passed."""
    wait_ns = due_ns - time.monotonic_ns()
    if wait_ns > 0:
        await asyncio.sleep(wait_ns / 1e9)


class Pace:
    """When each block is due. ``speed`` 1 is as recorded, 2 twice as fast, None as fast as the consumer goes;
    ``every_ms`` is a fixed distance instead."""

    def __init__(self, speed: float | None = None, every_ms: float | None = None) -> None:
        if (speed is not None and speed <= 0) or (every_ms is not None and every_ms <= 0):
            raise ValueError("a speed and a distance between blocks are positive")
        self._speed, self._every_ms = speed, every_ms
        self._began_ns = 0
        self._first_ns: int | None = None
        self._count = 0

    @property
    def free(self) -> bool:
        """Whether the consumer sets the pace."""
        return self._speed is None and self._every_ms is None

    def due_ns(self, update: BlockUpdate) -> int:
        """The ``time.monotonic_ns`` at which the next block, ``update``, is read off the socket."""
        if self._first_ns is None:
            self._began_ns, self._first_ns = time.monotonic_ns(), update.received_ns
        self._count += 1
        if self._every_ms is not None:
            return self._began_ns + int((self._count - 1) * self._every_ms * 1e6)
        assert self._speed is not None
        # a clock that went backwards while recording must not make the replay wait for ever, or run ahead
        return self._began_ns + int(max(0, update.received_ns - self._first_ns) / self._speed)


class ReplayFeed:
    """Asynchronous iterator over a recording's events; raises ``ReplayOver`` at its end.

    At full speed a block's receipt time is the recorded one, nothing is pending, and no time is read: what is
    decided depends on the recording alone. Otherwise a block is received when it is due, and counts as pending from
    then on, so that a slow consumer meets superseded blocks as it would live.
    """

    def __init__(self, recording: Recording, pace: Pace | None = None, clock: ReplayClock | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._events: Iterator[FeedEvent] = recording.events()
        self._pace = pace or Pace()
        self._clock = clock
        self._ahead: deque[tuple[int, FeedEvent]] = deque()
        self._last_ns: int | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedEvent:
        if self._pace.free:
            # the consumer's other tasks get their turn, as between two messages of a socket
            await asyncio.sleep(0)
            event = next(self._events, None)
            if event is None:
                raise ReplayOver
            return self._delivered(event)
        self._look_ahead()
        if not self._ahead:
            raise ReplayOver
        due_ns, event = self._ahead.popleft()
        await sleep_until(due_ns)
        if isinstance(event, BlockUpdate):
            event = replace(event, received_ns=due_ns)
        return self._delivered(event)

    def _look_ahead(self) -> None:
        """Read from the file while there is time, not when a block is due."""
        while len(self._ahead) < _AHEAD:
            event = next(self._events, None)
            if event is None:
                return
            due_ns = self._ahead[-1][0] if self._ahead else time.monotonic_ns()
            if isinstance(event, BlockUpdate):
                due_ns = self._pace.due_ns(event)
            self._ahead.append((due_ns, event))

    def _delivered(self, event: FeedEvent) -> FeedEvent:
        self.counters["event"] += 1
        if isinstance(event, BlockUpdate):
            self.counters["block"] += 1
            self.counters["log"] += len(event.logs)
            if self._last_ns is not None and event.received_ns < self._last_ns:
                self.counters["clock_went_back"] += 1
            self._last_ns = event.received_ns
            if not event.logs:
                self.counters["empty_block"] += 1
            if self._clock is not None:
                self._clock.at(event)
        return event

    def pending(self) -> int:
        """Blocks that are due already."""
        now_ns = time.monotonic_ns() if self._ahead else 0
        return sum(due_ns <= now_ns for due_ns, _ in self._ahead)

    async def close(self) -> None:
        """Nothing runs in the background."""
        self._ahead.clear()
