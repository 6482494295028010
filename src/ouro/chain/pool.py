"""Several endpoints of one chain behind the interface of one transport."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar

import structlog

from ouro.chain.endpoint import Endpoint, EndpointSettings, EndpointStatus
from ouro.chain.errors import TransportError, WrongChain
from ouro.chain.rpc import Pushes
from ouro.chain.wire import Call, refuse_writes

T = TypeVar("T")

_MAX_LAG_BLOCKS = 3

_log = structlog.get_logger(__name__)


class EndpointPool:
    """Uses the first healthy endpoint in the order given and stays with it; fails over when it does not answer.

    Every endpoint connects and reconnects in the background, so a dead one costs nobody any time. Use as
    ``async with`` or ``start``/``close``. Reads are tried on the next endpoint after a failure; ``eth_send*`` is
    not, because a lost answer does not mean that the transaction was not taken: the caller decides.
    """

    def __init__(
        self, urls: Sequence[str], chain_id: int, settings: EndpointSettings | None = None, name: str = ""
    ) -> None:
        if not urls:
            raise ValueError(f"chain {name or chain_id}: at least one endpoint is needed")
        self.chain_id = chain_id
        self.name = name or str(chain_id)
        self._settings = settings or EndpointSettings()
        self._endpoints = [Endpoint(url, chain_id, self._settings, self._on_change) for url in urls]
        self._tasks: list[asyncio.Task[None]] = []
        self._change: asyncio.Event = asyncio.Event()
        self._current: Endpoint | None = None
        self.failovers = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, timeout_ms: int | None = None) -> None:
        """Start connecting; return with the first healthy endpoint.

        Raises ``TransportError`` (``WrongChain`` if that is all that was found) naming every endpoint and its
        reason once all have failed. The background work goes on all the same: ``wait_ready`` may be tried again.
        """
        if not self._tasks:
            self._tasks = [asyncio.create_task(endpoint.run()) for endpoint in self._endpoints]
        limit_ms = 2 * self._settings.timeout_ms if timeout_ms is None else timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1000):
                while self._pick() is None:
                    if all(endpoint.tried for endpoint in self._endpoints):
                        raise self._nothing_healthy()
                    await self._wait_change()
        except TimeoutError:
            raise self._nothing_healthy() from None

    async def close(self) -> None:
        """Stop everything. Open calls get a ``TransportError``."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_ready(self, timeout_ms: int | None = None) -> Endpoint:
        """The current endpoint, as soon as one is healthy. Raises ``TransportError`` after ``timeout_ms``."""
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                while (endpoint := self._pick()) is None:
                    await self._wait_change()
        except TimeoutError:
            raise self._nothing_healthy() from None
        return endpoint

    @property
    def transport(self) -> Endpoint:
        """The endpoint in use. Raises ``TransportError`` naming all of them when none is healthy."""
        endpoint = self._pick()
        if endpoint is None:
            raise self._nothing_healthy()
        return endpoint

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """As ``Transport.call``, on the next endpoint if one fails (``eth_send*``: never a second time)."""
        is_send = method.startswith("eth_send")
        return await self._attempt(lambda endpoint: endpoint.call(method, params, timeout_ms), not is_send)

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """As ``Transport.batch``, on the next endpoint if one fails."""
        refuse_writes(calls)
        return await self._attempt(lambda endpoint: endpoint.batch(calls, timeout_ms), True)

    async def subscribe(self, kind: str, params: Any | None = None) -> Pushes:
        """A subscription at the endpoint in use; it ends with ``TransportError`` when that endpoint is lost."""
        return await self._attempt(lambda endpoint: endpoint.subscribe(kind, params), True)

    def failover(self, endpoint: Endpoint, reason: str) -> None:
        """Leave ``endpoint`` for another healthy one, if there is one (a stalled or contradicting feed)."""
        if self._current is not endpoint:
            return
        other = self._best(exclude={endpoint})
        if other is not None:
            self._use(other, reason)

    def status(self) -> tuple[EndpointStatus, ...]:
        """Every endpoint's health, in the order given."""
        return tuple(endpoint.status(endpoint is self._current) for endpoint in self._endpoints)

    async def _attempt(self, operation: Callable[[Endpoint], Awaitable[T]], may_repeat: bool) -> T:
        tried: set[Endpoint] = set()
        failure: TransportError | None = None
        while (endpoint := self._pick(tried)) is not None:
            try:
                return await operation(endpoint)
            except TransportError as error:
                self.failover(endpoint, str(error))
                if not may_repeat:
                    raise
                failure = error
                tried.add(endpoint)
        raise failure or self._nothing_healthy()

    def _pick(self, exclude: set[Endpoint] | None = None) -> Endpoint | None:
        current = self._current
        if current is not None and current.ready and (not exclude or current not in exclude):
            return current
        best = self._best(exclude or set())
        if best is not None and (current is None or not current.ready):
            self._use(best, current.reason if current is not None else "first healthy endpoint")
        return best

    def _best(self, exclude: set[Endpoint]) -> Endpoint | None:
        ready = [endpoint for endpoint in self._endpoints if endpoint.ready and endpoint not in exclude]
        if not ready:
            return None
        newest = max(endpoint.head_number or 0 for endpoint in ready)

        def rank(endpoint: Endpoint) -> tuple[bool, bool]:
            lags = endpoint.head_number is not None and newest - endpoint.head_number > _MAX_LAG_BLOCKS
            return lags, endpoint.consecutive_errors > 0

        return min(ready, key=rank)  # min is stable: among equals the order of the configuration decides

    def _use(self, endpoint: Endpoint, reason: str) -> None:
        if self._current is not None:
            self.failovers += 1
            _log.warning("endpoint_failover", chain=self.name, endpoint=endpoint.label, reason=reason)
        self._current = endpoint

    def _nothing_healthy(self) -> TransportError:
        if not self._tasks:
            return TransportError(f"chain {self.name}: the endpoint pool is not started")
        errors = [endpoint.error for endpoint in self._endpoints]
        wrong = [error for error in errors if isinstance(error, WrongChain)]
        if len(wrong) == len(errors):
            return wrong[0]
        reasons = "; ".join(endpoint.reason or f"{endpoint.label}: paused" for endpoint in self._endpoints)
        return TransportError(f"chain {self.name}: no healthy endpoint ({reasons})")

    def _on_change(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _wait_change(self) -> None:
        # A rate-limited endpoint becomes usable by time alone, without an event.
        change = self._change
        try:
            async with asyncio.timeout(0.2):
                await change.wait()
        except TimeoutError:
            return
