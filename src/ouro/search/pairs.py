"""Paths of constant-product pairs in exact integers, compiled: the last step of sizing for cycles of pairs only.

The pair's rule is ``out = ⌊x·k·r_out / (r_in·10⁶ + x·k)⌋`` with k = 10⁶ - fee; solved for the smallest input of an
output m it is ``x = ⌈m·r_in·10⁶ / ((r_out - m)·k)⌉``. Where a token of the path has few decimals the profit
over the input is a staircase, so the search is over the amounts of the coarsest token (the pivot, the start token's
final amount included), each with the smallest input that yields it.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from ouro.search.arrays import Bool, Float64, Int8, Int32
from ouro.search.sizing import MAX_HOPS
from ouro.search.wide import Limbs, divide, multiply, subtract, to_limbs, used

PPM = 1_000_000
MAX_RESERVE_BITS = 112
BOOK_COLUMNS = 9
WORK_ROWS = 8
WORK_LIMBS = 16

_AMOUNT = 4
_KEPT_COLUMN = 8
_PPM_LIMB = np.uint64(PPM)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_WORD = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ROOM_TOP = np.uint64(0x10000)
_TWO64 = 18446744073709551616.0
_COARSE_WEI = 1e3
_MATTERS = 1e-9
_FEW = 2


def book_row(reserve_in: int, reserve_out: int, fee_ppm: int) -> Limbs:
    """One direction of a pair for the kernels: reserves of 4 limbs each and the share kept after the fee.

    Raises ``OverflowError`` for a reserve beyond uint112 and ``ValueError`` for a fee that isn't below 100 %.
    """
    if not 0 <= fee_ppm < PPM:
        raise ValueError(f"fee_ppm is {fee_ppm}: from 0 to 999,999 makes sense")
    if max(reserve_in, reserve_out).bit_length() > MAX_RESERVE_BITS:
        raise OverflowError(f"reserves {reserve_in} and {reserve_out}: a pair holds at most 2^112 - 1")
    kept = np.array([PPM - fee_ppm], dtype=np.uint64)
    return np.concatenate((to_limbs(reserve_in, _AMOUNT), to_limbs(reserve_out, _AMOUNT), kept))


def pair_scratch() -> tuple[Limbs, Limbs, Limbs]:
    """Work space of ``finish_pairs``: one set per thread."""
    return (
        np.zeros((WORK_ROWS, WORK_LIMBS), dtype=np.uint64),
        np.zeros((MAX_HOPS + 1, _AMOUNT), dtype=np.uint64),
        np.zeros((MAX_HOPS + 1, _AMOUNT), dtype=np.uint64),
    )


@njit(cache=True, nogil=True)
def pair_output(row: Limbs, amount_in: Limbs, amount_out: Limbs, work: Limbs) -> bool:
    """``amount_out`` of exact ``amount_in`` (4 limbs each); False where the pair gives nothing or would
    overflow."""
    factor, kept, product, denominator = work[0], work[1], work[2], work[3]
    factor[0] = row[_KEPT_COLUMN]
    n_in = used(amount_in, _AMOUNT)
    n_kept = multiply(amount_in, n_in, factor, 1, kept)
    n_out = used(row[4:8], _AMOUNT)
    n_product = multiply(kept, n_kept, row[4:8], n_out, product)
    factor[0] = _PPM_LIMB
    n_reserve = used(row[0:4], _AMOUNT)
    n_scaled = multiply(row[0:4], n_reserve, factor, 1, denominator)
    if n_in == 0 or n_out == 0 or n_reserve == 0:
        return False
    carry = _ZERO
    over = _ZERO
    for i in range(_AMOUNT):
        over = row[i] + amount_in[i] + (over >> _WORD)
    if over >= _ROOM_TOP:
        return False
    for i in range(max(n_scaled, n_kept) + 1):
        total = carry
        if i < n_scaled:
            total += denominator[i]
        if i < n_kept:
            total += kept[i]
        denominator[i] = total & _LOW
        carry = total >> _WORD
    n_denominator = used(denominator, max(n_scaled, n_kept) + 1)
    n_quotient, _ = divide(product, n_product, denominator, n_denominator, work[5], work[6], work[7])
    for i in range(_AMOUNT):
        amount_out[i] = work[5, i] if i < n_quotient else _ZERO
    return n_quotient > 0


@njit(cache=True, nogil=True)
def pair_input(row: Limbs, amount_out: Limbs, amount_in: Limbs, work: Limbs) -> bool:
    """The smallest ``amount_in`` that yields at least ``amount_out``; False where the pair doesn't have it."""
    factor, scaled, product, denominator, left = work[0], work[1], work[2], work[3], work[4]
    n_want = used(amount_out, _AMOUNT)
    n_out = used(row[4:8], _AMOUNT)
    n_reserve = used(row[0:4], _AMOUNT)
    if n_want == 0 or n_reserve == 0 or n_want > n_out:
        return False
    if n_want == n_out:
        level = n_out - 1
        while level >= 0 and amount_out[level] == row[4 + level]:
            level -= 1
        if level < 0 or amount_out[level] > row[4 + level]:
            return False
    n_left = subtract(row[4:8], n_out, amount_out, n_want, left)
    factor[0] = _PPM_LIMB
    n_scaled = multiply(row[0:4], n_reserve, factor, 1, scaled)
    n_product = multiply(scaled, n_scaled, amount_out, n_want, product)
    factor[0] = row[_KEPT_COLUMN]
    n_denominator = multiply(left, n_left, factor, 1, denominator)
    n_quotient, remainder = divide(product, n_product, denominator, n_denominator, work[5], work[6], work[7])
    if n_quotient > _AMOUNT:
        return False
    carry = _ONE if remainder else _ZERO
    over = _ZERO
    for i in range(_AMOUNT):
        total = carry + (work[5, i] if i < n_quotient else _ZERO)
        amount_in[i] = total & _LOW
        carry = total >> _WORD
        over = row[i] + amount_in[i] + (over >> _WORD)
    return carry == _ZERO and over < _ROOM_TOP


@njit(cache=True, nogil=True)
def path_forward(path: Int32, n_hops: int, book: Limbs, amounts: Limbs, work: Limbs) -> int:
    """Fill ``amounts[1:]`` from ``amounts[0]``; returns the hops that gave something."""
    for hop in range(n_hops):
        if not pair_output(book[path[hop]], amounts[hop], amounts[hop + 1], work):
            return hop
    return n_hops


@njit(cache=True, nogil=True)
def _as_float(a: Limbs) -> float:
    value = 0.0
    for i in range(_AMOUNT - 1, -1, -1):
        value = value * 4294967296.0 + float(a[i])
    return value


@njit(cache=True, nogil=True)
def _store(high: np.uint64, low: np.uint64, out: Limbs) -> None:
    out[0] = low & _LOW
    out[1] = low >> _WORD
    out[2] = high & _LOW
    out[3] = high >> _WORD


@njit(cache=True, nogil=True)
def _moved(high: np.uint64, low: np.uint64, step: np.uint64, up: bool) -> tuple[np.uint64, np.uint64]:
    """A 128-bit number plus or minus a word; 0 where it would fall below."""
    if up:
        total = low + step
        return (high + _ONE if total < low else high), total
    if low >= step:
        return high, low - step
    if high > _ZERO:
        return high - _ONE, low - step
    return _ZERO, _ZERO


@njit(cache=True, nogil=True)
def _profit(first: Limbs, last: Limbs) -> tuple[np.int64, np.uint64]:
    """``last - first`` as a signed 128-bit number (high, low)."""
    low_a, high_a = first[0] | (first[1] << _WORD), first[2] | (first[3] << _WORD)
    low_b, high_b = last[0] | (last[1] << _WORD), last[2] | (last[3] << _WORD)
    low = low_b - low_a
    high = np.int64(high_b) - np.int64(high_a)
    if low_b < low_a:
        high -= np.int64(1)
    return high, low


@njit(cache=True, nogil=True)
def _better(high_a: np.int64, low_a: np.uint64, high_b: np.int64, low_b: np.uint64) -> bool:
    return high_a > high_b or (high_a == high_b and low_a > low_b)


@njit(cache=True, nogil=True)
def _evaluate(
    path: Int32,
    n_hops: int,
    book: Limbs,
    pivot: int,
    high: np.uint64,
    low: np.uint64,
    amounts: Limbs,
    best: Limbs,
    work: Limbs,
) -> tuple[bool, np.int64, np.uint64]:
    """Profit with ``(high, low)`` leaving position ``pivot``; the best path so far is kept in ``best``."""
    _store(high, low, amounts[pivot])
    for hop in range(pivot - 1, -1, -1):
        if not pair_input(book[path[hop]], amounts[hop + 1], amounts[hop], work):
            return False, np.int64(0), _ZERO
    # forward again: what a pool gives beyond the wish goes on, as it does on the chain
    if path_forward(path, n_hops, book, amounts, work) < n_hops:
        return False, np.int64(0), _ZERO
    profit_high, profit_low = _profit(amounts[0], amounts[n_hops])
    best_high, best_low = _profit(best[0], best[n_hops])
    if _better(profit_high, profit_low, best_high, best_low):
        for position in range(n_hops + 1):
            for limb in range(_AMOUNT):
                best[position, limb] = amounts[position, limb]
    return True, profit_high, profit_low


@njit(cache=True, nogil=True)
def finish_path(
    path: Int32,
    n_hops: int,
    amount_in: float,
    expected_profit: float,
    book: Limbs,
    max_steps: int,
    work: Limbs,
    amounts: Limbs,
    best: Limbs,
) -> bool:
    """Exact amounts of the best trade near the float optimum into ``best[:n_hops + 1]``; False where none pays.

    ``book`` has a row (``book_row``) per edge. At most about ``max_steps`` amounts of the pivot are tried.
    """
    best[:] = _ZERO
    if not (0.0 <= amount_in < 5.2e33) or n_hops < 1:
        return False
    start_in = max(1.0, amount_in)
    high = np.uint64(start_in / _TWO64)
    _store(high, np.uint64(start_in - float(high) * _TWO64), amounts[0])
    reached = path_forward(path, n_hops, book, amounts, work)
    if reached < n_hops:
        pivot = reached + 1
        low, high = _ONE, _ZERO
        smallest = 1.0
    else:
        pivot, smallest = n_hops, np.inf
        for position in range(1, n_hops + 1):
            value = _as_float(amounts[position])
            if value < smallest:
                smallest, pivot = value, position
        high = amounts[pivot, 2] | (amounts[pivot, 3] << _WORD)
        low = amounts[pivot, 0] | (amounts[pivot, 1] << _WORD)
        for position in range(n_hops + 1):
            for limb in range(_AMOUNT):
                best[position, limb] = amounts[position, limb]
    unit_worth = start_in / max(smallest, 1.0)
    noise = 2.0
    if reached == n_hops:
        for position in range(1, n_hops):
            if position != pivot:
                noise += start_in / max(_as_float(amounts[position]), 1.0)
    known, top_high, top_low = _evaluate(path, n_hops, book, pivot, high, low, amounts, best, work)
    steps = 1
    for direction in range(2):
        up = direction == 0
        step = _ONE
        rising = True
        moved = False
        while step > _ZERO and steps < max_steps:
            next_high, next_low = _moved(high, low, step, up)
            steps += 1
            ok, profit_high, profit_low = _evaluate(
                path, n_hops, book, pivot, next_high, next_low, amounts, best, work
            )
            if ok and (not known or _better(profit_high, profit_low, top_high, top_low)):
                known, moved = True, True
                high, low, top_high, top_low = next_high, next_low, profit_high, profit_low
                step = step << _ONE if rising else step >> _ONE
            else:
                rising = False
                step >>= _ONE
        if moved:
            break
    window = _FEW
    # a few units matter where they are large, or where there is little else
    matters = unit_worth > _COARSE_WEI or noise > _MATTERS * expected_profit
    if matters and 0.0 < expected_profit < np.inf:
        root = 1.0 + expected_profit / start_in
        curvature = (root - 1.0) / (start_in * root)
        if curvature > 0.0:
            window = max(window, int(min(1e6, math.sqrt(noise / curvature) / unit_worth)) + 1)
    for offset in range(1, min(window, max_steps) + 1):
        for direction in range(2):
            next_high, next_low = _moved(high, low, np.uint64(offset), direction == 0)
            _evaluate(path, n_hops, book, pivot, next_high, next_low, amounts, best, work)
    best_high, best_low = _profit(best[0], best[n_hops])
    return best_high > 0 or (best_high == 0 and best_low > _ZERO)


@njit(cache=True, nogil=True)
def finish_pairs(
    edges: Int32,
    hops: Int8,
    amounts_in: Float64,
    profits: Float64,
    book: Limbs,
    max_steps: int,
    work: Limbs,
    amounts: Limbs,
    best: Limbs,
    result_in: Limbs,
    result_out: Limbs,
    paying: Bool,
) -> None:
    """``finish_path`` for every row of ``edges``: input and output (n, 4 limbs), and whether it pays."""
    for row in range(edges.shape[0]):
        n_hops = int(hops[row])
        paying[row] = finish_path(
            edges[row], n_hops, amounts_in[row], profits[row], book, max_steps, work, amounts, best
        )
        for limb in range(_AMOUNT):
            result_in[row, limb] = best[0, limb]
            result_out[row, limb] = best[n_hops, limb]


def path_amounts(limbs: npt.NDArray[np.uint64], n_hops: int) -> tuple[int, ...]:
    """The integers of ``best[:n_hops + 1]``."""
    words = limbs[: n_hops + 1].astype("<u4")
    return tuple(int.from_bytes(words[position].tobytes(), "little") for position in range(n_hops + 1))
