"""Balancer's stable curve in integers: invariant, one balance from the others, swaps, single-token joins and exits.

Formulas: ``StableMath`` of Balancer V2 and V3; ``amp`` is A·n^(n-1) in thousandths. The first generations round the
invariant up on purpose (``rounds_up``), later ones divide as Curve does. Where the contract's iteration does not
converge or its arithmetic overflows it reverts, and these raise ``QuoteError``.
"""

from collections.abc import Sequence

from ouro.protocols.balancer_math import checked
from ouro.protocols.base import QuoteError

AMP_PRECISION = 1000
MIN_AMP, MAX_AMP = 1 * AMP_PRECISION, 5000 * AMP_PRECISION
MAX_ROUNDS = 255


def _divided(a: int, b: int, up: bool = False) -> int:
    if not b:
        raise QuoteError("division by zero in the pool's arithmetic")
    return -(-a // b) if up else a // b


def invariant(amp: int, balances: Sequence[int]) -> int:
    """``_calculateInvariant`` of the composable generations and of V3: every division rounds down."""
    total, n = checked(sum(balances)), len(balances)
    if not total:
        return 0
    found, annual = total, amp * n
    for _ in range(MAX_ROUNDS):
        product = found
        for balance in balances:
            product = _divided(checked(product * found), checked(balance * n))
        before = found
        above = checked(checked(annual * total) // AMP_PRECISION + checked(product * n))
        below = checked(checked((annual - AMP_PRECISION) * found) // AMP_PRECISION + checked((n + 1) * product))
        found = _divided(checked(above * found), below)
        if abs(found - before) <= 1:
            return found
    raise QuoteError("the pool's invariant does not converge")


def invariant_rounded(amp: int, balances: Sequence[int], up: bool) -> int:
    """``_calculateInvariant`` of the first generations."""
    total, n = checked(sum(balances)), len(balances)
    if not total:
        return 0
    found, annual = total, amp * n
    for _ in range(MAX_ROUNDS):
        product = checked(balances[0] * n)
        for balance in balances[1:]:
            product = _divided(checked(checked(product * balance) * n), found, up)
        before = found
        above = checked(
            checked(checked(n * found) * found) + _divided(checked(annual * total * product), AMP_PRECISION, up)
        )
        below = checked(
            checked((n + 1) * found) + _divided(checked((annual - AMP_PRECISION) * product), AMP_PRECISION, not up)
        )
        found = _divided(above, below, up)
        if abs(found - before) <= 1:
            return found
    raise QuoteError("the pool's invariant does not converge")


def balance_at(amp: int, balances: Sequence[int], level: int, k: int) -> int:
    """The balance of token ``k`` for which the invariant of all is ``level``, rounded up."""
    n = len(balances)
    annual = amp * n
    product = checked(balances[0] * n)
    for balance in balances[1:]:
        product = _divided(checked(checked(product * balance) * n), level)
    others = checked(sum(balances)) - balances[k]
    square = checked(level * level)
    c = checked(checked(_divided(square, checked(annual * product), True) * AMP_PRECISION) * balances[k])
    b = checked(others + checked(level // annual * AMP_PRECISION))
    found = _divided(checked(square + c), checked(level + b), True)
    for _ in range(MAX_ROUNDS):
        before = found
        found = _divided(checked(checked(found * found) + c), checked(2 * found + b - level), True)
        if abs(found - before) <= 1:
            return found
    raise QuoteError("the pool's balance does not converge")


def _with(balances: Sequence[int], k: int, value: int) -> tuple[int, ...]:
    changed = list(balances)
    changed[k] = value
    return tuple(changed)


def out_given_in(amp: int, balances: Sequence[int], i: int, j: int, amount_in: int, level: int) -> int:
    """What leaves for a net input; all in 18 decimals."""
    final = balance_at(amp, _with(balances, i, checked(balances[i] + amount_in)), level, j)
    out = balances[j] - final - 1
    if out < 0:
        raise QuoteError("the input buys less than nothing: the pool's rounding takes it")
    return out


def in_given_out(amp: int, balances: Sequence[int], i: int, j: int, amount_out: int, level: int) -> int:
    """What a given output asks for, without the fee."""
    if amount_out > balances[j]:
        raise QuoteError("insufficient liquidity")
    final = balance_at(amp, _with(balances, j, balances[j] - amount_out), level, i)
    return checked(final - balances[i] + 1)
