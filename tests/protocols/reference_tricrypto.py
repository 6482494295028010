"""Cryptoswap of three coins from its paper alone: exact fractions and bisection, none of the contract's steps."""

from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60

Three = tuple[Fraction, Fraction, Fraction]


def excess(a27: Fraction, gamma: Fraction, x: Three, d: Fraction) -> Fraction:
    """Left minus right side of ``K·D²·Σx + Πx = K·D³ + (D/3)³``; rises with each coin. ``a27`` is A·27."""
    product = x[0] * x[1] * x[2]
    k0 = 27 * product / d**3
    k = a27 / 27 * k0 * gamma**2 / (gamma + 1 - k0) ** 2
    return k * d**2 * sum(x) + product - k * d**3 - d**3 / 27


def at(x: tuple[int, ...], place: int, value: Fraction) -> Three:
    """Balances with another one at ``place``."""
    found = [value if k == place else Fraction(one) for k, one in enumerate(x)]
    return found[0], found[1], found[2]


def coin(a27: Fraction, gamma: Fraction, x: tuple[int, ...], place: int, d: int) -> int:
    """The least whole balance at ``place`` for which the invariant reaches ``d``, below where K0 is one."""
    others = 1
    for k, one in enumerate(x):
        others *= one if k != place else 1
    low, high = 0, d**3 // (27 * others) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if excess(a27, gamma, at(x, place, Fraction(middle)), Fraction(d)) < 0:
            low = middle
        else:
            high = middle
    return high


def price(a27: Fraction, gamma: Fraction, x: tuple[int, ...], place: int, d: int) -> Fraction:
    """The price of the coin at ``place`` in coin 0 along the invariant, by central differences."""

    def slope(k: int) -> Fraction:
        step = Fraction(x[k], 10**16)
        above, below = (excess(a27, gamma, at(x, k, x[k] + sign * step), Fraction(d)) for sign in (1, -1))
        return (above - below) / step

    return slope(place) / x[place] * x[place] / slope(0)


def fee_share(mid: int, out: int, gamma: int, x: tuple[int, ...]) -> Fraction:
    """The fee at scaled balances as a share."""
    k = Fraction(27 * x[0] * x[1] * x[2], sum(x) ** 3)
    g = Fraction(gamma, 10**18)
    weight = g / (g + 1 - k)
    return (mid * weight + out * (1 - weight)) / 10**10


def value(d: int, scales: tuple[int, ...]) -> Decimal:
    """Geometric mean of what D is worth in the three coins."""
    part = Decimal(d) / 3
    product = part * (part * 10**18 / scales[0]) * (part * 10**18 / scales[1])
    return product ** (Decimal(1) / 3)
