"""Optimal input of a cycle whose pools are piecewise constant-product: exact up to float rounding.

A hop ``y = g·r_out·x / (r_in + g·x)`` is a Möbius map, and so is a path of them. Written with b = 1 it is
``F(x) = a·x / (1 + c·x)`` where ``a`` is the product of marginal rates and ``c = Σ g_k·prefix_k / r_in_k``
(``prefix_k`` is the product of the rates before hop k); this form can't overflow at six hops of 1e30.
``F(x) - (1+φ)·x`` is largest at ``x = (√(a/(1+φ)) - 1)/c``. Across ticks the path is piecewise Möbius and concave:
take the stationary point, or go to the nearest segment end of any hop, move that hop on and compose anew; the first
stationary point is the global one. Each step leaves a segment for good, so it ends.
"""

import math

import numpy as np
from numba import njit

from ouro.search.arrays import Float64, Int32, Int64

MAX_HOPS = 8
SCRATCH_ROWS = 5


def scratch() -> tuple[Float64, Int64]:
    """Work space of the sizing kernels; one per thread."""
    return np.empty((SCRATCH_ROWS, MAX_HOPS), dtype=np.float64), np.empty(MAX_HOPS, dtype=np.int64)


@njit(cache=True, nogil=True)
def is_usable(r_in: float, r_out: float, gamma: float, cap_in: float) -> bool:
    """Whether a segment is sane: positive finite reserves, a fee in [0, 1), no negative or NaN capacity."""
    return 0.0 < r_in < np.inf and 0.0 < r_out < np.inf and 0.0 < gamma <= 1.0 and cap_in >= 0.0


@njit(cache=True, nogil=True)
def refresh_rates(
    edge_from: int,
    edge_to: int,
    edge_pool: Int32,
    enabled: np.ndarray,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    rates: Float64,
    depths: Float64,
) -> None:
    """Write the marginal rates (fee included) of edges ``edge_from..edge_to``, 0 where an edge can't trade, and
    their depths (see ``depth_of``)."""
    for edge in range(edge_from, edge_to):
        rate = 0.0
        depths[edge] = np.inf
        first = seg_start[edge]
        if seg_count[edge] > 0 and 0 <= first < segs.shape[0] and enabled[edge_pool[edge]]:
            r_in, r_out, gamma = segs[first, 0], segs[first, 1], segs[first, 2]
            if is_usable(r_in, r_out, gamma, segs[first, 3]):
                rate = gamma * r_out / r_in
                if not (0.0 < rate < np.inf):
                    rate = 0.0
                else:
                    depths[edge] = depth_of(int(first), int(first) + seg_count[edge], segs)
        rates[edge] = rate


@njit(cache=True, nogil=True)
def depth_of(first: int, end: int, segs: Float64) -> float:
    """The least R for which no input x gives more than rate·x / (1 + rate·x/R): how much there is to be had.

    For one unbounded segment that is its reserve. The root of the marginal rate falls linearly with the output,
    within each segment; a line from the same start that is above it at the end of each is above it everywhere.
    Infinite where a segment can't be used or the rate rises again.
    """
    start = math.sqrt(segs[first, 2] * segs[first, 1] / segs[first, 0])
    received = 0.0
    depth = 0.0
    for row in range(first, end):
        r_in, r_out, gamma, cap = segs[row, 0], segs[row, 1], segs[row, 2], segs[row, 3]
        if not is_usable(r_in, r_out, gamma, cap):
            return np.inf
        root = math.sqrt(gamma * r_out / r_in) / start
        if root > 1.0:
            return np.inf
        if received > 0.0 and root < 1.0:
            depth = max(depth, received / (1.0 - root))
        if cap == np.inf:
            # falls to nothing at the end of the reserve
            return max(depth, received + r_out)
        net = gamma * cap
        left = r_in / (r_in + net)
        output = r_out * (1.0 - left)
        received += output
        root *= left
        if not root < 1.0:
            return np.inf
        depth = max(depth, received / (1.0 - root))
    return max(depth, received)


@njit(cache=True, nogil=True)
def size_path(
    edges: Int32,
    n_hops: int,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    cost_ppm: float,
    work: Float64,
    position: Int64,
) -> tuple[float, float]:
    """Best gross input of the path ``edges[:n_hops]`` and its profit, both in the start token's smallest unit.

    ``cost_ppm`` is a cost proportional to the input (flash fee). (0, 0) where no input pays. Rows of ``work``:
    reserves in and out, fee factor, capacity left, rate before the hop; ``position``: the hop's segment.
    """
    cost = 1.0 + cost_ppm * 1e-6
    if not _enter(edges, n_hops, seg_start, seg_count, segs, work, position):
        return 0.0, 0.0

    total_in = 0.0
    profit = 0.0
    while True:
        a = 1.0
        c = 0.0
        limit = np.inf
        blocking = -1
        for hop in range(n_hops):
            slope = work[2, hop] / work[0, hop]
            cap = work[3, hop]
            if cap < np.inf:
                # input of the path at which this hop is full: a·x/(1+c·x) = cap
                left = a - c * cap
                if left > 0.0 and cap / left < limit:
                    limit = cap / left
                    blocking = hop
            work[4, hop] = c
            c += a * slope
            a *= slope * work[1, hop]
        if not (a > cost and 0.0 < c < np.inf):
            break
        root = math.sqrt(a / cost)
        best = (root - 1.0) / c
        if not (best < np.inf):
            break
        if best <= limit:
            total_in += best
            profit += cost * (root - 1.0) * (root - 1.0) / c
            break
        profit += limit * (a / (1.0 + c * limit) - cost)
        total_in += limit
        if not _advance(edges, n_hops, limit, blocking, seg_start, seg_count, segs, work, position):
            break
    if not (0.0 < profit < np.inf and 0.0 < total_in < np.inf):
        return 0.0, 0.0
    return total_in, profit


@njit(cache=True, nogil=True)
def size_path_global(
    edges: Int32,
    n_hops: int,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    cost_ppm: float,
    crossing_costs: Float64,
    work: Float64,
    position: Int64,
) -> tuple[float, float]:
    """As ``size_path`` where the profit may have several tops: rates that rise again (dynamic fees) and
    ``crossing_costs`` (per edge, in the start token: the gas of entering its next segment).

    Between two segment ends the path is one Möbius map, whose best point is known; so every such stretch is looked
    at, to the end of the first pool, and the best point of all is returned with the profit after crossings.
    """
    cost = 1.0 + cost_ppm * 1e-6
    if not _enter(edges, n_hops, seg_start, seg_count, segs, work, position):
        return 0.0, 0.0
    spent = 0.0
    earned = 0.0
    best_in = 0.0
    best = 0.0
    while True:
        a = 1.0
        c = 0.0
        limit = np.inf
        blocking = 0
        for hop in range(n_hops):
            # the map so far is a·x / (1 + c·x); the input at which this hop's capacity is used up
            capacity = work[3, hop]
            room = a - c * capacity
            reach = capacity / room if room > 0.0 else np.inf
            if capacity < np.inf and reach < limit:
                limit = reach
                blocking = hop
            rate = work[2, hop] / work[0, hop]
            c += rate * a
            a *= rate * work[1, hop]
        if not (0.0 < a < np.inf and c > 0.0):
            break
        top = min(max((math.sqrt(a / cost) - 1.0) / c, 0.0), limit)
        profit = earned + top * (a / (1.0 + c * top) - cost)
        if profit > best:
            best, best_in = profit, spent + top
        if not limit < np.inf:
            break
        earned += limit * (a / (1.0 + c * limit) - cost) - crossing_costs[edges[blocking]]
        spent += limit
        if not _advance(edges, n_hops, limit, blocking, seg_start, seg_count, segs, work, position):
            break
    if not (0.0 < best < np.inf and 0.0 < best_in < np.inf):
        return 0.0, 0.0
    return float(best_in), float(best)


@njit(cache=True, nogil=True)
def _enter(
    edges: Int32,
    n_hops: int,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    work: Float64,
    position: Int64,
) -> bool:
    """Put every hop of a path into its first segment. False where one has none that can be used."""
    for hop in range(n_hops):
        edge = edges[hop]
        first = seg_start[edge]
        if seg_count[edge] <= 0 or first < 0 or first + seg_count[edge] > segs.shape[0]:
            return False
        if not is_usable(segs[first, 0], segs[first, 1], segs[first, 2], segs[first, 3]):
            return False
        position[hop] = first
        for column in range(4):
            work[column, hop] = segs[first, column]
    return True


@njit(cache=True, nogil=True)
def _advance(
    edges: Int32,
    n_hops: int,
    amount: float,
    blocking: int,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    work: Float64,
    position: Int64,
) -> bool:
    """Move every hop by ``amount`` of path input and ``blocking`` into its next segment; False at its end."""
    for hop in range(n_hops):
        net = work[2, hop] * amount
        after = work[0, hop] + net
        output = work[1, hop] * net / after
        if hop == blocking:
            edge = edges[hop]
            position[hop] += 1
            row = position[hop]
            if row >= seg_start[edge] + seg_count[edge]:
                return False
            if not is_usable(segs[row, 0], segs[row, 1], segs[row, 2], segs[row, 3]):
                return False
            for column in range(4):
                work[column, hop] = segs[row, column]
        else:
            work[1, hop] = work[1, hop] * work[0, hop] / after
            work[0, hop] = after
            work[3, hop] = max(0.0, work[3, hop] - amount)
        amount = output
    return True


@njit(cache=True, nogil=True)
def path_output(
    edges: Int32, n_hops: int, amount_in: float, seg_start: Int64, seg_count: Int32, segs: Float64
) -> float:
    """Output of the path for gross input ``amount_in``; inputs beyond a pool's last segment are cut off there."""
    amount = amount_in
    for hop in range(n_hops):
        edge = edges[hop]
        left = amount
        amount = 0.0
        for row in range(seg_start[edge], seg_start[edge] + seg_count[edge]):
            taken = min(left, segs[row, 3])
            net = segs[row, 2] * taken
            amount += segs[row, 1] * net / (segs[row, 0] + net)
            left -= taken
            if left <= 0.0:
                break
    return amount


@njit(cache=True, nogil=True)
def size_cycles(
    cycle_edges: Int32,
    cycle_hops: np.ndarray,
    selected: Int64,
    n_selected: int,
    seg_start: Int64,
    seg_count: Int32,
    segs: Float64,
    cost_ppm: float,
    work: Float64,
    position: Int64,
    amounts_in: Float64,
    profits: Float64,
) -> None:
    """Size the cycles ``selected[:n_selected]`` (rows of ``cycle_edges``) into ``amounts_in`` and ``profits``."""
    for index in range(n_selected):
        cycle = selected[index]
        amounts_in[index], profits[index] = size_path(
            cycle_edges[cycle], int(cycle_hops[cycle]), seg_start, seg_count, segs, cost_ppm, work, position
        )
