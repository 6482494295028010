"""The network of pools in the form the dual wants: directed edges of constant-product pieces, and special pools.

Two-token pools are edges, one per direction, made of consecutive constant-product pieces (one for Uniswap V2, one
per liquidity range for concentrated pools, a fine interpolation for stable ones). Weighted pools of any number of
tokens, constant sums and arbitrary concave curves are kept apart. Whatever can't be used is left out with a reason.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ouro.search.arrays import Bool, Float64, Int32, Int64, MarketArraysLike

MAX_RESERVE = 1e60
MIN_RESERVE = 1e-30
MAX_POOLS = 2_000_000
_MONOTONE_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class WeightedPool:
    """``Π r_k^w_k`` stays at least what it was, fee factor ``gamma`` on inputs."""

    pool: int
    tokens: tuple[int, ...]
    reserves: tuple[float, ...]
    weights: tuple[float, ...]
    gamma: float


@dataclass(frozen=True, slots=True)
class LinearEdge:
    """A constant sum in one direction: ``out = rate·x`` for ``0 <= x <= cap_in``."""

    pool: int
    token_in: int
    token_out: int
    rate: float
    cap_in: float


@dataclass(frozen=True, slots=True)
class CurveEdge:
    """Any concave curve in one direction: ``out(x)`` with derivative ``slope(x)``, up to ``cap_in``.

    ``slope`` falls strictly and ``out(0) = 0``; ``cap_in`` must be finite, it brackets the search for the optimum.
    """

    pool: int
    token_in: int
    token_out: int
    out: Callable[[float], float]
    slope: Callable[[float], float]
    cap_in: float


@dataclass(frozen=True, slots=True)
class Network:
    """Edges of a pool are consecutive; pieces of edge e are ``segs[seg_start[e]:seg_start[e+1]]``, see
    ``Segments``.

    ``pool_edge_start`` groups the edges by pool (n_pools + 1). ``excluded`` says why a pool is left out.
    ``source_edge`` are the edge ids of the arrays it was made from (the own ones where it was made by hand).
    """

    n_tokens: int
    n_pools: int
    edge_pool: Int32
    edge_in: Int32
    edge_out: Int32
    source_edge: Int32
    pool_edge_start: Int64
    seg_start: Int64
    segs: Float64
    weighted: tuple[WeightedPool, ...] = ()
    linear: tuple[LinearEdge, ...] = ()
    curves: tuple[CurveEdge, ...] = ()
    excluded: dict[int, str] = field(default_factory=dict)

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.edge_in)

    @property
    def has_special(self) -> bool:
        """Whether there are pools that aren't edges of constant-product pieces."""
        return bool(self.weighted or self.linear or self.curves)


def piece_faults(segs: Float64) -> Bool:
    """True for rows that can't be used: NaN, zero, negative or absurd reserves, fee or capacity."""
    r_in, r_out, gamma, cap = segs[:, 0], segs[:, 1], segs[:, 2], segs[:, 3]
    good = (r_in >= MIN_RESERVE) & (r_in <= MAX_RESERVE) & (r_out >= MIN_RESERVE) & (r_out <= MAX_RESERVE)
    # written so that a NaN anywhere fails
    return ~(good & (gamma > 1e-6) & (gamma <= 1.0) & (cap > 0.0))


class NetworkBuilder:
    """Makes a network by hand. Pool ids are given in order of the ``add_*`` calls, excluded pools included."""

    def __init__(self, n_tokens: int) -> None:
        self._n_tokens = n_tokens
        self._n_pools = 0
        self._edges: list[tuple[int, int, int]] = []
        self._pieces: list[Float64] = []
        self._weighted: list[WeightedPool] = []
        self._linear: list[LinearEdge] = []
        self._curves: list[CurveEdge] = []
        self._excluded: dict[int, str] = {}

    def _next(self, tokens: Sequence[int]) -> tuple[int, str | None]:
        pool = self._n_pools
        self._n_pools += 1
        if any(not 0 <= token < self._n_tokens for token in tokens):
            return pool, f"a token id of {tuple(tokens)} is not in 0 … {self._n_tokens - 1}"
        if len(set(tokens)) != len(tokens):
            return pool, "the same token twice"
        return pool, None

    def _exclude(self, pool: int, reason: str) -> int:
        self._excluded[pool] = reason
        return pool

    def add_product(self, token0: int, token1: int, reserve0: float, reserve1: float, gamma: float) -> int:
        """A constant-product pool; returns its id."""
        forward = np.array([[reserve0, reserve1, gamma, math.inf]])
        backward = np.array([[reserve1, reserve0, gamma, math.inf]])
        return self.add_pieces(token0, token1, forward, backward)

    def add_pieces(self, token0: int, token1: int, forward: Float64, backward: Float64) -> int:
        """A pool given by the pieces of each direction (``Segments``); either may be empty."""
        pool, fault = self._next((token0, token1))
        if fault is None and (len(forward) == 0 and len(backward) == 0):
            fault = "no direction of the pool can trade"
        if fault is None and any(bool(np.any(piece_faults(rows))) for rows in (forward, backward) if len(rows)):
            fault = "a reserve, fee or capacity is zero, not a number, or absurd"
        if fault is not None:
            return self._exclude(pool, fault)
        for token_in, token_out, rows in ((token0, token1, forward), (token1, token0, backward)):
            if len(rows):
                self._edges.append((pool, token_in, token_out))
                self._pieces.append(np.asarray(rows, dtype=np.float64))
        return pool

    def add_weighted(
        self, tokens: Sequence[int], reserves: Sequence[float], weights: Sequence[float], gamma: float
    ) -> int:
        """A weighted-product pool; weights need not sum to one."""
        pool, fault = self._next(tokens)
        positive = all(MIN_RESERVE <= r <= MAX_RESERVE for r in reserves) and all(0 < w < math.inf for w in weights)
        if fault is None and not (len(tokens) == len(reserves) == len(weights) >= 2):
            fault = "tokens, reserves and weights differ in number, or are fewer than two"
        if fault is None and not (positive and 0.0 < gamma <= 1.0):
            fault = "a reserve, weight or fee is zero, not a number, or absurd"
        if fault is not None:
            return self._exclude(pool, fault)
        total = sum(weights)
        shares = tuple(w / total for w in weights)
        self._weighted.append(WeightedPool(pool, tuple(tokens), tuple(reserves), shares, gamma))
        return pool

    def add_constant_sum(
        self, token0: int, token1: int, reserve0: float, reserve1: float, gamma: float, rate: float = 1.0
    ) -> int:
        """``rate·r0 + r1`` stays at least what it was: ``rate`` of token 1 for one of token 0, less the fee."""
        pool, fault = self._next((token0, token1))
        numbers = (reserve0, reserve1, rate)
        if fault is None and not (all(MIN_RESERVE <= n <= MAX_RESERVE for n in numbers) and 0.0 < gamma <= 1.0):
            fault = "a reserve, rate or fee is zero, not a number, or absurd"
        if fault is not None:
            return self._exclude(pool, fault)
        self._linear.append(LinearEdge(pool, token0, token1, gamma * rate, reserve1 / (gamma * rate)))
        self._linear.append(LinearEdge(pool, token1, token0, gamma / rate, reserve0 * rate / gamma))
        return pool

    def add_curve(
        self,
        token0: int,
        token1: int,
        forward: tuple[Callable[[float], float], Callable[[float], float], float],
        backward: tuple[Callable[[float], float], Callable[[float], float], float],
    ) -> int:
        """A pool given by ``(out, slope, cap_in)`` of each direction."""
        pool, fault = self._next((token0, token1))
        if fault is None and not all(0.0 < curve[2] < math.inf for curve in (forward, backward)):
            fault = "a curve needs a finite capacity"
        if fault is not None:
            return self._exclude(pool, fault)
        self._curves.append(CurveEdge(pool, token0, token1, *forward))
        self._curves.append(CurveEdge(pool, token1, token0, *backward))
        return pool

    def build(self) -> Network:
        """The network of everything added."""
        columns = np.array(self._edges, dtype=np.int32).reshape(-1, 3)
        counts = np.array([len(rows) for rows in self._pieces], dtype=np.int64)
        seg_start = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts, out=seg_start[1:])
        edge_pool = np.ascontiguousarray(columns[:, 0])
        return Network(
            n_tokens=self._n_tokens,
            n_pools=self._n_pools,
            edge_pool=edge_pool,
            edge_in=np.ascontiguousarray(columns[:, 1]),
            edge_out=np.ascontiguousarray(columns[:, 2]),
            source_edge=np.arange(len(columns), dtype=np.int32),
            pool_edge_start=_pool_starts(edge_pool, self._n_pools),
            seg_start=seg_start,
            segs=np.concatenate(self._pieces) if self._pieces else np.empty((0, 4)),
            weighted=tuple(self._weighted),
            linear=tuple(self._linear),
            curves=tuple(self._curves),
            excluded=self._excluded,
        )


def _pool_starts(edge_pool: Int32, n_pools: int) -> Int64:
    return np.searchsorted(edge_pool, np.arange(n_pools + 1)).astype(np.int64)


def network_of_arrays(arrays: MarketArraysLike, n_tokens: int | None = None) -> Network:
    """Every enabled edge of the market's arrays; pool and token ids are the arrays' own.

    A pool with a faulty piece, an edge between a token and itself, or pieces that aren't concave (a later piece
    better than an earlier one) is excluded. The directions of a pool of more than two tokens count as pools of
    their own, which overstates it: see ``ouro.strategies.network`` for how a plan gets by with one of them.
    """
    if arrays.n_pools > MAX_POOLS:
        raise ValueError(f"{arrays.n_pools:,} pools are more than {MAX_POOLS:,}: restrict the network first")
    edge_pool = np.asarray(arrays.edge_pool, dtype=np.int32)
    counts = np.asarray(arrays.seg_count, dtype=np.int64)
    starts = np.asarray(arrays.seg_start, dtype=np.int64)
    alive = (counts > 0) & np.asarray(arrays.enabled)[edge_pool]
    alive &= (starts >= 0) & (starts + counts <= arrays.segs.shape[0])
    token_in, token_out = np.asarray(arrays.edge_token_in), np.asarray(arrays.edge_token_out)
    highest = int(max(token_in.max(initial=-1), token_out.max(initial=-1))) + 1
    excluded: dict[int, str] = {}
    same = alive & ((token_in == token_out) | (token_in < 0) | (token_out < 0))
    excluded.update(dict.fromkeys(edge_pool[same].tolist(), "an edge from a token to itself or to none"))
    edges, rows, seg_start = _gather(np.flatnonzero(alive), starts, counts)
    segs = np.ascontiguousarray(arrays.segs[rows])
    owner = np.repeat(edges, counts[edges])
    faulty = piece_faults(segs)
    reason = "a reserve, fee or capacity is zero, not a number, or absurd"
    excluded.update(dict.fromkeys(edge_pool[owner[faulty]].tolist(), reason))
    convex = _rising(segs, owner, faulty)
    excluded.update(dict.fromkeys(edge_pool[owner[convex]].tolist(), "a later piece is better than an earlier one"))
    if excluded:
        kept = alive & ~np.isin(edge_pool, np.fromiter(excluded, dtype=np.int64))
        edges, rows, seg_start = _gather(np.flatnonzero(kept), starts, counts)
        segs = np.ascontiguousarray(arrays.segs[rows])
    return Network(
        n_tokens=highest if n_tokens is None else n_tokens,
        n_pools=int(arrays.n_pools),
        edge_pool=edge_pool[edges],
        edge_in=token_in[edges].astype(np.int32),
        edge_out=token_out[edges].astype(np.int32),
        source_edge=edges.astype(np.int32),
        pool_edge_start=_pool_starts(edge_pool[edges], int(arrays.n_pools)),
        seg_start=seg_start,
        segs=segs,
        excluded=excluded,
    )


def _gather(edges: Int64, starts: Int64, counts: Int64) -> tuple[Int64, Int64, Int64]:
    """Rows of the pieces of ``edges`` and where each edge's begin in the gathered array."""
    seg_start = np.zeros(len(edges) + 1, dtype=np.int64)
    np.cumsum(counts[edges], out=seg_start[1:])
    rows = np.arange(seg_start[-1]) + np.repeat(starts[edges] - seg_start[:-1], counts[edges])
    return edges, rows, seg_start


def _rising(segs: Float64, owner: Int64, faulty: Bool) -> Bool:
    """Rows that begin at a better marginal rate than the row before ended with (float noise allowed)."""
    rising = np.zeros(len(segs), dtype=np.bool_)
    if len(segs) < 2:
        return rising
    with np.errstate(all="ignore"):
        r_in, r_out, gamma, cap = segs.T
        first = gamma * r_out / r_in
        last = gamma * r_out * r_in / (r_in + gamma * cap) ** 2
        worse = first[1:] > last[:-1] * (1.0 + _MONOTONE_SLACK)
    rising[1:] = worse & (owner[1:] == owner[:-1]) & ~faulty[1:] & ~faulty[:-1]
    return rising


def restricted(network: Network, keep_pool: Bool) -> Network:
    """The network of the pools where ``keep_pool`` is True; ids stay."""
    kept = np.flatnonzero(keep_pool[network.edge_pool])
    counts = np.diff(network.seg_start)
    edges, rows, seg_start = _gather(kept, network.seg_start[:-1], counts)
    return Network(
        n_tokens=network.n_tokens,
        n_pools=network.n_pools,
        edge_pool=network.edge_pool[edges],
        edge_in=network.edge_in[edges],
        edge_out=network.edge_out[edges],
        source_edge=network.source_edge[edges],
        pool_edge_start=_pool_starts(network.edge_pool[edges], network.n_pools),
        seg_start=seg_start,
        segs=network.segs[rows],
        weighted=tuple(pool for pool in network.weighted if keep_pool[pool.pool]),
        linear=tuple(edge for edge in network.linear if keep_pool[edge.pool]),
        curves=tuple(edge for edge in network.curves if keep_pool[edge.pool]),
        excluded=network.excluded,
    )
