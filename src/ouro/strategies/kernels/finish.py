# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""The search of ``strategies.staircase`` compiled: the best integer amounts of a path near its float optimum."""

import math
from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import (
    CONSTANT_PRODUCT,
    DONE,
    EXHAUSTED,
    kind_of,
    limb,
    rounded_fee,
)
from ouro.protocols.kernels.wide import float_to256, load256, store, to256, to_float
from ouro.search.sizing import MAX_HOPS
from ouro.strategies.kernels.path import as_float, at, forward, hop_header, left_over, most_in, need

NOTHING, FOUND, ELSEWHERE = 0, 1, 2
"""No profit; found; the path has a shape that this search doesn't know, so the one by quotes has to do it."""

AMOUNT_LIMBS = 4
_MOST_WEI = 1e33
_ROUNDING_WEI = 4.0
_PAIRS_ROUNDING_WEI = 2.0
_COARSE_WEI = 1e3
_MATTERS = 1e-9
_DISAGREE = 1e-7
_FEW = 2


def finish_scratch() -> Any:
    """Work space of ``finish_paths``: one per thread."""
    return np.zeros((2, MAX_HOPS + 1, AMOUNT_LIMBS), dtype=np.uint64)


@njit(cache=True, nogil=True)
def _moved(amount: Any, step: int, direction: int) -> Any:
    """``amount`` a number of units up or down; 0 where it would fall below."""
    by = to256(np.uint64(step))
    if direction > 0:
        return amount + by
    return amount - by if amount > by else amount - amount


@njit(cache=True, nogil=True)
def _to_the_end(headers: int, stride: int, path: Any, n_hops: int, hop: int, amounts: int) -> Any:
    """Lower the input until hop ``hop``, whose liquidity ended, can just take what comes; (status, hops done)."""
    needed = most_in(hop_header(headers, stride, path, hop), load256(limb(amounts, 4 * hop)))
    zero = needed - needed
    if needed == zero:
        return EXHAUSTED, hop
    for back in range(hop):
        status, needed = need(hop_header(headers, stride, path, hop - 1 - back), needed)
        if status != DONE:
            return EXHAUSTED, hop
    shave = 0
    for _ in range(14):
        store(amounts, _moved(needed, shave, -1))
        status, done = forward(headers, stride, path, n_hops, amounts)
        if status != EXHAUSTED or done != hop:
            return status, done
        shave = 1 if shave == 0 else shave * 8
    return EXHAUSTED, hop


@njit(cache=True, nogil=True)
def _window(start_in: float, expected_profit: float, unit_worth: float, noise_wei: float) -> float:
    """See ``staircase._window``."""
    if not 0.0 < expected_profit < np.inf:
        return float(_FEW)
    root = 1.0 + expected_profit / start_in
    curvature = (root - 1.0) / (start_in * root)
    return min(1e6, math.sqrt(noise_wei / curvature) / unit_worth) if curvature > 0.0 else float(_FEW)


@njit(cache=True, nogil=True)
def finish_path(
    headers: int,
    stride: int,
    path: Any,
    n_hops: int,
    amount_in: float,
    expected_profit: float,
    loan_ppm: int,
    per_gas: float,
    max_steps: int,
    scratch: int,
    best: int,
) -> Any:
    """(verdict, amounts of the pivot that were tried); the path's exact amounts at address ``best``.

    ``headers`` is the address of rows of ``stride`` limbs, ``path`` the rows of the hops; ``scratch`` and ``best``
    have n_hops + 1 amounts of 4 limbs.
    """
    if not (0.0 <= amount_in < _MOST_WEI) or n_hops < 1:
        return NOTHING, 0
    start = float_to256(max(1.0, amount_in))
    one = to256(np.uint64(1))
    store(best, start)
    status, done = forward(headers, stride, path, n_hops, best)
    if status == EXHAUSTED:
        status, done = _to_the_end(headers, stride, path, n_hops, done, best)
        if status == EXHAUSTED:
            return ELSEWHERE, 0
        start = load256(best)
    start_in = to_float(start)
    pivot = done + 1
    peak = one
    noise = _PAIRS_ROUNDING_WEI
    for hop in range(n_hops):
        if kind_of(hop_header(headers, stride, path, hop)) != CONSTANT_PRODUCT:
            noise = _ROUNDING_WEI
    if status == DONE:
        smallest = np.inf
        for position in range(1, n_hops + 1):
            value = to_float(load256(limb(best, 4 * position)))
            if value < smallest:
                smallest, pivot = value, position
        peak = load256(limb(best, 4 * pivot))
        unit_worth = start_in / smallest
        found = as_float(left_over(start, load256(limb(best, 4 * n_hops)), 0))
        slack = _DISAGREE * expected_profit + 30.0 * unit_worth + 1e-12 * start_in + 10.0
        if expected_profit > 0.0 and abs(found - expected_profit) > slack:
            return ELSEWHERE, 0
        for position in range(1, n_hops):
            if position != pivot:
                noise += start_in / to_float(load256(limb(best, 4 * position)))
    else:
        # one unit of what this hop gives is worth more than the float optimum
        unit_worth = start_in
    known, top, needed = at(headers, stride, path, n_hops, pivot, peak, loan_ppm, per_gas)
    tried = 1
    climbed = False
    for direction in (1, -1):
        step = 1
        rising = True
        while step > 0 and tried < max_steps:
            there = _moved(peak, step, direction)
            tried += 1
            ok, left, its_input = at(headers, stride, path, n_hops, pivot, there, loan_ppm, per_gas)
            if ok and (not known or left > top):
                known, climbed = True, True
                peak, top, needed = there, left, its_input
                step = step * 2 if rising else step // 2
            else:
                rising = False
                step //= 2
        if climbed:
            break
    if not known:
        return ELSEWHERE if status == DONE else NOTHING, tried
    best_left, best_need = top, needed
    fee = rounded_fee(hop_header(headers, stride, path, pivot)) if pivot < n_hops else 0.0
    if fee > 0.0:
        ok, left, _ = at(headers, stride, path, n_hops, pivot, peak + one, loan_ppm, per_gas)
        tried += 1
        if ok and top > left and to_float(top - left) >= 0.5 * unit_worth:
            # a saw: a fee that is rounded up from a coarse input; peaks of teeth lie 1 / fee units apart
            period = 1.0 / fee
            base, number = peak, 0
            for direction in (1, -1):
                step = 1
                rising, moved = True, False
                while step > 0 and tried < max_steps:
                    better = False
                    shift = (number + direction * step) * period
                    low = math.floor(shift)
                    for extra in range(1 if low == shift else 2):
                        units = int(low) + extra
                        there = _moved(base, abs(units), 1 if units >= 0 else -1)
                        tried += 1
                        ok, left, its_input = at(headers, stride, path, n_hops, pivot, there, loan_ppm, per_gas)
                        if ok and left > best_left:
                            best_left, best_need, peak, better = left, its_input, there, True
                    if better:
                        number += direction * step
                        moved = True
                        step = step * 2 if rising else step // 2
                    else:
                        rising = False
                        step //= 2
                if moved:
                    break
            reach = _window(start_in, expected_profit, unit_worth, unit_worth * fee)
            home = number
            for away in range(2, 2 + int(min(reach / period, float(max_steps)))):
                for direction in (1, -1):
                    shift = (home + direction * away) * period
                    for extra in range(2):
                        units = math.floor(shift) + extra
                        if tried < max_steps:
                            there = _moved(base, abs(units), 1 if units >= 0 else -1)
                            tried += 1
                            ok, left, its_input = at(headers, stride, path, n_hops, pivot, there, loan_ppm, per_gas)
                            if ok and left > best_left:
                                best_left, best_need, peak = left, its_input, there
            climbed = True
    window = _FEW
    # a few units matter where they are large, or where there is little else
    if unit_worth > _COARSE_WEI or noise > _MATTERS * expected_profit:
        window = max(window, int(_window(start_in, expected_profit, unit_worth, noise)) + 1)
    centre = peak
    for offset in range(1 if climbed else 2, window + 1):
        for direction in (1, -1):
            if tried >= max_steps:
                break
            there = _moved(centre, offset, direction)
            tried += 1
            ok, left, its_input = at(headers, stride, path, n_hops, pivot, there, loan_ppm, per_gas)
            if ok and left > best_left:
                best_left, best_need = left, its_input
    return _settled(headers, stride, path, n_hops, best_need, loan_ppm, scratch, best), tried


@njit(cache=True, nogil=True)
def _settled(
    headers: int, stride: int, path: Any, n_hops: int, amount_in: Any, loan_ppm: int, scratch: int, best: int
) -> int:
    """Make the best input a real path at ``best``: hops may bring more than asked, and exact-out rules round up."""
    verdict = NOTHING
    top = left_over(amount_in, amount_in, 0)
    for shave in range(2):
        first = _moved(amount_in, shave, -1)
        store(scratch, first)
        status, _ = forward(headers, stride, path, n_hops, scratch)
        if status != DONE:
            continue
        left = left_over(first, load256(limb(scratch, 4 * n_hops)), loan_ppm)
        if left > top:
            verdict, top = FOUND, left
            for position in range(n_hops + 1):
                store(limb(best, 4 * position), load256(limb(scratch, 4 * position)))
    return verdict


@njit(cache=True, nogil=True)
def finish_paths(
    edges: np.ndarray,
    hops: np.ndarray,
    amounts_in: np.ndarray,
    profits: np.ndarray,
    headers: np.ndarray,
    loan_ppm: int,
    per_gas: float,
    max_steps: int,
    scratch: np.ndarray,
    result_in: np.ndarray,
    result_out: np.ndarray,
    verdicts: np.ndarray,
) -> None:
    """``finish_path`` for every row of ``edges``: input and output (n, 4 limbs), and the verdict.

    Shapes: edges (n, max hops), headers (edges of the market, stride), scratch as ``finish_scratch`` makes it.
    """
    base = np.uint64(headers.ctypes.data)
    stride = headers.shape[1]
    work = np.uint64(scratch.ctypes.data)
    best = limb(work, scratch.shape[1] * AMOUNT_LIMBS)
    for row in range(edges.shape[0]):
        n_hops = np.int64(hops[row])
        verdict, _ = finish_path(
            base,
            stride,
            edges[row],
            n_hops,
            amounts_in[row],
            profits[row],
            loan_ppm,
            per_gas,
            max_steps,
            work,
            best,
        )
        verdicts[row] = verdict
        for k in range(AMOUNT_LIMBS):
            result_in[row, k] = scratch[1, 0, k]
            result_out[row, k] = scratch[1, n_hops, k]


@njit(cache=True, nogil=True)
def finish_one(
    headers: np.ndarray,
    n_hops: int,
    amount_in: float,
    expected_profit: float,
    loan_ppm: int,
    per_gas: float,
    max_steps: int,
    path: np.ndarray,
    scratch: np.ndarray,
) -> Any:
    """(verdict, tried) of the path whose hops are the rows of ``headers``; its amounts in ``scratch[1]``."""
    work = np.uint64(scratch.ctypes.data)
    return finish_path(
        np.uint64(headers.ctypes.data),
        headers.shape[1],
        path,
        n_hops,
        amount_in,
        expected_profit,
        loan_ppm,
        per_gas,
        max_steps,
        work,
        limb(work, scratch.shape[1] * AMOUNT_LIMBS),
    )
