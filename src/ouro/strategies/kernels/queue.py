# pyright: basic
"""Walks over many candidates that ask one question of each: compiled, because there may be ten thousand a block."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def next_free(order: Any, at: int, pools: Any, hops: Any, taken: Any) -> int:
    """The first position from ``at`` in ``order`` whose candidate has no pool in ``taken``; its length if none."""
    while at < len(order):
        row = order[at]
        free = True
        for hop in range(hops[row]):
            if taken[pools[row, hop]]:
                free = False
                break
        if free:
            return at
        at += 1
    return at


@njit(cache=True, nogil=True)
def cover(order: Any, pools: Any, hops: Any, marked: Any) -> Any:
    """Pool ids that have one of every candidate in ``order``; the lowest of each that has none yet.

    ``marked`` has an entry for each pool, all False before and after.
    """
    chosen = np.empty(len(order), dtype=np.int32)
    count = 0
    for at in range(len(order)):
        row = order[at]
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
