"""A Tricrypto pool as a value, and one exchange with all that it changes: price averages, scales, profit."""

from math import isqrt
from typing import Any, ClassVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.curve_crypto_math import A_UNIT, UNIT, checked, require, wad_exp
from ouro.protocols.curve_crypto_state import (
    FEE_UNIT,
    MAX_BALANCE,
    MAX_PRICE,
    MAX_TIME,
    Bought,
    ExchangeDelta,
    Fees,
    OtherDelta,
    RampDelta,
    Rebalancing,
    ramped,
)
from ouro.protocols.curve_tricrypto_math import (
    MAX_A,
    MAX_GAMMA,
    N,
    Pair,
    Triple,
    fee_weight,
    geometric_mean,
    get_p,
    get_y,
    newton_d,
    within,
)
from ouro.types import Address

_U256 = (1 << 256) - 1
CryptoDelta = ExchangeDelta | OtherDelta | RampDelta


class TricryptoState(msgspec.Struct, frozen=True):
    """A pool. Prices are those of coins 1 and 2 in coin 0. ``initial``, ``future``: (A, gamma) between two times.

    ``capped`` says whether a last price counts for the average with twice the price scale at most (pools without
    native coin, from version 2.0.0 of the second kind on). The rest as in ``TwocryptoState``.
    """

    family: ClassVar[str] = "tricrypto"

    address: Address
    tokens: tuple[Address, Address, Address]
    precisions: Triple
    balances_wei: Triple
    initial: Pair
    future: Pair
    initial_time: int
    future_time: int
    d: int
    price_scale: Pair
    price_oracle: Pair
    last_price: Pair
    updated: int
    xcp_profit: int
    virtual_price: int
    supply: int
    fees: Fees
    rebalancing: Rebalancing
    capped: bool = False
    as_of: int = 0

    def parameters(self, now: int) -> Pair:
        """A and gamma at a block time."""
        return ramped(self.initial, self.future, self.initial_time, self.future_time, now)

    def scaled(self, balances: Triple) -> Triple:
        """Balances in 18 decimals of coin 0."""
        x, y, z = (held * unit for held, unit in zip(balances, self.precisions, strict=True))
        first, second = self.price_scale
        return x, checked(y * first) // UNIT, checked(z * second) // UNIT

    def price_of(self, k: int) -> int:
        """The price scale of coin ``k``."""
        return self.price_scale[k - 1] if k else UNIT


def fee_at(fees: Fees, xp: Triple) -> int:
    """The fee (of 10^10) at scaled balances."""
    weight = fee_weight(xp, fees.gamma)
    return (fees.mid * weight + fees.out * checked(UNIT - weight)) // UNIT


def invariant(state: TricryptoState, now: int) -> int:
    """The stored D, or while a ramp runs a new one."""
    if state.future_time <= now:
        return state.d
    return newton_d(*state.parameters(now), state.scaled(state.balances_wei))


def _with(values: Triple, k: int, value: int) -> Triple:
    return tuple(value if place == k else one for place, one in enumerate(values))  # pyright: ignore[reportReturnType]


def bought(state: TricryptoState, i: int, j: int, amount_in: int, now: int) -> Bought[Triple]:
    """What ``exchange`` pays."""
    held = _with(state.balances_wei, i, state.balances_wei[i] + amount_in)
    d, xp = invariant(state, now), state.scaled(held)
    y, k0 = get_y(*state.parameters(now), xp, d, j)
    gross = checked(checked(xp[j] - y) - 1)
    if j:
        gross = checked(gross * UNIT) // state.price_of(j)
    gross //= state.precisions[j]
    out = gross - fee_at(state.fees, _with(xp, j, y)) * gross // FEE_UNIT
    left = held[j] - out
    if out < 0 or left < 0:
        raise QuoteError("insufficient liquidity")
    scaled = left * state.precisions[j]
    return Bought(out, _with(xp, j, checked(scaled * state.price_of(j)) // UNIT if j else scaled), k0, d)


def exchanged(state: TricryptoState, i: int, j: int, amount_in: int, now: int) -> tuple[int, TricryptoState]:
    """(output, the pool after ``exchange``). Raises ``QuoteError`` where the contract reverts."""
    found = bought(state, i, j, amount_in, now)
    held = _with(
        _with(state.balances_wei, i, state.balances_wei[i] + amount_in), j, state.balances_wei[j] - found.out
    )
    if max(held) > MAX_BALANCE:
        raise QuoteError("the balance would leave 128 bits")
    moved = msgspec.structs.replace(state, balances_wei=held, d=found.d, as_of=0)
    return found.out, tweaked(moved, found.xp, found.k0, now)


def _averaged(state: TricryptoState, now: int) -> Pair:
    """The price averages brought up to ``now``."""
    if state.updated >= now:
        return state.price_oracle
    alpha = wad_exp(-((now - state.updated) * UNIT // state.rebalancing.ma_time))
    found = []
    for average, last, scale in zip(state.price_oracle, state.last_price, state.price_scale, strict=True):
        counted = min(last, 2 * scale) if state.capped else last
        found.append(checked(counted * (UNIT - alpha) + average * alpha) // UNIT)
    return found[0], found[1]


def value(d: int, price_scale: Pair) -> int:
    """Geometric mean of what D is worth in the three coins."""
    first, second = (checked(d * UNIT) // (N * price) for price in price_scale)
    return geometric_mean((d // N, first, second))


def tweaked(state: TricryptoState, xp: Triple, k0: int, now: int) -> TricryptoState:
    """The pool after its price tweak: averages, last prices, profit; new scales where profit allows."""
    ann, gamma = state.parameters(now)
    oracle = _averaged(state, now)
    d = newton_d(ann, gamma, xp, k0)
    last = get_p(xp, d, ann, gamma)
    virtual, profit = UNIT, UNIT
    if state.virtual_price:
        virtual = UNIT * value(d, state.price_scale) // state.supply
        profit = state.xcp_profit * virtual // state.virtual_price
        require(state.future_time >= now or virtual > state.virtual_price, "a loss")
    first, second = (price * scale // UNIT for price, scale in zip(last, state.price_scale, strict=True))
    require(max(*oracle, first, second) < MAX_BALANCE, "a price beyond its word")
    common = {
        "price_oracle": oracle,
        "updated": max(now, state.updated),
        "last_price": (first, second),
        "xcp_profit": profit,
    }
    rescaled = _rescaled(state, xp, (ann, gamma), oracle, virtual, profit)
    if rescaled is not None:
        return msgspec.structs.replace(state, **common, **rescaled)
    return msgspec.structs.replace(state, **common, d=d, virtual_price=virtual)


def _rescaled(
    state: TricryptoState, xp: Triple, parameters: Pair, oracle: Pair, virtual: int, profit: int
) -> dict[str, Any] | None:
    """A step of the price scales towards the averages; None where profit or distance are too small."""
    extra_profit, least_step, _ = state.rebalancing
    if checked(virtual * 2 - UNIT) <= profit + 2 * extra_profit:
        return None
    scales = list(zip(oracle, state.price_scale, strict=True))
    distance = isqrt(sum((average * UNIT // scale - UNIT) ** 2 for average, scale in scales))
    step = max(least_step, distance // 5)
    if distance <= step:
        return None
    first, second = (checked(scale * (distance - step) + step * average) // distance for average, scale in scales)
    moved = xp[0], checked(xp[1] * first) // state.price_scale[0], checked(xp[2] * second) // state.price_scale[1]
    d = newton_d(*parameters, moved)
    require(all(within(one * UNIT // d, 0) for one in moved), "the new price scale")
    after = UNIT * value(d, (first, second)) // state.supply
    if after > UNIT and 2 * after - UNIT > profit:
        return {"d": d, "virtual_price": after, "price_scale": (first, second)}
    return None


def packed(prices: Pair) -> int:
    """Two prices as the contract stores and logs them."""
    return prices[1] << 128 | prices[0]


def unpacked(word: int) -> Pair:
    """The inverse of ``packed``."""
    return word & MAX_BALANCE, word >> 128


def applied(state: TricryptoState, delta: CryptoDelta) -> TricryptoState:
    """The pool after a log. Raises ``DecodeError`` where the log contradicts the state."""
    replace = msgspec.structs.replace
    if isinstance(delta, RampDelta):
        ramp = {"initial": delta.initial, "future": delta.future, "initial_time": delta.start}
        return replace(state, **ramp, future_time=delta.end, as_of=0)
    if isinstance(delta, ExchangeDelta):
        try:
            out, after = exchanged(state, delta.i, delta.j, delta.sold_wei, delta.timestamp)
        except QuoteError:
            out, after = -1, state
        if (out, packed(after.price_scale)) == (delta.bought_wei, delta.price_scale):
            return after
        changes = [0] * N
        changes[delta.i], changes[delta.j] = delta.sold_wei, -delta.bought_wei
        scales = unpacked(delta.price_scale)
        if not all(0 < one <= MAX_PRICE for one in scales):
            raise DecodeError(f"{state.address} would have the price scales {scales}")
        return _moved(replace(state, price_scale=scales), tuple(changes))
    return _moved(state, delta.balances)


def _moved(state: TricryptoState, changes: tuple[int, ...]) -> TricryptoState:
    held = tuple(now + change for now, change in zip(state.balances_wei, changes, strict=True))
    if not all(0 <= one <= MAX_BALANCE for one in held):
        raise DecodeError(f"balances of {state.address} would become {held}")
    return msgspec.structs.replace(state, balances_wei=held, as_of=0)


_RAMP = ((1, MAX_A), (1, MAX_GAMMA))
_PRICES = ((1, MAX_PRICE), (1, MAX_PRICE))
_AVERAGES = ((0, MAX_PRICE), (0, MAX_PRICE))
_GROUPS: dict[str, tuple[Pair, ...]] = {
    "precisions": ((1, UNIT),) * N,
    "balances_wei": ((0, MAX_BALANCE),) * N,
    "initial": _RAMP,
    "future": _RAMP,
    "price_scale": _PRICES,
    "price_oracle": _AVERAGES,
    "last_price": _AVERAGES,
    "fees": ((0, FEE_UNIT), (0, FEE_UNIT), (0, UNIT)),
    "rebalancing": ((0, UNIT), (0, UNIT), (1, 1 << 64)),
}
_NUMBERS = {
    "initial_time": MAX_TIME,
    "future_time": MAX_TIME,
    "d": _U256,
    "updated": MAX_TIME,
    "xcp_profit": _U256,
    "virtual_price": _U256,
    "supply": _U256,
    "as_of": MAX_TIME,
}
assert A_UNIT * N**N * 1000 == MAX_A


def to_json(state: TricryptoState) -> dict[str, Any]:
    """A tagged, JSON-safe form."""
    return {
        "family": state.family,
        "address": state.address,
        "tokens": list(state.tokens),
        "capped": state.capped,
        **{name: [str(one) for one in getattr(state, name)] for name in _GROUPS},
        **{name: str(getattr(state, name)) for name in _NUMBERS},
    }


def from_json(source: dict[str, Any]) -> TricryptoState:
    """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
    found = jsonform.fields(source, TricryptoState.family, TricryptoState.__struct_fields__)
    tokens = found["tokens"]
    if not isinstance(tokens, list | tuple) or len(tokens) != N:
        raise ValueError(f"tokens: a list of three addresses is expected, got {tokens!r:.80}")
    coins = tuple(jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(tokens))
    if len(set(coins)) != N:
        raise ValueError(f"tokens: one is there twice among {', '.join(coins)}")
    groups: dict[str, Any] = {
        name: jsonform.integers(found[name], name, bounds) for name, bounds in _GROUPS.items()
    }
    groups["fees"], groups["rebalancing"] = Fees(*groups["fees"]), Rebalancing(*groups["rebalancing"])
    numbers: dict[str, Any] = {
        name: jsonform.integer(found[name], name, 0, most) for name, most in _NUMBERS.items()
    }
    if not numbers["supply"] and numbers["virtual_price"]:
        raise ValueError("supply: 0 with a virtual price")
    return TricryptoState(
        address=jsonform.address(found["address"], "address"),
        tokens=(coins[0], coins[1], coins[2]),
        capped=jsonform.boolean(found["capped"], "capped"),
        **groups,
        **numbers,
    )
