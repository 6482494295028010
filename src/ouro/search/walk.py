"""Profitable cycles through touched pools, generated from the adjacency; nothing is stored and nothing left out.

Branch and bound that is exact: a cycle pays only if the product of its marginal rates is above 1, and the product
of the rest of a path is bounded by the best product over *walks* of that length, which a few sweeps over all edges
give for every token at once (Bellman-Ford with products). A branch whose product times that bound is not
above 1 holds no profitable cycle. What a cycle pays is bounded as well, by what its shallowest pool holds: branches
below the value that is asked for are cut the same way. In a market near its balance nearly every branch ends at
once, so the cost follows the number of profitable cycles, not the number of cycles.

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
_SLACK = 1e-9
UNTOUCHED = 2**31 - 1


LANES = 8
"""Start tokens are worked on by so many at once: a whole row of bounds stays in the processor's vectors."""


def lanes(n_starts: int) -> int:
    """Width of the bounds for so many start tokens."""
    return -(-n_starts // LANES) * LANES


@njit(cache=True, nogil=True)
def sweep_bounds(
    max_hops: int,
    starts: Int32,
    out_start: Int64,
    out_edges: Int32,
    out_heads: Int32,
    in_start: Int64,
    in_edges: Int32,
    in_tails: Int32,
    rates: Float64,
    reach: Float64,
    back: Float64,
) -> None:
    """Best products of rates between the start tokens and every token; shapes (max_hops, n_tokens, lanes).

    ``reach[k, t, s]``: walks of exactly k hops from start s to t; ``back[k, t, s]``: of at most k hops from t to s,
    both not meeting s between. Row 0 and the lanes beyond the start tokens are unused.
    """
    if max_hops < 2:
        return
    reach[1] = 0.0
    back[1] = 0.0
    for s in range(starts.shape[0]):
        start = starts[s]
        for index in range(out_start[start], out_start[start + 1]):
            rate = rates[out_edges[index]]
            if rate > reach[1, out_heads[index], s]:
                reach[1, out_heads[index], s] = rate
        for index in range(in_start[start], in_start[start + 1]):
            rate = rates[in_edges[index]]
            if rate > back[1, in_tails[index], s]:
                back[1, in_tails[index], s] = rate
        reach[1, start, s] = back[1, start, s] = 0.0
    for k in range(2, max_hops):
        _sweep(in_start, in_edges, in_tails, rates, reach[k - 1], reach[k], False)
        _sweep(out_start, out_edges, out_heads, rates, back[k - 1], back[k], True)
        # what is 0 at a start token can't be gone on from: walks don't meet it between
        for s in range(starts.shape[0]):
            reach[k, starts[s], s] = back[k, starts[s], s] = 0.0


@njit(cache=True, nogil=True)
def _sweep(
    row_start: Int64, edges: Int32, others: Int32, rates: Float64, before: Float64, after: Float64, keep: bool
) -> None:
    """``after[t]`` becomes the best of rate · ``before[other]`` over the edges of t's row, lane by lane; with
    ``keep`` also of ``before[t]``."""
    best = np.empty(LANES, dtype=np.float64)
    for block in range(0, before.shape[1], LANES):
        for token in range(before.shape[0]):
            for lane in range(LANES):
                best[lane] = before[token, block + lane] if keep else 0.0
            for index in range(row_start[token], row_start[token + 1]):
                rate = rates[edges[index]]
                other = others[index]
                for lane in range(LANES):
                    value = rate * before[other, block + lane]
                    best[lane] = value if value > best[lane] else best[lane]
            for lane in range(LANES):
                after[token, block + lane] = best[lane]


@njit(cache=True, nogil=True, inline="always")
def _may_bring(gain: float, deepest: float, least: float) -> bool:
    """Whether a cycle may pay more than ``least``: its rates multiply to at most ``gain``, and it ends with at most
    ``deepest`` units, what the shallowest of its pools holds as it arrives at the end.

    A path of rate a through a pool of such a depth d pays at most (1 - 1/√a)²·d, and (√a - 1) ≤ (a - 1)/2.
    """
    excess = abs(gain - 1.0) + _SLACK
    return excess * excess * deepest * (1.0 + _SLACK) >= 4.0 * gain * least


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
    depths: Float64,
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
    # least depth of the hops so far, in units of the token that the path has come to
    depth_here = np.empty(MAX_HOPS + 1, dtype=np.float64)
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
                    most = behind * rates[root] * ahead
                    if not (most > _CUT and _may_bring(most, depths[root] * ahead, min_profits[s])):
                        continue
                    # levels 1..before go backwards from the root's tail, later ones forwards from its head
                    path[before] = root
                    product[0] = rates[root]
                    depth_here[0] = depths[root]
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
                                if gain > 1.0 and _may_bring(gain, depth_here[depth], min_profits[s]):
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
                            beyond = ahead
                            bound = ahead * (1.0 if left == 0 else reach[left, token, s])
                            deepest = min(depth_here[depth], depths[edge] * product[depth])
                        else:
                            edge = out_edges[index]
                            token = out_heads[index]
                            beyond = bound = 1.0 if token == start else back[max_hops - depth - 2, token, s]
                            deepest = min(depth_here[depth] * rates[edge], depths[edge])
                        gain = product[depth] * rates[edge]
                        if not (gain * bound > _CUT and _may_bring(gain * bound, deepest * beyond, min_profits[s])):
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
                        depth_here[depth + 1] = deepest
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
