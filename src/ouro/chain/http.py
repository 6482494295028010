"""HTTP transport: one keep-alive client; no subscriptions (the feed polls)."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import httpx

from ouro.chain.errors import CallTimeout, MalformedAnswer, RateLimited, RpcError, TransportError
from ouro.chain.redact import endpoint_label, scrub, url_secrets
from ouro.chain.subscription import Subscription
from ouro.chain.wire import Call, chunks, decode, encode_batch, encode_request, outcome, refuse_writes


class _NoUrls(logging.Filter):
    """httpx logs every request with its full URL, keys included."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


logging.getLogger("httpx").addFilter(_NoUrls())
for _name in ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_NoUrls())


class HttpTransport:
    """JSON-RPC over POST. Environment proxies and netrc are not read: they would see every key and order."""

    supports_subscriptions = False

    def __init__(self, url: str, timeout_ms: int, batch_size: int, max_message_bytes: int) -> None:
        self.label = endpoint_label(url)
        self._secrets = url_secrets(url)
        self._url = url
        self._timeout_ms = timeout_ms
        self._batch_size = batch_size
        self._max_bytes = max_message_bytes
        self._next_id = 1
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"},
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=60),
            trust_env=False,
        )
        self._closed: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        """True after ``close``; HTTP has no connection that could be lost."""
        return self._closed.done()

    async def wait_closed(self) -> TransportError:
        """Return the reason when the transport was closed."""
        return await asyncio.shield(self._closed)

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """The result of one call. Raises ``RpcError`` or ``TransportError``."""
        return (await self.call_timed(method, params, timeout_ms))[1]

    async def call_timed(self, method: str, params: list[Any], timeout_ms: int | None = None) -> tuple[int, Any]:
        """As ``call``, with the ``time.monotonic_ns`` at which the body's last byte was read."""
        request_id = self._take_ids(1)
        received_ns, body = await self._post(encode_request(request_id, method, params), method, timeout_ms, params)
        message = decode(body, self.label)
        if not isinstance(message, dict) or message.get("id") not in (request_id, None):
            raise MalformedAnswer(f"{self.label}: the answer to {method} is not the one that was asked for")
        result = outcome(message, method, self._secrets, params)
        if isinstance(result, RpcError | TransportError):
            raise result
        return received_ns, result

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """Results in the order of ``calls``; a failed call is an ``RpcError`` in its place. Reads only."""
        refuse_writes(calls)
        results: list[Any] = []
        for part in chunks(calls, self._batch_size):
            results += await self._batch_once(part, timeout_ms)
        return results

    async def subscribe(self, kind: str, params: Any | None = None) -> Subscription:
        """Always raises: HTTP can't push."""
        raise TransportError(f"{self.label}: HTTP has no subscriptions ({kind}); use ws:// or IPC, or poll")

    async def close(self) -> None:
        """Close the client; later calls raise ``TransportError``."""
        if not self._closed.done():
            self._closed.set_result(TransportError(f"{self.label}: connection was closed by us"))
        await self._client.aclose()

    def _take_ids(self, count: int) -> int:
        if self._closed.done():
            raise self._closed.result()
        first = self._next_id
        self._next_id += count
        return first

    async def _batch_once(self, calls: Sequence[Call], timeout_ms: int | None) -> list[Any]:
        first = self._take_ids(len(calls))
        what = f"a batch of {len(calls)} calls"
        _, body = await self._post(encode_batch(first, calls), what, timeout_ms, None)
        message = decode(body, self.label)
        if isinstance(message, dict) and message.get("error") is not None:
            return [outcome(message, method, self._secrets, params) for method, params in calls]
        if not isinstance(message, list):
            raise MalformedAnswer(f"{self.label}: the answer to {what} is not a list")
        answers = {item.get("id"): item for item in message if isinstance(item, dict)}
        results = []
        for offset, (method, params) in enumerate(calls):
            if first + offset not in answers:
                raise MalformedAnswer(f"{self.label}: the answer to {what} lacks {method} (number {offset + 1})")
            result = outcome(answers[first + offset], method, self._secrets, params)
            if isinstance(result, TransportError):
                raise result
            results.append(result)
        return results

    async def _post(
        self, payload: bytes, what: str, timeout_ms: int | None, params: Any
    ) -> tuple[int, bytes | bytearray]:
        limit_ms = self._timeout_ms if timeout_ms is None else timeout_ms
        try:
            async with (
                asyncio.timeout(limit_ms / 1000),
                self._client.stream("POST", self._url, content=payload) as answer,
            ):
                body = await self._read(answer, what)
                received_ns = time.monotonic_ns()
        except TimeoutError:
            raise CallTimeout(f"{self.label}: no answer to {what} within {limit_ms} ms") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            text = scrub(str(error), self._secrets, params)
            raise TransportError(f"{self.label}: {what} failed ({type(error).__name__}: {text})") from None
        self._check_status(answer, body, what)
        return received_ns, body

    async def _read(self, answer: httpx.Response, what: str) -> bytearray:
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > self._max_bytes:
                raise MalformedAnswer(f"{self.label}: the answer to {what} is larger than {self._max_bytes} bytes")
        return body

    def _check_status(self, answer: httpx.Response, body: bytearray, what: str) -> None:
        if answer.status_code == 429:
            wish = answer.headers.get("Retry-After", "")
            retry_after_ms = int(wish) * 1000 if wish.isdigit() and len(wish) < 6 else None
            raise RateLimited(f"{self.label}: {what} refused, rate limit reached (HTTP 429)", retry_after_ms)
        # Some nodes send JSON-RPC errors with status 4xx/5xx; those are answers, everything else isn't.
        if answer.status_code >= 400 and body.lstrip()[:1] not in (b"{", b"["):
            raise TransportError(f"{self.label}: {what} answered HTTP {answer.status_code}")
