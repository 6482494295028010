# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""A StableSwap exchange compiled; the formulas are those of ``ouro.protocols.curve_stable_math``.

What does not depend on the input is in the header: the invariant, the product term of the coins before the input's
place and the sum of the coins that don't move. Header limbs::

    1 address of the coins behind the input's place (two limbs each, in 18 decimals)     2 how many
    3 number of coins     4 fee     5 A·n·precision     6-7, 8-9 balances of input and output in 18 decimals
    10-11 invariant     12-13, 14-15 rates of input and output     16-19 product term so far
    20-21 sum of the coins that don't move     22 precision of A     23 off-peg multiplier, 0 without
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.solidly import per_unit
from ouro.protocols.kernels.wide import bit_length, floor_div, load64, load128, load256, to256

STABLESWAP = 10
MAX_XP_BITS = 104
MAX_RATE_BITS = 126
_MAX_AMOUNT_BITS = 120
_FEE_UNIT = 10**10
_UNIT = 10**18
_ROUNDS = 255


@njit(cache=True, nogil=True)
def settle(b: Any, c: Any, d: Any) -> Any:
    """(found, y) by the contract's Newton steps from ``d``."""
    one = to256(np.uint64(1))
    y = d
    for _ in range(_ROUNDS):
        if bit_length(y) > 126:
            return False, y
        bottom = y + y + b
        if bottom <= d:
            return False, y
        before = y
        y = floor_div(y * y + c, bottom - d)
        gap = y - before if y > before else before - y
        if gap <= one:
            return True, y
    return False, y


@njit(cache=True, nogil=True)
def _off_peg(fee: Any, multiplier: Any, xi: Any, xj: Any) -> Any:
    unit = to256(np.uint64(_FEE_UNIT))
    total = xi + xj
    share = floor_div(((multiplier - unit) * xi * xj) << 2, total * total)
    return floor_div(multiplier * fee, share + unit)


@njit(cache=True, nogil=True)
def stableswap_in(header: int, amount: Any) -> Any:
    """(status, output) of an exchange; ``REFUSED`` also where the integers leave these kernels' range."""
    one = to256(np.uint64(1))
    zero = one - one
    if bit_length(amount) > _MAX_AMOUNT_BITS:
        return REFUSED, zero
    coins = to256(load64(limb(header, 3)))
    ann = to256(load64(limb(header, 5)))
    xi, xj = to256(load128(limb(header, 6))), to256(load128(limb(header, 8)))
    d = to256(load128(limb(header, 10)))
    precision = to256(load64(limb(header, 22)))
    x = xi + per_unit(amount * to256(load128(limb(header, 12))))
    d_bits = bit_length(d)
    if bit_length(x) > MAX_XP_BITS + 4:
        return REFUSED, zero
    c = load256(limb(header, 16))
    if bit_length(c) + d_bits > 255:
        return REFUSED, zero
    c = floor_div(c * d, x * coins)
    table = load64(limb(header, 1))
    for k in range(np.int64(load64(limb(header, 2)))):
        if bit_length(c) + d_bits > 255:
            return REFUSED, zero
        c = floor_div(c * d, to256(load128(limb(table, 2 * k))) * coins)
    if bit_length(c) + d_bits > 248:
        return REFUSED, zero
    c = floor_div(c * d * precision, ann * coins)
    b = to256(load128(limb(header, 20))) + x + floor_div(d * precision, ann)
    found, y = settle(b, c, d)
    if not found or y + one > xj:
        return REFUSED, zero
    gross = xj - y - one
    fee = to256(load64(limb(header, 4)))
    multiplier = to256(load64(limb(header, 23)))
    if multiplier != zero:
        fee = _off_peg(fee, multiplier, (xi + x) >> 1, (xj + y) >> 1)
    net = gross - floor_div(gross * fee, to256(np.uint64(_FEE_UNIT)))
    rate_out = to256(load128(limb(header, 14)))
    unit = to256(np.uint64(_UNIT))
    out = net if rate_out == unit else floor_div(net * unit, rate_out)
    return (REFUSED if out == zero else DONE), out
