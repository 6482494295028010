"""IPC transport: a unix socket that carries JSON values one after another, with or without line ends."""

import asyncio
import re
import time
from typing import Any, cast

import orjson

from ouro.chain.errors import MalformedAnswer, TransportError
from ouro.chain.stream import StreamTransport

# Up to the next bracket or the quote of a string that is cut; and up to the end of a string, or its cut.
_BETWEEN = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_BLANKS = b" \t\r\n"


class JsonFramer:
    """Cuts a byte stream into complete top-level JSON objects or arrays.

    ``feed`` returns their bytes. Raises ``ValueError`` on bytes that can't start a value and beyond ``limit``.
    """

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    @property
    def idle(self) -> bool:
        """True when no partial value is held."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """Add ``data``; return the values that are complete now."""
        self._buffer += data
        values: list[bytes] = []
        while (end := self._next_end()) is not None:
            values.append(bytes(self._buffer[:end]))
            del self._buffer[:end]
            self._scanned = 0
        if len(self._buffer) > self._limit:
            raise ValueError(f"message of more than {self._limit} bytes")
        return values

    def _next_end(self) -> int | None:
        """Where the first value ends. Goes over every byte once, however the value arrives in pieces."""
        buffer = self._buffer
        if self._depth == 0:
            self._check_start()
        position = self._scanned
        while True:
            if self._in_string:
                position = _match_end(_IN_STRING, buffer, position)
                if position >= len(buffer) or buffer[position] == _BACKSLASH:
                    break
                position += 1
                self._in_string = False
            position = _match_end(_BETWEEN, buffer, position)
            if position >= len(buffer):
                break
            byte = buffer[position]
            position += 1
            if byte == _QUOTE:
                self._in_string = True
            elif byte in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return position
        self._scanned = position
        return None

    def _check_start(self) -> None:
        blanks = len(self._buffer) - len(self._buffer.lstrip(_BLANKS))
        del self._buffer[:blanks]
        if self._buffer and self._buffer[0] not in b"{[":
            raise ValueError("bytes that are not a JSON object")


def _match_end(pattern: re.Pattern[bytes], buffer: bytearray, position: int) -> int:
    match = pattern.match(buffer, position)
    return position if match is None else match.end()


class IpcTransport(StreamTransport, asyncio.Protocol):
    """One unix-socket connection. Made by ``connect_ipc``."""

    def __init__(self, path: str, timeout_ms: int, batch_size: int, max_message_bytes: int) -> None:
        super().__init__(path, (), timeout_ms, batch_size)
        self._framer = JsonFramer(max_message_bytes)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received_ns = time.monotonic_ns()
        if self._framer.idle and (message := _whole_message(data)) is not None:
            self._route(received_ns, message)
            return
        try:
            values = self._framer.feed(data)
        except ValueError as error:
            self._fail(MalformedAnswer(f"{self.label}: {error}"))
            return
        for value in values:
            self._received(received_ns, value)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(type(exc).__name__ if exc else "closed by the node")

    def _write(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(payload + b"\n")

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _whole_message(data: bytes) -> Any:
    """The usual case is one read = one message; then the scanner's pass over it is saved."""
    end = data.rstrip(_BLANKS)
    if len(data) > 1 << 16 or not end.endswith((b"}", b"]")):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


async def connect_ipc(path: str, timeout_ms: int, batch_size: int, max_message_bytes: int) -> IpcTransport:
    """Open a unix socket; raises ``TransportError`` naming the path."""
    transport = IpcTransport(path, timeout_ms, batch_size, max_message_bytes)
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await asyncio.get_running_loop().create_unix_connection(lambda: transport, path)
    except TimeoutError:
        await transport.close()
        raise TransportError(f"{path}: no connection within {timeout_ms} ms") from None
    except OSError as error:
        await transport.close()
        raise TransportError(f"{path}: can't connect ({error.strerror or error}); is the node running?") from None
    return transport
