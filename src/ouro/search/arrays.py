"""The market as the search sees it: flat arrays, by structure only, and a builder for markets made by hand.

A pool with tokens (t0, t1, …) has one *edge* per ordered pair of positions; the edges of a pool are consecutive. An
edge has segments, rows ``(r_in, r_out, gamma, cap_in)`` of ``segs``: within one, gross input x gives
``gamma·x·r_out / (r_in + gamma·x)`` for ``x <= cap_in``; the next segment starts where this one stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class MarketArraysLike(Protocol):
    """What the search reads; ``segs`` may be replaced by a larger array at any time, the others on a rebuild."""

    @property
    def n_pools(self) -> int: ...
    @property
    def n_edges(self) -> int: ...
    @property
    def edge_pool(self) -> Int32: ...
    @property
    def edge_i(self) -> Int8: ...
    @property
    def edge_j(self) -> Int8: ...
    @property
    def edge_token_in(self) -> Int32: ...
    @property
    def edge_token_out(self) -> Int32: ...
    @property
    def seg_start(self) -> Int64: ...
    @property
    def seg_count(self) -> Int32: ...
    @property
    def segs(self) -> Float64: ...
    @property
    def enabled(self) -> Bool: ...
    @property
    def pool_edge_start(self) -> npt.NDArray[np.integer]: ...


@dataclass(frozen=True, slots=True)
class PoolPieces:
    """A pool made by hand: token ids in the contract's order and the segments of each direction ``(i, j)``."""

    tokens: tuple[int, ...]
    segments: dict[tuple[int, int], Float64]
    enabled: bool = True


def constant_product(
    token0: int, token1: int, reserve0: float, reserve1: float, gamma: float = 0.997
) -> PoolPieces:
    """A two-token constant-product pool with fee ``1 - gamma``."""
    forward = np.array([[reserve0, reserve1, gamma, np.inf]])
    backward = np.array([[reserve1, reserve0, gamma, np.inf]])
    return PoolPieces((token0, token1), {(0, 1): forward, (1, 0): backward})


@dataclass(slots=True)
class StaticArrays:
    """A market that stands still; what ``build_arrays`` makes."""

    n_pools: int
    n_edges: int
    edge_pool: Int32
    edge_i: Int8
    edge_j: Int8
    edge_token_in: Int32
    edge_token_out: Int32
    seg_start: Int64
    seg_count: Int32
    segs: Float64
    enabled: Bool
    pool_edge_start: Int64


def build_arrays(pools: Sequence[PoolPieces]) -> StaticArrays:
    """The arrays of ``pools``, ids in order of appearance."""
    edges: list[tuple[int, int, int, int, int]] = []
    pieces: list[Float64] = []
    pool_edge_start = [0]
    for pool_id, pool in enumerate(pools):
        for (i, j), segments in sorted(pool.segments.items()):
            edges.append((pool_id, i, j, pool.tokens[i], pool.tokens[j]))
            pieces.append(np.asarray(segments, dtype=np.float64).reshape(-1, 4))
        pool_edge_start.append(len(edges))
    columns = np.array(edges, dtype=np.int32).reshape(-1, 5)
    counts = np.array([len(piece) for piece in pieces], dtype=np.int32)
    starts = np.zeros(len(edges), dtype=np.int64)
    starts[1:] = np.cumsum(counts[:-1])
    return StaticArrays(
        n_pools=len(pools),
        n_edges=len(edges),
        edge_pool=np.ascontiguousarray(columns[:, 0]),
        edge_i=columns[:, 1].astype(np.int8),
        edge_j=columns[:, 2].astype(np.int8),
        edge_token_in=np.ascontiguousarray(columns[:, 3]),
        edge_token_out=np.ascontiguousarray(columns[:, 4]),
        seg_start=starts,
        seg_count=counts,
        segs=np.concatenate(pieces) if pieces else np.empty((0, 4)),
        enabled=np.array([pool.enabled for pool in pools], dtype=np.bool_),
        pool_edge_start=np.array(pool_edge_start, dtype=np.int64),
    )
