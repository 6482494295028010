"""Finding every pool of the configured factories, by their creation events, by their getters, or by both;
resumable, with the cursors on disk.

Getters are read at the newest final block; what is created after it is announced by events.

Only blocks that are final are remembered; the newest ones are scanned again at each start. The file is an
accelerator: when it is missing, damaged, or its last block is not canonical any more, the scan starts over.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig, DexConfig
from ouro.market.creation import creation_topics, parse_creation
from ouro.market.errors import SnapshotError, SyncError
from ouro.market.listing import is_asked, listing_for, pages
from ouro.market.multicall import require_multicall
from ouro.market.reader import pin, read_block, scan_logs, still_canonical
from ouro.market.sealed import read_sealed, write_sealed
from ouro.protocols.base import DecodeError
from ouro.protocols.creation import NewPool
from ouro.protocols.listings import Listing
from ouro.types import PoolId

KIND = "ouro-discovery"
VERSION = 3
_SAVE_EVERY_S = 10.0
_ADDRESSES_PER_QUERY = 50
_MOST_REFUSALS = 1_000

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """A progress report that nobody reads."""


@dataclass(slots=True)
class Discovered:
    """Pools in order of creation, and creation events that were refused, each with its reason."""

    pools: dict[PoolId, NewPool] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    head: int = 0
    more_refused: int = 0

    def add(self, pool: NewPool) -> None:
        """Keep the first announcement of an address; another one that contradicts it is refused."""
        known = self.pools.setdefault(pool.address, pool)
        if known.dex != pool.dex:
            self.refuse(pool.dex, pool.address, f"already announced by the factory of {known.dex}")
        elif replace(known, created_block=0) != replace(pool, created_block=0):
            self.refuse(pool.dex, pool.address, "announced a second time, and otherwise")

    def refuse(self, dex: str, key: str, reason: str) -> None:
        """Keep a reason; a factory can give any number of them, so that the many are only counted."""
        if len(self.refused) < _MOST_REFUSALS:
            self.refused[f"{dex}:{key}"] = reason
        else:
            self.more_refused += 1


def _fingerprint(dex: DexConfig) -> str:
    by = "|getters" if dex.discovery == "getters" else ""
    return f"{dex.name}|{dex.family}|{dex.factory}|{dex.fee_ppm}|{dex.start_block}{by}"


@dataclass(slots=True)
class _Cursors:
    """Where to go on: the next block of each dex's events, and the next item of its getters by their identity."""

    blocks: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)


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
    """Every pool of the configured factories up to the head, resuming from ``data_dir``.

    Raises ``SyncError`` when the node can't be read, or when a factory can't be asked as it is configured.
    """
    head = await read_block(reader, "latest")
    final = max(0, head.number - config.finality_depth)
    path = discovery_path(data_dir, chain_name) if data_dir is not None else None
    found, cursors = await _resume(path, config, reader, progress)
    search = _Search(chain_name, config, reader, path, progress, found, cursors, head.number, final)
    await search.events([dex for dex in config.dexes if dex.discovery == "events"])
    await search.events_if_kept([dex for dex in config.dexes if dex.discovery == "both"])
    await search.getters([dex for dex in config.dexes if is_asked(dex)])
    await search.events([dex for dex in config.dexes if dex.discovery == "getters"])
    found.head = head.number
    await search.save()
    return found


@dataclass(slots=True)
class _Search:
    """One run over all factories up to ``head``."""

    chain_name: str
    config: ChainConfig
    reader: Caller
    path: Path | None
    progress: Progress
    found: Discovered
    cursors: _Cursors
    head: int
    final: int
    last_save: float = field(default_factory=time.monotonic)

    async def events(self, dexes: Sequence[DexConfig]) -> None:
        """Creation events of ``dexes`` from where each stands."""
        for members, first in _groups(dexes, self.cursors.blocks):
            await self._scan(members, first, keep=True)

    async def events_if_kept(self, dexes: Sequence[DexConfig]) -> None:
        """As ``events``; where the node does not have the old ones, those since the newest final block must do."""
        for members, first in _groups(dexes, self.cursors.blocks):
            try:
                await self._scan(members, first, keep=True)
            except SyncError as error:
                names = ", ".join(dex.name for dex in members)
                self.progress(f"{self.chain_name}: old events of {names} can't be had ({error}): getters are asked")
                await self._scan(members, self.final + 1, keep=False)

    async def _scan(self, dexes: list[DexConfig], first: int, *, keep: bool) -> None:
        dexes = [dex for dex in dexes if creation_topics(dex.family)]
        if not dexes:
            return
        by_factory = {dex.factory: dex for dex in dexes}
        async for chunk in scan_logs(
            self.reader,
            first,
            self.head,
            topics=[sorted({topic for dex in dexes for topic in creation_topics(dex.family)})],
            addresses=[dex.factory for dex in dexes],
            max_range=self.config.log_range_blocks,
        ):
            for log in chunk.logs:
                _take(self.found, log, by_factory.get(log.address))
            if keep:
                self.cursors.blocks.update((dex.name, chunk.last + 1) for dex in dexes)
            await self._save_sometimes()
            self._report(f"factories read to block {chunk.last} of {self.head}")

    async def getters(self, dexes: Sequence[DexConfig]) -> None:
        """Ask each factory for its pools. What is wrong with one is told in ``found.refused``."""
        if not dexes:
            return
        asked = [(dex, listing_for(dex, self.config)) for dex in dexes]
        block = await pin(self.reader, self.final, self.config.multicall)
        await require_multicall(self.reader, self.config.multicall, block)
        for dex, listing in asked:
            name = _listing_name(dex, listing)
            first = self.cursors.items.get(name, 0)
            async for page in pages(self.reader, self.config, listing, block, first):
                for pool in page.pools:
                    self.found.add(pool)
                for key, reason in page.refused.items():
                    self.found.refuse(dex.name, f"getters:{key}", reason)
                self.cursors.items[name] = 0 if page.done and not listing.grows else page.following
                await self._save_sometimes()
                self._report(f"{dex.name} asked for {page.following} pools")
            if dex.discovery == "getters":
                self.cursors.blocks[dex.name] = self.final + 1

    def _report(self, text: str) -> None:
        self.progress(f"{self.chain_name}: {text}, {len(self.found.pools)} pools")

    async def _save_sometimes(self) -> None:
        if time.monotonic() - self.last_save > _SAVE_EVERY_S:
            await self.save()

    async def save(self) -> None:
        """What is final, to disk."""
        if self.path is not None:
            await _save(self.path, self.config, self.reader, self.found, self.cursors, self.final)
        self.last_save = time.monotonic()


def _listing_name(dex: DexConfig, listing: Listing) -> str:
    return f"{_fingerprint(dex)}|{listing.identity}"


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
        found.refuse(dex.name, f"{log.tx_hash}:{log.log_index}", str(error))
        return
    if pool is not None:
        found.add(pool)


async def _save(
    path: Path,
    config: ChainConfig,
    reader: Caller,
    found: Discovered,
    at: _Cursors,
    final: int,
) -> None:
    cursors = {_fingerprint(dex): min(at.blocks.get(dex.name, dex.start_block), final + 1) for dex in config.dexes}
    anchor = max(0, min(final, max(cursors.values()) - 1))
    anchor_block = await read_block(reader, anchor)
    header = {
        "chain_id": config.chain_id,
        "cursors": cursors,
        "items": dict(at.items),
        "anchor": [anchor_block.number, anchor_block.hash],
        "refused": dict(found.refused),
    }
    records = [asdict(pool) for pool in found.pools.values() if pool.created_block <= final]
    await asyncio.to_thread(write_sealed, path, KIND, VERSION, header, records)


async def _resume(
    path: Path | None, config: ChainConfig, reader: Caller, progress: Progress
) -> tuple[Discovered, _Cursors]:
    if path is None:
        return Discovered(), _Cursors()
    try:
        return await _load(path, config, reader)
    except FileNotFoundError:
        return Discovered(), _Cursors()
    except (SnapshotError, OSError) as error:
        progress(f"factories are read from the start: {error}")
        return Discovered(), _Cursors()


async def _load(path: Path, config: ChainConfig, reader: Caller) -> tuple[Discovered, _Cursors]:
    header, records = await asyncio.to_thread(read_sealed, path, KIND, VERSION)
    if header.get("chain_id") != config.chain_id:
        raise SnapshotError(f"{path}: of chain id {header.get('chain_id')}, {config.chain_id} is configured")
    try:
        number, block_hash = header["anchor"]
        cursors: dict[str, int] = {str(key): int(value) for key, value in header["cursors"].items()}
        pools = [NewPool(**{**record, "tokens": tuple(record["tokens"])}) for record in records]
        items = {str(key): int(value) for key, value in header.get("items", {}).items()}
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
    return found, _Cursors(known, items)
