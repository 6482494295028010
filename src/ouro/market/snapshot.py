"""The market on disk: only finalised states, tagged by family, sealed, and refused when anything is off."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ouro.config.model import ChainConfig
from ouro.market.errors import SnapshotError
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.market.sealed import read_sealed, write_sealed
from ouro.market.tokens import TokenInfo
from ouro.protocols.base import Family
from ouro.types import Address, PoolId

KIND = "ouro-market-snapshot"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """States at a finalised block and what the tokens say of themselves."""

    head: Head
    states: Mapping[PoolId, Any]
    tokens: Mapping[Address, TokenInfo]


def snapshot_path(data_dir: Path, chain_name: str) -> Path:
    """Where a chain's snapshot is kept."""
    return data_dir / "market" / f"{chain_name}.snapshot.gz"


def capture(market: Market, config: ChainConfig) -> Snapshot | None:
    """What may be persisted now; None while no block that we hold is final. Quick: no copying of states.

    Pools in quarantine are left out, so that they are read anew at the next start.
    """
    finalised = market.finalised(config.finality_depth)
    if finalised is None:
        return None
    return Snapshot(finalised[0], finalised[1], dict(market.tokens))


def dex_fingerprint(config: ChainConfig) -> list[str]:
    """What of the configuration is part of the states: a changed fee or factory makes a snapshot useless."""
    return sorted(f"{dex.family}|{dex.factory}|{dex.fee_ppm}" for dex in config.dexes)


def write_snapshot(
    path: Path, chain_name: str, config: ChainConfig, snapshot: Snapshot, families: Mapping[str, Family]
) -> None:
    """Replace the file atomically. Blocking; a snapshot is made of immutable values, so any thread may write it."""
    head = snapshot.head
    header = {
        "chain": chain_name,
        "chain_id": config.chain_id,
        "number": head.number,
        "hash": head.hash,
        "timestamp": head.timestamp,
        "base_fee_wei": None if head.base_fee_wei is None else str(head.base_fee_wei),
        "dexes": dex_fingerprint(config),
        "tokens": [[info.address, info.symbol, info.decimals] for info in snapshot.tokens.values()],
    }
    records = (families[state.family].to_json(state) for state in snapshot.states.values())
    write_sealed(path, KIND, VERSION, header, records)


def load_snapshot(path: Path, chain_name: str, config: ChainConfig, families: Mapping[str, Family]) -> Snapshot:
    """Read a snapshot back. Raises ``FileNotFoundError``, or ``SnapshotError`` naming file, place and reason."""
    header, records = read_sealed(path, KIND, VERSION)
    if header.get("chain_id") != config.chain_id:
        raise SnapshotError(
            f"{path}: line 1: of chain id {header.get('chain_id')}; {chain_name} is configured as {config.chain_id}"
        )
    if header.get("dexes") != dex_fingerprint(config):
        raise SnapshotError(
            f"{path}: line 1: made for other factories or fees than {chain_name} is configured with"
        )
    try:
        base_fee = header["base_fee_wei"]
        head = Head(
            int(header["number"]),
            str(header["hash"]),
            int(header["timestamp"]),
            None if base_fee is None else int(base_fee),
        )
        tokens = {row[0]: TokenInfo(row[0], row[1], row[2]) for row in header["tokens"]}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SnapshotError(f"{path}: line 1: malformed header: {type(error).__name__}: {error}") from error
    states: dict[PoolId, Any] = {}
    for line, record in enumerate(records, start=2):
        state = _state(path, line, record, families)
        if state.address in states:
            raise SnapshotError(f"{path}: line {line}: pool {state.address} occurs twice")
        states[state.address] = state
    return Snapshot(head, states, tokens)


def _state(path: Path, line: int, record: Any, families: Mapping[str, Family]) -> Any:
    name = record.get("family") if isinstance(record, dict) else None
    family = families.get(name) if isinstance(name, str) else None
    if family is None:
        raise SnapshotError(f"{path}: line {line}: a pool of the unknown family {name!r}")
    try:
        return family.from_json(record)
    except ValueError as error:
        raise SnapshotError(f"{path}: line {line}: {error}") from error
