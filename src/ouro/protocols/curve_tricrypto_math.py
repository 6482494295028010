"""Curve's three-coin cryptoswap (Tricrypto NG, maths v2.0) in integers: invariant and solutions, prices, fee.

Source: Egorov, *Automatic market-making with dynamic peg* (2021) for n = 3: with ``K0 = 27·x·y·z/D³`` and ``K =
A·K0·γ²/(γ + 1 - K0)²`` the invariant is ``K·D²·(x + y + z) + x·y·z = K·D³ + D³/27``. ``ann`` is A·27 times 10,000,
``gamma`` is of 10^18. As in ``curve_crypto_math`` every division is done in the contract's order; where a sum of
the contract would wrap around unnoticed, this refuses.
"""

from functools import lru_cache
from math import isqrt

from ouro.protocols.base import QuoteError
from ouro.protocols.curve_crypto_math import A_UNIT, MAX_ROUNDS, MIN_D, UNIT, cbrt, checked, cut, require, signed
from ouro.protocols.curve_crypto_math import MAX_D as MAX_D

N = 3
MIN_A, MAX_A = N**N * A_UNIT // 100, N**N * A_UNIT * 1000
MIN_GAMMA, MAX_GAMMA = 10**10, 5 * 10**16
_MOST_X = (1 << 256) // UNIT * N**N
_LEAST_SHARE, _MOST_SHARE = 10**16, 10**20
_DIVIDERS = ((48, 30), (44, 26), (40, 22), (36, 18), (32, 14), (28, 10), (24, 6), (20, 2))
_ROOT_SCALES = ((36, 12), (24, 6))

Triple = tuple[int, int, int]
Pair = tuple[int, int]


def within(share: int, slack: int = 1) -> bool:
    """Whether a coin's part of D, of 10^18, is one that the contract works with."""
    return _LEAST_SHARE - slack <= share < _MOST_SHARE + 1


def geometric_mean(x: Triple) -> int:
    """The cube root of the product."""
    product = checked(checked(x[0] * x[1]) // UNIT * x[2]) // UNIT
    return cbrt(product) if product else 0


def fee_weight(x: Triple, fee_gamma: int) -> int:
    """How near the pool is to its balance, of 10^18: the weight of the lower fee."""
    total = sum(x)
    k = UNIT * N * x[0] // total
    k = checked(k * N * x[1]) // total
    k = checked(k * N * x[2]) // total
    return fee_gamma * UNIT // (fee_gamma + UNIT - k) if fee_gamma > 0 else k


def _first_d(x: Triple, total: int, k0_before: int) -> int:
    if not k0_before:
        return N * geometric_mean(x)
    scale, back = next(((s, b) for s, b in _ROOT_SCALES if total > 10**s), (18, 0))
    return cbrt(checked(x[0] * x[1]) // 10**scale * x[2] // k0_before * 27 * 10**back)


@lru_cache(maxsize=1 << 14)
def newton_d(ann: int, gamma: int, balances: Triple, k0_before: int = 0) -> int:
    """The invariant of scaled balances; ``k0_before`` is K0 as ``get_y`` told it for a first guess, or 0."""
    x = high, middle, low = tuple(sorted(balances, reverse=True))
    require(0 < high < _MOST_X and low > 0, "these balances")
    total = sum(x)
    d = _first_d((high, middle, low), total, k0_before)
    for _ in range(MAX_ROUNDS):
        require(d > 0, "these balances")
        before = d
        k0 = checked(UNIT * high * N // d * middle * N) // d * low * N // d
        require(k0 > 0, "these balances")
        distance = abs(gamma + UNIT - k0) + 1
        mul1 = checked(checked(UNIT * d // gamma * distance) // gamma * distance * A_UNIT) // ann
        mul2 = 2 * UNIT * N * k0 // distance
        slope = checked(total + checked(total * mul2) // UNIT + mul1 * N // k0 - checked(mul2 * d) // UNIT)
        require(slope > 0, "these balances")
        plus = checked(d * (slope + total)) // slope
        minus = checked(d * d) // slope
        change = checked(d * (mul1 // slope)) // UNIT * abs(UNIT - k0) // k0
        minus = minus + change if k0 < UNIT else checked(minus - change)
        d = plus - minus if plus > minus else (minus - plus) // 2
        if abs(d - before) * 10**14 < max(10**16, d):
            require(d > 0 and all(within(one * UNIT // d) for one in x), "these balances")
            return d
    raise QuoteError("the pool's invariant does not converge")


def newton_y(ann: int, gamma: int, x: Triple, d: int, i: int) -> int:
    """Coin ``i`` from the others by Newton's method."""
    high, low = sorted((x[k] for k in range(N) if k != i), reverse=True)
    require(low > 0, "these balances")
    limit = max(high // 10**14, d // 10**14, 100)
    y = d // N
    y = y * d // (low * N)
    y = y * d // (high * N)
    k0_others = checked(UNIT * high * N) // d
    k0_others = checked(k0_others * low * N) // d
    others = high + low
    for _ in range(MAX_ROUNDS):
        before = y
        k0 = checked(k0_others * y * N) // d
        require(k0 > 0 and y > 0, "these balances")
        total = others + y
        distance = abs(gamma + UNIT - k0) + 1
        mul1 = checked(checked(UNIT * d // gamma * distance) // gamma * distance * A_UNIT) // ann
        mul2 = UNIT + 2 * UNIT * k0 // distance
        slope, most = checked(UNIT * y + total * mul2 + mul1), checked(d * mul2)
        if slope < most:
            y = before // 2
            continue
        slope -= most
        per_unit = slope // y
        require(per_unit > 0, "these balances")
        minus = mul1 // per_unit
        plus = (slope + UNIT * d) // per_unit + minus * UNIT // k0
        minus += UNIT * total // per_unit
        y = before // 2 if plus < minus else plus - minus
        if abs(y - before) < max(limit, y // 10**14):
            require(within(y * UNIT // d, 0), "these balances")
            return y
    raise QuoteError("the pool's iteration does not converge")


def _cubic(ann: int, gamma: int, x_j: int, x_k: int, d: int) -> tuple[int, int, int, int]:
    """Coefficients of the cubic in K0's root."""
    strength = signed(d * d // x_j * gamma * gamma * ann)
    b = 10**36 // 9 + 2 * UNIT * gamma // 27 - strength // N**6 // A_UNIT // x_k
    spread = signed(cut(gamma * gamma * (x_j + x_k - d), d) * ann)
    c = 10**36 // 9 + gamma * (gamma + 4 * UNIT) // 27 + cut(cut(spread, 27), A_UNIT)
    return 10**36 // 27, b, c, (UNIT + gamma) ** 2 // 27


def _reduced(a: int, b: int, c: int, e: int) -> tuple[int, int, int, int]:
    """The coefficients brought to a size with which their products fit a word."""
    size = abs(cut(signed(3 * a * c), b) - b)
    by = next((10**power for bound, power in _DIVIDERS if size > 10**bound), 1)
    if abs(a) > abs(b):
        more = abs(cut(a, b))
        return cut(a * more, by), cut(signed(b * more), by), cut(signed(c * more), by), cut(signed(e * more), by)
    less = abs(cut(b, a))
    return cut(a // less, by), cut(cut(b, less), by), cut(cut(c, less), by), cut(e // less, by)


def get_y(ann: int, gamma: int, x: Triple, d: int, i: int) -> Pair:
    """(coin ``i`` from the others, K0's root): the cubic's closed form, or Newton's (the root is 0 then)."""
    require(MIN_A <= ann <= MAX_A, "its amplification")
    require(MIN_GAMMA <= gamma <= MAX_GAMMA, "its gamma")
    require(MIN_D <= d <= MAX_D, "its invariant")
    j, k = ((1, 2), (0, 2), (0, 1))[i]
    require(within(x[j] * UNIT // d, 0) and within(x[k] * UNIT // d, 0), "these balances")
    a, b, c, e = _reduced(*_cubic(ann, gamma, x[j], x[k], d))
    triple = signed(3 * a * c)
    delta0 = signed(cut(triple, b) - b)
    delta1 = signed(cut(signed(3 * triple), b) - 2 * b - cut(signed(cut(27 * a**2, b) * e), b))
    inside = signed(signed(delta1**2) + signed(cut(signed(4 * delta0**2), b) * delta0))
    if inside <= 0:
        return newton_y(ann, gamma, x, d, i), 0
    root_of = isqrt(inside)
    b_root = cbrt(b) if b >= 0 else -cbrt(-b)
    second = cbrt((delta1 + root_of) // 2) if delta1 > 0 else -cbrt((root_of - delta1) // 2)
    c1 = cut(signed(cut(signed(b_root * b_root), UNIT) * second), UNIT)
    root = cut(signed(b + cut(signed(b * delta0), c1) - c1), 3)
    y = cut(signed(signed(d * d // 27 // x[k] * d) // x[j] * root), a)
    k0 = cut(signed(UNIT * root), a)
    require(y >= 0 and k0 >= 0 and within(y * UNIT // d), "these balances")
    return y, k0


def get_p(x: Triple, d: int, ann: int, gamma: int) -> Pair:
    """Prices of coins 1 and 2 in coin 0 at scaled balances, of 10^18, before the price scale."""
    require(MIN_D <= d <= MAX_D, "its invariant")
    strength = 27 * ann * gamma * gamma
    k = signed(signed(signed(27 * x[0] * x[1]) // d * x[2]) // d * 10**36) // d
    g = signed(3 * k**2) // 10**36 - signed(k * (4 * gamma * UNIT + 6 * 10**36)) // 10**36
    g += cut(cut(cut(signed(strength * (sum(x) - d)), d), 27), A_UNIT) + (gamma + UNIT) * (gamma + 3 * UNIT)
    g3 = cut(signed(cut(signed(g * d), strength) * UNIT * 27 * A_UNIT), UNIT)
    found = [cut(signed(cut(signed(x[0] * (g3 + y)), y) * UNIT), g3 + x[0]) for y in x[1:]]
    require(min(found) >= 0, "its price")
    return found[0], found[1]
