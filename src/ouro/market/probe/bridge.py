"""The chain at one block, served to the trial over loopback: it knows no endpoint, no key, no other block.

Only the reads that an EVM makes lazily are answered, all at the pinned block, at most ``max_reads`` of them; the
path is a secret of this run, so that no other local process can use the node through it.
"""

import asyncio
import contextlib
import secrets
from typing import Any

import orjson

from ouro.chain.errors import RpcError, TransportError
from ouro.chain.rpc import Caller

_METHODS = {"eth_getCode": 1, "eth_getBalance": 1, "eth_getTransactionCount": 1, "eth_getStorageAt": 2}
_READ_TIMEOUT_MS = 10_000
_MAX_BODY_BYTES = 64 * 1024
_HEADER_TIMEOUT_S = 60.0


class ReadBridge:
    """``async with`` gives the server; ``url`` is what the trial's EVM reads from."""

    def __init__(self, reader: Caller, tag: Any, chain_id: int, number: int, max_reads: int) -> None:
        self._reader, self._tag = reader, tag
        self._fixed = {"eth_chainId": hex(chain_id), "net_version": str(chain_id), "eth_blockNumber": hex(number)}
        self._max_reads = max_reads
        self._path = "/" + secrets.token_urlsafe(24)
        self._tasks: set[asyncio.Task[None]] = set()
        self.reads = 0
        self.fault = ""

    async def __aenter__(self) -> "ReadBridge":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_BODY_BYTES)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the trial ended, or somebody else came by
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(_HEADER_TIMEOUT_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        size = int(fields.get("content-length", "0"))
        if not 0 < size <= _MAX_BODY_BYTES or not head[0].startswith(f"POST {self._path} "):
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return False
        body = orjson.dumps(await self._answer(orjson.loads(await reader.readexactly(size))))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        return True

    async def _answer(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict):
            raise ValueError("one request at a time")
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        method, params = str(request.get("method")), request.get("params") or []
        if method in self._fixed:
            return {**reply, "result": self._fixed[method]}
        try:
            return {**reply, "result": await self._read(method, params)}
        except (RpcError, TransportError, ValueError) as error:
            self.fault = self.fault or f"{method}: {error}"[:200]
            return {**reply, "error": {"code": -32000, "message": "the node did not answer"}}

    async def _read(self, method: str, params: list[Any]) -> Any:
        count = _METHODS.get(method)
        if count is None:
            raise ValueError("not a read that a trial makes")
        self.reads += 1
        if self.reads > self._max_reads:
            raise ValueError(f"more than {self._max_reads} reads")
        asked = [_word(value) if k else value for k, value in enumerate(params[:count])]
        return await self._reader.call(method, [*asked, self._tag], _READ_TIMEOUT_MS)


def _word(slot: Any) -> str:
    """A slot in the one form that all nodes take."""
    return f"0x{int(slot, 16):064x}"
