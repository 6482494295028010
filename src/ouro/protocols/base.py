"""The one interface that every AMM family implements. No I/O here: states in, values out.

A *state* is a frozen value; a *delta* is what one log changed; ``apply`` makes the next state. Amounts are exact
integers, bit for bit what the deployed contract computes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from ouro.types import Address, BlockContext, Log, PoolId


class QuoteError(Exception):
    """A quote that the pool can't give in full.

    ``partial_in`` and ``partial_out`` are what it could do before it ran out; zero when nothing.
    """

    def __init__(self, reason: str, partial_in: int = 0, partial_out: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.partial_in = partial_in
        self.partial_out = partial_out


class DecodeError(Exception):
    """A log that claims to be of this family but can't be read as one, or that contradicts the state."""


class Source(StrEnum):
    """Where a field's value comes from, so that one knows what keeps it fresh.

    fixed: set when the pool is created. from_logs: every change emits a log of the pool. from_time: a function of
    other fields and of the executing block. must_refresh: to be read again every block, no log of the pool tells.
    """

    FIXED = "fixed"
    FROM_LOGS = "from_logs"
    FROM_TIME = "from_time"
    MUST_REFRESH = "must_refresh"


class PoolState(Protocol):
    """What every family's state has. ``address`` is the pool's id; ``tokens`` are in the contract's own order."""

    family: ClassVar[str]

    @property
    def address(self) -> PoolId: ...

    @property
    def tokens(self) -> tuple[Address, ...]: ...


def home_of(state: Any) -> Address:
    """The contract that holds the pool's storage and tokens and emits its logs: the pool itself, or its manager."""
    return getattr(state, "manager", state.address)


class Quote(msgspec.Struct, frozen=True):
    """An exact swap: what goes in, what comes out, the gas the family's model expects, and the next state."""

    amount_in_wei: int
    amount_out_wei: int
    gas: int
    next_state: Any


class Limits(msgspec.Struct, frozen=True):
    """The most that a direction takes, and what it gives for that; zeros where it can't trade."""

    max_in_wei: int
    max_out_wei: int


@dataclass(frozen=True, slots=True)
class StorageWrite:
    """A storage word of a contract, as the EVM will find it."""

    address: Address
    slot: int
    value: int


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A token balance that a delta moved; which storage word that is depends on the token."""

    token: Address
    holder: Address
    change_wei: int


class ExactHeader(NamedTuple):
    """``HEADER`` limbs of ``protocols.kernels`` and what must stay alive while they are used."""

    limbs: bytes
    keeps: object = None


Segments = npt.NDArray[np.float64]
"""Shape (n, 4), columns ``r_in, r_out, gamma, cap_in``: within a segment
``out(x) = gamma·x·r_out / (r_in + gamma·x)`` for gross input ``x <= cap_in`` (fee included); the next segment
starts where this one stops. The last ``cap_in`` is ``inf`` where the curve never ends (Uniswap V2) and finite
where the liquidity ends (Uniswap V3): nothing more comes out beyond it. Float, for search only."""


def amount_to_rate(segments: Segments, rate: float) -> float:
    """Gross input after which the marginal rate (fee included) has fallen to ``rate``; 0.0 where it is lower now.

    Within a piece the rate is ``gamma·r_in·r_out / (r_in + gamma·x)²``.
    """
    total = 0.0
    for r_in, r_out, gamma, cap_in in segments.tolist():
        if gamma * r_out <= rate * r_in:
            break
        wanted = (math.sqrt(gamma * r_in * r_out / rate) - r_in) / gamma
        if wanted < cap_in:
            return total + wanted
        total += cap_in
    return total


def swap_to_rate(family: "Family", state: Any, i: int, j: int, rate: float, context: BlockContext) -> Quote | None:
    """The exact swap that moves the marginal rate of ``j`` per ``i`` (fee included) to ``rate``, or to the end.

    None where the rate is that low already. Raises ``QuoteError`` where the pool can't do it.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise QuoteError(f"the rate must be positive and finite, got {rate}")
    wanted = int(amount_to_rate(family.segments(state, i, j, context), rate))
    amount = min(wanted, family.limits(state, i, j, context).max_in_wei)
    return family.quote_in(state, i, j, amount, context) if amount > 0 else None


class Family(Protocol):
    """One AMM family. Implementations are stateless singletons."""

    name: ClassVar[str]
    topics: ClassVar[tuple[str, ...]]
    sources: ClassVar[Mapping[str, Source]]

    def decode(self, state: Any, log: Log, timestamp: int) -> Any:
        """The delta of ``log``, or None where the event changes nothing. Raises ``DecodeError``.

        ``timestamp`` is that of the log's block: contracts store it, and their price accumulators need it.
        """
        ...

    def apply(self, state: Any, delta: Any) -> Any:
        """The state after ``delta``. Raises ``DecodeError`` where the delta contradicts the state."""
        ...

    def quote_in(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """Exact input of token ``i`` for token ``j``. Raises ``QuoteError``."""
        ...

    def quote_out(self, state: Any, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """Exact output of token ``j`` paid in token ``i``. Raises ``QuoteError``."""
        ...

    def spot_rate(self, state: Any, i: int, j: int) -> float:
        """Marginal output of ``j`` per unit of ``i``, fee included; 0.0 where the pool can't trade."""
        ...

    def limits(self, state: Any, i: int, j: int, context: BlockContext) -> Limits:
        """The most that can be put in, and what comes out for it."""
        ...

    def segments(self, state: Any, i: int, j: int, context: BlockContext) -> Segments:
        """The pool in this direction as constant-product pieces; shape (0, 4) where it can't trade."""
        ...

    def exact_header(self, state: Any, i: int, j: int) -> "ExactHeader | None":
        """This direction for the compiled batch quotes (``quotes.QuoteBook``); None where only Python can quote."""
        ...

    def storage_writes(self, state: Any, delta: Any) -> tuple[StorageWrite | BalanceChange, ...]:
        """What ``delta``, applied to ``state`` (the state before it), does to the contract's storage."""
        ...

    def to_json(self, state: Any) -> dict[str, Any]:
        """A tagged, JSON-safe form (integers beyond 2^53 as decimal strings)."""
        ...

    def from_json(self, value: dict[str, Any]) -> Any:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        ...
