"""StableSwap from its invariant alone: exact fractions and bisection, none of the contracts' iterations.

``A·n^n·S + D = A·D·n^n + D^(n+1) / (n^n·P)`` in rationals; the balance that goes with the others is bracketed to
a unit. What the contracts' integer iterations give must lie within a few units of it.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod


def excess(amp: Fraction, xs: Sequence[int | Fraction], d: Fraction) -> Fraction:
    """Falls as D rises: positive below the invariant's D. ``amp`` is A·n, as the contracts keep it."""
    n = len(xs)
    return amp * sum(xs) + d - amp * d - d ** (n + 1) / (n**n * prod(xs))


def invariant(amp: Fraction, xs: Sequence[int]) -> Fraction:
    """D to a millionth of a unit."""
    low, high = Fraction(0), Fraction(sum(xs))
    while high - low > Fraction(1, 10**6):
        middle = Fraction(int((low + high) / 2 * 10**7), 10**7)
        if excess(amp, xs, middle) > 0:
            low = middle
        else:
            high = middle
    return low


def balance(amp: Fraction, xs: Sequence[int], j: int, d: Fraction) -> int:
    """The least whole ``xs[j]`` at which the invariant reaches ``d``."""
    low, high = 0, 1
    while excess(amp, [*xs[:j], high, *xs[j + 1 :]], d) < 0:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if excess(amp, [*xs[:j], middle, *xs[j + 1 :]], d) < 0:
            low = middle
        else:
            high = middle
    return high
