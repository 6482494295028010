"""All simple cycles through the start tokens, stored, with an index from pools to cycles.

A cycle begins and ends at a start token, its pools are distinct and so are its tokens; parallel pools and the two
directions make different cycles. Enumeration counts first and fills second, so memory is known before it is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from ouro.search.arrays import Int8, Int32, Int64, MarketArraysLike
from ouro.search.graph import TokenGraph, build_graph, first_at_least
from ouro.search.sizing import MAX_HOPS

DEFAULT_BUDGET_BYTES = 512 * 1024 * 1024


class CycleBudgetError(MemoryError):
    """The cycles don't fit into the memory budget. ``needed_bytes`` is a lower bound if counting was stopped."""

    def __init__(self, n_cycles: int, needed_bytes: int, budget_bytes: int, complete: bool) -> None:
        more = "" if complete else "more than "
        super().__init__(
            f"{more}{n_cycles:,} cycles need {more}{needed_bytes:,} bytes, the budget is {budget_bytes:,}: "
            "raise the budget, search fewer hops or start tokens, or let the finder walk the graph instead"
        )
        self.n_cycles = n_cycles
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes


def bytes_per_cycle(max_hops: int) -> int:
    """Upper bound of what one stored cycle takes: its edges, its length, its entries in the pool index."""
    return 4 * max_hops + 1 + 8 * max_hops


@njit(cache=True, nogil=True)
def enumerate_cycles(
    start: int,
    max_hops: int,
    out_start: Int64,
    out_edges: Int32,
    out_heads: Int32,
    edge_pool: Int32,
    distance: Int8,
    limit: int,
    fill: bool,
    offset: int,
    cycle_edges: Int32,
    cycle_hops: Int8,
) -> int:
    """Count (or write from row ``offset``) the cycles through ``start``; stops as soon as ``limit`` is passed.

    Depth-first with an explicit stack; a branch that can't be back at ``start`` in time is never entered.
    """
    path = np.empty(MAX_HOPS, dtype=np.int32)
    heads = np.empty(MAX_HOPS + 1, dtype=np.int32)
    cursor = np.empty(MAX_HOPS, dtype=np.int64)
    stop = np.empty(MAX_HOPS, dtype=np.int64)
    found = 0
    depth = 0
    heads[0] = start
    cursor[0] = out_start[start]
    stop[0] = out_start[start + 1]
    while depth >= 0:
        if cursor[depth] >= stop[depth]:
            depth -= 1
            continue
        edge = out_edges[cursor[depth]]
        head = out_heads[cursor[depth]]
        cursor[depth] += 1
        pool = edge_pool[edge]
        clash = False
        for level in range(depth):
            if edge_pool[path[level]] == pool or heads[level + 1] == head:
                clash = True
                break
        if clash:
            continue
        path[depth] = edge
        if head == start:
            if fill:
                row = offset + found
                for level in range(depth + 1):
                    cycle_edges[row, level] = path[level]
                for level in range(depth + 1, max_hops):
                    cycle_edges[row, level] = -1
                cycle_hops[row] = depth + 1
            found += 1
            if found > limit:
                return found
            continue
        remaining = max_hops - depth - 1
        if distance[head] > remaining:
            continue
        depth += 1
        heads[depth] = head
        cursor[depth] = out_start[head]
        stop[depth] = out_start[head + 1]
        if remaining == 1:
            cursor[depth] = first_at_least(out_heads, cursor[depth], stop[depth], start)
            stop[depth] = first_at_least(out_heads, cursor[depth], stop[depth], start + 1)
    return found


@njit(cache=True, nogil=True)
def index_pools(
    cycle_edges: Int32, cycle_hops: Int8, edge_pool: Int32, n_pools: int, pool_start: Int64, pool_cycles: Int64
) -> None:
    """Fill ``pool_cycles[pool_start[p]:pool_start[p+1]]`` with the ascending ids of the cycles through pool p."""
    pool_start[:] = 0
    for cycle in range(cycle_edges.shape[0]):
        for hop in range(cycle_hops[cycle]):
            pool_start[edge_pool[cycle_edges[cycle, hop]] + 1] += 1
    for pool in range(n_pools):
        pool_start[pool + 1] += pool_start[pool]
    cursor = pool_start[:-1].copy()
    for cycle in range(cycle_edges.shape[0]):
        for hop in range(cycle_hops[cycle]):
            pool = edge_pool[cycle_edges[cycle, hop]]
            pool_cycles[cursor[pool]] = cycle
            cursor[pool] += 1


def count_cycles(graph: TokenGraph, limit: int = 1 << 62) -> int:
    """Number of cycles of ``graph``, over all start tokens; stops counting once ``limit`` is passed."""
    nothing = np.empty((0, graph.max_hops), dtype=np.int32)
    found = 0
    for row, start in enumerate(graph.starts):
        found += _enumerate(graph, row, int(start), limit - found, False, 0, nothing, np.empty(0, dtype=np.int8))
        if found > limit:
            break
    return found


def _enumerate(
    graph: TokenGraph, row: int, start: int, limit: int, fill: bool, offset: int, edges: Int32, hops: Int8
) -> int:
    return enumerate_cycles(
        start,
        graph.max_hops,
        graph.out_start,
        graph.out_edges,
        graph.out_heads,
        graph.edge_pool,
        graph.distance[row],
        limit,
        fill,
        offset,
        edges,
        hops,
    )


def enumerate_rows(graph: TokenGraph, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> tuple[Int32, Int8]:
    """All cycles as rows of edges (padded with -1) and their lengths. Raises ``CycleBudgetError``."""
    limit = budget_bytes // bytes_per_cycle(graph.max_hops)
    n_cycles = count_cycles(graph, limit)
    if n_cycles > limit:
        raise CycleBudgetError(n_cycles, n_cycles * bytes_per_cycle(graph.max_hops), budget_bytes, complete=False)
    edges = np.empty((n_cycles, graph.max_hops), dtype=np.int32)
    hops = np.empty(n_cycles, dtype=np.int8)
    filled = 0
    for row, start in enumerate(graph.starts):
        filled += _enumerate(graph, row, int(start), n_cycles, True, filled, edges, hops)
    return edges, hops


@dataclass(frozen=True, slots=True)
class CycleIndex:
    """Every cycle, row by row, and the rows of each pool.

    ``edges``: int32 (n, max_hops), padded with -1; ``hops``: int8 (n,). Rows are grouped by start token in
    ascending order, within one in the order in which depth-first search meets them.
    """

    graph: TokenGraph
    n_pools: int
    edges: Int32
    hops: Int8
    pool_start: Int64
    pool_cycles: Int64

    @classmethod
    def build(
        cls,
        arrays: MarketArraysLike,
        start_token_ids: Sequence[int],
        max_hops: int,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> "CycleIndex":
        """Enumerate and index. Raises ``CycleBudgetError`` before anything large is allocated."""
        return cls.of_graph(build_graph(arrays, start_token_ids, max_hops), int(arrays.n_pools), budget_bytes)

    @classmethod
    def of_graph(cls, graph: TokenGraph, n_pools: int, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> "CycleIndex":
        """As ``build``, from a graph made before."""
        edges, hops = enumerate_rows(graph, budget_bytes)
        pool_start = np.zeros(n_pools + 1, dtype=np.int64)
        pool_cycles = np.empty(int(hops.sum(dtype=np.int64)), dtype=np.int64)
        index_pools(edges, hops, graph.edge_pool, n_pools, pool_start, pool_cycles)
        return cls(graph, n_pools, edges, hops, pool_start, pool_cycles)

    def __len__(self) -> int:
        return len(self.hops)

    @property
    def nbytes(self) -> int:
        """Memory of the stored cycles and the pool index."""
        return self.edges.nbytes + self.hops.nbytes + self.pool_start.nbytes + self.pool_cycles.nbytes

    def cycle(self, cycle_id: int) -> tuple[int, ...]:
        """Edge ids of a cycle in path order."""
        return tuple(int(edge) for edge in self.edges[cycle_id, : self.hops[cycle_id]])

    def cycles_of_pool(self, pool_id: int) -> Int64:
        """Ids of the cycles through ``pool_id``, ascending."""
        return self.pool_cycles[self.pool_start[pool_id] : self.pool_start[pool_id + 1]]
