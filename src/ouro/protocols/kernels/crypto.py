# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Curve's cryptoswap compiled, two and three coins; the formulas are those of ``curve_crypto_math`` and
``curve_tricrypto_math``, done in the same order. Signed integers are a flag (below zero) and a magnitude.

What the pool's price tweak refuses after an exchange is not looked at here: whoever acts on a quote asks the family
once more. Header limbs::

    1 coins | i << 8 | j << 16     2 precision of the output     3 fee gamma     4 fee at the peg     5 far from it
    6-7 balance in     8-9 what a unit of the input is worth in 36 decimals     10-11 output in 18 decimals
    12-13 the third coin in 18 decimals     14-15 D     16-17 price of the output     18 A     19 gamma
    20-21 balance out     22 maths (0 classic, 1 later, 2 StableSwap) | later fee << 8
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.solidly import per_unit
from ouro.protocols.kernels.stableswap import settle
from ouro.protocols.kernels.wide import (
    bit_length,
    float_to256,
    floor_div,
    load64,
    load128,
    load256,
    store,
    to256,
    to_float,
)

CRYPTO = 12
CLASSIC, LATER, STABLE = 0, 1, 2
_UNIT = 10**18
_FEE_UNIT = 10**10
_A_UNIT = 10_000
_ROUNDS = 255
_MAX_AMOUNT_BITS = 127
_CBRT_WHOLE = 115_792_089_237_316_195_423_570_985_008_687_907_853_269
_MASK = (1 << 64) - 1
_POWERS = np.array([[10**k >> 64 * part & _MASK for part in range(4)] for k in range(60)], dtype=np.uint64)
_WHOLE = np.array([_CBRT_WHOLE >> 64 * part & _MASK for part in range(4)], dtype=np.uint64)
_DIVIDERS = np.array(
    [(48, 30), (46, 28), (44, 26), (42, 24), (40, 22), (38, 20), (36, 18), (34, 16), (32, 14), (30, 12), (28, 10),
     (26, 8), (24, 6), (20, 2)],
    dtype=np.int64,
)  # fmt: skip
_TRIPLE_DIVIDERS = np.array(
    [(48, 30), (44, 26), (40, 22), (36, 18), (32, 14), (28, 10), (24, 6), (20, 2)], dtype=np.int64
)


@njit(cache=True, nogil=True)
def _power(k: int) -> Any:
    """10^k."""
    row = _POWERS[k]
    return to256(row[0]) | to256(row[1]) << 64 | to256(row[2]) << 128 | to256(row[3]) << 192


@njit(cache=True, nogil=True)
def _whole() -> Any:
    return to256(_WHOLE[0]) | to256(_WHOLE[1]) << 64 | to256(_WHOLE[2]) << 128


@njit(cache=True, nogil=True)
def _plus(below: bool, a: Any, other_below: bool, b: Any) -> Any:
    """(flag, magnitude) of a sum."""
    if below == other_below:
        return below, a + b
    if a >= b:
        return below and a != b, a - b
    return other_below, b - a


@njit(cache=True, nogil=True)
def _times(a: Any, b: Any) -> Any:
    """(fits a signed word, product) of magnitudes."""
    product = a * b
    return bit_length(a) + bit_length(b) <= 256 and bit_length(product) <= 255, product


@njit(cache=True, nogil=True)
def isqrt(x: Any) -> Any:
    """The whole square root of a number below 2^255."""
    one = to256(np.uint64(1))
    zero = one - one
    if x == zero:
        return zero
    root = float_to256(np.sqrt(to_float(x)))
    if root == zero:
        root = one
    for _ in range(2):
        root = (root + floor_div(x, root)) >> 1
    while root * root > x:
        root -= one
    while (root + one) * (root + one) <= x:
        root += one
    return root


@njit(cache=True, nogil=True)
def cbrt(x: Any) -> Any:
    """(not zero, cube root) as the contract finds it: seven steps from a power of two."""
    zero = x - x
    three = to256(np.uint64(3))
    whole = _whole()
    scaled, back = x, 12
    if x < whole * _power(18):
        scaled, back = x * _power(18), 6
        if x < whole:
            scaled, back = x * _power(36), 0
    if scaled == zero:
        return False, zero
    bits = bit_length(scaled) - 1
    rest = bits % 3
    root = to256(np.uint64(1)) << (bits // 3)
    if rest == 1:
        root = floor_div(root * to256(np.uint64(1260)), to256(np.uint64(1000)))
    elif rest == 2:
        root = floor_div(root * to256(np.uint64(1260 * 1260)), to256(np.uint64(10**6)))
    for _ in range(7):
        root = floor_div(root + root + floor_div(scaled, root * root), three)
    return True, root * _power(back)


@njit(cache=True, nogil=True)
def _newton(ann: Any, gamma: Any, others: Any, k0_others: Any, y: Any, d: Any, limit: Any, n: Any) -> Any:
    """(found, y) by the contract's Newton steps."""
    one = to256(np.uint64(1))
    zero = one - one
    unit = _power(18)
    for _ in range(_ROUNDS):
        before = y
        ok, product = _times(k0_others * n, y)
        k0 = floor_div(product, d)
        if not ok or k0 == zero or y == zero:
            return False, zero
        total = others + y
        top = gamma + unit
        distance = (top - k0 if top > k0 else k0 - top) + one
        ok, first = _times(floor_div(unit * d, gamma), distance)
        ok_too, second = _times(floor_div(first, gamma), distance * to256(np.uint64(_A_UNIT)))
        if not ok or not ok_too:
            return False, zero
        mul1 = floor_div(second, ann)
        mul2 = unit + floor_div((unit + unit) * k0, distance)
        ok, weighted = _times(total, mul2)
        ok_too, most = _times(d, mul2)
        slope = unit * y + weighted + mul1
        if not ok or not ok_too or bit_length(slope) > 255:
            return False, zero
        if slope < most:
            y = before >> 1
            continue
        slope -= most
        per = floor_div(slope, y)
        if per == zero:
            return False, zero
        minus = floor_div(mul1, per)
        ok, scaled = _times(minus, unit)
        if not ok:
            return False, zero
        plus = floor_div(slope + unit * d, per) + floor_div(scaled, k0)
        minus += floor_div(unit * total, per)
        y = before >> 1 if plus < minus else plus - minus
        gap = y - before if y > before else before - y
        near = floor_div(y, _power(14))
        if gap < (near if near > limit else limit):
            return True, y
    return False, zero


@njit(cache=True, nogil=True)
def _limit(x: Any, d: Any) -> Any:
    """How near Newton's steps have to come."""
    found = floor_div(x if x > d else d, _power(14))
    hundred = to256(np.uint64(100))
    return found if found > hundred else hundred


@njit(cache=True, nogil=True)
def _parts(a: Any, b_below: bool, b: Any, c_below: bool, c: Any, e: Any) -> Any:
    """(fits, flag and magnitude of 3·a·c/b - b, magnitude of 27·a²/b·e/b, whose sign is that of e)."""
    zero = a - a
    if b == zero:
        return False, False, zero, zero
    fits, triple = _times(to256(np.uint64(3)) * a, c)
    below, delta0 = _plus(b_below != c_below, floor_div(triple, b), not b_below, b)
    ok, square = _times(to256(np.uint64(27)) * a, a)
    good, last = _times(floor_div(square, b), e)
    return fits and ok and good, below, delta0, floor_div(last, b)


@njit(cache=True, nogil=True)
def _cardano(delta0_below: bool, delta0: Any, delta1_below: bool, delta1: Any, b_below: bool, b: Any) -> Any:
    """(status, flag, C1) from both discriminants: 1 found, 0 take Newton's, -1 an integer leaves its word."""
    zero = b - b
    ok, square = _times(delta1, delta1)
    good, other = _times(to256(np.uint64(4)) * delta0, delta0)
    ok = ok and good
    good, third = _times(floor_div(other, b), delta0)
    if not ok or not good:
        return -1, False, zero
    below, inside = _plus(False, square, b_below != delta0_below, third)
    if bit_length(inside) > 255:
        return -1, False, zero
    if below or inside == zero:
        return 0, False, zero
    root = isqrt(inside)
    found, b_root = cbrt(b)
    if delta1_below or delta1 == zero:
        good, second = cbrt((root + delta1) >> 1)
        second_below = True
    else:
        good, second = cbrt((delta1 + root) >> 1)
        second_below = False
    if not found or not good:
        return -1, False, zero
    ok, squared = _times(b_root, b_root)
    good, c1 = _times(floor_div(squared, _power(18)), second)
    c1 = floor_div(c1, _power(18))
    if not ok or not good or c1 == zero:
        return -1, False, zero
    return 1, second_below, c1


@njit(cache=True, nogil=True)
def _within(share: Any, low: Any, high: Any) -> bool:
    return low <= share and share <= high


@njit(cache=True, nogil=True)
def solve_two(ann: Any, gamma: Any, other: Any, d: Any, later: bool) -> Any:
    """(found, coin) of a pool of two from the other coin, both in 18 decimals."""
    one = to256(np.uint64(1))
    zero = one - one
    two = one + one
    unit = _power(18)
    if other == zero or d == zero:
        return False, zero
    given_low, given_high = two * _power(16), two * _power(20)
    low, high = _power(16) - one, _power(20)
    if later:
        given_high = _power(20)
        wide = two * _power(16)
        if gamma > wide:
            given_high = floor_div(given_high * wide, gamma)
        given_low = floor_div(_power(36), given_high)
        low, high = floor_div(_power(36) >> 1, given_high), given_high >> 1
    k0_other = floor_div(unit * two * other, d)
    if not _within(k0_other, given_low, given_high):
        return False, zero
    four = two + two
    three = two + one
    strength = ann * gamma * gamma
    a = _power(32)
    ok, product = _times(d, strength)
    if not ok:
        return False, zero
    shrink = to256(np.uint64(400_000_000))
    positive = floor_div(floor_div(product, shrink), other)
    b_below, b = _plus(False, positive, True, three * a + two * gamma * _power(14))
    steep = floor_div(four * strength, shrink)
    ok, leaning = _times(steep, other)
    if not ok:
        return False, zero
    c_below, c = _plus(
        False,
        three * a + four * gamma * _power(14) + floor_div(gamma * gamma, _power(4)) + floor_div(leaning, d),
        True,
        steep,
    )
    e = floor_div((unit + gamma) * (unit + gamma), _power(4))
    ok, delta0_below, delta0, last = _parts(a, b_below, b, c_below, c, e)
    if not ok:
        return False, zero
    delta1_below, delta1 = _plus(delta0_below, three * delta0, b_below, b)
    delta1_below, delta1 = _plus(delta1_below, delta1, False, last)  # e is below zero here
    size = delta0 if delta0 < delta1 else delta1
    size = size if size < a else a
    for k in range(len(_DIVIDERS)):
        if size > _power(_DIVIDERS[k, 0]):
            by = _power(_DIVIDERS[k, 1])
            a, b, c, e = floor_div(a, by), floor_div(b, by), floor_div(c, by), floor_div(e, by)
            break
    ok, delta0_below, delta0, last = _parts(a, b_below, b, c_below, c, e)
    if not ok:
        return False, zero
    delta1_below, delta1 = _plus(delta0_below, three * delta0, b_below, b)
    delta1_below, delta1 = _plus(delta1_below, delta1, False, last)  # e is below zero here
    status, c1_below, c1 = _cardano(delta0_below, delta0, delta1_below, delta1, b_below, b)
    if status < 0:
        return False, zero
    if status == 0:
        start = floor_div(d * d, other * four)
        found, y = _newton(ann, gamma, other, k0_other, start, d, _limit(other, d), two)
    else:
        ok, scaled_b = _times(unit, b)
        good, cross = _times(floor_div(scaled_b, c1), delta0)
        better, scaled_c1 = _times(unit, c1)
        below, root = _plus(c1_below, scaled_c1, not b_below, scaled_b)
        cross_below = (b_below != c1_below) != delta0_below
        below, root = _plus(below, root, not cross_below, cross)
        root = floor_div(root, three * a)
        if not ok or not good or not better or below or root == zero:
            return False, zero
        ok, product = _times(floor_div(d * d, other), root)
        y = floor_div(product >> 2, unit)
        found = ok
    return found and _within(floor_div(y * unit, d), low, high), y


@njit(cache=True, nogil=True)
def solve_three(ann: Any, gamma: Any, x_j: Any, x_k: Any, d: Any) -> Any:
    """(found, coin) of a pool of three from the other two, in the order of their places."""
    one = to256(np.uint64(1))
    zero = one - one
    three = to256(np.uint64(3))
    unit, few = _power(18), to256(np.uint64(27))
    if x_j == zero or x_k == zero or d == zero:
        return False, zero
    low, high = _power(16), _power(20)
    if not _within(floor_div(x_j * unit, d), low, high) or not _within(floor_div(x_k * unit, d), low, high):
        return False, zero
    squared = gamma * gamma
    a_unit = to256(np.uint64(_A_UNIT))
    ok, strength = _times(floor_div(d * d, x_j), squared * ann)
    if not ok:
        return False, zero
    pulled = floor_div(floor_div(floor_div(strength, to256(np.uint64(729))), a_unit), x_k)
    ninth = floor_div(_power(36), to256(np.uint64(9)))
    b_below, b = _plus(False, ninth + floor_div((unit + unit) * gamma, few), True, pulled)
    spread_below, spread = _plus(False, x_j + x_k, True, d)
    ok, leaning = _times(squared, spread)
    good, leaning = _times(floor_div(leaning, d), ann)
    if not ok or not good:
        return False, zero
    leaning = floor_div(floor_div(leaning, few), a_unit)
    steady = ninth + floor_div(gamma * (gamma + (unit << 2)), few)
    c_below, c = _plus(False, steady, spread_below, leaning)
    a = floor_div(_power(36), few)
    e = floor_div((unit + gamma) * (unit + gamma), few)
    if b == zero:
        return False, zero
    ok, triple = _times(three * a, c)
    _, size = _plus(b_below != c_below, floor_div(triple, b), not b_below, b)
    by = one
    for k in range(len(_TRIPLE_DIVIDERS)):
        if size > _power(_TRIPLE_DIVIDERS[k, 0]):
            by = _power(_TRIPLE_DIVIDERS[k, 1])
            break
    if a > b:
        more = floor_div(a, b)
        for_b, new_b = _times(b, more)
        for_c, new_c = _times(c, more)
        for_e, new_e = _times(e, more)
        ok = ok and for_b and for_c and for_e
        a, b, c, e = floor_div(a * more, by), floor_div(new_b, by), floor_div(new_c, by), floor_div(new_e, by)
    else:
        less = floor_div(b, a)
        a, b = floor_div(floor_div(a, less), by), floor_div(floor_div(b, less), by)
        c, e = floor_div(floor_div(c, less), by), floor_div(floor_div(e, less), by)
    if not ok or b == zero or a == zero:
        return False, zero
    ok, delta0_below, delta0, last = _parts(a, b_below, b, c_below, c, e)
    if not ok:
        return False, zero
    ok, triple = _times(three * a, c)
    good, triple = _times(three, triple)
    if not ok or not good:
        return False, zero
    delta1_below, delta1 = _plus(b_below != c_below, floor_div(triple, b), not b_below, b + b)
    delta1_below, delta1 = _plus(delta1_below, delta1, True, last)
    status, c1_below, c1 = _cardano(delta0_below, delta0, delta1_below, delta1, b_below, b)
    if status < 0:
        return False, zero
    if status == 0:
        large, small = (x_j, x_k) if x_j > x_k else (x_k, x_j)
        start = floor_div(floor_div(d, three) * d, small * three)
        start = floor_div(start * d, large * three)
        k0_others = floor_div(floor_div(unit * large * three, d) * small * three, d)
        found, y = _newton(ann, gamma, x_j + x_k, k0_others, start, d, _limit(large, d), three)
        return found and _within(floor_div(y * unit, d), low, high), y
    ok, cross = _times(b, delta0)
    cross = floor_div(cross, c1)
    below, root = _plus(b_below, b, (b_below != delta0_below) != c1_below, cross)
    below, root = _plus(below, root, not c1_below, c1)
    root = floor_div(root, three)
    good, size = _times(floor_div(floor_div(d * d, few), x_k), d)
    better, size = _times(floor_div(size, x_j), root)
    if not ok or not good or not better or (below and root != zero):
        return False, zero
    y = floor_div(size, a)
    return _within(floor_div(y * unit, d), low - one, high), y


@njit(cache=True, nogil=True)
def _solve_stable(ann: Any, other: Any, d: Any) -> Any:
    """(found, coin) on StableSwap's invariant with A in ten thousandths."""
    zero = d - d
    if other == zero:
        return False, zero
    a_unit = to256(np.uint64(_A_UNIT))
    annual = ann + ann
    ok, c = _times(floor_div(d * d, other + other), d)
    good, c = _times(c, a_unit)
    if not ok or not good:
        return False, zero
    return settle(other + floor_div(d * a_unit, annual), floor_div(c, annual + annual), d)


@njit(cache=True, nogil=True)
def _fee(header: int, n: int, x: Any, y: Any, z: Any, later: bool) -> Any:
    """The fee (of 10^10) at scaled balances in the order of their places."""
    unit = _power(18)
    gamma = to256(load64(limb(header, 3)))
    if n == 2:
        total = x + y
        weight = floor_div(floor_div((unit << 2) * x, total) * y, total)
    else:
        total = x + y + z
        three = to256(np.uint64(3))
        weight = floor_div(unit * three * x, total)
        weight = floor_div(weight * three * y, total)
        weight = floor_div(weight * three * z, total)
    if later:
        part = gamma * weight
        weight = floor_div(part, per_unit(part) + unit - weight)
    elif n == 2 or gamma > gamma - gamma:
        weight = floor_div(gamma * unit, gamma + unit - weight)
    mid, far = to256(load64(limb(header, 4))), to256(load64(limb(header, 5)))
    return per_unit(mid * weight + far * (unit - weight))


@njit(cache=True, nogil=True)
def crypto_in(header: int, amount: Any) -> Any:
    """(status, output) of an exchange; ``REFUSED`` also where the integers leave these kernels' range."""
    one = to256(np.uint64(1))
    zero = one - one
    if bit_length(amount) > _MAX_AMOUNT_BITS:
        return REFUSED, zero
    places = np.int64(load64(limb(header, 1)))
    n, i, j = places & 0xFF, places >> 8 & 0xFF, places >> 16
    ok, worth = _times(to256(load128(limb(header, 6))) + amount, to256(load128(limb(header, 8))))
    if not ok:
        return REFUSED, zero
    x = floor_div(worth, _power(18))
    held = to256(load128(limb(header, 10)))
    third = to256(load128(limb(header, 12)))
    d = to256(load128(limb(header, 14)))
    if bit_length(x) > 127:
        return REFUSED, zero
    ann, gamma = to256(load64(limb(header, 18))), to256(load64(limb(header, 19)))
    flags = np.int64(load64(limb(header, 22)))
    maths = flags & 0xFF
    if n == 3:
        k = 3 - i - j
        found, y = solve_three(ann, gamma, x, third, d) if i < k else solve_three(ann, gamma, third, x, d)
    elif maths == STABLE:
        found, y = _solve_stable(ann, x, d)
    else:
        found, y = solve_two(ann, gamma, x, d, maths == LATER)
    if not found or y + one > held:
        return REFUSED, zero
    gross = held - y - one
    precision = to256(load64(limb(header, 2)))
    gross = floor_div(floor_div(gross * _power(18), to256(load128(limb(header, 16)))), precision)
    first = x if i == 0 else (y if j == 0 else third)
    second = x if i == 1 else (y if j == 1 else third)
    last = x if i == 2 else (y if j == 2 else third)
    fee = _fee(header, n, first, second, last, flags >> 8 != 0)
    out = gross - floor_div(fee * gross, to256(np.uint64(_FEE_UNIT)))
    if out > to256(load128(limb(header, 20))):
        return REFUSED, zero
    return (REFUSED if out == zero else DONE), out


@njit(cache=True, nogil=True)
def most_taken(header: np.ndarray, high: np.ndarray, found: np.ndarray) -> None:
    """``found`` (4 limbs): the largest input up to ``high``, to a 64th, that buys something, by halving."""
    base = np.uint64(header.ctypes.data)
    one = to256(np.uint64(1))
    low, top = one - one, load256(np.uint64(high.ctypes.data)) + one
    while top - low > one and top - low > low >> 6:
        middle = low + ((top - low) >> 1)
        status, _ = crypto_in(base, middle)
        if status == DONE:
            low = middle
        else:
            top = middle
    store(np.uint64(found.ctypes.data), low)
