"""Keeping a running market whole: pools that were born or fell ill meanwhile, and its copy on disk."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig
from ouro.market.errors import SyncError
from ouro.market.market import Market
from ouro.market.reader import pin, still_canonical
from ouro.market.snapshot import capture, snapshot_path, write_snapshot
from ouro.market.sync import describe, read_states
from ouro.protocols.creation import NewPool
from ouro.types import PoolId


async def join_pools(
    market: Market, config: ChainConfig, reader: Caller, pools: Sequence[NewPool]
) -> npt.NDArray[np.int32]:
    """Read pools at the market's head and add them; blocks that arrive meanwhile are replayed for them.

    For ``ApplyResult.new_pools``. Returns the ids of the pools that joined; the others are in ``market.rejected``.
    Raises ``SyncError`` where the node can't be read at that block, ``MarketError`` where the block has left the
    ring meanwhile: try again in both cases.
    """
    if not pools:
        return np.zeros(0, np.int32)
    head = market.head
    if head is None:
        raise SyncError(f"{market.chain}: the market has not started")
    block = await pin(reader, head.number, config.multicall)
    if block.hash != head.hash:
        raise SyncError(f"{market.chain}: the node has another block {head.number} than the market")
    found = await read_states(reader, config.multicall, pools, block, market.families, known_tokens=market.tokens)
    if not await still_canonical(reader, block.number, block.hash):
        raise SyncError(f"{market.chain}: block {block.number} was reorganised away while it was read")
    touched = market.install(found.states.values(), block.number, block.hash)
    market.announced.update((pool.address, pool) for pool in pools)
    market.tokens.update(found.tokens)
    market.rejected.update(found.rejected)
    return touched


async def repair_pools(
    market: Market, config: ChainConfig, reader: Caller, pools: Iterable[PoolId] | None = None
) -> npt.NDArray[np.int32]:
    """Read pools anew and end their quarantine; all whose quarantine may end unless ``pools`` says which."""
    curable = (pool for pool, held in market.quarantine.items() if not held.final)
    chosen = list(curable if pools is None else pools)
    return await join_pools(market, config, reader, [describe(market, pool) for pool in chosen])


async def save_market(chain_name: str, config: ChainConfig, market: Market, data_dir: Path) -> bool:
    """Write the finalised state to disk without holding up the loop; False while nothing that we hold is final."""
    snapshot = capture(market, config)
    if snapshot is None:
        return False
    path = snapshot_path(data_dir, chain_name)
    await asyncio.to_thread(write_snapshot, path, chain_name, config, snapshot, market.families)
    return True
