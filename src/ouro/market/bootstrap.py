"""From nothing, or from a snapshot, to a market that is exact at one block: discovery, state, catching up."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig
from ouro.market.codeguard import check_codes
from ouro.market.codes import codes_path
from ouro.market.discovery import Discovered, discover, silent
from ouro.market.errors import SnapshotError, SyncError
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.market.multicall import require_multicall
from ouro.market.reader import PinnedBlock, pin, read_timestamps, scan_logs, still_canonical
from ouro.market.snapshot import Snapshot, load_snapshot, snapshot_path
from ouro.market.sync import Synced, differing, read_states
from ouro.market.tokens import TokenInfo
from ouro.market.venues import pool_of
from ouro.protocols.base import Family, home_of
from ouro.protocols.creation import NewPool
from ouro.protocols.registry import FAMILIES
from ouro.types import Address, BlockUpdate, Hash, Log, PoolId

MAX_CATCH_UP_BLOCKS = 50_000
"""A snapshot that is further behind costs more to catch up by logs than to read anew."""

_ADDRESSES_IN_QUERY = 500
_SAMPLE = 32
_TRIES = 3

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Resumed:
    """States that logs have led from the snapshot to the pinned block."""

    states: dict[PoolId, Any] = field(default_factory=dict)
    tokens: dict[Address, TokenInfo] = field(default_factory=dict)


async def load_market(
    chain_name: str,
    chain_config: ChainConfig,
    reader: Caller,
    data_dir: Path | None,
    progress: Progress | None = None,
    *,
    families: Mapping[str, Family] = FAMILIES,
    base_fee_after: Callable[[BlockUpdate], int] | None = None,
) -> tuple[Market, int, Hash]:
    """A started market, and the number and hash of its block: let the feed start after it.

    The block lies ``finality_depth`` below the head, so that an ordinary reorg doesn't cut the ground from under
    the market; higher only when a pool was created since. ``data_dir`` None keeps nothing on disk. Raises
    ``SyncError`` when the node can't be read; single pools that can't are in ``market.rejected``.
    """
    report = progress or silent
    named = {dex.family for dex in chain_config.dexes}
    families = {name: family for name, family in families.items() if name in named}
    for _ in range(_TRIES):
        found = await discover(chain_name, chain_config, reader, data_dir, report)
        block = await _target(chain_config, reader, found)
        loaded = await _load(chain_name, chain_config, reader, data_dir, report, families, found, block)
        if await still_canonical(reader, block.number, block.hash):
            market = _market(chain_name, chain_config, families, base_fee_after)
            market.tokens.update(loaded.tokens)
            market.announced.update(found.pools)
            market.start(
                Head(block.number, block.hash, block.timestamp, block.base_fee_wei), loaded.states.values()
            )
            market.rejected.update(found.refused | loaded.rejected)
            if data_dir is not None:
                await check_codes(market, chain_config, reader, codes_path(data_dir, chain_name), block, report)
            return market, block.number, block.hash
        report(f"{chain_name}: block {block.number} was reorganised away while it was read; again")
    raise SyncError(
        f"{chain_name}: {_TRIES} times the block that was being read left the chain; is the node in sync?"
    )


def _market(
    chain_name: str,
    config: ChainConfig,
    families: Mapping[str, Family],
    base_fee_after: Callable[[BlockUpdate], int] | None,
) -> Market:
    return Market(
        chain_name,
        families,
        ring_depth=config.reorg_ring_depth,
        block_time_ms=config.block_time_ms,
        factories={dex.factory: dex for dex in config.dexes},
        base_fee_after=base_fee_after,
        wrapped_native=config.wrapped_native,
    )


async def _target(config: ChainConfig, reader: Caller, found: Discovered) -> PinnedBlock:
    newest_pool = max((pool.created_block for pool in found.pools.values()), default=0)
    number = max(found.head - config.finality_depth, newest_pool, 0)
    block = await pin(reader, number, config.multicall)
    await require_multicall(reader, config.multicall, block)
    return block


async def _load(
    chain_name: str,
    config: ChainConfig,
    reader: Caller,
    data_dir: Path | None,
    report: Progress,
    families: Mapping[str, Family],
    found: Discovered,
    block: PinnedBlock,
) -> Synced:
    resumed = _Resumed()
    if data_dir is not None:
        try:
            resumed = await _resume(chain_name, config, reader, data_dir, families, found, block)
            report(f"{chain_name}: {len(resumed.states)} pools resumed from the snapshot")
        except FileNotFoundError:
            pass
        except (SnapshotError, OSError) as error:
            report(f"{chain_name}: the state is read anew: {error}")
    missing = [pool for address, pool in found.pools.items() if address not in resumed.states]
    synced = await read_states(
        reader,
        config.multicall,
        missing,
        block,
        families,
        known_tokens=resumed.tokens,
        progress=lambda text: report(f"{chain_name}: {text}"),
    )
    states = resumed.states | synced.states
    # the order of discovery gives the same dense ids with and without a snapshot
    ordered = {address: states[address] for address in found.pools if address in states}
    return Synced(ordered, synced.rejected, synced.tokens)


async def _resume(
    chain_name: str,
    config: ChainConfig,
    reader: Caller,
    data_dir: Path,
    families: Mapping[str, Family],
    found: Discovered,
    block: PinnedBlock,
) -> _Resumed:
    """States of the snapshot, led to ``block``. Raises ``SnapshotError`` where it can't or must not be used."""
    path = snapshot_path(data_dir, chain_name)
    snapshot = await asyncio.to_thread(load_snapshot, path, chain_name, config, families)
    head = snapshot.head
    if not 0 <= block.number - head.number <= MAX_CATCH_UP_BLOCKS:
        raise SnapshotError(f"{path}: its block {head.number} is too far from block {block.number}")
    if not await still_canonical(reader, head.number, head.hash):
        raise SnapshotError(f"{path}: its block {head.number} {head.hash} is not part of the chain (any more)")
    known = {address: state for address, state in snapshot.states.items() if address in found.pools}
    states = await _catch_up(config, reader, families, Snapshot(head, known, snapshot.tokens), block)
    await _check_sample(config, reader, families, states, found.pools, block, path)
    return _Resumed(states, dict(snapshot.tokens))


async def _catch_up(
    config: ChainConfig, reader: Caller, families: Mapping[str, Family], snapshot: Snapshot, block: PinnedBlock
) -> dict[PoolId, Any]:
    """Apply every log since the snapshot. A pool whose log can't be applied is dropped, to be read anew."""
    states = dict(snapshot.states)
    topics = sorted({topic for family in families.values() for topic in family.topics})
    homes = {home_of(state) for state in states.values()}
    managers = {home_of(s): families[s.family] for s in states.values() if families[s.family].managed}
    async for chunk in scan_logs(
        reader,
        snapshot.head.number + 1,
        block.number,
        topics=[topics],
        addresses=sorted(homes) if len(homes) <= _ADDRESSES_IN_QUERY else (),
        max_range=config.log_range_blocks,
    ):
        logs = [log for log in chunk.logs if pool_of(log, managers) in states]
        wanted = {log.block_number for log in logs} - chunk.timestamps.keys()
        timestamps = chunk.timestamps | await read_timestamps(reader, wanted)
        by_pool: dict[PoolId, list[Log]] = defaultdict(list)
        for log in logs:
            by_pool[pool_of(log, managers)].append(log)
        for pool, pool_logs in by_pool.items():
            state = _led(states[pool], pool_logs, families, timestamps)
            if state is None:
                del states[pool]
            else:
                states[pool] = state
    return states


def _led(state: Any, logs: list[Log], families: Mapping[str, Family], timestamps: Mapping[int, int]) -> Any | None:
    family = families[state.family]
    try:
        for log in logs:
            if log.topics and log.topics[0] in family.topics:
                delta = family.decode(state, log, timestamps[log.block_number])
                state = state if delta is None else family.apply(state, delta)
    except Exception:  # whatever a log provokes costs its own pool only, and that one is read anew
        return None
    return state


async def _check_sample(
    config: ChainConfig,
    reader: Caller,
    families: Mapping[str, Family],
    states: Mapping[PoolId, Any],
    pools: Mapping[PoolId, NewPool],
    block: PinnedBlock,
    path: Path,
) -> None:
    """Read some of the pools by calls as well: a snapshot that led astray is caught before it is traded on."""
    # nobody has to be surprised by the choice; a fixed seed keeps two starts comparable
    chosen = random.Random(block.number).sample(sorted(states), min(_SAMPLE, len(states)))  # noqa: S311
    found = await read_states(reader, config.multicall, [pools[a] for a in chosen], block, families)
    for address in chosen:
        ours, theirs = states[address], found.states.get(address)
        # what no log tells is read at the first block that is decided on
        if theirs is None or differing(families[ours.family], ours, theirs, confirmed=False):
            raise SnapshotError(
                f"{path}: pool {address} led from it to block {block.number} differs from the chain"
            )
