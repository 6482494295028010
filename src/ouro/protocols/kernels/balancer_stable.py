# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Balancer's stable curve compiled; the formulas are those of ``ouro.protocols.balancer_stable_math``.

Header limbs: see ``ouro.protocols.balancer_stable_curve.header``. The invariant does not depend on the input, so it
comes with the header; a quote is one solution for the balance of the token that leaves. Integers beyond these
kernels' range are ``REFUSED``: Python quotes those pools.
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.solidly import per_unit
from ouro.protocols.kernels.wide import (
    bit_length,
    ceil_div,
    floor_div,
    load64,
    load128,
    to256,
)

ONE = 10**18
AMP_PRECISION = 1000
MAX_BITS = 100
"""Of balances and invariant."""
MAX_FACTOR_BITS = 125
_MAX_AMOUNT_BITS = 112
_MAX_PRODUCT_BITS = 120
_MAX_RATIO_BITS = 135
_MAX_ROOT_BITS = 120
_MAX_ROUNDS = 255


@njit(cache=True, nogil=True)
def _balance(table: int, n: int, k: int, moved: int, value: Any) -> Any:
    return value if k == moved else to256(load128(limb(table, 2 * k)))


@njit(cache=True, nogil=True)
def solve(header: int, moved: int, value: Any, wanted: int) -> Any:
    """(found, balance of token ``wanted``, rounded up) where token ``moved`` has the balance ``value``."""
    one = to256(np.uint64(1))
    zero = one - one
    table = load64(limb(header, 1))
    n = np.int64(load64(limb(header, 2)))
    count = to256(np.uint64(n))
    level = to256(load128(limb(header, 8)))
    annual = to256(load64(limb(header, 5)))
    if bit_length(value) > MAX_BITS + 4:
        return False, zero
    product = _balance(table, n, 0, moved, value) * count
    total = _balance(table, n, 0, moved, value)
    for k in range(1, n):
        balance = _balance(table, n, k, moved, value)
        product = floor_div(product * balance * count, level)
        if bit_length(product) > _MAX_PRODUCT_BITS:
            return False, zero
        total += balance
    if product == zero:
        return False, zero
    held = _balance(table, n, wanted, moved, value)
    square = level * level
    ratio = ceil_div(square, annual * product)
    if bit_length(ratio) > _MAX_RATIO_BITS:
        return False, zero
    c = ratio * to256(np.uint64(AMP_PRECISION)) * held
    b = total - held + to256(load128(limb(header, 18)))
    root = ceil_div(square + c, level + b)
    for _ in range(_MAX_ROUNDS):
        if bit_length(root) > _MAX_ROOT_BITS or root + root + b <= level:
            return False, zero
        before = root
        root = ceil_div(root * root + c, root + root + b - level)
        if (root - before if root > before else before - root) <= one:
            return True, root
    return False, zero


@njit(cache=True, nogil=True)
def stable_curve_in(header: int, amount: Any) -> Any:
    """(status, output) of a stable pool."""
    zero = amount - amount
    one = to256(np.uint64(1))
    unit = to256(np.uint64(ONE))
    if bit_length(amount) > _MAX_AMOUNT_BITS or amount > to256(load128(limb(header, 14))):
        return REFUSED, zero
    places = np.int64(load64(limb(header, 3)))
    i, j = places & 0xFF, places >> 8
    table = load64(limb(header, 1))
    fee = per_unit(amount * to256(load64(limb(header, 4))) + unit - one)
    factor_in, factor_out = to256(load128(limb(header, 10))), to256(load128(limb(header, 12)))
    net = amount - fee
    if factor_in != unit:
        net = per_unit(net * factor_in)
    if bit_length(net) > MAX_BITS + 3:
        return REFUSED, zero
    found, left = solve(header, i, to256(load128(limb(table, 2 * i))) + net, j)
    held = to256(load128(limb(table, 2 * j)))
    if not found or left >= held:
        return REFUSED, zero
    out = held - left - one
    if factor_out != unit:
        out = floor_div(out * unit, factor_out)
    if out > to256(load128(limb(header, 16))):
        return REFUSED, zero
    return DONE, out
