"""The curves of Solidly-type pools in integers: x·y = k (volatile) and x³y + xy³ = k (stable).

Formulas: Velodrome/Aerodrome V1 ``Pool.sol`` (``_k``, ``_f``, ``_d``, ``_get_y``, ``_getAmountOut``). The
contract's arithmetic is checked: where a product would not fit 256 bits it reverts, and these raise ``QuoteError``.

One difference is deliberate: ``_get_y`` asks ``_k(x0, y + 1) > xy``, which scales decimals a second time. For
tokens without 18 decimals that view overflows at times or stops early; ``solve_y`` asks the curve itself. A swap
does not use the view, and what is quoted is checked against the test that a swap does use.
"""

from ouro.protocols.base import QuoteError

UNIT = 10**18
BPS = 10_000
MAX_ROUNDS = 255
_U256 = (1 << 256) - 1


def checked(value: int) -> int:
    """``value`` where it fits 256 bits."""
    if not 0 <= value <= _U256:
        raise QuoteError("the pool's arithmetic would overflow")
    return value


def invariant(x: int, y: int) -> int:
    """``_k`` of a stable pool for amounts in 18 decimals."""
    a = checked(x * y) // UNIT
    b = checked(checked(x * x) // UNIT + checked(y * y) // UNIT)
    return checked(a * b) // UNIT


def _slope(x: int, y: int) -> int:
    first = checked(3 * x * (checked(y * y) // UNIT)) // UNIT
    return checked(first + checked(checked(x * x) // UNIT * x) // UNIT)


def solve_y(x: int, k: int, y: int) -> int:
    """``_get_y``: the other reserve for which the invariant is (just) ``k``, by the contract's Newton steps."""
    for _ in range(MAX_ROUNDS):
        here = invariant(x, y)
        slope = _slope(x, y)
        if not slope:
            raise QuoteError("division by zero in the pool's arithmetic")
        if here < k:
            change = checked((k - here) * UNIT) // slope
            if not change:
                if invariant(x, y + 1) > k:
                    return y + 1
                change = 1
            y = checked(y + change)
        else:
            change = checked((here - k) * UNIT) // slope
            if not change:
                if here == k or invariant(x, checked(y - 1)) < k:
                    return y
                change = 1
            y = checked(y - change)
    raise QuoteError("the pool's iteration does not converge")


def stable_out(net_in: int, reserve_in: int, reserve_out: int, unit_in: int, unit_out: int) -> int:
    """``_getAmountOut`` of a stable pool; ``unit_*`` are 10^decimals of the tokens."""
    x = checked(reserve_in * UNIT) // unit_in
    y = checked(reserve_out * UNIT) // unit_out
    k = invariant(x, y)
    more = checked(net_in * UNIT) // unit_in
    gained = checked(y - solve_y(checked(more + x), k, y))
    return checked(gained * unit_out) // UNIT


def volatile_out(net_in: int, reserve_in: int, reserve_out: int) -> int:
    """``_getAmountOut`` of a volatile pool."""
    return checked(net_in * reserve_out) // checked(reserve_in + net_in)
