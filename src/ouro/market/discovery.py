"""Finding every pool of the configured factories from their creation events; resumable, with the cursor on disk.

Only blocks that are final are remembered; the newest ones are scanned again at each start. The file is an
accelerator: when it is missing, damaged, or its last block is not canonical any more, the scan starts over.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig, DexConfig
from ouro.market.creation import creation_topics, parse_creation
from ouro.market.errors import SnapshotError
from ouro.market.reader import read_block, scan_logs, still_canonical
from ouro.market.sealed import read_sealed, write_sealed
from ouro.protocols.base import DecodeError
from ouro.protocols.creation import NewPool
from ouro.types import PoolId

KIND = "ouro-discovery"
VERSION = 3
_SAVE_EVERY_S = 10.0
_ADDRESSES_PER_QUERY = 50

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """A progress report that nobody reads."""


@dataclass(slots=True)
class Discovered:
    """Pools in order of creation, and creation events that were refused, each with its reason."""

    pools: dict[PoolId, NewPool] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    head: int = 0

    def add(self, pool: NewPool) -> None:
        """Keep the first announcement of an address; another one that contradicts it is refused."""
        known = self.pools.setdefault(pool.address, pool)
        if known.dex != pool.dex:
            self.refused[f"{pool.dex}:{pool.address}"] = f"already announced by the factory of {known.dex}"


def _fingerprint(dex: DexConfig) -> str:
    return f"{dex.name}|{dex.family}|{dex.factory}|{dex.fee_ppm}|{dex.start_block}"


def discovery_path(data_dir: Path, chain_name: str) -> Path:
    """Where the cursor of a chain is kept."""
    return data_dir / "market" / f"{chain_name}.discovery.gz"


async def discover(
    chain_name: str,
    config: ChainConfig,
    reader: Caller,
    data_dir: Path | None = None,
    progress: Progress = silent,
) -> Discovered:
    """Every pool that the configured factories announced up to the head, resuming from ``data_dir``.

    Raises ``SyncError`` when the node can't be read.
    """
    head = await read_block(reader, "latest")
    final = max(0, head.number - config.finality_depth)
    path = discovery_path(data_dir, chain_name) if data_dir is not None else None
    found, next_blocks = await _resume(path, config, reader, progress)
    last_save = time.monotonic()
    for dexes, first in _groups(config.dexes, next_blocks):
        async for chunk in scan_logs(
            reader,
            first,
            head.number,
            topics=[sorted({topic for dex in dexes for topic in creation_topics(dex.family)})],
            addresses=[dex.factory for dex in dexes],
            max_range=config.log_range_blocks,
        ):
            by_factory = {dex.factory: dex for dex in dexes}
            for log in chunk.logs:
                _take(found, log, by_factory.get(log.address))
            for dex in dexes:
                next_blocks[dex.name] = chunk.last + 1
            if path is not None and time.monotonic() - last_save > _SAVE_EVERY_S:
                await _save(path, config, reader, found, next_blocks, final)
                last_save = time.monotonic()
            progress(
                f"{chain_name}: factories read to block {chunk.last} of {head.number}, {len(found.pools)} pools"
            )
    found.head = head.number
    if path is not None:
        await _save(path, config, reader, found, next_blocks, final)
    return found


def _groups(dexes: Sequence[DexConfig], next_blocks: dict[str, int]) -> list[tuple[list[DexConfig], int]]:
    """Factories that are read from the same block on share their queries."""
    groups: dict[int, list[DexConfig]] = {}
    for dex in dexes:
        groups.setdefault(next_blocks.get(dex.name, dex.start_block), []).append(dex)
    return [
        (members[k : k + _ADDRESSES_PER_QUERY], first)
        for first, members in sorted(groups.items())
        for k in range(0, len(members), _ADDRESSES_PER_QUERY)
    ]


def _take(found: Discovered, log: Any, dex: DexConfig | None) -> None:
    if dex is None or not log.topics or log.topics[0] not in creation_topics(dex.family):
        return
    try:
        pool = parse_creation(log, dex)
    except DecodeError as error:
        found.refused[f"{dex.name}:{log.tx_hash}:{log.log_index}"] = str(error)
        return
    if pool is not None:
        found.add(pool)


async def _save(
    path: Path,
    config: ChainConfig,
    reader: Caller,
    found: Discovered,
    next_blocks: dict[str, int],
    final: int,
) -> None:
    cursors = {
        _fingerprint(dex): min(next_blocks.get(dex.name, dex.start_block), final + 1) for dex in config.dexes
    }
    anchor = max(0, min(final, max(cursors.values()) - 1))
    anchor_block = await read_block(reader, anchor)
    header = {
        "chain_id": config.chain_id,
        "cursors": cursors,
        "anchor": [anchor_block.number, anchor_block.hash],
        "refused": dict(found.refused),
    }
    records = [asdict(pool) for pool in found.pools.values() if pool.created_block <= final]
    await asyncio.to_thread(write_sealed, path, KIND, VERSION, header, records)


async def _resume(
    path: Path | None, config: ChainConfig, reader: Caller, progress: Progress
) -> tuple[Discovered, dict[str, int]]:
    if path is None:
        return Discovered(), {}
    try:
        return await _load(path, config, reader)
    except FileNotFoundError:
        return Discovered(), {}
    except (SnapshotError, OSError) as error:
        progress(f"factories are read from the start: {error}")
        return Discovered(), {}


async def _load(path: Path, config: ChainConfig, reader: Caller) -> tuple[Discovered, dict[str, int]]:
    header, records = await asyncio.to_thread(read_sealed, path, KIND, VERSION)
    if header.get("chain_id") != config.chain_id:
        raise SnapshotError(f"{path}: of chain id {header.get('chain_id')}, {config.chain_id} is configured")
    try:
        number, block_hash = header["anchor"]
        cursors: dict[str, int] = {str(key): int(value) for key, value in header["cursors"].items()}
        pools = [NewPool(**{**record, "tokens": tuple(record["tokens"])}) for record in records]
        refused = {str(key): str(value) for key, value in header["refused"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(f"{path}: malformed content: {type(error).__name__}: {error}") from error
    if not await still_canonical(reader, number, block_hash):
        raise SnapshotError(f"{path}: its block {number} {block_hash} is not part of the chain any more")
    known = {dex.name: cursors[_fingerprint(dex)] for dex in config.dexes if _fingerprint(dex) in cursors}
    found = Discovered(refused={key: why for key, why in refused.items() if key.split(":")[0] in known})
    for pool in pools:
        if pool.dex in known:
            found.add(pool)
    return found, known
