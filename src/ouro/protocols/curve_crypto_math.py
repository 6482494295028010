"""Curve's two-coin cryptoswap (Twocrypto NG, maths v2.0) in integers: invariant and solutions, price, time average.

Source: Egorov, *Automatic market-making with dynamic peg* (2021): with ``K0 = 4·x·y/D²`` and ``K = A·K0·γ²/(γ + 1
- K0)²`` the invariant is ``K·D·(x + y) + x·y = K·D² + D²/4``. ``ann`` is A·4 times 10,000, ``gamma`` is of 10^18.
The contract solves for a coin by the cubic's closed form, with Newton's method where that has no real root, and
for D by Newton's method; which unit comes out depends on every division, so they are done in its order.
"""

from functools import lru_cache
from math import isqrt
from typing import NamedTuple

from ouro.protocols.base import QuoteError

A_UNIT = 10_000
UNIT = 10**18
N = 2
MIN_A, MAX_A = N**N * A_UNIT // 10, N**N * A_UNIT * 1000
MIN_GAMMA, MAX_GAMMA = 10**10, 2 * 10**15
WIDE_GAMMA, MAX_WIDE_GAMMA = 2 * 10**16, 199 * 10**15
_MOST_SHARE = 10**20
MIN_D, MAX_D = 10**17, 10**33
MAX_ROUNDS = 255
_I256 = 1 << 255
_DIVIDERS = ((48, 30), (46, 28), (44, 26), (42, 24), (40, 22), (38, 20), (36, 18), (34, 16), (32, 14), (30, 12))
_SMALL_DIVIDERS = ((28, 10), (26, 8), (24, 6), (20, 2))
_CBRT_WHOLE = 115_792_089_237_316_195_423_570_985_008_687_907_853_269

Pair = tuple[int, int]


def cut(top: int, bottom: int) -> int:
    """Division of signed integers as the EVM's: towards zero."""
    if not bottom:
        raise QuoteError("division by zero in the pool's arithmetic")
    quotient = abs(top) // abs(bottom)
    return quotient if (top < 0) == (bottom < 0) else -quotient


def signed(value: int) -> int:
    """``value`` where it fits a signed word."""
    if not -_I256 <= value < _I256:
        raise QuoteError("the pool's arithmetic would overflow")
    return value


def checked(value: int) -> int:
    """``value`` where it fits an unsigned word."""
    if not 0 <= value < 2 * _I256:
        raise QuoteError("the pool's arithmetic would overflow")
    return value


def require(condition: bool, what: str) -> None:
    """What the contract asserts."""
    if not condition:
        raise QuoteError(f"the pool refuses {what}")


def cbrt(x: int) -> int:
    """Cube root with 18 decimals of a number with 18 decimals: seven Newton steps from a power of two."""
    if x >= _CBRT_WHOLE * UNIT:
        scaled, back = x, 10**12
    elif x >= _CBRT_WHOLE:
        scaled, back = x * UNIT, 10**6
    else:
        scaled, back = x * 10**36, 1
    if not scaled:
        raise QuoteError("division by zero in the pool's arithmetic")
    third, rest = divmod(scaled.bit_length() - 1, 3)
    root = 2**third * 1260**rest // 1000**rest
    for _ in range(7):
        root = (2 * root + scaled // (root * root)) // 3
    return root * back


def wad_exp(x: int) -> int:
    """e^x with 18 decimals for ``x <= 0``: range reduction by powers of two and a (6, 7)-term rational function.

    Constants: Remco Bloemen, *2π blog: exp-ln* (public domain / MIT).
    """
    if x <= -42_139_678_854_452_767_551:
        return 0
    value = cut(x << 78, 5**18)
    log2 = 54_916_777_467_707_473_351_141_471_128
    k = (cut(value << 96, log2) + 2**95) >> 96
    value -= k * log2
    y = (
        (value + 1_346_386_616_545_796_478_920_950_773_328) * value >> 96
    ) + 57_155_421_227_552_351_082_224_309_758_442
    p = (y + value - 94_201_549_194_550_492_254_356_042_504_812) * y >> 96
    p = (p + 28_719_021_644_029_726_153_956_944_680_412_240) * value
    p += 4_385_272_521_454_847_904_659_076_985_693_276 << 96
    q = (value - 2_855_989_394_907_223_263_936_484_059_900) * value >> 96
    q += 50_020_603_652_535_783_019_961_831_881_945
    for constant in (
        -533_845_033_583_426_703_283_633_433_725_380,
        3_604_857_256_930_695_427_073_651_918_091_429,
        -14_423_608_567_350_463_180_887_372_962_807_573,
        26_449_188_498_355_588_339_934_803_723_976_023,
    ):
        q = (q * value >> 96) + constant
    return cut(p, q) * 3_822_833_074_963_236_453_042_738_258_902_158_003_155_416_615_667 >> (195 - k)


class Range(NamedTuple):
    """What the contract works with, both ends included: twice a given coin's part of D, and the solved coin's."""

    given: Pair
    solved: Pair


_RANGE = Range((2 * 10**16, 2 * 10**20), (10**16 - 1, 10**20))


def range_of(gamma: int, wide: bool) -> Range:
    """The range at this gamma: v2.1 (``wide``) narrows it as gamma grows."""
    if not wide:
        return _RANGE
    most = _MOST_SHARE if gamma <= WIDE_GAMMA else _MOST_SHARE * WIDE_GAMMA // gamma
    return Range((10**36 // most, most), (10**36 // N // most, most // N))


def _require_parameters(ann: int, gamma: int, wide: bool) -> None:
    require(MIN_A <= ann <= MAX_A, "its amplification")
    require(MIN_GAMMA <= gamma <= (MAX_WIDE_GAMMA if wide else MAX_GAMMA), "its gamma")


def _require_within(share: int, bounds: Pair) -> None:
    require(bounds[0] <= share <= bounds[1], "these balances")


def _distance(gamma: int, k0: int) -> int:
    """|γ + 1 - K0| plus one unit."""
    return abs(gamma + UNIT - k0) + 1


@lru_cache(maxsize=1 << 14)
def newton_d(ann: int, gamma: int, balances: Pair, k0_before: int = 0, wide: bool = False) -> int:
    """The invariant of scaled balances; ``k0_before`` is a first guess's K0, 0 for that of x·y = k."""
    _require_parameters(ann, gamma, wide)
    high, low = max(balances), min(balances)
    require(10**9 <= high <= MAX_D and low * UNIT // high >= 10**14, "these balances")
    total = high + low
    d = min(isqrt(4 * high * low // k0_before * UNIT), total) if k0_before else N * isqrt(high * low)
    for _ in range(MAX_ROUNDS):
        require(d > 0, "these balances")
        before = d
        k0 = UNIT * N**2 * high // d * low // d
        require(k0 > 0, "these balances")
        distance = _distance(gamma, k0)
        mul1 = UNIT * d // gamma * distance // gamma * distance * A_UNIT // ann
        mul2 = 2 * UNIT * N * k0 // distance
        slope = checked(total + total * mul2 // UNIT + mul1 * N // k0 - mul2 * d // UNIT)
        require(slope > 0, "these balances")
        plus = checked(d * (slope + total)) // slope
        minus = d * d // slope
        change = d * (mul1 // slope) // UNIT * abs(UNIT - k0) // k0
        minus = minus + change if k0 < UNIT else checked(minus - change)
        d = plus - minus if plus > minus else (minus - plus) // 2
        if abs(d - before) * 10**14 < max(10**16, d):
            bounds = (10**16 // N, 10**20 // N) if wide else _RANGE.solved
            for x in (high, low):
                _require_within(x * UNIT // d, bounds)
            return d
    raise QuoteError("the pool's invariant does not converge")


def newton_y(ann: int, gamma: int, other: int, d: int, wide: bool = False) -> int:
    """The coin that goes with ``other`` by Newton's method."""
    y = d * d // (other * N**2)
    k0_other = UNIT * N * other // d
    _require_within(k0_other, range_of(gamma, wide).given)
    limit = max(other // 10**14, d // 10**14, 100)
    for _ in range(MAX_ROUNDS):
        before = y
        k0 = k0_other * y * N // d
        require(k0 > 0, "these balances")
        total = other + y
        distance = _distance(gamma, k0)
        mul1 = UNIT * d // gamma * distance // gamma * distance * A_UNIT // ann
        mul2 = UNIT + 2 * UNIT * k0 // distance
        slope = UNIT * y + total * mul2 + mul1
        if slope < d * mul2:
            y = before // 2
            continue
        slope -= d * mul2
        per_unit = slope // y
        require(per_unit > 0, "these balances")
        minus = mul1 // per_unit
        plus = (slope + UNIT * d) // per_unit + minus * UNIT // k0
        minus += UNIT * total // per_unit
        y = before // 2 if plus < minus else plus - minus
        if abs(y - before) < max(limit, y // 10**14):
            return y
    raise QuoteError("the pool's iteration does not converge")


def _divider(threshold: int) -> int:
    """By how much the cubic's coefficients are cut, so that their products fit a word."""
    for bound, power in (*_DIVIDERS, *_SMALL_DIVIDERS):
        if threshold > 10**bound:
            return 10**power
    return 1


def get_y(ann: int, gamma: int, other: int, d: int, wide: bool = False) -> Pair:
    """(the coin that goes with ``other``, its K0): the cubic's closed form, or Newton's (K0 is 0 then)."""
    _require_parameters(ann, gamma, wide)
    require(MIN_D <= d <= MAX_D, "its invariant")
    require(other > 0, "these balances")
    bounds = range_of(gamma, wide)
    _require_within(UNIT * N * other // d, bounds.given)
    strength = ann * gamma * gamma
    a = 10**32
    b = signed(d * strength) // 400_000_000 // other - 3 * 10**32 - 2 * gamma * 10**14
    steep = 4 * strength // 400_000_000
    c = 3 * 10**32 + 4 * gamma * 10**14 + gamma * gamma // 10**4 + signed(steep * other) // d - steep
    e = -((UNIT + gamma) ** 2 // 10**4)
    delta0 = cut(signed(3 * a * c), b) - b
    delta1 = 3 * delta0 + b - cut(cut(27 * a**2, b) * e, b)
    by = _divider(min(abs(delta0), abs(delta1), a))
    a, b, c, e = (cut(value, by) for value in (a, b, c, e))
    delta0 = cut(3 * a * c, b) - b
    delta1 = 3 * delta0 + b - cut(cut(27 * a**2, b) * e, b)
    inside = signed(delta1**2 + signed(cut(4 * delta0**2, b) * delta0))
    if inside <= 0:
        return newton_y(ann, gamma, other, d, wide), 0
    root_of = isqrt(inside)
    b_root = cbrt(b) if b > 0 else -cbrt(-b)
    second = cbrt((delta1 + root_of) // 2) if delta1 > 0 else -cbrt((root_of - delta1) // 2)
    c1 = cut(signed(cut(b_root**2, UNIT) * second), UNIT)
    root = cut(signed(UNIT * c1 - UNIT * b - signed(cut(UNIT * b, c1) * delta0)), 3 * a)
    require(root > 0, "these balances")
    y = checked(d * d // other * root) // 4 // UNIT
    _require_within(y * UNIT // d, bounds.solved)
    return y, root


def get_p(balances: Pair, d: int, ann: int, gamma: int) -> int:
    """The price of coin 1 in coin 0 at scaled balances, of 10^18, before the price scale."""
    require(MIN_D <= d <= MAX_D, "its invariant")
    x, y = balances
    k0 = 4 * x * y // d * 10**36 // d
    g = 2 * k0 * k0 // 10**36 * k0 // 10**36 + (gamma + UNIT) ** 2
    g = checked(g - k0 * k0 // 10**36 * (2 * gamma + 3 * UNIT) // UNIT)
    strength = ann * gamma**2 // A_UNIT
    bottom = g + strength * x // d * k0 // 10**36
    return checked(x * (g + strength * y // d * k0 // 10**36)) // y * UNIT // bottom


# Later pools may be built on StableSwap's invariant instead: A·2 times 10,000 in the place of A·4, no gamma.


@lru_cache(maxsize=1 << 14)
def stable_d(ann: int, balances: Pair) -> int:
    """StableSwap's invariant of two scaled balances."""
    total = checked(sum(balances))
    require(min(balances) > 0, "these balances")
    d, annual = total, ann * N
    for _ in range(MAX_ROUNDS):
        product = d
        for x in balances:
            product = checked(product * d) // x
        product //= N**N
        before = d
        above = checked(checked(annual * total) // A_UNIT + product * N)
        below = checked((annual - A_UNIT) * d) // A_UNIT + (N + 1) * product
        d = checked(above * d) // below
        if abs(d - before) <= 1:
            return d
    raise QuoteError("the pool's invariant does not converge")


def stable_y(ann: int, other: int, d: int) -> int:
    """The coin that goes with ``other`` on StableSwap's invariant."""
    require(other > 0, "these balances")
    annual = ann * N
    c = checked(d * d) // (other * N)
    c = checked(c * d * A_UNIT) // (annual * N)
    b = other + checked(d * A_UNIT) // annual
    y = d
    for _ in range(MAX_ROUNDS):
        before = y
        below = checked(2 * y + b - d)
        require(below > 0, "these balances")
        y = checked(y * y + c) // below
        if abs(y - before) <= 1:
            return y
    raise QuoteError("the pool's iteration does not converge")


def stable_p(balances: Pair, d: int, ann: int) -> int:
    """The price of coin 1 in coin 0 on StableSwap's invariant, of 10^18, before the price scale."""
    x, y = balances
    product = checked(checked(d // N**N * d) // x * d) // y
    weight = ann * N * x // A_UNIT
    return checked(UNIT * (weight + product * x // y)) // (weight + product)
