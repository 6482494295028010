"""All pools of a market as one list of curves between tokens, and their closed-form arbitrage at given token
prices.

The whole-network optimum ``max c·Ψ`` over the net flows Ψ ≥ 0 that all pools together can give has the dual
``min g(ν) = Σ arb_i(ν), ν ≥ c`` (Angeris, Evans, Chitra and Boyd 2022; Diamandis, Resnick, Chitra and Angeris
2023): ``arb_i`` is the most that pool i gives when token t can be had and sold at ν_t, its gradient is the
pool's net flow.

A *piece* ``(r_in, r_out, γ, cap)`` of a direction trades ``x = √(r_in·r_out·ν_out/(γ·ν_in)) - r_in/γ`` clipped to
``[0, cap]``. Along a direction the marginal rates fall from piece to piece, so the pieces of a concentrated
pool are independent and so are the two directions of a pair. In the coordinates ``log ν`` the second
derivative of a piece within its bounds is ``½·ν_in·(x + r_in/γ)`` times ``[[1, -1], [-1, 1]]``: a weighted
graph Laplacian.

A weighted pool ``Π R_t^{w_t}`` of any size ends at ``R'_t = median(R_t, γ·λ·w_t/ν_t, λ·w_t/ν_t)``; λ solves the
invariant, piecewise linear in log λ. Its second derivative is ``λ·(diag w - w·wᵀ/W)`` over the tokens that trade.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from ouro.search.arrays import Bool, Float64, Int32, Int64, MarketArraysLike
from ouro.search.sizing import is_usable

_LINEAR_DEPTH = 1e6
_NEWTON_STEPS = 60


@dataclass(frozen=True, slots=True)
class WeightedPool:
    """A geometric-mean pool: token ids, reserves and weights (any scale) in the same order; ``gamma`` = 1 - fee."""

    tokens: tuple[int, ...]
    reserves: tuple[float, ...]
    weights: tuple[float, ...]
    gamma: float


@dataclass(frozen=True, slots=True)
class Network:
    """Pools as pieces (one row each: from token, to token, pool, edge) and weighted pools (rows of ``w_*``).

    Pools that could not be taken in are in ``excluded`` with the reason.
    """

    n_tokens: int
    n_pools: int
    tail: Int32
    head: Int32
    pool: Int32
    edge: Int32
    r_in: Float64
    r_out: Float64
    gamma: Float64
    cap: Float64
    w_start: Int64 = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    w_pool: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    w_token: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    w_reserve: Float64 = field(default_factory=lambda: np.empty(0))
    w_weight: Float64 = field(default_factory=lambda: np.empty(0))
    w_gamma: Float64 = field(default_factory=lambda: np.empty(0))
    excluded: dict[int, str] = field(default_factory=dict)

    @property
    def n_pieces(self) -> int:
        """Pieces of all directions of all pools."""
        return len(self.tail)

    def only(self, kept: Bool) -> "Network":
        """The same market with those pools alone where ``kept`` (n_pools) is true; ids stay."""
        piece = kept[self.pool]
        rows = kept[self.w_pool]
        sizes = np.diff(self.w_start)
        terms = np.repeat(rows, sizes)
        return Network(
            self.n_tokens,
            self.n_pools,
            self.tail[piece],
            self.head[piece],
            self.pool[piece],
            self.edge[piece],
            self.r_in[piece],
            self.r_out[piece],
            self.gamma[piece],
            self.cap[piece],
            np.concatenate(([0], np.cumsum(sizes[rows]))).astype(np.int64),
            self.w_pool[rows],
            self.w_token[terms],
            self.w_reserve[terms],
            self.w_weight[terms],
            self.w_gamma[rows],
            self.excluded,
        )


def linear_piece(gamma: float, cap_in: float) -> Float64:
    """A constant-sum direction (``out = γ·x`` up to ``cap_in``) as a piece so deep that it is straight to 1e-6."""
    depth = _LINEAR_DEPTH * max(cap_in, 1e-300)
    return np.array([[depth, depth, gamma, cap_in]])


def network_of(
    arrays: MarketArraysLike, n_tokens: int | None = None, weighted: Sequence[WeightedPool] = ()
) -> Network:
    """The pieces of every enabled pool of ``arrays``; ``weighted`` pools get the ids that follow.

    A direction whose marginal rate rises from one piece to the next isn't concave and can't be part of a convex
    optimum: its pool is excluded, as are pools with senseless numbers.
    """
    n_edges = int(arrays.n_edges)
    counts = np.asarray(arrays.seg_count[:n_edges], dtype=np.int64)
    edge = np.repeat(np.arange(n_edges, dtype=np.int32), counts)
    first = np.repeat(np.asarray(arrays.seg_start[:n_edges], dtype=np.int64), counts)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = arrays.segs[first + within]
    edge_pool = np.asarray(arrays.edge_pool[:n_edges], dtype=np.int32)
    pool = edge_pool[edge]
    sane = np.array([is_usable(*row) for row in rows.tolist()], dtype=np.bool_)
    excluded = dict.fromkeys(np.unique(pool[~sane]).tolist(), "reserves, fee or capacity that make no sense")
    with np.errstate(all="ignore"):
        starts = rows[:, 2] * rows[:, 1] / rows[:, 0]
    rises = (edge[1:] == edge[:-1]) & (starts[1:] > starts[:-1] * (1.0 + 1e-9))
    excluded |= dict.fromkeys(np.unique(pool[1:][rises]).tolist(), "its rate rises along the curve")
    kept = np.asarray(arrays.enabled, dtype=np.bool_)[pool] & sane
    kept &= ~np.isin(pool, np.array(list(excluded), dtype=np.int32))
    tail = np.asarray(arrays.edge_token_in, dtype=np.int32)[edge]
    head = np.asarray(arrays.edge_token_out, dtype=np.int32)[edge]
    kept &= tail != head
    n_pools = int(arrays.n_pools)
    tokens = [int(tail.max(initial=-1)), int(head.max(initial=-1)), *(max(w.tokens) for w in weighted)]
    terms = [
        (t, r, w / sum(p.weights))
        for p in weighted
        for t, r, w in zip(p.tokens, p.reserves, p.weights, strict=True)
    ]
    columns = np.array(terms, dtype=np.float64).reshape(-1, 3)
    rows = rows[kept]
    return Network(
        n_tokens=max(tokens) + 1 if n_tokens is None else n_tokens,
        n_pools=n_pools + len(weighted),
        tail=np.ascontiguousarray(tail[kept]),
        head=np.ascontiguousarray(head[kept]),
        pool=np.ascontiguousarray(pool[kept]),
        edge=np.ascontiguousarray(edge[kept]),
        r_in=np.ascontiguousarray(rows[:, 0]),
        r_out=np.ascontiguousarray(rows[:, 1]),
        gamma=np.ascontiguousarray(rows[:, 2]),
        cap=np.ascontiguousarray(rows[:, 3]),
        w_start=np.cumsum([0, *(len(p.tokens) for p in weighted)]).astype(np.int64),
        w_pool=np.arange(n_pools, n_pools + len(weighted), dtype=np.int32),
        w_token=columns[:, 0].astype(np.int32),
        w_reserve=np.ascontiguousarray(columns[:, 1]),
        w_weight=np.ascontiguousarray(columns[:, 2]),
        w_gamma=np.array([p.gamma for p in weighted], dtype=np.float64),
        excluded=excluded,
    )


def piece_logs(network: Network, reference: Float64) -> Float64:
    """``log(γ·r_out·ν_head / (r_in·ν_tail))`` of each piece at reference prices: how far above even it starts."""
    logs = np.log(reference)
    return np.log(network.gamma * (network.r_out / network.r_in)) + (logs[network.head] - logs[network.tail])


@njit(cache=True, nogil=True, error_model="numpy")
def piece_terms(
    moved: Float64,
    reference: Float64,
    even: Float64,
    tail: Int32,
    head: Int32,
    r_in: Float64,
    r_out: Float64,
    gamma: Float64,
    cap: Float64,
    flow: Float64,
    curvature: Float64,
    with_curvature: bool,
) -> float:
    """Sum of the pieces' arbitrage; adds their net flows to ``flow`` and their Laplacians to ``curvature``.

    Prices are ``reference·exp(moved)`` and ``even`` is ``piece_logs``: pools are thousands of times deeper
    than what is traded, so everything is computed from the small logarithm above even, never as a difference
    of large numbers. With e = exp(even + moved_head - moved_tail) - 1 and s = √(1 + e): x = r_in/γ·(s - 1), y =
    r_out·(s - 1)/s and the arbitrage is ν_in·r_in/γ·(s - 1)²; at a cap z = γ·cap/r_in it is ν_in·r_in/γ·z·(e -
    z)/(1 + z).
    """
    value = 0.0
    for k in range(tail.shape[0]):
        i, j = tail[k], head[k]
        above = even[k] + (moved[j] - moved[i])
        if not above > 0.0:
            continue
        excess = math.expm1(above)
        rise = excess / (1.0 + math.sqrt(1.0 + excess))
        depth = r_in[k] / gamma[k]
        worth = reference[i] * math.exp(moved[i]) * depth
        if cap[k] <= depth * rise:
            top = cap[k] / depth
            flow[i] -= cap[k]
            flow[j] += r_out[k] * top / (1.0 + top)
            value += worth * top * (excess - top) / (1.0 + top)
            continue
        flow[i] -= depth * rise
        flow[j] += r_out[k] * rise / (1.0 + rise)
        value += worth * rise * rise
        if with_curvature:
            weight = 0.5 * worth * (1.0 + rise)
            curvature[i, i] += weight
            curvature[j, j] += weight
            curvature[i, j] -= weight
            curvature[j, i] -= weight
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def piece_trades(
    moved: Float64,
    even: Float64,
    tail: Int32,
    head: Int32,
    r_in: Float64,
    r_out: Float64,
    gamma: Float64,
    cap: Float64,
    paid: Float64,
    got: Float64,
) -> None:
    """What each piece takes and gives; arguments as in ``piece_terms``."""
    for k in range(tail.shape[0]):
        paid[k] = 0.0
        got[k] = 0.0
        above = even[k] + (moved[head[k]] - moved[tail[k]])
        if above > 0.0:
            excess = math.expm1(above)
            depth = r_in[k] / gamma[k]
            paid[k] = min(depth * excess / (1.0 + math.sqrt(1.0 + excess)), cap[k])
            got[k] = r_out[k] * paid[k] / (depth + paid[k])


@njit(cache=True, nogil=True, error_model="numpy")
def solve_weighted(reserve: Float64, weight: Float64, gamma: float, price: Float64) -> float:
    """log λ of a weighted pool at ``price`` per token of it; NaN where it doesn't trade."""
    n = reserve.shape[0]
    low, high = -np.inf, np.inf
    for t in range(n):
        # token t leaves the pool above `out`, enters it above `into`
        leaves = math.log(reserve[t] * price[t] / weight[t])
        low = max(low, leaves)
        high = min(high, leaves - math.log(gamma))
    if low <= high:
        return np.nan
    left, right = high, low
    at = 0.5 * (left + right)
    for _ in range(_NEWTON_STEPS):
        level = 0.0
        slope = 0.0
        for t in range(n):
            end = at + math.log(weight[t] / price[t])
            now = math.log(reserve[t])
            if end < now:
                level += weight[t] * (end - now)
                slope += weight[t]
            elif end + math.log(gamma) > now:
                level += weight[t] * (end + math.log(gamma) - now)
                slope += weight[t]
        if level > 0.0:
            right = at
        else:
            left = at
        following = at - level / slope if slope > 0.0 else 0.5 * (left + right)
        if not (left <= following <= right):
            following = 0.5 * (left + right)
        if abs(following - at) <= 1e-16 * max(1.0, abs(at)) or level == 0.0:
            at = following
            break
        at = following
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def weighted_terms(
    prices: Float64,
    start: Int64,
    token: Int32,
    reserve: Float64,
    weight: Float64,
    gamma: Float64,
    flow: Float64,
    curvature: Float64,
    with_curvature: bool,
    values: Float64,
    flows: Float64,
) -> float:
    """As ``piece_terms`` for weighted pools; also each pool's value and the net flow of each of its tokens."""
    total = 0.0
    for p in range(start.shape[0] - 1):
        first, last = start[p], start[p + 1]
        values[p] = 0.0
        flows[first:last] = 0.0
        local = np.empty(last - first)
        for t in range(last - first):
            local[t] = prices[token[first + t]]
        level = solve_weighted(reserve[first:last], weight[first:last], gamma[p], local)
        if math.isnan(level):
            continue
        scale = math.exp(level)
        active = 0.0
        for t in range(last - first):
            k = first + t
            end = scale * weight[k] / local[t]
            if end < reserve[k]:
                flows[k] = reserve[k] - end
            elif gamma[p] * end > reserve[k]:
                flows[k] = -(end - reserve[k] / gamma[p])
            if flows[k] != 0.0:
                active += weight[k]
                values[p] += local[t] * flows[k]
                flow[token[k]] += flows[k]
        total += values[p]
        if with_curvature and active > 0.0:
            for k in range(first, last):
                if flows[k] == 0.0:
                    continue
                curvature[token[k], token[k]] += scale * weight[k]
                for other in range(first, last):
                    if flows[other] != 0.0:
                        curvature[token[k], token[other]] -= scale * weight[k] * weight[other] / active
    return total
