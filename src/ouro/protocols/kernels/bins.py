# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Liquidity Book quotes compiled: what bins take and give is summed once per block; a quote is a search and a step.

Row k of a table (``BIN_ROW`` limbs) is the k-th bin in the order of travel; the row after the last has the totals::

    0-3 gross input of the bins before it     4-7 their output     8-11 price, 128.128     12-13 output of the bin
    14 fee of 10^18

Header limbs: 1 table address, 2 rows, 3 1 where X goes in, 4 1 where the table ends with the liquidity.
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, EXHAUSTED, REFUSED, limb
from ouro.protocols.kernels.solidly import per_unit
from ouro.protocols.kernels.wide import bit_length, floor_div, load64, load128, load256, to256, to384

BINS = 11
BIN_ROW = 16
_UNIT = 10**18


@njit(cache=True, nogil=True)
def _bought(net: Any, price: Any, swap_for_y: bool) -> Any:
    if swap_for_y:
        return to256((to384(net) * to384(price)) >> 128)
    return floor_div(net << 128, price)


@njit(cache=True, nogil=True)
def bins_in(header: int, amount: Any) -> Any:
    """(status, output); ``EXHAUSTED`` with all that the bins hold."""
    zero = amount - amount
    table = load64(limb(header, 1))
    rows = np.int64(load64(limb(header, 2)))
    total = load256(limb(table, rows * BIN_ROW))
    if amount > total or bit_length(amount) > 128:
        complete = load64(limb(header, 4)) == np.uint64(1)
        return (EXHAUSTED if complete else REFUSED), load256(limb(table, rows * BIN_ROW + 4))
    low, high = 0, rows  # the last row whose bins before it take no more than the amount
    while high - low > 1:
        middle = (low + high) >> 1
        if load256(limb(table, middle * BIN_ROW)) <= amount:
            low = middle
        else:
            high = middle
    if amount == total:
        low = rows
    row = limb(table, low * BIN_ROW)
    out = load256(limb(row, 4))
    left = amount - load256(row)
    if left != zero:
        fee = to256(load64(limb(row, 14)))
        paid = per_unit(left * fee + to256(np.uint64(_UNIT - 1)))
        more = _bought(left - paid, load256(limb(row, 8)), load64(limb(header, 3)) == np.uint64(1))
        most = to256(load128(limb(row, 12)))
        out = out + (more if more < most else most)
    return (DONE if out > zero else REFUSED), out
