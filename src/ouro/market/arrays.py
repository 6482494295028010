"""Every pool as flat arrays for the compiled search: edges, tokens, and constant-product segments.

An *edge* is one direction through a pool. The segments of an edge are the rows
``segs[seg_start[e] : seg_start[e] + seg_count[e]]`` with columns ``r_in, r_out, gamma, cap_in`` (see
``ouro.protocols.base.Segments``). Each edge owns a slot with slack, so that a change of one pool is written in
place; an edge that outgrows its slot moves to the end, and the holes are squeezed out when the store is full.
All of it is float and for finding only; nothing that is sent is computed from it.

Views handed out by the properties stay valid until pools are added or the store is moved: read them afresh for each
evaluation. ``topology_version`` changes when pools or edges were added.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Segments
from ouro.types import Address

MAX_RESERVE = 1e60
"""Beyond any virtual reserve that a contract can hold (2^128 liquidity at the lowest V3 price is 6e57)."""

_SLACK_NUMERATOR = 3
_SLACK_DENOMINATOR = 2
_MIN_ROWS = 1_024
_MIN_ENTRIES = 64


def segment_fault(segs: Segments) -> str | None:
    """Why these segments can't be searched, or None. An empty array is no fault: nothing to trade."""
    if segs.ndim != 2 or segs.shape[1] != 4:
        return f"segments have shape {segs.shape}, (n, 4) is expected"
    if segs.shape[0] == 1:
        r_in, r_out, gamma, cap_in = segs[0].tolist()
        # written so that a NaN anywhere fails
        good = 0.0 < r_in <= MAX_RESERVE and 0.0 < r_out <= MAX_RESERVE and 0.0 < gamma <= 1.0 and cap_in > 0.0
        return None if good else "a reserve, fee or capacity is zero, not a number, or absurd"
    if not segs.shape[0]:
        return None
    # a NaN makes minimum and maximum one, and no comparison with it is true
    least, most = segs.min(axis=0).tolist(), segs.max(axis=0).tolist()
    good = (
        least[0] > 0.0
        and least[1] > 0.0
        and most[0] <= MAX_RESERVE
        and most[1] <= MAX_RESERVE
        and least[2] > 0.0
        and most[2] <= 1.0
        and least[3] > 0.0
    )
    return None if good else "a reserve, fee or capacity is zero, not a number, or absurd"


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """``array`` with room for ``size`` entries along the first axis, at least doubled."""
    if size <= array.shape[0]:
        return array
    capacity = max(size, 2 * array.shape[0], _MIN_ENTRIES)
    larger = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[: array.shape[0]] = array
    return larger


class MarketArrays:
    """The arrays of one chain. Pools and tokens get dense ids in order of arrival and keep them for ever."""

    def __init__(self) -> None:
        self.n_pools = 0
        self.n_edges = 0
        self.topology_version = 0
        self.token_index: dict[Address, int] = {}
        self.tokens: list[Address] = []
        self._edge_pool = np.zeros(0, np.int32)
        self._edge_i = np.zeros(0, np.int8)
        self._edge_j = np.zeros(0, np.int8)
        self._edge_token_in = np.zeros(0, np.int32)
        self._edge_token_out = np.zeros(0, np.int32)
        self._edge_reverse = np.zeros(0, np.int32)
        self._seg_start = np.zeros(0, np.int64)
        self._seg_count = np.zeros(0, np.int32)
        self._seg_room = np.zeros(0, np.int32)
        self._enabled = np.zeros(0, np.bool_)
        self._pool_edge_start = np.zeros(1, np.int64)
        self._edge_starts: list[int] = [0]
        self.segs: npt.NDArray[np.float64] = np.zeros((_MIN_ROWS, 4), np.float64)
        self._used_rows = 0
        self._hole_rows = 0
        self._refresh_views()

    def _refresh_views(self) -> None:
        edges, pools = self.n_edges, self.n_pools
        self.edge_pool = self._edge_pool[:edges]
        self.edge_i = self._edge_i[:edges]
        self.edge_j = self._edge_j[:edges]
        self.edge_token_in = self._edge_token_in[:edges]
        self.edge_token_out = self._edge_token_out[:edges]
        self.edge_reverse = self._edge_reverse[:edges]
        self.seg_start = self._seg_start[:edges]
        self.seg_count = self._seg_count[:edges]
        self.enabled = self._enabled[:pools]
        self.pool_edge_start = self._pool_edge_start[: pools + 1]

    @property
    def n_tokens(self) -> int:
        """Number of distinct tokens seen."""
        return len(self.tokens)

    def token_id(self, token: Address) -> int:
        """Dense id of ``token``, given on first sight."""
        known = self.token_index.get(token)
        if known is None:
            known = self.token_index[token] = len(self.tokens)
            self.tokens.append(token)
        return known

    def edges_of(self, pool_id: int) -> range:
        """Edge ids of a pool: ordered pairs of token positions, (0,1), (1,0) for two tokens."""
        return range(self._edge_starts[pool_id], self._edge_starts[pool_id + 1])

    def add_pools(self, pools: Sequence[Sequence[Address]]) -> range:
        """Add pools given by their token lists; returns their ids. They are disabled until ``update``."""
        first = self.n_pools
        pairs = [[(i, j) for i in range(len(t)) for j in range(len(t)) if i != j] for t in pools]
        n_edges = self.n_edges + sum(len(pair) for pair in pairs)
        n_pools = first + len(pools)
        self._reserve(n_edges, n_pools)
        edge = self.n_edges
        for pool_id, (tokens, pool_pairs) in enumerate(zip(pools, pairs, strict=True), start=first):
            ids = [self.token_id(token) for token in tokens]
            position = {pair: edge + k for k, pair in enumerate(pool_pairs)}
            for i, j in pool_pairs:
                self._edge_pool[edge] = pool_id
                self._edge_i[edge], self._edge_j[edge] = i, j
                self._edge_token_in[edge], self._edge_token_out[edge] = ids[i], ids[j]
                self._edge_reverse[edge] = position[(j, i)]
                edge += 1
            self._pool_edge_start[pool_id + 1] = edge
            self._edge_starts.append(edge)
        self.n_edges, self.n_pools = n_edges, n_pools
        self.topology_version += 1
        self._refresh_views()
        return range(first, n_pools)

    def _reserve(self, n_edges: int, n_pools: int) -> None:
        for name in ("_edge_pool", "_edge_i", "_edge_j", "_edge_token_in", "_edge_token_out", "_edge_reverse"):
            setattr(self, name, _grown(getattr(self, name), n_edges))
        for name in ("_seg_start", "_seg_count", "_seg_room"):
            setattr(self, name, _grown(getattr(self, name), n_edges))
        self._enabled = _grown(self._enabled, n_pools)
        self._pool_edge_start = _grown(self._pool_edge_start, n_pools + 1)

    def update(self, pool_id: int, segments: Sequence[Segments]) -> str | None:
        """Write the segments of every edge of a pool, in edge order.

        Returns None, or the reason why the pool was disabled instead. A pool is enabled while at least one of its
        directions can trade; an edge that can't has ``seg_count`` 0.
        """
        edges = self.edges_of(pool_id)
        if len(segments) != len(edges):
            return self._disabled(pool_id, f"{len(segments)} directions given, {len(edges)} expected")
        rows = 0
        for segs in segments:
            fault = segment_fault(segs)
            if fault is not None:
                return self._disabled(pool_id, fault)
            rows += segs.shape[0]
        for edge, segs in zip(edges, segments, strict=True):
            self._write(edge, segs)
        self._enabled[pool_id] = rows > 0
        return None if rows else "no direction of the pool can trade"

    def disable(self, pool_id: int) -> None:
        """Take a pool out of the search until its next ``update``."""
        self._enabled[pool_id] = False
        for edge in self.edges_of(pool_id):
            self._seg_count[edge] = 0

    def _disabled(self, pool_id: int, reason: str) -> str:
        self.disable(pool_id)
        return reason

    def segments_of(self, edge: int) -> Segments:
        """The rows of an edge (a view)."""
        start = int(self._seg_start[edge])
        return self.segs[start : start + int(self._seg_count[edge])]

    def _write(self, edge: int, segs: Segments) -> None:
        count = segs.shape[0]
        if count > self._seg_room[edge]:
            self._move_to_end(edge, count)
        start = self._seg_start[edge]
        self.segs[start : start + count] = segs
        self._seg_count[edge] = count

    def _move_to_end(self, edge: int, count: int) -> None:
        """Give ``edge`` a slot of at least ``count`` rows; its old rows become a hole."""
        self._hole_rows += int(self._seg_room[edge])
        self._seg_room[edge] = 0
        self._seg_count[edge] = 0
        room = 1 if count == 1 else count * _SLACK_NUMERATOR // _SLACK_DENOMINATOR + 1
        if self._used_rows + room > self.segs.shape[0]:
            self._repack(room)
        self._seg_start[edge] = self._used_rows
        self._seg_room[edge] = room
        self._used_rows += room

    def _repack(self, extra_rows: int) -> None:
        """Copy the live slots into a store that is at most half full: growth and compaction are amortised."""
        live = self._used_rows - self._hole_rows
        capacity = max(_MIN_ROWS, self.segs.shape[0])
        while live + extra_rows > capacity // 2:
            capacity *= 2
        fresh = np.zeros((capacity, 4), np.float64)
        position = 0
        for edge in np.flatnonzero(self._seg_room[: self.n_edges]).tolist():
            start, count = int(self._seg_start[edge]), int(self._seg_count[edge])
            fresh[position : position + count] = self.segs[start : start + count]
            self._seg_start[edge] = position
            position += int(self._seg_room[edge])
        self.segs = fresh
        self._used_rows, self._hole_rows = position, 0
