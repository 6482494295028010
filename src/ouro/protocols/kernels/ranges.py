# pyright: basic
"""The ranges between initialised ticks as constant-product segments, in float64, for the search."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def directed_rows(roots: Any, liquidity: Any, gamma: float, zero_for_one: bool) -> Any:
    """Rows (r_in, r_out, gamma, cap_in) of the ranges that have liquidity, in the order of travel, and for each
    tick the first row after crossing it.

    ``roots``: of the prices at the ticks, ascending; ``liquidity[k]`` lies between ticks k and k + 1. Within a
    range it is x·y = L².
    """
    n_ticks, count = len(roots), 0
    for k in range(len(liquidity)):
        count += liquidity[k] > 0.0
    rows = np.empty((count, 4), dtype=np.float64)
    start = np.zeros(n_ticks, dtype=np.int64)
    row = 0
    if zero_for_one:
        # below tick k come the ranges k - 1, ..., 0
        for k in range(n_ticks - 1, 0, -1):
            start[k] = row
            depth = liquidity[k - 1]
            if depth > 0.0:
                high, low = roots[k], roots[k - 1]
                rows[row, 0] = depth / high
                rows[row, 1] = depth * high
                rows[row, 2] = gamma
                rows[row, 3] = depth * (high - low) / (high * low * gamma)
                row += 1
        if n_ticks:
            start[0] = row
        return rows, start
    for k in range(n_ticks - 1):
        start[k] = row
        depth = liquidity[k]
        if depth > 0.0:
            low, high = roots[k], roots[k + 1]
            rows[row, 0] = depth * low
            rows[row, 1] = depth / low
            rows[row, 2] = gamma
            rows[row, 3] = depth * (high - low) / gamma
            row += 1
    if n_ticks:
        start[n_ticks - 1] = row
    return rows, start
