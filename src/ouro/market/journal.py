"""What the market passes out and keeps: its head, the result of a block, and the record that undoes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Family
from ouro.protocols.creation import NewPool
from ouro.types import BlockUpdate, Hash, PoolId


class PoolDelta(NamedTuple):
    """One decoded log: the family, the pool's state before it, and what it changes."""

    family: Family
    state: Any
    delta: Any


@dataclass(frozen=True, slots=True)
class Head:
    """The block whose state the market holds."""

    number: int
    hash: Hash
    timestamp: int
    base_fee_wei: int | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a pool is out of use. ``block_hash`` names the block that caused it; None when it came from outside.

    A ``final`` one is not ended by reading the pool again.
    """

    reason: str
    number: int
    block_hash: Hash | None
    final: bool = False


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What a block did. ``touched`` are sorted pool ids; ``deltas`` are in order within each pool, several logs
    in one where no state on the way can matter. ``movers``: known pools with logs, and their first transaction.
    ``drifted`` are pools that no log moved but that trade otherwise at the new time."""

    touched: npt.NDArray[np.int32]
    deltas: tuple[PoolDelta, ...] = ()
    unknown_logs: int = 0
    quarantined: tuple[tuple[PoolId, str], ...] = ()
    new_pools: tuple[NewPool, ...] = ()
    movers: Mapping[PoolId, int] = field(default_factory=dict)
    drifted: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(slots=True)
class Record:
    """A block in the ring: its update (kept for late-coming pools) and the states it replaced, by pool id."""

    update: BlockUpdate
    previous: dict[int, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """A block in the making; nothing of it is visible until it is committed."""

    states: dict[int, Any] = field(default_factory=dict)
    deltas: list[PoolDelta] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    new_pools: list[NewPool] = field(default_factory=list)
    unknown_logs: int = 0


def head_of(update: BlockUpdate) -> Head:
    """The head after ``update``."""
    return Head(update.number, update.hash, update.timestamp, update.base_fee_wei)
