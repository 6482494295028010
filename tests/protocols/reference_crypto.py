"""Cryptoswap from its paper alone: exact fractions and bisection on the invariant, none of the contract's steps."""

from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60


def excess(a4: Fraction, gamma: Fraction, x: Fraction, y: Fraction, d: Fraction) -> Fraction:
    """Left minus right side of ``K·D·(x + y) + x·y = K·D² + D²/4``; rises with x and y. ``a4`` is A·n^n."""
    k0 = 4 * x * y / d**2
    k = a4 / 4 * k0 * gamma**2 / (gamma + 1 - k0) ** 2
    return k * d * (x + y) + x * y - k * d**2 - d**2 / 4


def coin(a4: Fraction, gamma: Fraction, x: int, d: int) -> int:
    """The least whole y at which the invariant reaches ``d``."""
    low, high = 0, 1
    while excess(a4, gamma, Fraction(x), Fraction(high), Fraction(d)) < 0:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if excess(a4, gamma, Fraction(x), Fraction(middle), Fraction(d)) < 0:
            low = middle
        else:
            high = middle
    return high


def price(a4: Fraction, gamma: Fraction, x: int, y: int, d: int) -> Fraction:
    """-dx/dy along the invariant, by central differences of the exact left side."""
    step = Fraction(y, 10**16)
    fx, fy, fd = Fraction(x), Fraction(y), Fraction(d)
    by_y = excess(a4, gamma, fx, fy + step, fd) - excess(a4, gamma, fx, fy - step, fd)
    by_x = excess(a4, gamma, fx + step, fy, fd) - excess(a4, gamma, fx - step, fy, fd)
    return by_y / by_x


def fee_share(mid: int, out: int, gamma: int, x: int, y: int) -> Fraction:
    """The fee at scaled balances as a share."""
    k = Fraction(4 * x * y, (x + y) ** 2)
    g = Fraction(gamma, 10**18)
    weight = g / (g + 1 - k)
    return (mid * weight + out * (1 - weight)) / 10**10


def decay(seconds: int, ma_time: int) -> Decimal:
    """e^(-t/T)."""
    return (Decimal(-seconds) / Decimal(ma_time)).exp()


def value(d: int, scale: int) -> Decimal:
    """Geometric mean of what D is worth in both coins."""
    return (Decimal(d) / 2 * (Decimal(d) / 2 * 10**18 / scale)).sqrt()
