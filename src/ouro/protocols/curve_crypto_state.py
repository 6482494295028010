"""A Twocrypto pool as a value, and one exchange with all that it changes: price average, scale, profit."""

from math import isqrt
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.curve_crypto_math import (
    A_UNIT,
    MAX_WIDE_GAMMA,
    UNIT,
    N,
    Pair,
    checked,
    get_p,
    get_y,
    newton_d,
    require,
    stable_d,
    stable_p,
    stable_y,
    wad_exp,
)
from ouro.types import Address

FEE_UNIT = 10**10
MAX_BALANCE = (1 << 128) - 1
MAX_PRICE = 10**40
MAX_TIME = (1 << 63) - 1
CLASSIC, LATER, STABLE = "v2.0.0", "v2.1.0", "stable"
MATHS = (CLASSIC, LATER, STABLE)
RULES = (CLASSIC, LATER)
_U256 = (1 << 256) - 1
Balances = TypeVar("Balances")


class Fees(NamedTuple):
    """Fee at the peg and far from it (of 10^10), and how sharply one becomes the other (of 10^18)."""

    mid: int
    out: int
    gamma: int


class Rebalancing(NamedTuple):
    """Profit that must be there beyond half of all, least step (both of 10^18), time of the average in s / ln 2."""

    extra_profit: int
    step: int
    ma_time: int


def ramped(initial: Pair, future: Pair, start: int, end: int, now: int) -> Pair:
    """A and gamma on their ramp between two times. Raises ``QuoteError`` before it starts."""
    if now >= end:
        return future
    whole, gone = end - start, now - start
    if gone < 0:
        raise QuoteError("the ramp of A and gamma starts after the executing block")
    first, last = (
        (one * (whole - gone) + other * gone) // whole for one, other in zip(initial, future, strict=True)
    )
    return first, last


class TwocryptoState(msgspec.Struct, frozen=True):
    """A pool. ``precisions``: 10^(18 - decimals). ``initial``, ``future``: (A, gamma) on a ramp between two times.

    ``price_oracle`` is the average as stored at ``updated``, ``last_price`` the price after the last exchange.
    ``maths`` is the invariant and how it is solved (``STABLE`` is StableSwap's), ``rules`` the pool's own version:
    fee, profit and what a new price scale needs. ``as_of``: the time that ``at`` made the state for, 0 where logs
    or getters did.
    """

    family: ClassVar[str] = "twocrypto"

    address: Address
    tokens: tuple[Address, Address]
    precisions: Pair
    balances_wei: Pair
    initial: Pair
    future: Pair
    initial_time: int
    future_time: int
    d: int
    price_scale: int
    price_oracle: int
    last_price: int
    updated: int
    xcp_profit: int
    virtual_price: int
    supply: int
    fees: Fees
    rebalancing: Rebalancing
    maths: str = CLASSIC
    rules: str = CLASSIC
    as_of: int = 0

    def parameters(self, now: int) -> Pair:
        """(A, gamma) at a block time."""
        return ramped(self.initial, self.future, self.initial_time, self.future_time, now)

    def solved_d(self, now: int, xp: Pair, k0: int = 0) -> int:
        """D of scaled balances by the pool's maths."""
        ann, gamma = self.parameters(now)
        return stable_d(ann, xp) if self.maths == STABLE else newton_d(ann, gamma, xp, k0, self.maths == LATER)

    def solved_y(self, now: int, other: int, d: int) -> Pair:
        """(the coin that goes with ``other``, K0 or 0) by the pool's maths."""
        ann, gamma = self.parameters(now)
        if self.maths == STABLE:
            return stable_y(ann, other, d), 0
        return get_y(ann, gamma, other, d, self.maths == LATER)

    def priced(self, now: int, xp: Pair, d: int) -> int:
        """The price of coin 1 in coin 0 before the price scale."""
        ann, gamma = self.parameters(now)
        return stable_p(xp, d, ann) if self.maths == STABLE else get_p(xp, d, ann, gamma)

    def scaled(self, balances: Pair) -> Pair:
        """Balances in 18 decimals of coin 0."""
        x = balances[0] * self.precisions[0]
        return x, checked(balances[1] * self.price_scale * self.precisions[1]) // UNIT


def fee_at(fees: Fees, xp: Pair, rules: str = CLASSIC) -> int:
    """The fee (of 10^10) at scaled balances."""
    total = sum(xp)
    balance = UNIT * N**N * xp[0] // total * xp[1] // total
    if rules == LATER:
        part = fees.gamma * balance
        weight = part // (part // UNIT + UNIT - balance)
    else:
        weight = fees.gamma * UNIT // (fees.gamma + UNIT - balance)
    return (fees.mid * weight + fees.out * (UNIT - weight)) // UNIT


class Bought(NamedTuple, Generic[Balances]):
    """An exchange before the pool thinks about its price: output, balances (scaled) after it, K0 for the next D."""

    out: int
    xp: Balances
    k0: int
    d: int


def invariant(state: TwocryptoState, now: int) -> int:
    """The stored D, or while a ramp runs a new one."""
    if state.future_time <= now:
        return state.d
    return state.solved_d(now, state.scaled(state.balances_wei))


def gross_out(state: TwocryptoState, i: int, amount_in: int, now: int) -> tuple[int, Pair, int, int]:
    """(output in token units before the fee, scaled balances there, K0, D)."""
    j = 1 - i
    after = state.balances_wei[0] + (amount_in if i == 0 else 0), state.balances_wei[1] + (amount_in if i else 0)
    d, xp = invariant(state, now), state.scaled(after)
    y, k0 = state.solved_y(now, xp[i], d)
    gained = checked(xp[j] - y)
    there = (xp[0], y) if j else (y, xp[1])
    gained = checked(gained - 1)
    if j:
        gained = gained * UNIT // state.price_scale
    return gained // state.precisions[j], there, k0, d


def bought(state: TwocryptoState, i: int, amount_in: int, now: int) -> Bought[Pair]:
    """What ``exchange`` pays."""
    gross, there, k0, d = gross_out(state, i, amount_in, now)
    out = gross - fee_at(state.fees, there, state.rules) * gross // FEE_UNIT
    held = list(state.balances_wei)
    held[i] += amount_in
    held[1 - i] -= out
    if held[1 - i] < 0:
        raise QuoteError("insufficient liquidity")
    xp = state.scaled((held[0], held[1]))
    # the contract keeps the input's scaled balance from before
    return Bought(out, xp, k0, d)


def exchanged(state: TwocryptoState, i: int, amount_in: int, now: int) -> tuple[int, TwocryptoState]:
    """(output, the pool after ``exchange``). Raises ``QuoteError`` where the contract reverts."""
    found = bought(state, i, amount_in, now)
    held = list(state.balances_wei)
    held[i] += amount_in
    held[1 - i] -= found.out
    if max(held) > MAX_BALANCE:
        raise QuoteError("the balance would leave 128 bits")
    moved = msgspec.structs.replace(state, balances_wei=(held[0], held[1]), d=found.d, as_of=0)
    return found.out, tweaked(moved, found.xp, found.k0, now)


def _averaged(state: TwocryptoState, now: int) -> int:
    """The price average brought up to ``now``: the last price counts for the time since, at most 2·scale."""
    if state.updated >= now:
        return state.price_oracle
    alpha = wad_exp(-((now - state.updated) * UNIT // state.rebalancing.ma_time))
    last = min(state.last_price, 2 * state.price_scale)
    return (last * (UNIT - alpha) + state.price_oracle * alpha) // UNIT


def half_value(d: int, price_scale: int, rules: str = CLASSIC) -> int:
    """Geometric mean of what D is worth in both coins."""
    if rules == LATER:
        return d * UNIT // N // isqrt(UNIT * price_scale)
    return isqrt(d // N * (d * UNIT // (N * price_scale)))


def tweaked(state: TwocryptoState, xp: Pair, k0: int, now: int, d: int = 0) -> TwocryptoState:
    """The pool after its price tweak: average, last price, profit; a new scale where profit allows."""
    oracle = _averaged(state, now)
    d = d or state.solved_d(now, xp, k0)
    last_price = state.priced(now, xp, d) * state.price_scale // UNIT
    virtual, profit = UNIT, UNIT
    if state.virtual_price:
        later = state.rules == LATER
        virtual = UNIT * half_value(d, state.price_scale, state.rules) // state.supply + later
        profit = state.xcp_profit * virtual // state.virtual_price
        ramping = state.future_time >= now + later
        require(ramping or virtual > state.virtual_price, "a loss")
    common = {
        "price_oracle": oracle,
        "updated": max(now, state.updated),
        "last_price": last_price,
        "xcp_profit": profit,
    }
    rescaled = _rescaled(state, xp, now, oracle, virtual, profit)
    if rescaled is not None:
        return msgspec.structs.replace(state, **common, **rescaled)
    return msgspec.structs.replace(state, **common, d=d, virtual_price=virtual)


def _profit_left(state: TwocryptoState, virtual: int, profit: int, extra: int) -> bool:
    """Whether the pool has earned more than what its providers keep."""
    if state.rules == LATER:
        return checked(virtual - extra) ** 2 > profit * UNIT
    return checked(virtual * 2 - UNIT) > profit + 2 * extra


def _rescaled(
    state: TwocryptoState, xp: Pair, now: int, oracle: int, virtual: int, profit: int
) -> dict[str, int] | None:
    """A step of the price scale towards the average; None where profit or distance are too small."""
    extra_profit, least_step, _ = state.rebalancing
    scale = state.price_scale
    if not _profit_left(state, virtual, profit, extra_profit):
        return None
    distance = abs(oracle * UNIT // scale - UNIT)
    step = max(least_step, distance // 5)
    if distance <= step:
        return None
    new_scale = (scale * (distance - step) + step * oracle) // distance
    moved = xp[0], xp[1] * new_scale // scale
    d = state.solved_d(now, moved)
    if state.rules == CLASSIC:
        require(all(10**16 - 1 < x * UNIT // d < 10**20 + 1 for x in moved), "the new price scale")
    after = UNIT * half_value(d, new_scale, state.rules) // state.supply
    if after > UNIT and _profit_left(state, after, profit, 0):
        return {"d": d, "virtual_price": after, "price_scale": new_scale}
    return None


class ExchangeDelta(msgspec.Struct, frozen=True):
    """An exchange; the event tells the price scale after it. ``j`` is the coin bought, -1 for the other of two."""

    i: int
    sold_wei: int
    bought_wei: int
    price_scale: int
    timestamp: int
    j: int = -1


class OtherDelta(msgspec.Struct, frozen=True):
    """Something that moves more than its event tells: a deposit, a withdrawal, a claim. To be read again."""

    balances: tuple[int, ...]


class RampDelta(msgspec.Struct, frozen=True):
    """(A, gamma) from one pair to another between two times."""

    initial: Pair
    future: Pair
    start: int
    end: int


CryptoDelta = ExchangeDelta | OtherDelta | RampDelta


def applied(state: TwocryptoState, delta: CryptoDelta) -> TwocryptoState:
    """The pool after a log. Raises ``DecodeError`` where the log contradicts the state."""
    replace = msgspec.structs.replace
    if isinstance(delta, RampDelta):
        ramp = {"initial": delta.initial, "future": delta.future, "initial_time": delta.start}
        return replace(state, **ramp, future_time=delta.end, as_of=0)
    if isinstance(delta, ExchangeDelta):
        try:
            out, after = exchanged(state, delta.i, delta.sold_wei, delta.timestamp)
        except QuoteError:
            out, after = -1, state
        if (out, after.price_scale) == (delta.bought_wei, delta.price_scale):
            return after
        changes = [0, 0]
        changes[delta.i], changes[1 - delta.i] = delta.sold_wei, -delta.bought_wei
        return _moved(replace(state, price_scale=delta.price_scale), (changes[0], changes[1]))
    return _moved(state, delta.balances)


def _moved(state: TwocryptoState, changes: tuple[int, ...]) -> TwocryptoState:
    held = tuple(now + change for now, change in zip(state.balances_wei, changes, strict=True))
    if not all(0 <= one <= MAX_BALANCE for one in held):
        raise DecodeError(f"balances of {state.address} would become {held}")
    return msgspec.structs.replace(state, balances_wei=(held[0], held[1]), as_of=0)


_PAIRS = {"precisions": (1, UNIT), "balances_wei": (0, MAX_BALANCE)}
_NUMBERS = {
    "initial_time": MAX_TIME,
    "future_time": MAX_TIME,
    "d": _U256,
    "price_scale": MAX_PRICE,
    "price_oracle": MAX_PRICE,
    "last_price": MAX_PRICE,
    "updated": MAX_TIME,
    "xcp_profit": _U256,
    "virtual_price": _U256,
    "supply": _U256,
    "as_of": MAX_TIME,
}


def to_json(state: TwocryptoState) -> dict[str, Any]:
    """A tagged, JSON-safe form."""
    groups = ("precisions", "balances_wei", "initial", "future", "fees", "rebalancing")
    return {
        "family": state.family,
        "address": state.address,
        "tokens": list(state.tokens),
        "maths": state.maths,
        "rules": state.rules,
        **{name: [str(value) for value in getattr(state, name)] for name in groups},
        **{name: str(getattr(state, name)) for name in _NUMBERS},
    }


def from_json(value: dict[str, Any]) -> TwocryptoState:
    """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
    found = jsonform.fields(value, TwocryptoState.family, TwocryptoState.__struct_fields__)
    tokens = found["tokens"]
    if not isinstance(tokens, list | tuple) or len(tokens) != N:
        raise ValueError(f"tokens: a list of two addresses is expected, got {tokens!r:.80}")
    first, second = (jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(tokens))
    if first == second:
        raise ValueError(f"tokens: {first} is there twice")
    ramp = ((1, 4000 * A_UNIT), (1, MAX_WIDE_GAMMA))

    def group(name: str, bounds: tuple[Pair, ...]) -> tuple[int, ...]:
        return jsonform.integers(found[name], name, bounds)

    pairs: dict[str, Any] = {name: group(name, (bound, bound)) for name, bound in _PAIRS.items()}
    pairs.update({name: group(name, ramp) for name in ("initial", "future")})
    fees = Fees(*group("fees", ((0, FEE_UNIT), (0, FEE_UNIT), (1, UNIT))))
    rebalancing = Rebalancing(*group("rebalancing", ((0, UNIT), (0, UNIT), (1, 1 << 64))))
    numbers: dict[str, Any] = {
        name: jsonform.integer(found[name], name, 0, most) for name, most in _NUMBERS.items()
    }
    if not numbers["price_scale"]:
        raise ValueError("price_scale: 0")
    if not numbers["supply"] and numbers["virtual_price"]:
        raise ValueError("supply: 0 with a virtual price")
    return TwocryptoState(
        address=jsonform.address(found["address"], "address"),
        tokens=(first, second),
        fees=fees,
        rebalancing=rebalancing,
        maths=jsonform.one_of(found["maths"], "maths", MATHS),
        rules=jsonform.one_of(found["rules"], "rules", RULES),
        **pairs,
        **numbers,
    )
