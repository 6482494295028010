"""States of StableSwap pools, their JSON form, and what a log does to one."""

from typing import Any, ClassVar, TypeVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.curve_stable_events import (
    MAX_COINS,
    ExchangeDelta,
    FeeDelta,
    LiquidityDelta,
    OneCoinDelta,
    RampDelta,
    StableDelta,
)
from ouro.protocols.curve_stable_math import (
    EACH,
    FEE_UNIT,
    PRODUCT,
    Exchanged,
    Form,
    amplification,
    exchange,
    one_coin,
    scaled,
    solve_d,
    solve_y,
)
from ouro.types import Address

MAX_BALANCE = (1 << 128) - 1
MAX_RATE = 10**40
MAX_A = 10**9
MAX_TIME = (1 << 63) - 1
VP_REMEMBERED_S = 600
_U256 = (1 << 256) - 1


class StableState(msgspec.Struct, frozen=True):
    """A pool of 2 to 8 coins.

    ``rates``: 10^18-based multipliers to 18 decimals (10^30 for 6 decimals), times the price of a wrapped coin.
    ``balances_wei``: without what belongs to the administrator. ``initial_a``, ``future_a``: A times
    ``a_precision``, on a ramp between the two times. ``fee``, ``admin_fee``, ``off_peg``: of 10^10; ``off_peg`` is
    the multiplier of the fee far from the peg, 0 without. ``rounding``: see ``curve_stable_math``.
    ``as_of``: the time that ``at`` made the state for, 0 where logs did.
    """

    family: ClassVar[str] = ""
    weighted_ramp: ClassVar[bool] = False
    fee_after_conversion: ClassVar[bool] = False

    address: Address
    tokens: tuple[Address, ...]
    rates: tuple[int, ...]
    balances_wei: tuple[int, ...]
    initial_a: int
    future_a: int
    initial_a_time: int = 0
    future_a_time: int = 0
    fee: int = 0
    admin_fee: int = 0
    off_peg: int = 0
    supply: int = 0
    a_precision: int = 100
    rounding: int = EACH
    killed: bool = False
    as_of: int = 0

    @property
    def form(self) -> Form:
        """How this pool rounds."""
        return Form(self.a_precision, self.rounding, self.weighted_ramp)

    @property
    def fees(self) -> tuple[int, int, int]:
        """Fee, administrator's share, off-peg multiplier."""
        return self.fee, self.admin_fee, self.off_peg

    @property
    def ramping(self) -> bool:
        """Whether A depends on the time (it may be over already)."""
        return self.initial_a != self.future_a

    def rates_at(self, timestamp: int) -> tuple[int, ...]:
        """The rates that an exchange at this block time takes."""
        return self.rates

    def amp(self, timestamp: int) -> int:
        """A times its precision at a block time."""
        return amplification(
            self.form, self.initial_a, self.future_a, self.initial_a_time, self.future_a_time, timestamp
        )


S = TypeVar("S", bound=StableState)


class CurveStableState(StableState, frozen=True):
    """Curve's pools before NG, by contract or by factory."""

    family: ClassVar[str] = "curve_stable"
    fee_after_conversion: ClassVar[bool] = True


class CurveMetaState(StableState, frozen=True):
    """The meta level of a meta-pool: its coins against the base pool's LP token, whose rate (the last) is the
    base's virtual price as it is now.

    Early pools remember that price for ten minutes: ``vp_cached`` is what they remember since ``vp_updated``; 0
    where they don't. ``base`` is the base pool.
    """

    family: ClassVar[str] = "curve_meta"
    fee_after_conversion: ClassVar[bool] = True

    base: Address = ""
    vp_cached: int = 0
    vp_updated: int = 0

    def rates_at(self, timestamp: int) -> tuple[int, ...]:
        """The remembered price for ten minutes."""
        if not self.vp_cached or not self.vp_updated or timestamp > self.vp_updated + VP_REMEMBERED_S:
            return self.rates
        return (*self.rates[:-1], self.vp_cached)


class CurveStableNGState(StableState, frozen=True):
    """StableSwap NG: rates of oracles and vaults, off-peg fee."""

    family: ClassVar[str] = "curve_stable_ng"


class SaddleState(StableState, frozen=True):
    """The Solidity port."""

    family: ClassVar[str] = "saddle"
    weighted_ramp: ClassVar[bool] = True


def exchanged(state: StableState, i: int, j: int, amount_in: int, timestamp: int) -> Exchanged:
    """The exchange, without changing the state. Raises ``QuoteError``."""
    rates = state.rates_at(timestamp)
    xp = scaled(rates, state.balances_wei)
    return exchange(state.form, rates, xp, state.amp(timestamp), state.fees, i, j, amount_in)


def moved(state: S, changes: dict[int, int], supply: int | None = None) -> S:
    """The state after its balances changed by coin."""
    balances = list(state.balances_wei)
    for coin, change in changes.items():
        balances[coin] += change
        if not 0 <= balances[coin] <= MAX_BALANCE:
            raise DecodeError(f"balance of coin {coin} of {state.address} would become {balances[coin]}")
    return msgspec.structs.replace(
        state, balances_wei=tuple(balances), supply=state.supply if supply is None else supply, as_of=0
    )


def applied(state: S, delta: StableDelta) -> S:
    """The state after a log. Raises ``DecodeError`` where the log contradicts the state."""
    if isinstance(delta, ExchangeDelta):
        return _after_exchange(state, delta)
    if isinstance(delta, LiquidityDelta):
        shares = (fee * state.admin_fee // FEE_UNIT for fee in delta.fees_wei)
        pairs = enumerate(zip(delta.amounts_wei, shares, strict=True))
        return moved(state, {k: delta.sign * amount - share for k, (amount, share) in pairs}, delta.supply)
    if isinstance(delta, OneCoinDelta):
        return _after_one_coin(state, delta)
    if isinstance(delta, RampDelta):
        changes = {"initial_a": delta.initial, "future_a": delta.future, "initial_a_time": delta.start}
        return msgspec.structs.replace(state, **changes, future_a_time=delta.end, as_of=0)
    given = {name: value for name in FeeDelta.__struct_fields__ if (value := getattr(delta, name)) is not None}
    return msgspec.structs.replace(state, **given, as_of=0)


def _after_exchange(state: S, delta: ExchangeDelta) -> S:
    """The administrator's share is in no log: the exchange is computed again, by the input, then by the output.

    Where neither gives the log's amounts a rate has moved; the share is taken from the amounts then, and the
    re-read of the balances settles it.
    """
    if delta.i == delta.j:
        raise DecodeError(f"an exchange of coin {delta.i} for itself")
    try:
        found = exchanged(state, delta.i, delta.j, delta.sold_wei, delta.timestamp)
        if found.out == delta.bought_wei:
            return moved(state, {delta.i: delta.sold_wei, delta.j: -found.out - found.admin})
        if isinstance(state, SaddleState):
            paid, admin = bought(state, delta.i, delta.j, delta.bought_wei, delta.timestamp)
            if paid == delta.sold_wei:
                return moved(state, {delta.i: paid - admin, delta.j: -delta.bought_wei})
    except QuoteError:
        pass
    if state.family == SaddleState.family:
        raise DecodeError(f"the swap of {delta.sold_wei} for {delta.bought_wei} does not follow from the state")
    charged = delta.bought_wei * state.fee // max(FEE_UNIT - state.fee, 1)
    share = charged * state.admin_fee // FEE_UNIT
    return moved(state, {delta.i: delta.sold_wei, delta.j: -delta.bought_wei - share})


def bought(state: StableState, i: int, j: int, amount_out: int, timestamp: int) -> tuple[int, int]:
    """Saddle's ``swapOut``: (input, administrator's share of it) for an exact output; the fee is on the input."""
    xp = list(scaled(state.rates, state.balances_wei))
    amp = state.amp(timestamp)
    d = solve_d(state.form, tuple(xp), amp)
    unit_in, unit_out = (state.rates[k] // 10**18 for k in (i, j))
    xp[j] -= amount_out * unit_out
    if xp[j] <= 0:
        raise QuoteError("insufficient liquidity")
    more = solve_y(state.form, tuple(xp), i, amp, d) - xp[i] + 1
    charged = more * state.fee // FEE_UNIT
    return (more + charged) // unit_in, charged * state.admin_fee // FEE_UNIT // unit_in


def _after_one_coin(state: S, delta: OneCoinDelta) -> S:
    if not state.supply or not 0 < delta.burnt <= state.supply:
        raise DecodeError(f"{delta.burnt} of a supply of {state.supply} were burnt")
    rates = state.rates_at(delta.timestamp)
    xp = scaled(rates, state.balances_wei)
    left = state.supply - delta.burnt
    candidates = range(len(state.tokens)) if delta.coin is None else (delta.coin,)
    found: list[tuple[int, int]] = []
    for coin in candidates:
        try:
            amount, fee = one_coin(
                state.form,
                rates,
                xp,
                state.amp(delta.timestamp),
                state.fees,
                (delta.burnt, state.supply),
                coin,
            )
        except (QuoteError, ZeroDivisionError):
            continue
        if amount == delta.amount_wei:
            found.append((coin, fee * state.admin_fee // FEE_UNIT))
    if len(found) == 1:
        coin, share = found[0]
        return moved(state, {coin: -delta.amount_wei - share}, left)
    if delta.coin is None or state.family == SaddleState.family:
        raise DecodeError(f"a withdrawal of {delta.amount_wei} in one coin fits {len(found)} coins of the state")
    return moved(state, {delta.coin: -delta.amount_wei}, left)


def to_json(state: StableState) -> dict[str, Any]:
    """A tagged, JSON-safe form."""
    meta = ("base", "vp_cached", "vp_updated") if isinstance(state, CurveMetaState) else ()
    small = (
        *meta,
        "address",
        "initial_a",
        "future_a",
        "initial_a_time",
        "future_a_time",
        "fee",
        "admin_fee",
        "off_peg",
    )
    return {
        "family": state.family,
        "tokens": list(state.tokens),
        "rates": [str(rate) for rate in state.rates],
        "balances_wei": [str(held) for held in state.balances_wei],
        "supply": str(state.supply),
        **{name: getattr(state, name) for name in (*small, "a_precision", "rounding", "killed", "as_of")},
    }


def _integers(value: Any, field: str, n: int, low: int, high: int) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) != n:
        raise ValueError(f"{field}: a list of {n} integers is expected, got {value!r:.80}")
    return tuple(jsonform.integer(one, f"{field}[{k}]", low, high) for k, one in enumerate(value))


def tokens_from_json(value: Any, most: int = MAX_COINS) -> tuple[Address, ...]:
    """Two to ``most`` different addresses in the contract's order."""
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= most:
        raise ValueError(f"tokens: a list of 2 to {most} addresses is expected, got {value!r:.80}")
    tokens = tuple(jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(value))
    if len(set(tokens)) != len(tokens):
        raise ValueError("tokens: a coin is there twice")
    return tokens


def from_json(kind: type[S], value: dict[str, Any]) -> S:
    """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
    found = jsonform.fields(value, kind.family, kind.__struct_fields__)

    def number(field: str, low: int, high: int) -> int:
        return jsonform.integer(found[field], field, low, high)

    tokens = tokens_from_json(found["tokens"])
    precision = number("a_precision", 1, 100)
    if precision not in (1, 100):
        raise ValueError(f"a_precision: {precision} is neither 1 nor 100")
    more: dict[str, Any] = {}
    if issubclass(kind, CurveMetaState):
        base = found["base"]
        more["base"] = base if base == "" else jsonform.address(base, "base")
        more["vp_cached"], more["vp_updated"] = number("vp_cached", 0, MAX_RATE), number("vp_updated", 0, MAX_TIME)
    state = kind(
        **more,
        address=jsonform.address(found["address"], "address"),
        tokens=tokens,
        rates=_integers(found["rates"], "rates", len(tokens), 1, MAX_RATE),
        balances_wei=_integers(found["balances_wei"], "balances_wei", len(tokens), 0, MAX_BALANCE),
        initial_a=number("initial_a", 1, MAX_A),
        future_a=number("future_a", 1, MAX_A),
        initial_a_time=number("initial_a_time", 0, MAX_TIME),
        future_a_time=number("future_a_time", 0, MAX_TIME),
        fee=number("fee", 0, FEE_UNIT - 1),
        admin_fee=number("admin_fee", 0, FEE_UNIT),
        off_peg=number("off_peg", 0, 1 << 64),
        supply=number("supply", 0, _U256),
        a_precision=precision,
        rounding=number("rounding", EACH, PRODUCT),
        killed=jsonform.boolean(found["killed"], "killed"),
        as_of=number("as_of", 0, MAX_TIME),
    )
    if state.ramping and state.future_a_time <= state.initial_a_time:
        raise ValueError("future_a_time: a ramp ends after it starts")
    return state
