# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Smooth curves as constant-product pieces for the search: one fitter for all families, knots where needed.

Value and slope agree with the curve at every knot. Between two knots lie two pieces that meet with one slope:
the whole has no kinks. A piece whose slope goes from a to b over a width w gains ``w·√(a·b)``, so the slope in the
middle of two equal widths follows from what both together gain.

A knot is added where the slope between two is off by more than ``_TOLERANCE`` of how far it has fallen since the
start: who stops where the fitted slope says so loses the square of that, relative to the profit of the trade.

A curve is an array of floats (``CURVE`` of them), amounts in 18 decimals::

    0 shape (weighted, stable, crypto)     1 fee (none, off the peg, by balance)
    weighted: 2, 3 balances of input and output     4 exponent
    stable: 2, 3 balances     4 sum of the other coins     5 D^(n-1)/(n^(n-2)·their product)     6 A·n     7 D
    8 n
    crypto: 2, 3 balances     4 third coin or 0     5 A·n^n     6 gamma     7 D     8 n
    fee: 9 share of the output that is left, or the fee at the peg     10 multiplier, or the fee far from it
    11 fee gamma     12 1 where the fee is the later kind     13 third coin or 0 (where it counts for the fee)
"""

from typing import Any

import numpy as np
from numba import njit

WEIGHTED_CURVE, STABLE_CURVE, CRYPTO_CURVE = 0, 1, 2
PLAIN_FEE, PEG_FEE, BALANCE_FEE = 0, 1, 2
CURVE = 14
MAX_KNOTS = 640
_TOLERANCE = 2.5e-5
_LEAST_FALL = 1e-6
"""A gap below this share of the price is no trade: no care is taken of it."""
_SMALLEST = 1e-6
_NARROW = 1e-3
"""Knots this near to each other, by the input, are near enough whatever floats say."""
_TRIES = 4 * MAX_KNOTS
_RISING, _TURN = 0.5, 16.0
_FAR, _CARELESS = 0.3, 10.0
"""Where the price has fallen by so much, the trade's profit dwarfs what a slope that is this much worse costs."""
_ROUNDS = 80
_DIRECT = 1e-4
_FLAT = 1e-13
_NODES = (np.polynomial.legendre.leggauss(4)[0] + 1.0) / 2.0
_WEIGHTS = np.polynomial.legendre.leggauss(4)[1] / 2.0


@njit(cache=True, nogil=True, error_model="numpy")
def _stable_step(p: Any, a: float, y0: float, b: float) -> Any:
    """(output from input ``a``, where ``y0`` is left, to ``b``; slope and balance there): by an equation of its
    own, not as a difference."""
    rest, base, ann, d, n = p[4], p[5], p[6], p[7], p[8]
    before, x = p[2] + a, p[2] + b
    c = base * (d / (x * n)) * (d / (ann * n))
    middle = rest + x + d / ann - d
    root = np.hypot(middle, 2.0 * np.sqrt(c))
    y = (root - middle) / 2.0 if middle < 0.0 else 2.0 * c / (middle + root)
    # with y = y0 - δ:  δ² - δ·(2·y0 + middle) + t·y0 + c·t/before = 0
    gain = 2.0 * (b - a) * (y0 + c / before) / (2.0 * y0 + middle + root)
    term = base * (d / (x * n)) * (d / (y * n))
    return gain, y * (ann * x + term) / (x * (ann * y + term)), y


@njit(cache=True, nogil=True, error_model="numpy")
def _crypto_solved(p: Any, a: float) -> Any:
    """(output's balance, slope) where the input's balance is ``a``, all as parts of D."""
    third, a4, g, n = p[4] / p[7], p[5], p[6], p[8]
    product, others, power = a, a, 4.0
    if n == 3.0:
        product, others, power = a * third, a + third, 27.0
    high = 1.0 / (power * product)
    low = 0.0
    v = high
    slope = 0.0
    for _ in range(_ROUNDS):
        k0 = power * product * v
        gap = g + 1.0 - k0
        h = g / gap
        sigma = others + v - 1.0
        level = a4 * k0 * h * h * sigma + k0 - 1.0
        q = a4 * h * h * sigma * (1.0 + 2.0 * k0 / gap) + 1.0
        flat = a4 * k0 * h * h
        by_v = k0 / v * q + flat
        slope = (k0 / a * q + flat) / by_v
        if level > 0.0:
            high = v
        else:
            low = v
        step = level / by_v
        following = v - step
        if not (low < following < high):
            following = 0.5 * (low + high)
        if abs(following - v) <= 4e-16 * v:
            break
        v = following
    return v, slope


@njit(cache=True, nogil=True, error_model="numpy")
def _crypto_step(p: Any, a: float, y0: float, b: float) -> Any:
    d = p[7]
    v, slope = _crypto_solved(p, (p[2] + b) / d)
    gain = y0 - v * d
    if gain < _DIRECT * y0:
        gain = 0.0
        for k in range(len(_NODES)):
            _, here = _crypto_solved(p, (p[2] + a + _NODES[k] * (b - a)) / d)
            gain += _WEIGHTS[k] * here * (b - a)
    return gain, slope, v * d


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted_step(p: Any, a: float, y0: float, b: float) -> Any:
    balance_in, balance_out, exponent = p[2], p[3], p[4]
    gain = -y0 * np.expm1(-exponent * np.log1p((b - a) / (balance_in + a)))
    left = balance_out * np.exp(-exponent * np.log1p(b / balance_in))
    return gain, exponent * left / (balance_in + b), left


@njit(cache=True, nogil=True, error_model="numpy")
def _peg_share(p: Any, x: float, y: float) -> Any:
    """StableSwap NG: (share left, its derivatives) of a fee that rises off the peg."""
    fee, multiplier = p[9], p[10]
    first, other = (p[2] + x) / 2.0, (p[3] + y) / 2.0
    total = first + other
    bottom = (multiplier - 1.0) * 4.0 * first * other / total**2 + 1.0
    outer = multiplier * fee / bottom**2 * (multiplier - 1.0) * 2.0 * (other - first) / total**3
    return 1.0 - multiplier * fee / bottom, outer * other, -outer * first


@njit(cache=True, nogil=True, error_model="numpy")
def _balance_share(p: Any, x: float, y: float) -> Any:
    """Cryptoswap: (share left, its derivatives) of a fee between two by how balanced the pool is."""
    mid, far, fee_gamma, third = p[9], p[10], p[11], p[13]
    if third > 0.0:
        total, n = x + y + third, 3.0
        balance = 27.0 * (x / total) * (y / total) * (third / total)
    else:
        total, n = x + y, 2.0
        balance = 4.0 * (x / total) * (y / total)
    bottom = (fee_gamma * balance if p[12] > 0.0 else fee_gamma) + 1.0 - balance
    weight = (fee_gamma * balance if p[12] > 0.0 else fee_gamma) / bottom
    by_balance = (far - mid) * fee_gamma / (bottom * bottom)
    by_x, by_y = balance * (1.0 / x - n / total), balance * (1.0 / y - n / total)
    return 1.0 - mid * weight - far * (1.0 - weight), by_balance * by_x, by_balance * by_y


@njit(cache=True, nogil=True, error_model="numpy")
def _begin(p: Any) -> Any:
    """(output, slope, output before the fee, balance of the output) at nothing."""
    y = p[3]
    if p[0] == CRYPTO_CURVE:
        part, _ = _crypto_solved(p, p[2] / p[7])
        y = part * p[7]
    return _follow(p, 0.0, (0.0, 0.0, 0.0, y), 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(p: Any, a: float, here: Any, b: float) -> Any:
    """What ``_begin`` tells, for net input ``b`` from what it is at ``a``."""
    if p[0] == STABLE_CURVE:
        more, slope, y = _stable_step(p, a, here[3], b)
    elif p[0] == CRYPTO_CURVE:
        more, slope, y = _crypto_step(p, a, here[3], b)
    else:
        more, slope, y = _weighted_step(p, a, here[3], b)
    gain = here[2] + more
    if p[1] == PLAIN_FEE:
        return here[0] + more * p[9], slope * p[9], gain, y
    if p[1] == PEG_FEE:
        share, by_x, by_y = _peg_share(p, p[2] + b, y)
    else:
        share, by_x, by_y = _balance_share(p, p[2] + b, y)
    return gain * share, slope * share + gain * (by_x - slope * by_y), gain, y


@njit(cache=True, nogil=True, error_model="numpy")
def rate(p: Any) -> float:
    """The slope at nothing, the fee on the output included."""
    return _begin(p)[1]


@njit(cache=True, nogil=True, error_model="numpy")
def _middle(half: float, gained: float, first: float, last: float) -> float:
    """The slope where two pieces of equal widths meet."""
    found = (gained / (half * (np.sqrt(first) + np.sqrt(last)))) ** 2
    return min(max(found, last), first)


@njit(cache=True, nogil=True, error_model="numpy")
def _miss(p: Any, a: float, b: float, here: Any, there: Any, allowed: float) -> float:
    """By how much the fitted slope misses the curve's between two knots, as a multiple of what is allowed."""
    half = (b - a) / 2.0
    quarter = _follow(p, a, here, a + half / 2.0)[1]
    centre = _follow(p, a, here, a + half)[1]
    if here[1] >= quarter >= centre >= there[1]:
        middle = _middle(half, there[0] - here[0], here[1], there[1])
        ratio = (1.0 + np.sqrt(here[1] / middle)) / 2.0
        return max(abs(middle - centre), abs(here[1] / (ratio * ratio) - quarter)) / allowed
    # a fee that falls with the amount lets the slope rise: nobody stops there, and where it turns is a knot
    return _RISING if here[1] <= quarter <= centre <= there[1] else _TURN


@njit(cache=True, nogil=True, error_model="numpy")
def _row(rows: Any, k: int, half: float, first: float, last: float, gamma: float, units: Any) -> None:
    gain = half * np.sqrt(first * last)
    excess = first * half - gain
    r_in = gain * half / excess if excess > _FLAT * gain else half / _FLAT
    rows[k, 0] = r_in * units[0]
    rows[k, 1] = first * r_in * units[1]
    rows[k, 2] = gamma
    rows[k, 3] = half * units[0] / gamma


@njit(cache=True, nogil=True, error_model="numpy")
def fit(p: Any, least: float, most: float, gamma: float, unit_in: float, unit_out: float, endless: bool) -> Any:
    """Rows as ``base.Segments`` for net inputs up to ``most``, the first knot at ``least``.

    ``unit_in``, ``unit_out``: token units per unit of the curve's amounts; ``gamma``: what a fee on the input
    leaves. The curve is followed as far as it rises.
    """
    rows = np.empty((2 * MAX_KNOTS, 4))
    units = (unit_in, unit_out)
    here = _begin(p)
    start = here[1]
    if not 0.0 < start < np.inf or not most > 0.0:
        return rows[:0]
    done, a, fallen = 0, 0.0, 0.0
    step, smallest = min(least, most), min(least, most) * _SMALLEST
    for _ in range(_TRIES):
        if not a < most or done >= MAX_KNOTS:
            break
        b = a + step
        if b > most * (1.0 - _SMALLEST):
            b = most
        there = _follow(p, a, here, b)
        tight = not step > smallest or step <= _NARROW * a
        if not (there[0] > here[0] and there[1] > 0.0):
            # the curve ends, or its floats do
            if tight:
                break
            step /= 4.0
            continue
        fallen = max(fallen, abs(start - there[1]))
        allowed = _TOLERANCE * max(fallen, _LEAST_FALL * start)
        if fallen > _FAR * start:
            allowed *= _CARELESS
        miss = _miss(p, a, b, here, there, allowed)
        if not miss <= 1.0 and not tight:
            step *= max(0.2, 0.9 * miss**-0.5)
            continue
        half, gained = (b - a) / 2.0, there[0] - here[0]
        first, last = here[1], there[1]
        if last > first:
            first = last = gained / (2.0 * half)
        middle = _middle(half, gained, first, last)
        _row(rows, 2 * done, half, first, middle, gamma, units)
        _row(rows, 2 * done + 1, half, middle, last, gamma, units)
        done += 1
        a, here = b, there
        step *= 4.0 if not miss > 1e-2 else min(4.0, max(0.9 * miss**-0.5, 0.2))
    rows = rows[: 2 * done]
    if done and endless:
        rows[2 * done - 1, 3] = np.inf
    return rows
