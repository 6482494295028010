# pyright: basic
"""Walks over many candidates that ask one question of each: compiled, because there may be ten thousand a block."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def best_free(bounds: Any, pools: Any, hops: Any, taken: Any, done: Any, edges: Any) -> int:
    """The row of the largest positive bound that is not ``done`` and has no pool in ``taken``; -1 if there is none.

    Of equal bounds the one with the lower edge ids, compared one by one.
    """
    best = -1
    most = 0.0
    for row in range(len(bounds)):
        bound = bounds[row]
        if bound < most or bound <= 0.0 or done[row]:
            continue
        if best >= 0 and bound == most and not _earlier(edges, row, best):
            continue
        free = True
        for hop in range(hops[row]):
            if taken[pools[row, hop]]:
                free = False
                break
        if free:
            best, most = row, bound
    return best


@njit(cache=True, nogil=True)
def _earlier(edges: Any, row: int, other: int) -> bool:
    for column in range(edges.shape[1]):
        if edges[row, column] != edges[other, column]:
            return edges[row, column] < edges[other, column]
    return False


@njit(cache=True, nogil=True)
def bounds_and_pools(
    values: Any, hops: Any, edges: Any, edge_pool: Any, gas_price: float, fixed_gas: float, hop_gas: float
) -> Any:
    """What each candidate brings at most after its gas, what its gas costs, and its pools in path order."""
    count, width = edges.shape
    bounds = np.empty(count, dtype=np.float64)
    costs = np.empty(count, dtype=np.float64)
    pools = np.empty((count, width), dtype=np.int32)
    for row in range(count):
        costs[row] = gas_price * (fixed_gas + hop_gas * hops[row])
        bounds[row] = values[row] - costs[row]
        for hop in range(width):
            pools[row, hop] = edge_pool[max(edges[row, hop], 0)]
    return bounds, costs, pools


@njit(cache=True, nogil=True)
def cover(values: Any, costs: Any, share: float, pools: Any, hops: Any, marked: Any) -> Any:
    """Pool ids that have one of every candidate whose value is above ``share`` of its cost; the lowest of each that
    has none yet.

    ``marked`` has an entry for each pool, all False before and after.
    """
    chosen = np.empty(len(values), dtype=np.int32)
    count = 0
    for row in range(len(values)):
        if not values[row] > share * costs[row]:
            continue
        lowest = pools[row, 0]
        covered = False
        for hop in range(hops[row]):
            pool = pools[row, hop]
            if marked[pool]:
                covered = True
                break
            lowest = min(lowest, pool)
        if not covered:
            marked[lowest] = True
            chosen[count] = lowest
            count += 1
    for at in range(count):
        marked[chosen[at]] = False
    return chosen[:count]
