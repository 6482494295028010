"""Profitable cycles through touched pools, generated from the adjacency; nothing is stored and nothing left out.

Branch and bound that is exact: a cycle pays only if the product of its marginal rates is above 1, and the product
of the rest of a path is bounded by the best product over *walks* of that length, which a few sweeps over all edges
give for every token at once (Bellman-Ford with products). A branch whose product times that bound is not
above 1 holds no profitable cycle. In a market near its balance nearly every branch ends at once, so the cost
follows the number of profitable cycles, not the number of cycles.

Each cycle is found once per start token: from the touched pool of the lowest rank on it, pools of lower rank
being closed to the search.
"""

import numpy as np
from numba import njit

from ouro.search.arrays import Float64, Int32, Int64
from ouro.search.graph import first_at_least
from ouro.search.sizing import MAX_HOPS, size_path

# products taken in another order differ in the last digits; a branch is cut only when clearly below
_CUT = 1.0 - 1e-9
UNTOUCHED = 2**31 - 1


@njit(cache=True, nogil=True)
def sweep_bounds(
    max_hops: int,
    starts: Int32,
    edges: Int32,
    token_in: Int32,
    token_out: Int32,
    rates: Float64,
    reach: Float64,
    back: Float64,
) -> None:
    """Best products of rates between the start tokens and every token; shapes (max_hops, n_tokens, n_starts).

    ``reach[k, t, s]``: walks of exactly k hops from start s to t; ``back[k, t, s]``: of at most k hops from t to s,
    both not meeting s between. Row 0 is unused.
    """
    n_starts = starts.shape[0]
    reach[:] = 0.0
    back[:] = 0.0
    for k in range(1, max_hops):
        if k > 1:
            back[k] = back[k - 1]
        for index in range(edges.shape[0]):
            edge = edges[index]
            rate = rates[edge]
            if rate <= 0.0:
                continue
            tail = token_in[edge]
            head = token_out[edge]
            for s in range(n_starts):
                start = starts[s]
                if k == 1:
                    if tail == start and rate > reach[1, head, s]:
                        reach[1, head, s] = rate
                    if head == start and rate > back[1, tail, s]:
                        back[1, tail, s] = rate
                    continue
                if tail != start and head != start:
                    forward = reach[k - 1, tail, s] * rate
                    if forward > reach[k, head, s]:
                        reach[k, head, s] = forward
                    backward = rate * back[k - 1, head, s]
                    if backward > back[k, tail, s]:
                        back[k, tail, s] = backward


@njit(cache=True, nogil=True)
def walk_touched(
    touched: Int32,
    pool_edge_start: Int64,
    max_hops: int,
    starts: Int32,
    out_start: Int64,
    out_edges: Int32,
    out_heads: Int32,
    in_start: Int64,
    in_edges: Int32,
    in_tails: Int32,
    edge_pool: Int32,
    token_in: Int32,
    token_out: Int32,
    distance: np.ndarray,
    rates: Float64,
    reach: Float64,
    back: Float64,
    rank: Int32,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    cost_ppm: float,
    min_profits: Float64,
    work: Float64,
    position: Int64,
    found_edges: Int32,
    found_hops: np.ndarray,
    found_start: Int32,
    found_amounts: Float64,
    found_profits: Float64,
) -> tuple[int, int]:
    """Write the profitable cycles through ``touched`` pools (distinct ids) into the ``found_*`` rows.

    Returns (found, looked): all that were found, which may be more than the rows (then make them larger and call
    again), and the number of edges looked at. ``rank`` is per pool, comes all ``UNTOUCHED`` and is left so.
    """
    n_touched = touched.shape[0]
    for order in range(n_touched):
        rank[touched[order]] = order
    path = np.empty(MAX_HOPS, dtype=np.int32)
    levels = np.empty(MAX_HOPS + 1, dtype=np.int32)
    ends = np.empty(MAX_HOPS + 1, dtype=np.int32)
    product = np.empty(MAX_HOPS + 1, dtype=np.float64)
    cursor = np.empty(MAX_HOPS + 1, dtype=np.int64)
    stop = np.empty(MAX_HOPS + 1, dtype=np.int64)
    capacity = found_hops.shape[0]
    found = 0
    looked = 0
    for order in range(n_touched):
        pool = touched[order]
        for root in range(pool_edge_start[pool], pool_edge_start[pool + 1]):
            if rates[root] <= 0.0:
                continue
            tail = token_in[root]
            head = token_out[root]
            if tail == head:
                continue
            for s in range(starts.shape[0]):
                start = starts[s]
                if distance[s, tail] + 1 + distance[s, head] > max_hops:
                    continue
                for before in range(max_hops):
                    # the root is hop number `before` of the cycle; `after` hops are left behind it
                    after = max_hops - 1 - before
                    if (before == 0) != (tail == start) or (after == 0 and head != start):
                        continue
                    ahead = 1.0 if head == start else back[after, head, s]
                    behind = 1.0 if before == 0 else reach[before, tail, s]
                    looked += 1
                    if not (behind * rates[root] * ahead > _CUT):
                        continue
                    # levels 1..before go backwards from the root's tail, later ones forwards from its head
                    path[before] = root
                    product[0] = rates[root]
                    ends[0] = tail
                    depth = 0
                    entering = True
                    while depth >= 0:
                        if entering:
                            entering = False
                            if depth == before:
                                levels[depth] = head
                            at = ends[depth] if depth < before else levels[depth]
                            if depth >= before and at == start:
                                n_hops = depth + 1
                                gain = 1.0
                                for hop in range(n_hops):
                                    gain *= rates[path[hop]]
                                if gain > 1.0:
                                    amount, profit = size_path(
                                        path, n_hops, seg_start, seg_count, segs, cost_ppm, work, position
                                    )
                                    if profit > min_profits[s]:
                                        if found < capacity:
                                            for hop in range(n_hops):
                                                found_edges[found, hop] = path[hop]
                                            for hop in range(n_hops, max_hops):
                                                found_edges[found, hop] = -1
                                            found_hops[found] = n_hops
                                            found_start[found] = s
                                            found_amounts[found] = amount
                                            found_profits[found] = profit
                                        found += 1
                                depth -= 1
                                continue
                            if depth < before:
                                low = int(in_start[at])
                                high = int(in_start[at + 1])
                                if before - depth == 1:
                                    low = first_at_least(in_tails, low, high, start)
                                    high = first_at_least(in_tails, low, high, start + 1)
                            else:
                                low = int(out_start[at])
                                high = int(out_start[at + 1])
                                if depth == max_hops - 1:
                                    high = low
                                elif depth == max_hops - 2:
                                    low = first_at_least(out_heads, low, high, start)
                                    high = first_at_least(out_heads, low, high, start + 1)
                            cursor[depth] = low
                            stop[depth] = high
                        if cursor[depth] >= stop[depth]:
                            depth -= 1
                            continue
                        index = cursor[depth]
                        cursor[depth] += 1
                        looked += 1
                        backwards = depth < before
                        if backwards:
                            edge = in_edges[index]
                            token = in_tails[index]
                            left = before - depth - 1
                            if left > 0 and token == start:
                                continue
                            bound = ahead * (1.0 if left == 0 else reach[left, token, s])
                        else:
                            edge = out_edges[index]
                            token = out_heads[index]
                            bound = 1.0 if token == start else back[max_hops - depth - 2, token, s]
                        gain = product[depth] * rates[edge]
                        if not (gain * bound > _CUT):
                            continue
                        next_pool = edge_pool[edge]
                        if rank[next_pool] < order or next_pool == pool:
                            continue
                        if token != start and token in (head, tail):
                            continue
                        clash = False
                        for level in range(1, depth + 1):
                            other = path[before - level] if level <= before else path[level]
                            seen = ends[level] if level <= before else levels[level]
                            if edge_pool[other] == next_pool or (seen == token and token != start):
                                clash = True
                                break
                        if clash:
                            continue
                        product[depth + 1] = gain
                        depth += 1
                        if backwards:
                            path[before - depth] = edge
                            ends[depth] = token
                        else:
                            path[depth] = edge
                            levels[depth] = token
                        entering = True
    for order in range(n_touched):
        rank[touched[order]] = UNTOUCHED
    return found, looked
