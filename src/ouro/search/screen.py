"""The stored cycles through touched pools: screened by the product of marginal rates, then sized."""

import numpy as np
from numba import njit

from ouro.search.arrays import Float64, Int8, Int32, Int64
from ouro.search.sizing import refresh_rates, size_path


@njit(cache=True, nogil=True)
def refresh_pools(
    pools: Int32,
    pool_edge_start: Int64,
    edge_pool: Int32,
    enabled: np.ndarray,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    rates: Float64,
    depths: Float64,
) -> None:
    """Write the marginal rates and depths of every edge of ``pools``."""
    for index in range(pools.shape[0]):
        pool = pools[index]
        refresh_rates(
            int(pool_edge_start[pool]),
            int(pool_edge_start[pool + 1]),
            edge_pool,
            enabled,
            seg_start,
            seg_count,
            segs,
            rates,
            depths,
        )


@njit(cache=True, nogil=True)
def screen_touched(
    touched: Int32,
    pool_start: Int64,
    pool_cycles: Int64,
    cycle_edges: Int32,
    cycle_hops: Int8,
    stamp: Int64,
    epoch: int,
    token_in: Int32,
    start_of_token: Int32,
    rates: Float64,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    cost_ppm: float,
    min_profits: Float64,
    work: Float64,
    position: Int64,
    found_edges: Int32,
    found_hops: Int8,
    found_start: Int32,
    found_amounts: Float64,
    found_profits: Float64,
) -> tuple[int, int]:
    """Write the profitable cycles through ``touched`` pools into the ``found_*`` rows.

    Returns (found, looked): all that were found, which may be more than the rows, and the number of distinct cycles
    screened. ``stamp`` is per cycle; those that carry ``epoch`` are taken for seen.
    """
    capacity = found_hops.shape[0]
    max_hops = cycle_edges.shape[1]
    found = 0
    looked = 0
    for order in range(touched.shape[0]):
        pool = touched[order]
        for entry in range(pool_start[pool], pool_start[pool + 1]):
            cycle = pool_cycles[entry]
            if stamp[cycle] == epoch:
                continue
            stamp[cycle] = epoch
            looked += 1
            n_hops = int(cycle_hops[cycle])
            gain = 1.0
            for hop in range(n_hops):
                gain *= rates[cycle_edges[cycle, hop]]
            if not gain > 1.0:
                continue
            edges = cycle_edges[cycle]
            amount, profit = size_path(edges, n_hops, seg_start, seg_count, segs, cost_ppm, work, position)
            start = start_of_token[token_in[edges[0]]]
            if not profit > min_profits[start]:
                continue
            if found < capacity:
                for hop in range(max_hops):
                    found_edges[found, hop] = edges[hop]
                found_hops[found] = n_hops
                found_start[found] = start
                found_amounts[found] = amount
                found_profits[found] = profit
            found += 1
    return found, looked
