"""The one interface that every AMM family implements. No I/O here: states in, values out.

A *state* is a frozen value; a *delta* is what one log changed; ``apply`` makes the next state. Amounts are exact
integers, bit for bit what the deployed contract computes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from ouro.protocols.creation import CreationReader, Factory, NewPool
from ouro.protocols.errors import DecodeError, Garbage, QuoteError
from ouro.protocols.listings import Listing
from ouro.protocols.probes import Probe
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.protocols.steps import Shape, SwapStep
from ouro.protocols.storage import BalanceChange, Place, StorageWrite, ViewCall
from ouro.types import Address, BlockContext, Hop, Log, PoolId

__all__ = [
    "BalanceChange",
    "DecodeError",
    "ExactHeader",
    "Family",
    "Folded",
    "Garbage",
    "Limits",
    "PoolState",
    "Quote",
    "QuoteError",
    "Segments",
    "Source",
    "StorageWrite",
    "amount_to_rate",
    "home_of",
    "swap_to_rate",
]


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


class ExactHeader(NamedTuple):
    """``HEADER`` limbs of ``protocols.kernels`` and what must stay alive while they are used."""

    limbs: bytes
    keeps: object = None


Folded: TypeAlias = tuple[Any, list[tuple[Any, Any]]]
"""The state after some logs, and what led to it: each delta with the state before it."""

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
    """One AMM family: everything that the system knows of it, looked up by ``registry.FAMILIES[state.family]``.

    Implementations are stateless singletons and inherit from this class: what has a body here is the usual case
    and may be left out. Nothing here does I/O.
    """

    name: ClassVar[str]
    topics: ClassVar[tuple[str, ...]]
    sources: ClassVar[Mapping[str, Source]]
    proof: ClassVar[Proof] = Proof()
    """What proves it. Until that is whole the family is off unless the configuration says otherwise."""

    # ----------------------------------------------------------------------------------------------------- finding

    creations: ClassVar[Mapping[str, CreationReader]]
    """The events by which its factories announce pools: first topic → what reads the pool from it."""
    managed: ClassVar[bool] = False
    """Whether its pools live inside one contract, the configured factory, which emits their logs."""

    own_token: ClassVar[bool] = False
    """Whether a pool's own share may be one of the tokens that it trades."""

    def home(self, pool: NewPool) -> Address:
        """The contract that has the pool's code."""
        return pool.factory if self.managed else pool.address

    def pool_named(self, log: Log) -> PoolId | None:
        """For managed pools: the pool that a log of the manager is about, None for none. Checked nowhere: what is
        returned is looked up among the known pools."""
        return log.topics[1] if len(log.topics) > 1 else None

    told_by_events: ClassVar[bool] = True
    """Whether its factories' events name each pool; else they are asked by ``listing``, however configured."""

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing | None:
        """How the factory is asked for its pools, where its events can't be had or do not name the pool; None where
        it has no getters for that.

        Factories without a list are asked for the pools of every two ``tokens``. Raises ``ValueError`` where those
        are too many.
        """
        return None

    # ----------------------------------------------------------------------------------------------------- reading

    def read(self, pool: NewPool) -> Script[Any]:
        """The pool's whole state at the block that the driver reads. Raises ``Garbage`` with the reason for people
        where there can be none."""
        ...

    def must_refresh(self, state: Any) -> bool:
        """Whether ``state`` has fields that no log tells, to be read again at every block."""
        return Source.MUST_REFRESH in self.sources.values()

    def refresh(self, state: Any, pool: NewPool) -> Script[Any]:
        """``state`` with those fields read anew (itself where nothing changed), preferably in one round.

        A read without an answer ends the script: the pool waits for the next block. Raises ``Garbage`` where the
        answers make no sense.
        """
        yield from ()
        return state

    def described(self, state: Any) -> NewPool:
        """What ``read`` needs of a pool that nobody announced."""
        spacing = getattr(state, "tick_spacing", 0)
        fee_ppm = getattr(state, "fee_ppm", 0)
        return NewPool("", self.name, state.address, state.tokens, 0, fee_ppm=fee_ppm, tick_spacing=spacing)

    windows: ClassVar[frozenset[str]] = frozenset()
    """Fields (of ``to_json``) with tables that forget what is too old to matter: two states agree there where the
    newer parts that both have do."""

    # --------------------------------------------------------------------------------------------------- following

    def decode(self, state: Any, log: Log, timestamp: int) -> Any:
        """The delta of ``log``, or None where the event changes nothing. Raises ``DecodeError``.

        ``timestamp`` is that of the log's block: contracts store it, and their price accumulators need it.
        """
        ...

    def apply(self, state: Any, delta: Any) -> Any:
        """The state after ``delta``. Raises ``DecodeError`` where the delta contradicts the state."""
        ...

    folds: ClassVar[bool] = False
    """Whether ``fold`` may be asked."""

    def fold(self, state: Any, logs: Sequence[Log], timestamp: int) -> "Folded | None":
        """Several logs of the pool in one block, all of ``topics``, at once: what is left is exactly what one after
        the other gives. None where they have to be looked at one by one."""
        return None

    # ----------------------------------------------------------------------------------------------------- quoting

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

    def at(self, state: Any, timestamp: int) -> Any:
        """The state as a block at this time finds it: what of it depends on time alone is settled. Itself where
        nothing does; some families have an exact header only for what this returns."""
        return state

    def exact_header(self, state: Any, i: int, j: int) -> "ExactHeader | None":
        """This direction for the compiled batch quotes (``quotes.QuoteBook``); None where only Python can quote."""
        return None

    def probe(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Probe | None:
        """This quote as a question to the contract's own view, for ``ouro doctor --prove``; None where there is no
        such view. Raises ``QuoteError``."""
        return None

    follows_clock: ClassVar[bool] = False
    """Whether prices are others at another time of the executing block, without any event."""

    def time_key(self, state: Any, context: BlockContext) -> Any:
        """What of the time the prices depend on: while it is equal, so are ``segments``. None: nothing to trade."""
        return None

    least_gas: ClassVar[int] = 0
    """What a swap in its pools adds to a plan's gas at least, so that bounds stay bounds; quotes say the rest."""

    # ------------------------------------------------------------------------------------- the contract's storage

    def storage_writes(self, state: Any, delta: Any) -> tuple[StorageWrite | BalanceChange, ...]:
        """What ``delta``, applied to ``state`` (the state before it), does to the contract's storage."""
        ...

    def places(self, state: Any) -> Iterable[Place]:
        """Words that a swap may touch in the pool's own contracts, without an oracle's ring."""
        ...

    def places_from_logs(self, state: Any) -> Iterable[Place]:
        """The words that ``storage_writes`` keeps exact: they are compared with the node's, one by one."""
        ...

    def known_words(self, state: Any) -> Mapping[Place, int]:
        """Words whose value follows from the state: where they differ, the contract is not laid out as its
        family's, and its pool is not simulated."""
        ...

    balances_told: ClassVar[bool] = True
    """Whether its logs give the token balances of the contract that holds them."""
    drifts: ClassVar[bool] = False
    """Whether something of its pools has to be read again after they moved: balances that are not told, or
    ``drifting_places``."""

    def drifting_places(self, state: Any) -> Iterable[Place]:
        """Words that swaps move, that no event tells, and on which a later swap may fail or its gas depends."""
        return ()

    def ring_places(self, state: Any, words: Mapping[Place, int]) -> Iterable[Place]:
        """Words whose place is told by other words: the entries of an oracle's ring around the current one."""
        return ()

    def view_calls(self, state: Any, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """Calls whose accesses outside the pool a swap makes as well: factories, fee modules, farms, rate
        providers. Code and words that they touch are loaded."""
        return ()

    views_move: ClassVar[bool] = False
    """Whether swaps write words that only ``view_calls`` find: of pools that moved they are read again."""

    def other_holders(self, state: Any, words: Mapping[Place, int]) -> Sequence[Address]:
        """Who else's balances of the pool's tokens a swap moves."""
        return ()

    def paid_fee_place(self, state: Any, delta: Any) -> Place | None:
        """A word that ``delta`` made non-zero without telling its value: overwriting zero would cost 17,100 gas
        more than overwriting anything else."""
        return None

    def swap_places(self, state: Any, i: int, j: int) -> Iterable[Place]:
        """Words of the pool's own contract that any swap in this direction touches, for access lists; empty where
        that depends on more than the state."""
        return ()

    # --------------------------------------------------------------------------------------------------- executing

    shape: ClassVar[Shape]
    """How its swaps are paid: what plans have to know before they have a state at hand."""

    def encode_swap(self, state: Any, i: int, j: int) -> SwapStep:
        """How the executor carries out a swap in this direction; a step of the family's ``shape``."""
        ...

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """(amount in, amount out) if ``log`` is a swap of ``hop``'s pool in its direction, else None.

        Pools inside a manager may be known by their id alone: whoever forges such a log makes two of it, and two
        count as none.
        """
        ...

    trial: ClassVar[str] = "holder"
    """How a token is tried in its pools (``market.token_probe``): bought and sold by ``pair``, ``solidly`` or
    ``ticks`` swaps, or only moved by the contract that holds it."""

    # --------------------------------------------------------------------------------------------------- on disk

    def to_json(self, state: Any) -> dict[str, Any]:
        """A tagged, JSON-safe form (integers beyond 2^53 as decimal strings)."""
        ...

    def from_json(self, value: dict[str, Any]) -> Any:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field: foreign states go through it."""
        ...
