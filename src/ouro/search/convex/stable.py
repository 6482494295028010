"""StableSwap with two coins as a curve: closed form, since the invariant is quadratic in one balance.

``4A(x + y) + D = 4AD + D³/(4xy)`` (Egorov 2019 with n = 2 and ``A·nⁿ = 4A``), D kept. For more precision near the
peg than a chain of constant-product pieces gives; ``CurveEdge`` finds the optimum by its derivative.
"""

import math
from collections.abc import Callable

Curve = tuple[Callable[[float], float], Callable[[float], float], float]


def invariant(x: float, y: float, amplification: float) -> float:
    """D of balances x and y, by Newton's method from above (it falls monotonically)."""
    annn = 4.0 * amplification
    total = d = x + y
    for _ in range(255):
        product = d * d * d / (4.0 * x * y)
        after = d * (annn * total + 2.0 * product) / ((annn - 1.0) * d + 3.0 * product)
        if abs(after - d) <= 1e-15 * d:
            return after
        d = after
    return d


def stable_curve(reserve_in: float, reserve_out: float, amplification: float, gamma: float) -> Curve:
    """``(out, slope, cap_in)`` of one direction; the fee is taken from the output, as Curve's contracts do.

    ``cap_in`` is a million times the pool: far beyond any sane trade. Raises ValueError on what can't be a pool.
    """
    if not (reserve_in > 0.0 and reserve_out > 0.0 and amplification >= 1.0 and 0.0 < gamma <= 1.0):
        raise ValueError("stable_curve: reserves are positive, A at least 1, gamma in (0, 1]")
    annn = 4.0 * amplification
    d = invariant(reserve_in, reserve_out, amplification)
    cube = d * d * d / (4.0 * annn)

    def balance(x: float) -> float:
        linear = x + d / annn - d
        root = math.sqrt(linear * linear + 4.0 * cube / x)
        # the other form of the root where this one would cancel
        return 2.0 * cube / x / (linear + root) if linear > 0.0 else 0.5 * (root - linear)

    start = balance(reserve_in)

    def out(amount: float) -> float:
        return gamma * max(start - balance(reserve_in + amount), 0.0)

    def slope(amount: float) -> float:
        x = reserve_in + amount
        y = balance(x)
        return gamma * (y + cube / (x * x)) / (2.0 * y + x + d / annn - d)

    return out, slope, 1e6 * (reserve_in + reserve_out)
