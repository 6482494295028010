# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Weighted pools compiled; the formulas are those of ``ouro.protocols.balancer_math`` and ``balancer_v2_weighted``.

Header limbs: see ``ouro.protocols.headers.weighted_header``. An input of at most 30 % leaves the power's base
within (0.76, 1], so only that range is here: logarithms are negative, magnitudes are computed. Divisions by
constants are multiplications with ``ceil(2^s / d)``, exact for every numerator below ``2^n`` where that exceeds
``2^s / d`` by less than ``2^(s - n) / d``.
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.solidly import per_unit
from ouro.protocols.kernels.wide import (
    bit_length,
    ceil_div,
    floor_div,
    load64,
    load128,
    low64,
    to128,
    to256,
    to512,
)

ONE = 10**18
_TEN14 = 10**14
_MASK = (1 << 64) - 1
_MAX_AMOUNT_BITS = 127


def _limbs(value: int, count: int) -> np.ndarray:
    return np.array([value >> 64 * k & _MASK for k in range(count)], dtype=np.uint64)


def _reciprocal(divisor: int, shift: int, count: int) -> np.ndarray:
    return _limbs(-(-(1 << shift) // divisor), count)


# n < 2^250 by 10^36; n < 2^200 by 10^22; n < 2^190 by 10^20
_SHIFT36, _BY36 = 370, _reciprocal(10**36, 370, 4)
_SHIFT22, _BY22 = 274, _reciprocal(10**22, 274, 4)
_SHIFT20, _BY20 = 260, _reciprocal(10**20, 260, 4)
# n < 2^120 by k = 3, 5, …, 15
_SHIFT_SMALL = 124
_BY_SMALL = np.array([_reciprocal(k, _SHIFT_SMALL, 2) for k in range(3, 16, 2)])
# terms: n < 2^130 by k·10^20 is (n >> 20) by k·5^20
_SHIFT_TERM = 162
_BY_TERM = np.array([_reciprocal(k * 5**20, _SHIFT_TERM, 2) for k in range(2, 13)])

_STEPS = np.array([_limbs(x, 2) for x in (3200 * ONE, 1600 * ONE, 800 * ONE, 400 * ONE, 200 * ONE)])
_POWERS = np.array(
    [
        _limbs(power, 2)
        for power in (
            7896296018268069516100000000000000,
            888611052050787263676000000,
            298095798704172827474000,
            5459815003314423907810,
            738905609893065022723,
        )
    ]
)
_X7, _A7 = _limbs(100 * ONE, 2), _limbs(271828182845904523536, 2)
_X8, _A8 = _limbs(50 * ONE, 2), _limbs(164872127070012814685, 2)
_X9, _A9 = _limbs(25 * ONE, 2), _limbs(128402541668774148407, 2)
_X10, _A10 = _limbs(12_500_000_000_000_000_000, 2), _limbs(113314845306682631683, 2)
_X11, _A11 = _limbs(6_250_000_000_000_000_000, 2), _limbs(106449445891785942956, 2)
_ONE20, _ONE36 = _limbs(10**20, 2), _limbs(10**36, 2)


@njit(cache=True, nogil=True)
def _two(limbs: np.ndarray) -> Any:
    return to256(limbs[0]) | (to256(limbs[1]) << 64)


@njit(cache=True, nogil=True)
def _scaled(value: Any, limbs: np.ndarray, shift: int) -> Any:
    """value·limbs >> shift, for a constant of four limbs."""
    low = to512(limbs[0]) | (to512(limbs[1]) << 64)
    high = to512(limbs[2]) | (to512(limbs[3]) << 64)
    return to256((to512(value) * (low | (high << 128))) >> shift)


@njit(cache=True, nogil=True)
def _series(z: Any, square: Any, by: np.ndarray, shift: int, terms: int) -> Any:
    """2·(z + z³/3 + z⁵/5 + …), each power rounded down after division by the unit."""
    zero = z - z
    total = z
    num = z
    for k in range(terms):
        num = _scaled(num * square, by, shift)
        if num == zero:
            break
        total += (num * _two(_BY_SMALL[k])) >> _SHIFT_SMALL
    return total + total


@njit(cache=True, nogil=True)
def _ln36(below: Any, x: Any) -> Any:
    """-ln(x) with 36 decimals, ``below`` = 1 - x, for x in (0.9, 1]."""
    one = to256(np.uint64(ONE))
    z = floor_div(below * _two(_ONE36), x + one)
    return _series(z, _scaled(z * z, _BY36, _SHIFT36), _BY36, _SHIFT36, 7)


@njit(cache=True, nogil=True)
def _ln(a: Any) -> Any:
    """ln(a) with 18 decimals for a in [1, e^0.5)."""
    one20 = _two(_ONE20)
    a = a * to256(np.uint64(100))
    total = a - a
    for x, power in ((_X9, _A9), (_X10, _A10), (_X11, _A11)):
        if a >= _two(power):
            a = floor_div(a * one20, _two(power))
            total += _two(x)
    z = floor_div((a - one20) * one20, a + one20)
    total += _series(z, _scaled(z * z, _BY20, _SHIFT20), _BY20, _SHIFT20, 5)
    return floor_div(total, to256(np.uint64(100)))


@njit(cache=True, nogil=True)
def _exp(x: Any) -> Any:
    """e^x with 18 decimals for x in [0, 41]."""
    x = x * to256(np.uint64(100))
    product = _two(_ONE20)
    if x >= _two(_X7):
        for k in range(5):
            if x >= _two(_STEPS[k]):
                x -= _two(_STEPS[k])
                product = _scaled(product * _two(_POWERS[k]), _BY20, _SHIFT20)
    for step, power in ((_X7, _A7), (_X8, _A8), (_X9, _A9)):
        if x >= _two(step):
            x -= _two(step)
            product = _scaled(product * _two(power), _BY20, _SHIFT20)
    zero = x - x
    series = _two(_ONE20) + x
    term = x
    for k in range(11):
        term = (((term * x) >> 20) * _two(_BY_TERM[k])) >> _SHIFT_TERM
        if term == zero:
            break
        series += term
    return _scaled(product * series, _BY22, _SHIFT22)


@njit(cache=True, nogil=True)
def power_up(x: Any, y: Any, exact_powers: bool) -> Any:
    """(done, x^y rounded up) for x in (0.7, 1]."""
    one = to256(np.uint64(ONE))
    if exact_powers:
        if y == one:
            return True, x
        if y == one + one:
            return True, ceil_div(x * x, one)
        if y == one + one + one + one:
            square = ceil_div(x * x, one)
            return True, ceil_div(square * square, one)
    below = one - x
    if below < to256(np.uint64(ONE // 10)):
        log = _ln36(below, x)
        whole = per_unit(log)
        product = whole * y + per_unit((log - whole * one) * y)
    else:
        product = _ln(floor_div(one * one, x)) * y
    exponent = per_unit(product)
    if exponent > one * to256(np.uint64(41)):
        return False, one
    raw = low64(floor_div(to128(_two(_ONE36)), to128(_exp(exponent))))
    margin = (raw + np.uint64(_TEN14 - 1)) // np.uint64(_TEN14) + np.uint64(1)
    return True, to256(raw) + to256(margin)


@njit(cache=True, nogil=True)
def weighted_in(header: int, amount: Any) -> Any:
    """(status, output) of a weighted pool."""
    zero = amount - amount
    one = to256(np.uint64(ONE))
    if bit_length(amount) > _MAX_AMOUNT_BITS or amount > to256(load128(limb(header, 14))):
        return REFUSED, zero
    fee = per_unit(amount * to256(load64(limb(header, 4))) + to256(np.uint64(ONE - 1)))
    net = (amount - fee) * to256(load64(limb(header, 10)))
    balance_in, balance_out = to256(load128(limb(header, 6))), to256(load128(limb(header, 8)))
    if net > per_unit(balance_in * to256(np.uint64(3 * ONE // 10))):
        return REFUSED, zero
    base = ceil_div(balance_in * one, balance_in + net)
    done, power = power_up(base, to256(load128(limb(header, 12))), load64(limb(header, 5)) != np.uint64(0))
    if not done:
        return REFUSED, zero
    if power >= one:
        return DONE, zero
    out = per_unit(balance_out * (one - power))
    scaling = load64(limb(header, 11))
    if scaling != np.uint64(1):
        out = floor_div(out, to256(scaling))
    if out > to256(load128(limb(header, 16))):
        return REFUSED, zero
    return DONE, out
