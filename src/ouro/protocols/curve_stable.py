"""StableSwap families: Curve's plain pools and meta-pools, StableSwap NG, and the Solidity port (Saddle).

All price routes in the order of ``exchange`` (fee in 18 decimals, then token units); ``view_out`` is what the
contract's own view answers, which rounds otherwise on Curve's old pools.

Field sources: A's ramp, fees and LP supply come with logs. Balances follow the logs too, each exchange being
computed again for the administrator's share, but owners can move them without any (``donate_admin_fees``), old
pools don't name the coin of a withdrawal and NG's coins may rebase: ``must_refresh``. So are rates and the kill
switch.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np

from ouro.hashing import keccak, topic
from ouro.protocols import curve_stable_events as events
from ouro.protocols import curve_stable_reading as reading
from ouro.protocols.base import (
    BalanceChange,
    ExactHeader,
    Limits,
    Proof,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool
from ouro.protocols.curve_pieces import NOTHING, Curve, peg_fee, stable
from ouro.protocols.curve_stable_events import StableDelta
from ouro.protocols.curve_stable_math import FEE_UNIT, PRECISION, scaled, solve_d, solve_y, view
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
from ouro.protocols.listings import Listing, NumberedPools, itself
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Script
from ouro.protocols.steps import ExchangeCall, ExchangeSwap, Shape
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import Address, BlockContext, Hop, Log

S = TypeVar("S", bound=StableState)
_FIXED = ("address", "tokens", "a_precision", "rounding", "base")
_REFRESHED = ("balances_wei", "rates", "killed", "vp_cached", "vp_updated")
_NEAR = 8
_MOST = 10.0
TOKEN_EXCHANGE = topic("TokenExchange(address,int128,uint256,int128,uint256)")
TOKEN_SWAP = topic("TokenSwap(address,uint256,uint256,uint128,uint128)")
# Storage of the Solidity port behind OpenZeppelin's upgradeable parents.
_RAMP_SLOTS = range(251, 255)
_FEE_SLOT, _ADMIN_FEE_SLOT = 255, 256
_BALANCES, _ADMIN_BALANCES = (int.from_bytes(keccak(slot.to_bytes(32))) for slot in (260, 261))


def _sources(kind: type[StableState]) -> Mapping[str, Source]:
    found = dict.fromkeys(kind.__struct_fields__, Source.FROM_LOGS)
    found.update({name: Source.FIXED for name in _FIXED if name in found})
    found.update({name: Source.MUST_REFRESH for name in _REFRESHED if name in found})
    return {**found, "as_of": Source.FROM_TIME}


class StableFamily(UnknownLayout, Generic[S]):
    """What the four have in common."""

    kind: ClassVar[type[StableState]]
    readers: ClassVar[Mapping[str, events.Reader]]
    gas: ClassVar[tuple[int, int]]
    """Gas of an exchange of two coins, and for every further coin."""
    creations: ClassVar[Mapping[str, CreationReader]] = {}
    shape: ClassVar[Shape] = Shape.EXCHANGE
    call: ClassVar[ExchangeCall] = ExchangeCall.INT128
    view: ClassVar[str] = "get_dy(int128,int128,uint256)"
    least_gas: ClassVar[int] = 60_000
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    follows_clock: ClassVar[bool] = True
    told_by_events: ClassVar[bool] = False

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing | None:
        """The factory's own list."""
        return NumberedPools(lambda known: reading.list_pools(dex, known, ""))

    def read(self, pool: NewPool) -> Script[Any]:
        """The pool by its getters."""
        return reading.read_curve(self.kind, pool)

    def refresh(self, state: Any, pool: NewPool) -> Script[Any]:
        """Balances, rates and kill switch."""
        return reading.refresh_curve(state)

    def view_calls(self, state: S, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The pool's view touches what its exchange touches: balances, rates, other contracts."""
        data = reading.call(state.address, self.view, 0, 1, 10**6).data
        return (ViewCall(state.address, data),)

    def encode_swap(self, state: S, i: int, j: int) -> ExchangeSwap:
        """``exchange`` in the pool's own spelling."""
        _direction(state, i, j)
        return ExchangeSwap(state.address, self.call, i, j, state.tokens[i], state.tokens[j])

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Its exchange event in the hop's direction."""
        if log.address != hop.pool or not log.topics or log.topics[0] != TOKEN_EXCHANGE:
            return None
        words = event_words(log)
        return plausible(words[1], words[3]) if len(words) == 4 and (words[0], words[2]) == (hop.i, hop.j) else None

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
        if (
            isinstance(after, CurveMetaState)
            and after.rates_at(context.timestamp) == after.rates
            and after.vp_updated
        ):
            after = msgspec.structs.replace(after, vp_cached=after.rates[-1], vp_updated=context.timestamp)
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
        rates = state.rates_at(timestamp)
        xp = scaled(rates, state.balances_wei)
        return view(state.form, rates, xp, state.amp(timestamp), state.fees, i, j, amount_in_wei)

    def time_key(self, state: S, context: BlockContext) -> Any:
        """A on its ramp, and a meta-pool's remembered price."""
        return state.amp(context.timestamp), state.rates_at(context.timestamp)

    def probe(self, state: S, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Probe | None:
        """The contract's own view: ``get_dy``."""
        _check(state, i, j, amount_in_wei)
        expected = self.view_out(state, i, j, amount_in_wei, context.timestamp)
        asked = reading.call(state.address, self.view, i, j, amount_in_wei, gas=400_000)
        return Probe(asked, expected, f"{self.view} {i} {j} {amount_in_wei}")

    def spot_rate(self, state: S, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; on a ramp with A of ``as_of``, else with its last."""
        _direction(state, i, j)
        if state.killed:
            return 0.0
        try:
            return _curve(state, i, j, state.as_of or state.future_a_time).rate() * state.rates[i] / state.rates[j]
        except QuoteError:
            return 0.0

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
        """Pieces that share value and slope with the curve at their knots; the last has no end."""
        _direction(state, i, j)
        if state.killed:
            return NOTHING
        try:
            curve = _curve(state, i, j, context.timestamp)
        except QuoteError:
            return NOTHING
        rates = state.rates_at(context.timestamp)
        units = PRECISION / rates[i], PRECISION / rates[j]
        return curve.pieces(_MOST * curve.worth, units, endless=True)

    def exact_header(self, state: S, i: int, j: int) -> ExactHeader | None:
        """The pool for the compiled exchange; None while A ramps, but for a state that ``at`` made."""
        _direction(state, i, j)
        if state.killed or (not state.as_of and (state.ramping or state.rates_at(0) != state.rates)):
            return None
        return _header(state, i, j)

    def to_json(self, state: S) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return to_json(state)

    def from_json(self, value: dict[str, Any]) -> StableState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return from_json(self.kind, value)


def _unnamed(event: Announcement) -> None:
    """Curve's factories announce coins and parameters, not the pool: their list has it."""


def _announcing(*signatures: str) -> Mapping[str, CreationReader]:
    return {topic(signature): _unnamed for signature in signatures}


class CurveStable(StableFamily[CurveStableState]):
    """Curve's pools before NG, of all generations."""

    name: ClassVar[str] = "curve_stable"
    kind: ClassVar[type[StableState]] = CurveStableState
    readers: ClassVar[Mapping[str, events.Reader]] = events.PLAIN
    topics: ClassVar[tuple[str, ...]] = tuple(events.PLAIN)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveStableState)
    creations: ClassVar[Mapping[str, CreationReader]] = _announcing(
        "PlainPoolDeployed(address[4],uint256,uint256,address)", "PoolAdded(address,bytes)"
    )
    gas: ClassVar[tuple[int, int]] = (85_000, 12_000)


class CurveMeta(StableFamily[CurveMetaState]):
    """The meta level of a meta-pool: its coin against the base pool's LP token."""

    name: ClassVar[str] = "curve_meta"
    kind: ClassVar[type[StableState]] = CurveMetaState
    readers: ClassVar[Mapping[str, events.Reader]] = events.PLAIN
    topics: ClassVar[tuple[str, ...]] = tuple(events.PLAIN)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveMetaState)
    creations: ClassVar[Mapping[str, CreationReader]] = _announcing(
        "MetaPoolDeployed(address,address,uint256,uint256,address)"
    )
    gas: ClassVar[tuple[int, int]] = (125_000, 12_000)


class CurveStableNG(StableFamily[CurveStableNGState]):
    """StableSwap NG."""

    name: ClassVar[str] = "curve_stable_ng"
    kind: ClassVar[type[StableState]] = CurveStableNGState
    readers: ClassVar[Mapping[str, events.Reader]] = events.NG
    topics: ClassVar[tuple[str, ...]] = tuple(events.NG)
    sources: ClassVar[Mapping[str, Source]] = _sources(CurveStableNGState)
    creations: ClassVar[Mapping[str, CreationReader]] = _announcing(
        "PlainPoolDeployed(address[],uint256,uint256,address)"
    )
    gas: ClassVar[tuple[int, int]] = (130_000, 15_000)


class Saddle(StableFamily[SaddleState]):
    """The Solidity port of StableSwap."""

    name: ClassVar[str] = "saddle"
    kind: ClassVar[type[StableState]] = SaddleState
    readers: ClassVar[Mapping[str, events.Reader]] = events.SADDLE
    topics: ClassVar[tuple[str, ...]] = tuple(events.SADDLE)
    sources: ClassVar[Mapping[str, Source]] = _sources(SaddleState)
    gas: ClassVar[tuple[int, int]] = (100_000, 12_000)
    call: ClassVar[ExchangeCall] = ExchangeCall.SADDLE
    view: ClassVar[str] = "calculateSwap(uint8,uint8,uint256)"
    proof: ClassVar[Proof] = Proof(105_000)

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing | None:
        """Its pools have no common factory: the configured one is the pool itself."""
        return itself(dex)

    def read(self, pool: NewPool) -> Script[Any]:
        """The pool by its getters."""
        return reading.read_saddle(pool)

    def refresh(self, state: SaddleState, pool: NewPool) -> Script[Any]:
        """Balances and the pause."""
        return reading.refresh_saddle(state)

    def storage_writes(self, state: SaddleState, delta: StableDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Balances, ramp and fees; tokens that moved. The administrator's balances are read again."""
        before, after = _words(state), _words(self.apply(state, delta))
        changes: dict[int, int] = {}
        if isinstance(delta, events.ExchangeDelta):
            changes = {delta.i: delta.sold_wei, delta.j: -delta.bought_wei}
        elif isinstance(delta, events.LiquidityDelta):
            changes = {k: delta.sign * amount for k, amount in enumerate(delta.amounts_wei) if amount}
        elif isinstance(delta, events.OneCoinDelta) and delta.coin is not None:
            changes = {delta.coin: -delta.amount_wei}
        return (
            *(StorageWrite(state.address, slot, word) for slot, word in after.items() if word != before[slot]),
            *(BalanceChange(state.tokens[k], state.address, change) for k, change in changes.items()),
        )

    def places(self, state: SaddleState) -> Iterable[Place]:
        """Ramp, fees, coins, multipliers, balances, the administrator's balances; lock and pause."""
        lengths = (258, 259, 260, 261)
        arrays = (int.from_bytes(keccak(slot.to_bytes(32))) for slot in lengths)
        inside = (start + k for start in arrays for k in range(len(state.tokens)))
        return [(state.address, slot) for slot in (0, 51, 101, 201, *_words(state), 257, *lengths, *inside)]

    def places_from_logs(self, state: SaddleState) -> Iterable[Place]:
        """Balances, ramp and fees."""
        return [(state.address, slot) for slot in _words(state)]

    def known_words(self, state: SaddleState) -> Mapping[Place, int]:
        """The same, by value."""
        return {(state.address, slot): word for slot, word in _words(state).items()}

    def drifting_places(self, state: SaddleState) -> Iterable[Place]:
        """The administrator's balances."""
        return [(state.address, _ADMIN_BALANCES + k) for k in range(len(state.tokens))]

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Its ``TokenSwap`` in the hop's direction."""
        if log.address != hop.pool or not log.topics or log.topics[0] != TOKEN_SWAP:
            return None
        words = event_words(log)
        return plausible(words[0], words[1]) if len(words) == 4 and words[2:] == [hop.i, hop.j] else None


def _words(state: SaddleState) -> dict[int, int]:
    """The port's words that the state tells, by slot."""
    ramp = (state.initial_a, state.future_a, state.initial_a_time, state.future_a_time)
    return {
        **dict(zip(_RAMP_SLOTS, ramp, strict=True)),
        _FEE_SLOT: state.fee,
        _ADMIN_FEE_SLOT: state.admin_fee,
        **{_BALANCES + k: held for k, held in enumerate(state.balances_wei)},
    }


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
    rates = state.rates_at(now)
    xp = list(scaled(rates, state.balances_wei))
    amp = state.amp(now)
    d = solve_d(state.form, tuple(xp), amp)
    fee = min(state.fee * max(state.off_peg, FEE_UNIT) // FEE_UNIT, FEE_UNIT - 1) if state.off_peg else state.fee
    left = xp[j] - (amount_out * rates[j] // PRECISION * FEE_UNIT // (FEE_UNIT - fee)) - 1
    if left <= 0:
        return max(state.balances_wei[i], 1)
    before, xp[j] = xp[i], left
    try:
        needed = solve_y(state.form, tuple(xp), i, amp, d) - before
    except QuoteError:
        return max(state.balances_wei[i], 1)
    return max(needed * PRECISION // rates[i], 1)


def _curve(state: StableState, i: int, j: int, now: int) -> Curve:
    """The direction in floats. Raises ``QuoteError``."""
    xp = scaled(state.rates_at(now), state.balances_wei)
    if not all(xp):
        raise QuoteError("the pool is empty")
    amp = state.amp(now)
    d = float(solve_d(state.form, xp, amp))
    others = [float(x) for k, x in enumerate(xp) if k not in (i, j)]
    fee = peg_fee(state.fee / FEE_UNIT, state.off_peg / FEE_UNIT)
    return stable(float(xp[i]), float(xp[j]), others, amp * len(xp) / state.a_precision, d, fee)


def _header(state: StableState, i: int, j: int) -> ExactHeader | None:
    all_rates = state.rates_at(state.as_of)
    xp = scaled(all_rates, state.balances_wei)
    n, rates = len(xp), (all_rates[i], all_rates[j])
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
    limbs += term.to_bytes(32, "little") + sum(x for k, x in enumerate(xp) if k not in (i, j)).to_bytes(
        16, "little"
    )
    limbs += struct.pack("<2Q", state.a_precision, multiplier)
    assert len(limbs) == 8 * HEADER
    return ExactHeader(limbs, table)
