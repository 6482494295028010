"""Heads from a node that can't push: the latest block, asked for at a fixed pace."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from ouro.chain.endpoint import Endpoint


class HeadPoller(AsyncIterator[tuple[int, Any]]):
    """Yields ``(received_ns, header)`` whenever the latest block is another one than before."""

    def __init__(self, endpoint: Endpoint, poll_ms: int) -> None:
        self._endpoint = endpoint
        self._poll_s = poll_ms / 1000
        self._last: Any = None
        self._due_s = 0.0

    def pending(self) -> int:
        """Nothing waits: what isn't asked for isn't there."""
        return 0

    async def __anext__(self) -> tuple[int, Any]:
        while True:
            pause_s = self._due_s - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self._due_s = time.monotonic() + self._poll_s
            received_ns, header = await self._endpoint.call_timed("eth_getBlockByNumber", ["latest", False])
            block_hash = header.get("hash") if isinstance(header, dict) else header
            if block_hash != self._last:
                self._last = block_hash
                return received_ns, header

    async def close(self) -> None:
        """Nothing to end."""
