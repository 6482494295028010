"""A stream of pushed results with the time each was read off the socket."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ouro.chain.errors import TransportError


class Subscription(AsyncIterator[tuple[int, Any]]):
    """Yields ``(received_ns, result)``; raises ``TransportError`` when the connection is gone.

    Bounded: a consumer that falls ``limit`` results behind gets an error, not unbounded memory.
    """

    def __init__(self, kind: str, label: str, limit: int = 10_000) -> None:
        self.kind = kind
        self._label = label
        self._limit = limit
        self._items: deque[tuple[int, Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: TransportError | None = None
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None

    def bind(self, unsubscribe: Callable[[], Awaitable[None]]) -> None:
        """Say how to end it at the node."""
        self._unsubscribe = unsubscribe

    def pending(self) -> int:
        """Results that arrived and were not taken yet."""
        return len(self._items)

    def push(self, received_ns: int, result: Any) -> None:
        """Called by the transport, in arrival order."""
        if self._error is not None:
            return
        if len(self._items) >= self._limit:
            self.fail(TransportError(f"{self._label}: more than {self._limit} unread {self.kind} results"))
            return
        self._items.append((received_ns, result))
        self._wake()

    def fail(self, error: TransportError) -> None:
        """End it; results that already arrived are still delivered first."""
        if self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __anext__(self) -> tuple[int, Any]:
        while not self._items:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    async def close(self) -> None:
        """Unsubscribe at the node; never raises because the connection is gone already."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        self.fail(TransportError(f"{self._label}: subscription to {self.kind} was closed"))
        if unsubscribe is not None:
            await unsubscribe()
