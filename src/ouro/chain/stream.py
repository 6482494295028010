"""What WebSocket and IPC share: many requests and subscriptions in flight on one connection."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

from ouro.chain.errors import CallTimeout, MalformedAnswer, RpcError, TransportError
from ouro.chain.redact import scrub
from ouro.chain.subscription import Subscription
from ouro.chain.wire import Call, chunks, decode, encode_batch, encode_request, outcome, refuse_writes

_ORPHAN_LIMIT = 256


class _Pending:
    __slots__ = ("future", "method", "params", "request_id", "subscription")

    def __init__(
        self, request_id: int, method: str, params: list[Any], future: "asyncio.Future[tuple[int, Any]]"
    ) -> None:
        self.request_id = request_id
        self.method = method
        self.params = params
        self.future = future
        self.subscription: Subscription | None = None


class StreamTransport(ABC):
    """Multiplexes JSON-RPC over a connection that keeps message borders. One event loop only.

    A malformed message closes the connection: on a shared stream nobody can say whose answer it was.
    """

    supports_subscriptions = True

    def __init__(self, label: str, secrets: tuple[str, ...], timeout_ms: int, batch_size: int) -> None:
        self.label = label
        self._secrets = secrets
        self._timeout_ms = timeout_ms
        self._batch_size = batch_size
        self._next_id = 1
        self._pending: dict[int, _Pending] = {}
        self._batches: dict[int, range] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._orphans: deque[tuple[int, str, Any]] = deque(maxlen=_ORPHAN_LIMIT)
        self._closed: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
        self.unmatched = 0

    @abstractmethod
    def _write(self, payload: bytes) -> None: ...

    @abstractmethod
    def _abort(self) -> None: ...

    @property
    def closed(self) -> bool:
        """True once the connection is unusable."""
        return self._closed.done()

    async def wait_closed(self) -> TransportError:
        """Return the reason when the connection has ended."""
        return await asyncio.shield(self._closed)

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """The result of one call. Raises ``RpcError`` or ``TransportError``."""
        return (await self.call_timed(method, params, timeout_ms))[1]

    async def call_timed(self, method: str, params: list[Any], timeout_ms: int | None = None) -> tuple[int, Any]:
        """As ``call``, with the ``time.monotonic_ns`` at which the answer was read off the socket."""
        entry = self._register(method, params)
        return await self._send_and_wait(entry, timeout_ms)

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """Results in the order of ``calls``; a failed call is an ``RpcError`` in its place. Reads only."""
        refuse_writes(calls)
        results: list[Any] = []
        for part in chunks(calls, self._batch_size):
            results += await self._batch_once(part, timeout_ms)
        return results

    async def subscribe(self, kind: str, params: Any | None = None) -> Subscription:
        """``eth_subscribe``; the stream starts with the first notification after the node's confirmation."""
        subscription = Subscription(kind, self.label)
        entry = self._register("eth_subscribe", [kind] if params is None else [kind, params])
        entry.subscription = subscription
        _, subscription_id = await self._send_and_wait(entry, None)
        if not isinstance(subscription_id, str):
            raise MalformedAnswer(f"{self.label}: eth_subscribe {kind} answered no subscription id")

        async def unsubscribe() -> None:
            self._subscriptions.pop(subscription_id, None)
            if not self.closed:
                try:
                    await self.call("eth_unsubscribe", [subscription_id])
                except (RpcError, TransportError):
                    return

        subscription.bind(unsubscribe)
        return subscription

    async def close(self) -> None:
        """End the connection; open calls and subscriptions get a ``TransportError``."""
        self._fail(TransportError(f"{self.label}: connection was closed by us"))

    def _register(self, method: str, params: list[Any]) -> _Pending:
        if self._closed.done():
            raise self._closed.result()
        request_id = self._next_id
        self._next_id += 1
        entry = _Pending(request_id, method, params, asyncio.get_running_loop().create_future())
        self._pending[request_id] = entry
        return entry

    async def _send_and_wait(self, entry: _Pending, timeout_ms: int | None) -> tuple[int, Any]:
        try:
            self._write(encode_request(entry.request_id, entry.method, entry.params))
            received_ns, result = await self._wait(entry.future, entry.method, timeout_ms)
        finally:
            self._pending.pop(entry.request_id, None)
        if isinstance(result, RpcError | TransportError):
            raise result
        return received_ns, result

    async def _wait(self, future: "asyncio.Future[Any]", what: str, timeout_ms: int | None) -> Any:
        limit_ms = self._timeout_ms if timeout_ms is None else timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1000):
                return await future
        except TimeoutError:
            raise CallTimeout(f"{self.label}: no answer to {what} within {limit_ms} ms") from None

    async def _batch_once(self, calls: Sequence[Call], timeout_ms: int | None) -> list[Any]:
        entries = [self._register(method, params) for method, params in calls]
        ids = range(entries[0].request_id, entries[0].request_id + len(entries))
        self._batches[ids.start] = ids
        try:
            self._write(encode_batch(ids.start, calls))
            answers = await self._wait(
                asyncio.gather(*(entry.future for entry in entries)), f"a batch of {len(entries)} calls", timeout_ms
            )
        finally:
            self._batches.pop(ids.start, None)
            for entry in entries:
                self._pending.pop(entry.request_id, None)
        results = [result for _, result in answers]
        for result in results:
            if isinstance(result, TransportError):
                raise result
        return results

    def _received(self, received_ns: int, payload: bytes | bytearray | memoryview) -> None:
        """Route one message; ``received_ns`` was read before anything was parsed."""
        try:
            message = decode(payload, self.label)
        except MalformedAnswer as error:
            self._fail(error)
            return
        self._route(received_ns, message)

    def _route(self, received_ns: int, message: Any) -> None:
        if isinstance(message, list):
            for item in message:
                self._route_one(received_ns, item)
        else:
            self._route_one(received_ns, message)

    def _route_one(self, received_ns: int, message: Any) -> None:
        if not isinstance(message, dict):
            self.unmatched += 1
            return
        if message.get("method") == "eth_subscription":
            self._notify(received_ns, message.get("params"))
            return
        request_id = message.get("id")
        entry = self._pending.get(request_id) if isinstance(request_id, int) else None
        if entry is None or entry.future.done():
            self._unmatched_answer(received_ns, message)
            return
        result = outcome(message, entry.method, self._secrets, entry.params)
        if entry.subscription is not None and isinstance(result, str):
            self._adopt(result, entry.subscription)
        entry.future.set_result((received_ns, result))

    def _unmatched_answer(self, received_ns: int, message: dict[str, Any]) -> None:
        # A batch that was refused as a whole comes back as one error without an id.
        if message.get("id") is None and "error" in message and len(self._batches) == 1:
            for request_id in next(iter(self._batches.values())):
                entry = self._pending.get(request_id)
                if entry is not None and not entry.future.done():
                    error = outcome(message, entry.method, self._secrets, entry.params)
                    entry.future.set_result((received_ns, error))
            return
        self.unmatched += 1

    def _notify(self, received_ns: int, params: Any) -> None:
        if not isinstance(params, dict) or not isinstance(params.get("subscription"), str):
            self.unmatched += 1
            return
        subscription = self._subscriptions.get(params["subscription"])
        if subscription is None:
            self._orphans.append((received_ns, params["subscription"], params.get("result")))
            return
        subscription.push(received_ns, params.get("result"))

    def _adopt(self, subscription_id: str, subscription: Subscription) -> None:
        # Some nodes push the first result before they confirm the subscription.
        self._subscriptions[subscription_id] = subscription
        for received_ns, owner, result in self._orphans:
            if owner == subscription_id:
                subscription.push(received_ns, result)

    def _fail(self, error: TransportError) -> None:
        if self._closed.done():
            return
        self._closed.set_result(error)
        for entry in self._pending.values():
            if not entry.future.done():
                entry.future.set_result((0, error))
        for subscription in self._subscriptions.values():
            subscription.fail(error)
        self._subscriptions.clear()
        self._abort()

    def _lost(self, reason: str) -> None:
        self._fail(TransportError(f"{self.label}: connection lost ({scrub(reason, self._secrets)})"))
