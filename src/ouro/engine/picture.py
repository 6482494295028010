"""What a running engine leaves in files for people's pages: a small picture of each chain, once a second.

``data_dir/status/<chain>.json`` holds how the chain is now, ``data_dir/status/<chain>.pools.json`` the pools and
the names of the tokens, written again when their number changes. Whole files replace whole files, nothing reads
them back, and a full disk costs the picture, never the loop.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from ouro.engine.status import ChainStatus

log = structlog.get_logger(__name__)

EVERY_S = 1.0
SHOWN_POOLS = 400
FOLDER = "status"


class PictureWriter:
    """Writes one chain's files until it is cancelled. ``market`` gives its market, None before it is loaded."""

    def __init__(self, folder: Path, status: ChainStatus, mode: str, market: Callable[[], Any | None]) -> None:
        self._folder, self._status, self._mode, self._market = folder, status, mode, market
        self._pools_written = 0
        self._told = False

    async def run(self) -> None:
        """Once a second; ends by cancellation, with a last picture that says so."""
        try:
            while True:
                await self._write("running")
                await asyncio.sleep(EVERY_S)
        finally:
            self._write_files(self._picture("ended"), None)

    async def _write(self, process: str) -> None:
        picture = self._picture(process)
        market = self._market()
        wanted = market if market is not None and market.arrays.n_pools != self._pools_written else None
        # The write is on another thread; the picture itself is a few dozen values.
        await asyncio.to_thread(self._write_files, picture, wanted)

    def _write_files(self, picture: dict[str, Any], market: Any | None) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _replace(self._folder / f"{self._status.chain}.json", picture)
            if market is not None:
                count = market.arrays.n_pools
                _replace(self._folder / f"{self._status.chain}.pools.json", pools_picture(market))
                self._pools_written = count
        except (OSError, RuntimeError) as error:  # RuntimeError: pools were born while they were listed
            if not self._told:
                log.warning("no_picture", chain=self._status.chain, error=str(error))
                self._told = True

    def _picture(self, process: str) -> dict[str, Any]:
        status = self._status
        age_ms = None
        if status.last_block_ns is not None:
            age_ms = (time.monotonic_ns() - status.last_block_ns) // 1_000_000
        return {
            "chain": status.chain,
            "process": process,
            "pid": os.getpid(),
            "mode": self._mode,
            "at_ms": time.time_ns() // 1_000_000,
            "state": status.state,
            "detail": status.detail,
            "freshness": status.freshness,
            "block_number": status.block_number,
            "block_age_ms": age_ms,
            "pools": status.pools,
            "cycles": status.cycles,
            "blocks": status.blocks,
            "superseded": status.superseded,
            "opportunities": status.opportunities,
            "open_attempts": status.open_attempts,
            "best": status.best,
            "best_pools": list(status.best_pools),
        }


def pools_picture(market: Any, limit: int = SHOWN_POOLS) -> dict[str, Any]:
    """Up to ``limit`` pools, those between much traded tokens first, and what their tokens are called."""
    states = list(market.states.items())
    degree: dict[str, int] = {}
    for _, state in states:
        for token in state.tokens:
            degree[token] = degree.get(token, 0) + 1
    if len(states) > limit:
        states.sort(key=lambda item: -min(degree[token] for token in item[1].tokens))
        states = states[:limit]
    rows = [
        {
            "pool": pool,
            "family": state.family,
            "tokens": list(state.tokens),
            "fee_ppm": getattr(state, "fee_ppm", None),
        }
        for pool, state in states
    ]
    named = {token for row in rows for token in row["tokens"]}
    tokens = {
        token: {"symbol": market.tokens[token].symbol, "decimals": market.tokens[token].decimals}
        for token in sorted(named)
        if token in market.tokens
    }
    return {"pools": rows, "tokens": tokens, "of": market.arrays.n_pools}


def _replace(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, separators=(",", ":")))
    temporary.replace(path)
