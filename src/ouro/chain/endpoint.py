"""One endpoint of a pool: its connection, its health, its reconnecting."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import structlog

from ouro.chain.errors import CallTimeout, RateLimited, RpcError, TransportError, WrongChain
from ouro.chain.quantity import parse_quantity
from ouro.chain.redact import endpoint_label
from ouro.chain.rpc import Pushes, Transport, check_chain, connect
from ouro.chain.wire import Call

T = TypeVar("T")

_EWMA_WEIGHT = 0.1
_TIMEOUTS_BEFORE_RECONNECT = 3
_RATE_LIMIT_CODES = frozenset({429, -32005, -32007, -32097})
_RATE_LIMIT_PAUSE_MS = 1_000
_STABLE_S = 10.0

_log = structlog.get_logger(__name__)


class EndpointState(StrEnum):
    """Where an endpoint stands."""

    CONNECTING = "connecting"
    READY = "ready"
    DOWN = "down"
    WRONG_CHAIN = "wrong_chain"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Times and sizes for every endpoint of a pool."""

    timeout_ms: int = 5_000
    batch_size: int = 100
    backoff_first_ms: int = 100
    backoff_most_ms: int = 15_000
    wrong_chain_recheck_ms: int = 60_000
    probe_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What a person may see of an endpoint; ``label`` carries no key."""

    label: str
    state: EndpointState
    current: bool
    reason: str
    latency_ms: float | None
    calls: int
    errors: int
    head_number: int | None
    rate_limited: int = 0


class Endpoint:
    """Holds at most one connection, kept alive in the background; ``call``/``batch``/``subscribe`` act on it.

    Usable where a transport is, with the health accounted for; nothing here fails over (the pool does).
    """

    def __init__(self, url: str, chain_id: int, settings: EndpointSettings, changed: Callable[[], None]) -> None:
        self.label = endpoint_label(url)
        self._url = url
        self._chain_id = chain_id
        self._settings = settings
        self._changed = changed
        self._transport: Transport | None = None
        self.state = EndpointState.CONNECTING
        self.reason = "not tried yet"
        self.error: TransportError | None = None
        self.tried = False
        self.latency_ms: float | None = None
        self.calls = 0
        self.errors = 0
        self.rate_limited = 0
        self.consecutive_errors = 0
        self.head_number: int | None = None
        self.connections = 0
        self._timeouts = 0
        self._paused_until_ns = 0

    @property
    def ready(self) -> bool:
        """True when a call may be tried now."""
        transport = self._transport
        connected = self.state is EndpointState.READY and transport is not None and not transport.closed
        return connected and time.monotonic_ns() >= self._paused_until_ns

    @property
    def supports_subscriptions(self) -> bool:
        """False over HTTP."""
        return self._transport is not None and self._transport.supports_subscriptions

    def note_head(self, number: int) -> None:
        """The newest block seen here, for the comparison with the others."""
        self.head_number = number

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """As ``Transport.call``."""
        return (await self.call_timed(method, params, timeout_ms))[1]

    async def call_timed(self, method: str, params: list[Any], timeout_ms: int | None = None) -> tuple[int, Any]:
        """As ``Transport.call_timed``."""
        return await self._account(lambda transport: transport.call_timed(method, params, timeout_ms))

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """As ``Transport.batch``."""
        return await self._account(lambda transport: transport.batch(calls, timeout_ms))

    async def subscribe(self, kind: str, params: Any | None = None) -> Pushes:
        """As ``Transport.subscribe``."""
        return await self._account(lambda transport: transport.subscribe(kind, params))

    async def drop(self, reason: str) -> None:
        """Close the connection; the background task makes a new one."""
        self._down(TransportError(f"{self.label}: {reason}"))
        if self._transport is not None:
            await self._transport.close()

    async def run(self) -> None:
        """Connect, watch, reconnect with growing jittered pauses, until cancelled."""
        attempt = 0
        try:
            while True:
                lived_s = await self._one_connection()
                if self.state is EndpointState.WRONG_CHAIN:
                    pause_ms = self._settings.wrong_chain_recheck_ms
                else:
                    attempt = 1 if lived_s > _STABLE_S else attempt + 1
                    pause_ms = min(
                        self._settings.backoff_first_ms << min(attempt - 1, 20), self._settings.backoff_most_ms
                    )
                await asyncio.sleep(pause_ms / 1000 * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        finally:
            transport, self._transport = self._transport, None
            self.state, self.reason = EndpointState.CLOSED, "pool closed"
            if transport is not None:
                await transport.close()

    async def _one_connection(self) -> float:
        try:
            transport = await connect(
                self._url,
                timeout_ms=self._settings.timeout_ms,
                chain_id=self._chain_id,
                batch_size=self._settings.batch_size,
            )
        except (TransportError, ValueError) as error:
            self.tried = True
            self._down(error if isinstance(error, TransportError) else TransportError(str(error)))
            return 0.0
        self._up(transport)
        started_s = time.monotonic()
        probe = asyncio.create_task(self._probe(transport))
        try:
            error = await transport.wait_closed()
        finally:
            probe.cancel()
        if self.state is EndpointState.READY:
            self._down(error)
        self._transport = None
        return time.monotonic() - started_s

    def _up(self, transport: Transport) -> None:
        self._transport = transport
        self.tried = True
        self.state, self.reason, self.error = EndpointState.READY, "", None
        self.consecutive_errors = self._timeouts = self._paused_until_ns = 0
        self.head_number = None
        self.connections += 1
        _log.info("endpoint_ready", endpoint=self.label)
        self._changed()

    def _down(self, error: TransportError) -> None:
        state = EndpointState.WRONG_CHAIN if isinstance(error, WrongChain) else EndpointState.DOWN
        if self.state is not state or self.reason != str(error):
            _log.warning("endpoint_down", endpoint=self.label, state=state.value, reason=str(error))
        self.state, self.reason, self.error = state, str(error), error
        self._changed()

    async def _probe(self, transport: Transport) -> None:
        """Standing by is no proof of health; and behind one HTTP address the node may be exchanged unseen."""
        while True:
            await asyncio.sleep(self._settings.probe_ms / 1000)
            try:
                if not transport.supports_subscriptions:
                    await check_chain(transport, self._chain_id)
                self.note_head(parse_quantity(await self.call("eth_blockNumber", [])))
            except WrongChain as error:
                self._down(error)
                await transport.close()
            except (TransportError, RpcError, ValueError) as error:
                _log.debug("endpoint_probe_failed", endpoint=self.label, reason=str(error))

    async def _account(self, operation: Callable[[Transport], Awaitable[T]]) -> T:
        transport = self._transport
        if transport is None or self.state is not EndpointState.READY:
            raise self.error or TransportError(f"{self.label}: not connected ({self.reason})")
        self.calls += 1
        started_ns = time.monotonic_ns()
        try:
            result = await operation(transport)
        except TransportError as error:
            await self._failed(error, transport)
            raise
        except RpcError as error:
            if error.code not in _RATE_LIMIT_CODES:
                self._succeeded(started_ns)
                raise
            limited = RateLimited(f"{self.label}: {error}")
            await self._failed(limited, transport)
            raise limited from None
        self._succeeded(started_ns)
        return result

    def _succeeded(self, started_ns: int) -> None:
        latency_ms = (time.monotonic_ns() - started_ns) / 1e6
        self.latency_ms = (
            latency_ms
            if self.latency_ms is None
            else self.latency_ms + _EWMA_WEIGHT * (latency_ms - self.latency_ms)
        )
        self.consecutive_errors = self._timeouts = 0

    async def _failed(self, error: TransportError, transport: Transport) -> None:
        self.errors += 1
        self.consecutive_errors += 1
        if isinstance(error, RateLimited):
            self.rate_limited += 1
            pause_ms = _RATE_LIMIT_PAUSE_MS if error.retry_after_ms is None else error.retry_after_ms
            self._paused_until_ns = time.monotonic_ns() + pause_ms * 1_000_000
            return
        if isinstance(error, CallTimeout):
            self._timeouts += 1
            if self._timeouts < _TIMEOUTS_BEFORE_RECONNECT:
                return
        if transport is self._transport and self.state is EndpointState.READY:
            self._down(error)
            await transport.close()

    def status(self, current: bool) -> EndpointStatus:
        """A snapshot for people."""
        return EndpointStatus(
            label=self.label,
            state=self.state,
            current=current,
            reason=self.reason,
            latency_ms=self.latency_ms,
            calls=self.calls,
            errors=self.errors,
            head_number=self.head_number,
            rate_limited=self.rate_limited,
        )
