"""What breakers are told. Times are wall-clock milliseconds; money is native wei of the event's chain."""

from dataclasses import dataclass
from typing import TypeAlias

from ouro.types import OutcomeKind


@dataclass(frozen=True, slots=True)
class ApprovedOrder:
    """The gate let a plan through. ``path`` is the same for the same pools in the same directions."""

    chain: str
    strategy: str
    path: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class ReleasedOrder:
    """What the gate let through was not sent after all."""

    chain: str
    path: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class SettledTrade:
    """A trade became final. Differences and gas are only told of trades that landed.

    ``explained``: it met another state than its prediction was made for (a rival came first, a later block, a
    reorg), or it was on paper, so that a difference says nothing about the simulation.
    """

    chain: str
    strategy: str
    path: int
    kind: OutcomeKind
    net_wei: int
    predicted_profit_wei: int
    realised_profit_wei: int
    expected_gas: int
    gas_used: int
    at_ms: int
    explained: bool = False


@dataclass(frozen=True, slots=True)
class WithdrawnTrade:
    """A final outcome was withdrawn: its block was orphaned."""

    chain: str
    net_wei: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class BlockDone:
    """A block was worked through. ``decided_ms`` None: nothing was decided on it."""

    chain: str
    number: int
    block_time_ms: int
    decided_ms: int | None
    stale: bool
    at_ms: int
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class Reorganised:
    """So many blocks left the chain."""

    chain: str
    depth: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class NodesDisagree:
    """An endpoint says something else of a pool than the others; ``detail`` for people."""

    chain: str
    detail: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Books were compared with the chain."""

    chain: str
    max_abs_difference_wei: int
    at_ms: int


Event: TypeAlias = (
    ApprovedOrder
    | ReleasedOrder
    | SettledTrade
    | WithdrawnTrade
    | BlockDone
    | Reorganised
    | NodesDisagree
    | Reconciled
)
