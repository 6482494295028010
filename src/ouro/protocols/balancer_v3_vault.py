"""What Balancer's third Vault does around a pool's curve: live balances, fees, rounding, its books after a swap.

Formulas: ``Vault.swap``, ``PoolDataLib`` and ``ScalingHelpers`` of v3-vault 1.0.0. A token's amount becomes 18
decimals at its rate: rounded down for what comes in and for what leaves, the output's rate rounded up for both. The
fee is taken in 18 decimals, rounded up; the protocol's share of it, in the token's units, leaves the pool. Before
each swap the Vault takes the protocol's share of what tokens have yielded since the last change.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ouro.protocols.balancer_math import ONE, checked, div_down, div_up, mul_down, mul_up
from ouro.protocols.balancer_v2_vault import check_direction
from ouro.protocols.balancer_v3_state import MAX_BALANCE
from ouro.protocols.base import Limits, Quote, QuoteError
from ouro.types import BlockContext


class Curve(NamedTuple):
    """A pool's ``onSwap``: (balances, place in, place out, net amount) → the other amount, all in 18 decimals."""

    out_given_in: Callable[[Sequence[int], int, int, int], int]
    in_given_out: Callable[[Sequence[int], int, int, int], int]


def rounded_up(rate: int) -> int:
    """``computeRateRoundUp``: whole rates are exact, others may be short by a unit."""
    return rate if rate % ONE == 0 else rate + 1


def live(state: Any, k: int, balance: int) -> int:
    """A balance in 18 decimals at its rate."""
    return mul_down(checked(balance * state.scaling[k]), state.rates[k])


def settled(state: Any) -> Any:
    """The pool as any change finds it: the protocol's share of yield has left, live balances are of now."""
    balances, lives = list(state.balances), []
    taxed = state.aggregate_yield_fee > 0 and not state.rescued
    for k, balance in enumerate(state.balances):
        now = live(state, k, balance)
        if taxed and state.pays_yield[k] and now > state.last_live[k]:
            due = mul_up(now - state.last_live[k], state.aggregate_yield_fee)
            due_raw = div_down(due, state.scaling[k] * state.rates[k])
            if due_raw:
                balances[k] -= due_raw
                if balances[k] < 0:
                    raise QuoteError("the yield fee exceeds the balance")
                now = live(state, k, balances[k])
        lives.append(now)
    if max(*balances, *lives) > MAX_BALANCE:
        raise QuoteError("the Vault's balance would overflow")
    return msgspec.structs.replace(state, balances=tuple(balances), last_live=tuple(lives))


def moved(state: Any, i: int, j: int, amount_in: int, amount_out: int, fee_raw: int) -> Any:
    """A settled pool after a swap; ``fee_raw`` is the whole fee in units of the input."""
    taken = 0 if state.rescued else mul_down(fee_raw, state.aggregate_swap_fee)
    balances, lives = list(state.balances), list(state.last_live)
    balances[i] += amount_in - taken
    balances[j] -= amount_out
    if balances[j] < 0:
        raise QuoteError("insufficient liquidity")
    for k in (i, j):
        lives[k] = live(state, k, balances[k])
        if max(balances[k], lives[k]) > MAX_BALANCE:
            raise QuoteError("the Vault's balance would overflow")
    return msgspec.structs.replace(state, balances=tuple(balances), last_live=tuple(lives))


def _trade(state: Any, amount: int) -> int:
    if amount < state.least_trade:
        raise QuoteError(f"the Vault takes nothing below {state.least_trade} (18 decimals)")
    return amount


def _opened(state: Any, i: int, j: int, amount: int) -> Any:
    check_direction(state, i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if state.stopped:
        raise QuoteError("the pool or the whole Vault is paused")
    return settled(state)


def quote_in(state: Any, i: int, j: int, amount_in: int, curve: Curve, gas: int) -> Quote:
    """A swap given in."""
    fresh = _opened(state, i, j, amount_in)
    given = mul_down(checked(amount_in * fresh.scaling[i]), fresh.rates[i])
    fee = mul_up(given, fresh.swap_fee)
    net = _trade(fresh, given - fee)
    out = _trade(fresh, curve.out_given_in(fresh.last_live, i, j, net))
    amount_out = div_down(out, fresh.scaling[j] * rounded_up(fresh.rates[j]))
    fee_raw = div_down(fee, fresh.scaling[i] * fresh.rates[i])
    return Quote(amount_in, amount_out, gas, moved(fresh, i, j, amount_in, amount_out, fee_raw))


def quote_out(state: Any, i: int, j: int, amount_out: int, curve: Curve, gas: int) -> Quote:
    """A swap given out."""
    fresh = _opened(state, i, j, amount_out)
    given = _trade(fresh, mul_up(checked(amount_out * fresh.scaling[j]), rounded_up(fresh.rates[j])))
    net = _trade(fresh, curve.in_given_out(fresh.last_live, i, j, given))
    fee = -(-checked(net * fresh.swap_fee) // (ONE - fresh.swap_fee))
    amount_in = div_up(checked(net + fee), fresh.scaling[i] * fresh.rates[i])
    fee_raw = div_down(fee, fresh.scaling[i] * fresh.rates[i])
    return Quote(amount_in, amount_out, gas, moved(fresh, i, j, amount_in, amount_out, fee_raw))


def most_below(family: Any, state: Any, i: int, j: int, most_in: int, context: BlockContext) -> Limits:
    """The largest input up to ``most_in`` that the pool takes, by bisection between the least trade and that."""
    low, best = 0, 0
    for shift in range(0, 40, 4):  # below the least trade nothing is taken either
        tried = most_in >> shift
        found = _tried(family, state, i, j, tried, context) if tried > 0 else None
        if found is not None:
            low, best = tried, found
            break
    if not low or low == most_in:
        return Limits(low, best)
    high = min(low << 4 | 15, most_in)
    while high - low > 1:
        middle = (low + high) // 2
        found = _tried(family, state, i, j, middle, context)
        if found is None:
            high = middle
        else:
            low, best = middle, found
    return Limits(low, best)


def _tried(family: Any, state: Any, i: int, j: int, amount: int, context: BlockContext) -> int | None:
    try:
        return family.quote_in(state, i, j, amount, context).amount_out_wei
    except QuoteError:
        return None
