"""StableSwap families: Curve's plain pools and meta-pools, StableSwap NG, and the Solidity port (Saddle).

All price routes in the order of ``exchange`` (fee in 18 decimals, then token units); ``view_out`` is what the
contract's own view answers, which rounds otherwise on Curve's old pools.

Field sources: A's ramp, fees and LP supply come with logs. Balances follow the logs too, each exchange being
computed again for the administrator's share, but owners can move them without any (``donate_admin_fees``), old
pools don't name the coin of a withdrawal and NG's coins may rebase: ``must_refresh``. So are rates and the kill
switch.
"""

import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np

from ouro.protocols import curve_stable_events as events
from ouro.protocols.base import (
    BalanceChange,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.curve_stable_events import StableDelta
from ouro.protocols.curve_stable_math import FEE_UNIT, PRECISION, scaled, solve_d, solve_y, view
from ouro.protocols.curve_stable_pieces import FloatPool, Floats, Kept, pieces, spot
from ouro.protocols.curve_stable_state import (
    MAX_BALANCE,
    CurveMetaState,
    CurveStableNGState,
    CurveStableState,
    SaddleState,
    StableState,
    applied,
    exchanged,
    from_json,
    moved,
    to_json,
)
from ouro.protocols.eventdata import require_address
from ouro.protocols.kernels.concentrated import HEADER
from ouro.protocols.kernels.stableswap import MAX_RATE_BITS, MAX_XP_BITS, STABLESWAP
from ouro.types import BlockContext, Log

S = TypeVar("S", bound=StableState)
_FIXED = ("address", "tokens", "a_precision", "rounding")
_REFRESHED = ("balances_wei", "rates", "killed")
_NEAR = 8
_U128 = (1 << 128) - 1


def _sources(kind: type[StableState]) -> Mapping[str, Source]:
    found = dict.fromkeys(kind.__struct_fields__, Source.FROM_LOGS)
    return {
        **found,
        **dict.fromkeys(_FIXED, Source.FIXED),
        **dict.fromkeys(_REFRESHED, Source.MUST_REFRESH),
        "as_of": Source.FROM_TIME,
    }


class StableFamily(Generic[S]):
    """What the four have in common. Implements ``ouro.protocols.base.Family``."""

    name: ClassVar[str]
    kind: ClassVar[type[StableState]]
    readers: ClassVar[Mapping[str, events.Reader]]
    topics: ClassVar[tuple[str, ...]]
    sources: ClassVar[Mapping[str, Source]]
    gas: ClassVar[tuple[int, int]]
    """Gas of an exchange of two coins, and for every further coin."""

    def decode(self, state: S, log: Log, timestamp: int) -> StableDelta | None:
        """The delta of a log of the pool."""
        require_address(log, state.address)
        return events.read(self.readers, log, len(state.tokens), timestamp)

    def apply(self, state: S, delta: StableDelta) -> S:
        """The pool after ``delta``."""
        return applied(state, delta)

    def at(self, state: S, timestamp: int) -> S:
        """The pool as a block at this time finds it; only such a state has an exact header while A ramps."""
        if state.as_of == timestamp:
            return state
        return msgspec.structs.replace(state, as_of=timestamp)

    def quote_in(self, state: S, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """``exchange``."""
        _check(state, i, j, amount_in_wei)
        found = exchanged(state, i, j, amount_in_wei, context.timestamp)
        if not found.out:
            raise QuoteError("the input buys less than one unit")
        if found.out + found.admin > state.balances_wei[j]:
            raise QuoteError("insufficient liquidity")
        if state.balances_wei[i] + amount_in_wei > MAX_BALANCE:
            raise QuoteError("the balance would leave 128 bits")
        after = moved(state, {i: amount_in_wei, j: -found.out - found.admin})
        return Quote(amount_in_wei, found.out, self.gas[0] + self.gas[1] * (len(state.tokens) - 2), after)

    def quote_out(self, state: S, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """The least input for which ``exchange`` gives at least this output; what it gives may be a little more."""
        _check(state, i, j, amount_out_wei)
        if amount_out_wei >= state.balances_wei[j]:
            raise QuoteError("insufficient liquidity")
        amount = _least_input(state, i, j, amount_out_wei, context.timestamp)
        return self.quote_in(state, i, j, amount, context)

    def view_out(self, state: S, i: int, j: int, amount_in_wei: int, timestamp: int) -> int:
        """What the contract's own view (``get_dy``, ``calculateSwap``) answers."""
        if not state.fee_after_conversion:
            return exchanged(state, i, j, amount_in_wei, timestamp).out
        xp = scaled(state.rates, state.balances_wei)
        return view(state.form, state.rates, xp, state.amp(timestamp), state.fees, i, j, amount_in_wei)

    def spot_rate(self, state: S, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; on a ramp with A of ``as_of``, else with its last."""
        _direction(state, i, j)
        if state.killed:
            return 0.0
        try:
            pool, kept = _floats(state, i, j, state.as_of or state.future_a_time)
        except QuoteError:
            return 0.0
        return spot(pool, kept) * state.rates[i] / state.rates[j]

    def limits(self, state: S, i: int, j: int, context: BlockContext) -> Limits:
        """Ten times what the whole pool is worth: nothing is left to buy then."""
        _direction(state, i, j)
        total = sum(held * rate for held, rate in zip(state.balances_wei, state.rates, strict=True))
        most = min(10 * total // state.rates[i], MAX_BALANCE - state.balances_wei[i])
        try:
            quote = self.quote_in(state, i, j, most, context)
        except QuoteError:
            return Limits(0, 0)
        return Limits(quote.amount_in_wei, quote.amount_out_wei)

    def segments(self, state: S, i: int, j: int, context: BlockContext) -> Segments:
        """Pieces that share the curve's rate at their start and its amount at their end; the last has no end."""
        _direction(state, i, j)
        if state.killed:
            return np.empty((0, 4))
        try:
            pool, kept = _floats(state, i, j, context.timestamp)
        except QuoteError:
            return np.empty((0, 4))
        return pieces(pool, kept, PRECISION / state.rates[i], PRECISION / state.rates[j])

    def exact_header(self, state: S, i: int, j: int) -> ExactHeader | None:
        """The pool for the compiled exchange; None while A ramps, but for a state that ``at`` made."""
        _direction(state, i, j)
        if state.killed or (state.ramping and not state.as_of):
            return None
        return _header(state, i, j)

    def storage_writes(self, state: S, delta: StableDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Nothing: where a pool keeps its words depends on the compiler; they are read again."""
        return ()

    def to_json(self, state: S) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return to_json(state)

    def from_json(self, value: dict[str, Any]) -> StableState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return from_json(self.kind, value)


class CurveStable(StableFamily[CurveStableState]):
    """Curve's pools before NG, of all generations."""

    name: ClassVar[str] = "curve_stable"
    kind: ClassVar[type[StableState]] = CurveStableState
    readers: ClassVar[Mapping[str, events.Reader]] = events.PLAIN
    topics: ClassVar[tuple[str, ...]] = tuple(events.PLAIN)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveStableState)
    gas: ClassVar[tuple[int, int]] = (85_000, 12_000)


class CurveMeta(StableFamily[CurveMetaState]):
    """The meta level of a meta-pool: its coin against the base pool's LP token."""

    name: ClassVar[str] = "curve_meta"
    kind: ClassVar[type[StableState]] = CurveMetaState
    readers: ClassVar[Mapping[str, events.Reader]] = events.PLAIN
    topics: ClassVar[tuple[str, ...]] = tuple(events.PLAIN)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveMetaState)
    gas: ClassVar[tuple[int, int]] = (125_000, 12_000)


class CurveStableNG(StableFamily[CurveStableNGState]):
    """StableSwap NG."""

    name: ClassVar[str] = "curve_stable_ng"
    kind: ClassVar[type[StableState]] = CurveStableNGState
    readers: ClassVar[Mapping[str, events.Reader]] = events.NG
    topics: ClassVar[tuple[str, ...]] = tuple(events.NG)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveStableNGState)
    gas: ClassVar[tuple[int, int]] = (130_000, 15_000)


class Saddle(StableFamily[SaddleState]):
    """The Solidity port of StableSwap."""

    name: ClassVar[str] = "saddle"
    kind: ClassVar[type[StableState]] = SaddleState
    readers: ClassVar[Mapping[str, events.Reader]] = events.SADDLE
    topics: ClassVar[tuple[str, ...]] = tuple(events.SADDLE)
    sources: ClassVar[Mapping[str, Source]] = _sources(SaddleState)
    gas: ClassVar[tuple[int, int]] = (100_000, 12_000)


def _direction(state: StableState, i: int, j: int) -> None:
    n = len(state.tokens)
    if i == j or not (0 <= i < n and 0 <= j < n):
        raise QuoteError(f"a pool of {n} coins has no direction from {i} to {j}")


def _check(state: StableState, i: int, j: int, amount: int) -> None:
    _direction(state, i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if state.killed:
        raise QuoteError("the pool has been stopped")


def _least_input(state: StableState, i: int, j: int, amount_out: int, now: int) -> int:
    """The least input that buys ``amount_out``: a guess on the invariant, then bisection on the exchange itself.

    The iteration's last unit makes the exchange jump back by a unit here and there, so a few inputs below the
    bisected one are tried too.
    """

    def enough(amount: int) -> bool:
        if amount <= 0:
            return False
        try:
            return exchanged(state, i, j, amount, now).out >= amount_out
        except QuoteError:
            return False

    guess = _guessed_input(state, i, j, amount_out, now)
    low, high, step = max(guess - 1, 0), guess, 1
    most = MAX_BALANCE - state.balances_wei[i]
    while not enough(high):
        if high >= most:
            raise QuoteError("insufficient liquidity")
        low, high, step = high, min(high + step, most), step * 4
    step = 1
    while low > 0 and enough(low):
        high, low, step = low, max(low - step, 0), step * 4
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    below = [amount for amount in range(max(high - _NEAR, 1), high) if enough(amount)]
    return below[0] if below else high


def _guessed_input(state: StableState, i: int, j: int, amount_out: int, now: int) -> int:
    """What the invariant asks for the output and its fee, with the fee at the balances before."""
    xp = list(scaled(state.rates, state.balances_wei))
    amp = state.amp(now)
    d = solve_d(state.form, tuple(xp), amp)
    fee = min(state.fee * max(state.off_peg, FEE_UNIT) // FEE_UNIT, FEE_UNIT - 1) if state.off_peg else state.fee
    left = xp[j] - (amount_out * state.rates[j] // PRECISION * FEE_UNIT // (FEE_UNIT - fee)) - 1
    if left <= 0:
        return max(state.balances_wei[i], 1)
    before, xp[j] = xp[i], left
    try:
        needed = solve_y(state.form, tuple(xp), i, amp, d) - before
    except QuoteError:
        return max(state.balances_wei[i], 1)
    return max(needed * PRECISION // state.rates[i], 1)


def _floats(state: StableState, i: int, j: int, now: int) -> tuple[FloatPool, Kept]:
    """The pool in floats, and the share of the output that the fee leaves at given balances."""
    xp = scaled(state.rates, state.balances_wei)
    if not all(xp):
        raise QuoteError("the pool is empty")
    amp = state.amp(now)
    d = solve_d(state.form, xp, amp)
    others = tuple(float(x) for k, x in enumerate(xp) if k not in (i, j))
    pool = FloatPool(float(xp[i]), float(xp[j]), others, amp * len(xp) / state.a_precision, float(d))
    fee, multiplier = state.fee / FEE_UNIT, state.off_peg / FEE_UNIT
    if multiplier <= 1.0:
        return pool, lambda x, y: (np.full_like(x, 1.0 - fee), np.zeros_like(x), np.zeros_like(x))

    def kept(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        first, other = (pool.xi + x) / 2, (pool.xj + y) / 2
        total = first + other
        bottom = (multiplier - 1.0) * 4 * first * other / total**2 + 1.0
        # of 1 - m·f / bottom; the averages move by half of what the balances do
        outer = multiplier * fee / bottom**2 * (multiplier - 1.0) * 2 * (other - first) / total**3
        return 1.0 - multiplier * fee / bottom, outer * other, -outer * first

    return pool, kept


def _header(state: StableState, i: int, j: int) -> ExactHeader | None:
    xp = scaled(state.rates, state.balances_wei)
    n, rates = len(xp), (state.rates[i], state.rates[j])
    if not all(xp) or max(xp) >> MAX_XP_BITS or max(rates) >> MAX_RATE_BITS or state.off_peg >> 60:
        return None
    amp = state.amp(state.as_of)
    try:
        d = solve_d(state.form, xp, amp)
    except QuoteError:
        return None
    term = d
    for k in range(i):
        if k != j:
            term = term * d // (xp[k] * n)
    if term >> 256 or d >> 120:
        return None
    behind = [xp[k] for k in range(i + 1, n) if k != j]
    table = np.frombuffer(
        bytearray(b"".join(x.to_bytes(16, "little") for x in behind) or bytes(16)), dtype=np.uint64
    )
    multiplier = state.off_peg if state.off_peg > FEE_UNIT else 0
    wide = (xp[i], xp[j], d, *rates)
    limbs = struct.pack("<6Q", STABLESWAP, table.ctypes.data, len(behind), n, state.fee, amp * n)
    limbs += b"".join(value.to_bytes(16, "little") for value in wide)
    limbs += term.to_bytes(32, "little") + sum(x for k, x in enumerate(xp) if k not in (i, j)).to_bytes(16, "little")
    limbs += struct.pack("<2Q", state.a_precision, multiplier)
    assert len(limbs) == 8 * HEADER
    return ExactHeader(limbs, table)
