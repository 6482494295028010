"""Compiled arbitrage of weighted pools of any number of tokens, in closed form.

At prices ν the reserves after the best trade are ``λ·w/ν`` for a token that is given, ``γ·λ·w/ν`` for one that is
taken, and unchanged for the rest; ``λ`` keeps ``Σ w·log r``, which is piecewise linear and rising in ``log λ``:
find the two breakpoints around the root and interpolate.
"""

import numpy as np
from numba import njit

from ouro.search.arrays import Float64, Int32, Int64


@njit(cache=True, nogil=True)
def _excess(level: float, lower: Float64, upper: Float64, weights: Float64) -> float:
    total = 0.0
    for k in range(weights.size):
        total += weights[k] * (min(level - lower[k], 0.0) + max(level - upper[k], 0.0))
    return total


@njit(cache=True, nogil=True)
def _level(lower: Float64, upper: Float64, weights: Float64) -> float:
    """``log λ``; between the highest lower and the lowest upper breakpoint nothing trades."""
    low, high = -np.inf, np.inf
    excess_low, excess_high = 0.0, 0.0
    for bounds in (lower, upper):
        for k in range(bounds.size):
            excess = _excess(bounds[k], lower, upper, weights)
            if excess <= 0.0 and bounds[k] > low:
                low, excess_low = bounds[k], excess
            if excess >= 0.0 and bounds[k] < high:
                high, excess_high = bounds[k], excess
    if excess_low == 0.0:
        return low
    if excess_high == 0.0:
        return high
    return low - excess_low * (high - low) / (excess_high - excess_low)


@njit(cache=True, nogil=True)
def weighted_flows(
    s: Float64,
    start: Int64,
    tokens: Int32,
    reserves: Float64,
    weights: Float64,
    gammas: Float64,
    flows: Float64,
    levels: Float64,
) -> float:
    """Net flow of every entry (positive: the pool gives) at ``s``, ``λ`` per pool; returns the worth."""
    value = 0.0
    for pool in range(start.size - 1):
        first, stop = start[pool], start[pool + 1]
        count = stop - first
        lower, upper = np.empty(count), np.empty(count)
        fee = np.log(gammas[pool])
        for k in range(count):
            root = s[tokens[first + k]]
            lower[k] = np.log(reserves[first + k] * root * root / weights[first + k])
            upper[k] = lower[k] - fee
        level = _level(lower, upper, weights[first:stop])
        levels[pool] = np.exp(level)
        for k in range(count):
            at = first + k
            root = s[tokens[at]]
            if level < lower[k]:
                flows[at] = reserves[at] * -np.expm1(level - lower[k])
            elif level > upper[k]:
                flows[at] = -reserves[at] * np.expm1(level - upper[k]) / gammas[pool]
            else:
                flows[at] = 0.0
            value += root * root * flows[at]
    return float(value)


@njit(cache=True, nogil=True)
def add_weighted_hessian(
    s: Float64,
    start: Int64,
    tokens: Int32,
    weights: Float64,
    flows: Float64,
    levels: Float64,
    slot: Int64,
    hessian: Float64,
) -> None:
    """Add ``4·S·∇²·S`` of the weighted pools: ``4λ·(diag w - w·wᵀ/Σw)`` over the trading tokens, divided by s·s."""
    for pool in range(start.size - 1):
        total = 0.0
        for at in range(start[pool], start[pool + 1]):
            if flows[at] != 0.0:
                total += weights[at]
        if total == 0.0:
            continue
        for at in range(start[pool], start[pool + 1]):
            row = slot[tokens[at]]
            if flows[at] == 0.0 or row < 0:
                continue
            hessian[row, row] += 4.0 * levels[pool] * weights[at] / (s[tokens[at]] * s[tokens[at]])
            for other in range(start[pool], start[pool + 1]):
                column = slot[tokens[other]]
                if flows[other] != 0.0 and column >= 0:
                    share = weights[at] * weights[other] / total
                    hessian[row, column] -= 4.0 * levels[pool] * share / (s[tokens[at]] * s[tokens[other]])
