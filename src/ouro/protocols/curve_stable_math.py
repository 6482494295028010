"""StableSwap in integers: invariant and its solutions, amplification in time, off-peg fee, a whole exchange.

Invariant of n coins with ``xp`` = balances in 18 decimals (Egorov, StableSwap 2019): ``A·n^n·S + D = A·D·n^n +
D^(n+1) / (n^n·P)`` with sum S and product P. Deployed pools solve it by Newton's method in integers and differ in
how they round: ``Form`` says which way a pool goes. Arithmetic is checked, as the contracts': what does not fit
256 bits raises ``QuoteError``.
"""

from functools import lru_cache
from typing import NamedTuple

from ouro.protocols.base import QuoteError

FEE_UNIT = 10**10
PRECISION = 10**18
MAX_ROUNDS = 255
_U256 = (1 << 256) - 1

EACH, PLUS_ONE, PRODUCT = 0, 1, 2
"""How ``D^(n+1) / (n^n·P)`` is divided: by ``x·n`` coin by coin, by ``x·n + 1``, or by ``x``, then by ``n^n``."""


class Form(NamedTuple):
    """What differs between generations of the contract.

    ``a_precision``: 1 or 100, the unit of A. ``rounding``: ``EACH``, ``PLUS_ONE`` or ``PRODUCT``.
    ``weighted_ramp``: A on a ramp is the weighted mean rounded down; otherwise the change so far is.
    """

    a_precision: int
    rounding: int
    weighted_ramp: bool = False


class Exchanged(NamedTuple):
    """An exchange: what the buyer gets and what leaves the pool's balance for the administrator, in token units."""

    out: int
    admin: int


def checked(value: int) -> int:
    """``value`` where it fits 256 bits."""
    if not 0 <= value <= _U256:
        raise QuoteError("the pool's arithmetic would overflow")
    return value


def amplification(form: Form, initial: int, future: int, start: int, end: int, now: int) -> int:
    """A (times ``a_precision``) at time ``now`` of a ramp from ``initial`` to ``future``."""
    if now >= end or initial == future:
        return future
    elapsed, whole = now - start, end - start
    if elapsed < 0:
        raise QuoteError("the ramp of A starts after the executing block")
    if form.weighted_ramp:
        return (initial * (whole - elapsed) + future * elapsed) // whole
    if future > initial:
        return initial + (future - initial) * elapsed // whole
    return initial - (initial - future) * elapsed // whole


def scaled(rates: tuple[int, ...], balances: tuple[int, ...]) -> tuple[int, ...]:
    """``xp``: balances in 18 decimals."""
    return tuple(checked(rate * held) // PRECISION for rate, held in zip(rates, balances, strict=True))


def _product_term(form: Form, xp: tuple[int, ...], d: int) -> int:
    n, term = len(xp), d
    for x in xp:
        divisor = x if form.rounding == PRODUCT else x * n + form.rounding
        if not divisor:
            raise QuoteError("the pool is empty")
        term = checked(term * d) // divisor
    return term // n**n if form.rounding == PRODUCT else term


@lru_cache(maxsize=4096)
def solve_d(form: Form, xp: tuple[int, ...], amp: int) -> int:
    """The invariant D. Raises ``QuoteError`` where the contract would revert."""
    n, total = len(xp), sum(xp)
    if not total:
        return 0
    d, ann, unit = total, amp * n, form.a_precision
    for _ in range(MAX_ROUNDS):
        term = _product_term(form, xp, d)
        top = checked((checked(ann * total) // unit + term * n) * d)
        bottom = checked((ann - unit) * d) // unit + (n + 1) * term
        before, d = d, top // bottom
        if abs(d - before) <= 1:
            return d
    raise QuoteError("the pool's invariant does not converge")


def _settle(b: int, c: int, d: int) -> int:
    """Newton's method for ``y² + (b - d)·y = c`` from above, in the contract's steps."""
    y = d
    for _ in range(MAX_ROUNDS):
        bottom = 2 * y + b - d
        if bottom <= 0:
            raise QuoteError("the pool's arithmetic would overflow")
        before, y = y, checked(y * y + c) // bottom
        if abs(y - before) <= 1:
            return y
    raise QuoteError("the pool's iteration does not converge")


def solve_y(form: Form, xp: tuple[int, ...], j: int, amp: int, d: int) -> int:
    """``xp[j]`` that gives the others the invariant ``d``; the value of ``xp[j]`` itself is not used."""
    n, c, total, unit = len(xp), d, 0, form.a_precision
    ann = amp * n
    for k, x in enumerate(xp):
        if k == j:
            continue
        if not x:
            raise QuoteError("the pool is empty")
        total += x
        c = checked(c * d) // (x * n)
    c = checked(checked(c * d) * unit) // (ann * n)
    return _settle(total + d * unit // ann, c, d)


def off_peg_fee(fee: int, multiplier: int, xi: int, xj: int) -> int:
    """The fee (of 10^10) at average balances ``xi``, ``xj``: ``fee`` at the peg, up to ``multiplier`` times it."""
    if multiplier <= FEE_UNIT:
        return fee
    share = checked((multiplier - FEE_UNIT) * 4 * xi * xj) // (xi + xj) ** 2
    return multiplier * fee // (share + FEE_UNIT)


def exchange(
    form: Form,
    rates: tuple[int, ...],
    xp: tuple[int, ...],
    amp: int,
    fees: tuple[int, int, int],
    i: int,
    j: int,
    amount_in: int,
) -> Exchanged:
    """``exchange``: the fee is taken in 18 decimals, then both parts become token units.

    ``fees`` are fee, administrator's share of it and off-peg multiplier (0 without), of 10^10.
    """
    fee, admin_share, multiplier = fees
    d = solve_d(form, xp, amp)
    x = checked(xp[i] + checked(amount_in * rates[i]) // PRECISION)
    y = solve_y(form, (*xp[:i], x, *xp[i + 1 :]), j, amp, d)
    gross = xp[j] - y - 1
    if gross < 0:
        raise QuoteError("the input buys less than one unit")
    if multiplier:
        fee = off_peg_fee(fee, multiplier, (xp[i] + x) // 2, (xp[j] + y) // 2)
    taken = gross * fee // FEE_UNIT
    out = (gross - taken) * PRECISION // rates[j]
    return Exchanged(out, taken * admin_share // FEE_UNIT * PRECISION // rates[j])


def view(
    form: Form,
    rates: tuple[int, ...],
    xp: tuple[int, ...],
    amp: int,
    fees: tuple[int, int, int],
    i: int,
    j: int,
    amount_in: int,
) -> int:
    """``get_dy`` of old pools: first token units, then the fee; up to one unit away from ``exchange``."""
    d = solve_d(form, xp, amp)
    x = checked(xp[i] + checked(amount_in * rates[i]) // PRECISION)
    y = solve_y(form, (*xp[:i], x, *xp[i + 1 :]), j, amp, d)
    gross = checked(xp[j] - y - 1) * PRECISION // rates[j]
    return gross - gross * fees[0] // FEE_UNIT


def one_coin(
    form: Form,
    rates: tuple[int, ...],
    xp: tuple[int, ...],
    amp: int,
    fees: tuple[int, int, int],
    burnt_share: tuple[int, int],
    i: int,
) -> tuple[int, int]:
    """``calc_withdraw_one_coin``: (amount of coin ``i``, fee in it); ``burnt_share`` is (LP amount, supply)."""
    fee, _, multiplier = fees
    n, (burnt, supply) = len(xp), burnt_share
    base = fee * n // (4 * (n - 1))
    before = solve_d(form, xp, amp)
    after = before - burnt * before // supply
    y = solve_y(form, xp, i, amp, after)
    middle = (before + after) // (2 * n)
    reduced = []
    for k, x in enumerate(xp):
        expected, average = (x * after // before - y, (x + y) // 2) if k == i else (x - x * after // before, x)
        part = off_peg_fee(base, multiplier, average, middle) if multiplier else base
        reduced.append(checked(x - checked(part * checked(expected)) // FEE_UNIT))
    amount = checked(reduced[i] - solve_y(form, tuple(reduced), i, amp, after) - 1) * PRECISION // rates[i]
    without_fee = checked(xp[i] - y) * PRECISION // rates[i]
    return amount, without_fee - amount
