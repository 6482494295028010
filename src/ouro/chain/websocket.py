"""WebSocket transport: asyncio reads the socket, websockets' sans-I/O protocol cuts the frames.

websockets' own asyncio connection hands messages over through a queue and a second task; here the clock is read
in ``data_received`` and the answer's future is resolved in the same turn of the loop.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from ouro.chain.errors import TransportError
from ouro.chain.redact import endpoint_label, scrub, url_secrets
from ouro.chain.stream import StreamTransport

# websockets logs request paths and headers at debug level: API keys live there.
_SILENT = logging.getLogger("ouro.chain.websocket.frames")
_SILENT.setLevel(logging.CRITICAL)
_SILENT.propagate = False

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class WebSocketTransport(StreamTransport, asyncio.Protocol):
    """One connection. Made by ``connect_websocket``."""

    def __init__(
        self, url: str, timeout_ms: int, batch_size: int, max_message_bytes: int, keepalive_ms: int
    ) -> None:
        super().__init__(endpoint_label(url), url_secrets(url), timeout_ms, batch_size)
        try:
            self.uri = parse_uri(url)
        except (InvalidURI, ValueError):
            raise ValueError(f"endpoint {self.label} is not a WebSocket URL") from None
        self._frames = ClientProtocol(self.uri, max_size=max_message_bytes, logger=_SILENT)
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._parts: list[bytes | bytearray | memoryview] = []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keepalive_s = keepalive_ms / 1000
        self._heard_ns = time.monotonic_ns()
        self._keepalive: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")
        self._acknowledge_at_once()
        self._frames.send_request(self._frames.connect())
        self._flush()

    def _acknowledge_at_once(self) -> None:
        """Nodes that leave Nagle's algorithm on hold a second small push back until the first is acknowledged.

        Linux delays acknowledgements by 40 ms and forgets the option after a while, so it is set after each read.
        """
        if self._socket is not None and _QUICKACK is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def data_received(self, data: bytes) -> None:
        received_ns = time.monotonic_ns()
        self._acknowledge_at_once()
        self._heard_ns = received_ns
        frames = self._frames
        frames.receive_data(data)
        for event in frames.events_received():
            if isinstance(event, Frame):
                self._frame(received_ns, event)
            elif isinstance(event, Response):
                self._handshake_done(event)
        self._flush()
        if frames.close_expected():
            self._lost(self._close_reason())

    def eof_received(self) -> None:
        self._frames.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
        self._lost(type(exc).__name__ if exc else self._close_reason())

    def _close_reason(self) -> str:
        close = self._frames.close_sent or self._frames.close_rcvd
        if close is None:
            return "closed by the node"
        return f"WebSocket close {close.code} {close.reason}".strip()

    def _handshake_done(self, response: Response) -> None:
        if self._frames.state is State.OPEN:
            if not self.opened.done():
                self.opened.set_result(None)
            self._watch()
            return
        reason = f"WebSocket handshake refused with HTTP {response.status_code} {response.reason_phrase}"
        self._fail(TransportError(f"{self.label}: {scrub(reason, self._secrets)}"))

    def _frame(self, received_ns: int, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if frame.fin:
                self._received(received_ns, frame.data)
            else:
                self._parts = [frame.data]
        elif frame.opcode is Opcode.CONT:
            self._parts.append(frame.data)
            if frame.fin:
                parts, self._parts = self._parts, []
                self._received(received_ns, b"".join(parts))

    def _write(self, payload: bytes) -> None:
        # Between the node's end of stream and the loop's word that the connection is lost, nothing can be sent.
        if self._frames.state is not State.OPEN:
            raise TransportError(f"{self.label}: connection lost ({self._close_reason()})")
        self._frames.send_text(payload)
        self._flush()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._frames.data_to_send():
            if data:
                self._transport.write(data)

    def _watch(self) -> None:
        """A half-open TCP connection stays silent for minutes: ping when idle, give up when unanswered."""
        self._keepalive = asyncio.get_running_loop().call_later(self._keepalive_s, self._ping)

    def _ping(self) -> None:
        if self.closed:
            return
        idle_s = (time.monotonic_ns() - self._heard_ns) / 1e9
        if idle_s > 2.5 * self._keepalive_s:
            self._lost(f"nothing heard for {idle_s:.0f} s, pings unanswered")
            return
        if idle_s > 0.5 * self._keepalive_s:
            self._frames.send_ping(b"ouro")
            self._flush()
        self._watch()

    def _abort(self) -> None:
        if not self.opened.done():
            self.opened.set_exception(self._closed.result())
        if self._transport is not None:
            if self._frames.state is State.OPEN:
                self._frames.send_close(1000)
                self._flush()
            self._transport.close()


async def connect_websocket(
    url: str, timeout_ms: int, batch_size: int, max_message_bytes: int, keepalive_ms: int = 15_000
) -> WebSocketTransport:
    """Open a WebSocket; raises ``TransportError`` naming the endpoint."""
    transport = WebSocketTransport(url, timeout_ms, batch_size, max_message_bytes, keepalive_ms)
    uri = transport.uri
    context = ssl.create_default_context() if uri.secure else None
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await asyncio.get_running_loop().create_connection(
                lambda: transport, uri.host, uri.port, ssl=context, server_hostname=uri.host if context else None
            )
            await transport.opened
    except TimeoutError:
        await _discard(transport)
        raise TransportError(f"{transport.label}: no connection within {timeout_ms} ms") from None
    except OSError as error:
        await _discard(transport)
        text = scrub(error.strerror or str(error), url_secrets(url))
        raise TransportError(f"{transport.label}: can't connect ({text}); is the node running?") from None
    except BaseException:
        await _discard(transport)
        raise
    return transport


async def _discard(transport: WebSocketTransport) -> None:
    await transport.close()
    if transport.opened.done() and not transport.opened.cancelled():
        transport.opened.exception()  # retrieved, so that asyncio does not report it as lost
