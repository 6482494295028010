# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
# (Numba's decorators change the signatures that the type checker sees.)
"""Concentrated pools in O(log ticks): exact prefix sums of the steps between edges, one table per direction.

A step that reaches its edge (an initialised tick, or a bitmap-word edge where liquidity is active) has amounts that
do not depend on what is left, so they are summed once per table and a quote is a search plus one real step. A table
depends on the ticks, the spacing and the fee only: swaps leave it alone.

Row k of a table (``ROW`` limbs) is the step that ends at edge k, in the order of travel::

    0-3 gross input of the steps before it     4-7 their output     8-10 price of the edge, Q64.96
    11 tick of the edge                        12-13 liquidity during the step
    14 initialised ticks among the edges before it      15 1 where the edge is the price limit, not a tick

The row after the last one has the totals. Step 0 ends at the first initialised tick and is empty: what lies before
it has no liquidity. A *header* (``HEADER`` limbs) is one pool in one direction::

    0 kind | rounded input fee << 8 (in 10^12ths, of every kind)     1 table address     2 rows
    3 first row ahead     4 fee (parts per million)     5 1 if token0 in
    6-7 liquidity     8-10 price     11 tick     12-15, 16-19 gross input and output up to the first edge
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.ticks import (
    amount0,
    amount1,
    price_after_input,
    price_after_output,
    sqrt_ratio_at_tick,
    step_amounts,
    tick_at_sqrt_ratio,
    with_fee,
    without_fee,
)
from ouro.protocols.kernels.wide import load64, load128, load192, load256, store, to128, to192, to256

ROW = 16
HEADER = 24
MAX_TICK = 887_272
WORD_TICKS = 256
FEE_PARTS = 10**12
"""A rounded fee of 100 % in limb 0 of a header."""

NONE, CONSTANT_PRODUCT, CONCENTRATED, VOLATILE, STABLE = 0, 1, 2, 3, 4
WEIGHTED, BALANCER_STABLE, RATIO = 20, 21, 22

DONE, EXHAUSTED, AT_LIMIT, REFUSED = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def limb(address: int, index: int) -> Any:
    """Address of a limb."""
    return np.uint64(address) + np.uint64(8) * np.uint64(index)


@njit(cache=True, nogil=True)
def kind_of(header: int) -> int:
    """Which kernel quotes the header."""
    return load64(header) & np.uint64(0xFF)


@njit(cache=True, nogil=True)
def rounded_fee(header: int) -> float:
    """The fee that the pool takes from its input, rounded up to a whole unit, as a share; 0.0 where none is."""
    return np.float64(load64(header) >> np.uint64(8)) / FEE_PARTS


@njit(cache=True, nogil=True)
def _signed(value: Any) -> Any:
    return np.int64(value)


@njit(cache=True, nogil=True)
def _next_edge(tick: int, following: int, spacing: int, zero_for_one: bool) -> int:
    """The edge after a step ended at ``tick``: ``following`` is the next initialised tick."""
    span = spacing * WORD_TICKS
    if zero_for_one:
        edge = (tick - 1) // span * span
        return max(edge, following)
    edge = ((tick // spacing + 1) // WORD_TICKS * WORD_TICKS + WORD_TICKS - 1) * spacing
    return min(edge, following)


@njit(cache=True, nogil=True)
def count_rows(ticks: np.ndarray, nets: np.ndarray, spacing: int, words: bool, zero_for_one: bool) -> int:
    """Rows of the table without the last one; ``words`` says whether swaps stop at bitmap-word edges."""
    n = len(ticks)
    if n == 0:
        return 0
    rows = 1
    zero = to128(np.uint64(0))
    liquidity = zero
    for k in range(n - 1):
        here = n - 1 - k if zero_for_one else k
        there = here - 1 if zero_for_one else here + 1
        net = (to128(nets[here, 1]) << 64) | to128(nets[here, 0])
        liquidity = liquidity - net if zero_for_one else liquidity + net
        tick = ticks[here]
        while words and liquidity != zero and tick != ticks[there]:
            tick = _next_edge(tick, ticks[there], spacing, zero_for_one)
            if tick != ticks[there]:
                rows += 1
        rows += 1
    return rows


@njit(cache=True, nogil=True)
def fill_rows(
    ticks: np.ndarray,
    nets: np.ndarray,
    spacing: int,
    words: bool,
    fee_ppm: int,
    zero_for_one: bool,
    limit: int,
    table: int,
) -> int:
    """Write the table at address ``table``; returns its number of rows. ``limit`` is the address of a price."""
    n = len(ticks)
    limit_price = load192(np.uint64(limit))
    zero128 = to128(np.uint64(0))
    liquidity = zero128
    sum_in = to256(np.uint64(0))
    sum_out = sum_in
    price = sum_in
    row = 0
    crossed = 0
    for k in range(n):
        here = n - 1 - k if zero_for_one else k
        target = ticks[here]
        tick = target if k == 0 else ticks[here + 1 if zero_for_one else here - 1]
        while True:
            tick = (
                _next_edge(tick, target, spacing, zero_for_one)
                if (words and liquidity != zero128 and tick != target)
                else target
            )
            edge = sqrt_ratio_at_tick(tick)
            stop = to192(edge) < limit_price if zero_for_one else to192(edge) > limit_price
            if stop:
                edge = to256(limit_price)
            address = limb(table, row * ROW)
            store(address, sum_in)
            store(limb(address, 4), sum_out)
            store(limb(address, 8), to192(edge))
            store(limb(address, 11), np.uint64(np.int64(tick)))
            store(limb(address, 12), liquidity)
            store(limb(address, 14), np.uint64(crossed))
            store(limb(address, 15), np.uint64(1 if stop else 0))
            row += 1
            if liquidity != zero128:
                gross, out = step_amounts(price, edge, liquidity, fee_ppm, zero_for_one)
                sum_in += gross
                sum_out += out
            price = edge
            if stop or tick == target:
                break
        if stop:
            break
        crossed += 1
        net = (to128(nets[here, 1]) << 64) | to128(nets[here, 0])
        liquidity = liquidity - net if zero_for_one else liquidity + net
    address = limb(table, row * ROW)
    store(address, sum_in)
    store(limb(address, 4), sum_out)
    store(limb(address, 8), to192(price))
    store(limb(address, 11), np.uint64(0))
    store(limb(address, 12), liquidity)
    store(limb(address, 14), np.uint64(crossed))
    store(limb(address, 15), np.uint64(0))
    return row


@njit(cache=True, nogil=True)
def prepare(header: int) -> None:
    """Fill the derived limbs of a header: the first row ahead and the amounts up to its edge."""
    zero_for_one = load64(limb(header, 5)) != 0
    table = load64(limb(header, 1))
    rows = _signed(load64(limb(header, 2)))
    tick = _signed(load64(limb(header, 11)))
    low, high = 0, rows  # the first row whose edge lies ahead
    while low < high:
        middle = (low + high) // 2
        edge_tick = _signed(load64(limb(table, middle * ROW + 11)))
        ahead = edge_tick <= tick if zero_for_one else edge_tick > tick
        if ahead:
            high = middle
        else:
            low = middle + 1
    store(limb(header, 3), np.uint64(low))
    gross = to256(np.uint64(0))
    out = gross
    liquidity = load128(limb(header, 6))
    if low < rows and liquidity != to128(np.uint64(0)):
        edge = to256(load192(limb(table, low * ROW + 8)))
        price = to256(load192(limb(header, 8)))
        fee_ppm = _signed(load64(limb(header, 4)))
        gross, out = step_amounts(price, edge, liquidity, fee_ppm, zero_for_one)
    store(limb(header, 12), gross)
    store(limb(header, 16), out)


@njit(cache=True, nogil=True)
def _lower_bound(table: int, column: int, low: int, high: int, target: Any) -> int:
    """First row in [low, high] whose sum is at least ``target``; ``high + 1`` where none is."""
    end = high + 1
    while low < end:
        middle = (low + end) // 2
        if load256(limb(table, middle * ROW + column)) >= target:
            end = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def _locate(header: int, column: int, amount: Any) -> Any:
    """Where ``amount`` (of the sums in ``column``: 0 in, 4 out) runs out.

    Returns (edges passed, what is left for the step after them, whether that step exists, sums of the other
    column). Nothing left means that the swap stops on the last edge passed.
    """
    table = load64(limb(header, 1))
    rows = _signed(load64(limb(header, 2)))
    first = _signed(load64(limb(header, 3)))
    other = 4 - column
    zero = amount - amount
    if first >= rows:
        return first, amount, False, zero
    head = load256(limb(header, 12 + column))
    if amount < head:
        return first, amount, True, zero
    head_other = load256(limb(header, 12 + other))
    base = load256(limb(table, (first + 1) * ROW + column))
    target = amount - head + base
    k = _lower_bound(table, column, first + 1, rows, target)
    if k <= rows and load256(limb(table, k * ROW + column)) == target:
        passed, left, exists = k, zero, False
    elif k > rows:
        passed, left, exists = rows, target - load256(limb(table, rows * ROW + column)), False
    else:
        passed, left, exists = k - 1, target - load256(limb(table, (k - 1) * ROW + column)), True
    gained = load256(limb(table, passed * ROW + other)) - load256(limb(table, (first + 1) * ROW + other))
    return passed, left, exists, head_other + gained


@njit(cache=True, nogil=True)
def _start_of(header: int, passed: int) -> Any:
    """(price, liquidity, tick) after ``passed`` edges of the table."""
    if passed == _signed(load64(limb(header, 3))):
        return (
            to256(load192(limb(header, 8))),
            load128(limb(header, 6)),
            _signed(load64(limb(header, 11))),
        )
    table = load64(limb(header, 1))
    before = limb(table, (passed - 1) * ROW)
    price = to256(load192(limb(before, 8)))
    tick = _signed(load64(limb(before, 11)))
    if load64(limb(before, 15)) != 0:
        return price, load128(limb(before, 12)), tick
    if load64(limb(header, 5)) != 0:
        tick -= 1
    return price, load128(limb(table, passed * ROW + 12)), tick


@njit(cache=True, nogil=True)
def exact_in(header: int, amount: Any) -> Any:
    """Swap an exact gross input (256 bits).

    Returns (status, input left over, output, edges passed, price, tick, liquidity) after it. ``EXHAUSTED``: the
    liquidity ended first; price and tick are then those of the last edge.
    """
    zero_for_one = load64(limb(header, 5)) != 0
    passed, left, exists, out = _locate(header, 0, amount)
    price, liquidity, tick = _start_of(header, passed)
    zero = amount - amount
    if left == zero:
        return _on_edge(header, passed), zero, out, passed, price, tick, liquidity
    if not exists:
        return EXHAUSTED, left, out, passed, price, tick, liquidity
    fee_ppm = _signed(load64(limb(header, 4)))
    after = price_after_input(price, liquidity, without_fee(left, fee_ppm), zero_for_one)
    if zero_for_one:
        out += amount1(after, price, liquidity, False)
    else:
        out += amount0(price, after, liquidity, False)
    return DONE, zero, out, passed, after, tick, liquidity


@njit(cache=True, nogil=True)
def exact_out(header: int, amount: Any) -> Any:
    """Swap for an exact output (256 bits); as ``exact_in`` with (status, output not given, gross input, …)."""
    zero_for_one = load64(limb(header, 5)) != 0
    passed, left, exists, total_in = _locate(header, 4, amount)
    price, liquidity, tick = _start_of(header, passed)
    zero = amount - amount
    if left == zero:
        return _on_edge(header, passed), zero, total_in, passed, price, tick, liquidity
    if not exists:
        return EXHAUSTED, left, total_in, passed, price, tick, liquidity
    fee_ppm = _signed(load64(limb(header, 4)))
    after = price_after_output(price, liquidity, left, zero_for_one)
    net = amount0(after, price, liquidity, True) if zero_for_one else amount1(price, after, liquidity, True)
    total_in += with_fee(net, fee_ppm)
    edge = limb(load64(limb(header, 1)), passed * ROW)
    if after == to256(load192(limb(edge, 8))):  # rounding landed on the edge: it is crossed, the output capped
        price, liquidity, tick = _start_of(header, passed + 1)
        return _on_edge(header, passed + 1), zero, total_in, passed + 1, price, tick, liquidity
    return DONE, zero, total_in, passed, after, tick, liquidity


@njit(cache=True, nogil=True)
def _on_edge(header: int, passed: int) -> int:
    """The status of a swap that stopped on an edge."""
    if passed == _signed(load64(limb(header, 3))):
        return DONE
    before = limb(load64(limb(header, 1)), (passed - 1) * ROW)
    return AT_LIMIT if load64(limb(before, 15)) != 0 else DONE


@njit(cache=True, nogil=True)
def swap_frame(frame: int) -> None:
    """One swap for Python: a header, then 24 exact input?, 25-28 amount; results from limb 32 on::

    32 status   33-36 left   37-40 other amount   41 edges passed, 42 ticks crossed
    43-45 price   46 tick   47-48 liquidity
    """
    header = np.uint64(frame)
    amount = load256(limb(header, 25))
    is_input = load64(limb(header, 24)) != 0
    if is_input:
        status, left, other, passed, price, tick, liquidity = exact_in(header, amount)
    else:
        status, left, other, passed, price, tick, liquidity = exact_out(header, amount)
    first = _signed(load64(limb(header, 3)))
    table = load64(limb(header, 1))
    # the step moved the price inside a range: only then the price determines the tick
    start_price, _, _ = _start_of(header, passed)
    if status == DONE and price != start_price:
        tick = tick_at_sqrt_ratio(price)
    crossed = np.uint64(0)
    if passed > first:
        crossed = load64(limb(table, passed * ROW + 14)) - load64(limb(table, first * ROW + 14))
    store(limb(header, 32), np.uint64(status))
    store(limb(header, 33), left)
    store(limb(header, 37), other)
    store(limb(header, 41), np.uint64(passed - first))
    store(limb(header, 42), crossed)
    store(limb(header, 43), to192(price))
    store(limb(header, 46), np.uint64(np.int64(tick)))
    store(limb(header, 47), liquidity)
