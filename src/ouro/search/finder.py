"""Every profitable cycle through the pools that a block touched; complete, sized, in a fixed order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ouro.search.arrays import Bool, Float64, Int8, Int32, Int64, MarketArraysLike
from ouro.search.candidates import Candidate, Candidates
from ouro.search.cycles import DEFAULT_BUDGET_BYTES, CycleBudgetError, CycleIndex, count_cycles
from ouro.search.graph import SearchInputError, TokenGraph, build_graph
from ouro.search.screen import refresh_pools, screen_touched
from ouro.search.sizing import scratch
from ouro.search.walk import UNTOUCHED, lanes, sweep_bounds, walk_touched

__all__ = ["Candidate", "Candidates", "Finder", "Method", "SearchInputError", "SearchStats"]

_FIRST_CAPACITY = 1024


def bytes_per_result(max_hops: int) -> int:
    """What one found cycle takes while it is sorted: its row, and a copy of it with ids and keys."""
    return 2 * (4 * max_hops + 25) + 32


class Method(StrEnum):
    """How cycles are come by; the result is the same.

    walk: generated from the adjacency with exact bounds, no memory per cycle. index: stored, looked up by pool.
    """

    WALK = "walk"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class SearchStats:
    """What the last evaluation did. ``looked``: cycles screened (index) or edges looked at (walk).

    ``threshold``: the value above which cycles were asked for.
    """

    touched: int
    looked: int
    found: int
    threshold: float = 0.0


@dataclass(slots=True)
class _Rows:
    """Result rows of the kernels; kept from block to block and doubled when they are too few."""

    edges: Int32
    hops: Int8
    start: Int32
    amounts_in: Float64
    profits: Float64

    @classmethod
    def of(cls, capacity: int, max_hops: int) -> "_Rows":
        return cls(
            np.empty((capacity, max_hops), dtype=np.int32),
            np.empty(capacity, dtype=np.int8),
            np.empty(capacity, dtype=np.int32),
            np.empty(capacity, dtype=np.float64),
            np.empty(capacity, dtype=np.float64),
        )


class Finder:
    """The search over one market. Not thread-safe: one finder per thread.

    ``arrays`` is kept and read anew at each evaluation; after pools were added call ``rebuild``.
    ``unit_values`` gives, per start token id, what one smallest unit is worth in a common unit (native wei,
    say), so that candidates of different start tokens can be ordered; missing ones count 1. ``cost_ppm`` is a cost
    proportional to the input (flash fee). Raises ``SearchInputError``, and with ``Method.INDEX``
    ``CycleBudgetError`` where the cycles don't fit into ``budget_bytes``.
    """

    def __init__(
        self,
        arrays: MarketArraysLike,
        start_token_ids: Sequence[int],
        max_hops: int = 4,
        *,
        method: Method | str = Method.WALK,
        unit_values: Mapping[int, float] | None = None,
        cost_ppm: float = 0.0,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> None:
        self._start_token_ids = tuple(int(token) for token in start_token_ids)
        self._max_hops = max_hops
        self._method = Method(method)
        self._cost_ppm = float(cost_ppm)
        self._budget_bytes = budget_bytes
        self._unit_values: dict[int, float] = {}
        self._work, self._position = scratch()
        self._rows = _Rows.of(_FIRST_CAPACITY, max_hops)
        self._epoch = 0
        self.stats = SearchStats(0, 0, 0)
        if not 0.0 <= self._cost_ppm < 1e6:
            raise SearchInputError(f"cost_ppm is {cost_ppm}: from 0 to 1,000,000 makes sense")
        self.set_unit_values(unit_values or {})
        self.rebuild(arrays)

    def set_unit_values(self, unit_values: Mapping[int, float]) -> None:
        """Replace the value of one smallest unit per start token. Raises ``SearchInputError`` naming the token."""
        for token, value in unit_values.items():
            if not 0.0 < value < float("inf"):
                raise SearchInputError(f"unit value of token id {token} is {value}: a positive number is needed")
        self._unit_values = {int(token): float(value) for token, value in unit_values.items()}

    def rebuild(self, arrays: MarketArraysLike) -> None:
        """Take over a market whose pools changed; the graph (and the index) is made anew."""
        self._arrays = arrays
        self._graph: TokenGraph = build_graph(arrays, self._start_token_ids, self._max_hops)
        graph = self._graph
        self._n_pools = int(arrays.n_pools)
        self._pool_edge_start: Int64 = np.ascontiguousarray(arrays.pool_edge_start[: self._n_pools + 1], np.int64)
        self._rates: Float64 = np.zeros(graph.n_edges, dtype=np.float64)
        self._depths: Float64 = np.full(graph.n_edges, np.inf, dtype=np.float64)
        self._enabled: Bool = np.zeros(self._n_pools, dtype=np.bool_)
        self._rank: Int32 = np.full(self._n_pools, UNTOUCHED, dtype=np.int32)
        self._start_of_token: Int32 = np.full(graph.n_tokens, -1, dtype=np.int32)
        self._start_of_token[graph.starts] = np.arange(len(graph.starts), dtype=np.int32)
        self._index: CycleIndex | None = None
        if self._method is Method.INDEX:
            self._index = CycleIndex.of_graph(graph, self._n_pools, self._budget_bytes)
            self._stamp: Int64 = np.zeros(len(self._index), dtype=np.int64)
        shape = (self._max_hops, graph.n_tokens, lanes(len(graph.starts)))
        self._reach: Float64 = np.zeros(shape if self._index is None else (1, 1, 1), dtype=np.float64)
        self._back: Float64 = np.zeros_like(self._reach)
        self._refresh(np.arange(self._n_pools, dtype=np.int32))

    @property
    def graph(self) -> TokenGraph:
        """The token graph that is searched."""
        return self._graph

    @property
    def index(self) -> CycleIndex | None:
        """The stored cycles; None when walking."""
        return self._index

    def count_cycles(self, limit: int = 100_000_000) -> int:
        """Number of cycles, over all start tokens; counting stops once ``limit`` is passed."""
        return len(self._index) if self._index is not None else count_cycles(self._graph, limit)

    def evaluate(
        self, touched_pool_ids: npt.ArrayLike, min_profit: float = 0.0, *, closed_pool_ids: npt.ArrayLike = ()
    ) -> Candidates:
        """Every cycle through a touched pool whose profit, in unit values, is above ``min_profit``, best first.

        Pools that were enabled or disabled since the last call count as touched. ``closed_pool_ids``: pools that no
        cycle may use (walking only), so that a large search can be done in parts: the cycles through pools A, then
        those through B with A closed. Raises ``SearchInputError`` for a pool id that the market didn't have at the
        last ``rebuild``, ``CycleBudgetError`` where the found cycles don't fit into the budget.
        """
        closed = self._checked(closed_pool_ids)
        if len(closed) and self._index is not None:
            raise SearchInputError("pools can only be closed where cycles are walked, not in a stored index")
        touched = self._checked(touched_pool_ids)
        flipped = np.flatnonzero(self._enabled != self._arrays.enabled[: self._n_pools])
        if len(flipped):
            touched = np.union1d(touched, flipped).astype(np.int32)
        self._refresh(touched)
        values = np.array([self._unit_values.get(int(token), 1.0) for token in self._graph.starts])
        thresholds = max(0.0, float(min_profit)) / values
        # a rank below every touched pool's is what the walk takes for closed
        self._rank[closed] = -1
        try:
            found, looked = self._run(touched, thresholds)
            if found > len(self._rows.hops):
                self._rows = _Rows.of(self._more_rows(found), self._max_hops)
                found, looked = self._run(touched, thresholds, again=True)
        finally:
            self._rank[closed] = UNTOUCHED
        self.stats = SearchStats(len(touched), looked, found, max(0.0, float(min_profit)))
        rows = self._rows
        start = rows.start[:found]
        # copies: the rows are written again by the next evaluation
        return Candidates(
            rows.edges[:found].copy(),
            rows.hops[:found].copy(),
            self._graph.starts[start],
            rows.amounts_in[:found].copy(),
            rows.profits[:found].copy(),
            rows.profits[:found] * values[start],
        )

    def evaluate_all(self, min_profit: float = 0.0) -> Candidates:
        """The same over every pool: the full search."""
        return self.evaluate(np.arange(self._n_pools, dtype=np.int32), min_profit)

    def evaluate_within_budget(self, touched_pool_ids: npt.ArrayLike, min_profit: float = 0.0) -> Candidates:
        """``evaluate``, but where the found cycles don't fit into the memory budget, the best of them that do.

        Nothing is sampled: all cycles above a value are returned, and the value is raised until they fit;
        ``stats.threshold`` says how far.
        """
        threshold = max(0.0, min_profit)
        while True:
            try:
                return self.evaluate(touched_pool_ids, threshold)
            except CycleBudgetError as error:
                rows = self._rows
                values = np.array([self._unit_values.get(int(token), 1.0) for token in self._graph.starts])
                seen = rows.profits * values[rows.start]
                share = 0.5 * self._budget_bytes / error.needed_bytes
                threshold = max(2.0 * threshold, float(np.quantile(seen[np.isfinite(seen)], 1.0 - share)))

    def _more_rows(self, found: int) -> int:
        needed = found * bytes_per_result(self._max_hops)
        if needed > self._budget_bytes:
            raise CycleBudgetError(found, needed, self._budget_bytes, complete=True)
        return min(1 << (found - 1).bit_length(), self._budget_bytes // bytes_per_result(self._max_hops))

    def _checked(self, touched_pool_ids: npt.ArrayLike) -> Int32:
        ids = np.unique(np.asarray(touched_pool_ids, dtype=np.int64))
        if len(ids) and not (ids[0] >= 0 and ids[-1] < self._n_pools):
            raise SearchInputError(
                f"pool ids from {ids[0]} to {ids[-1]} were touched, the finder knows 0 to {self._n_pools - 1}: "
                "rebuild it after pools were added"
            )
        return ids.astype(np.int32)

    def _refresh(self, pools: Int32) -> None:
        arrays = self._arrays
        self._enabled[pools] = arrays.enabled[pools]
        refresh_pools(
            pools,
            self._pool_edge_start,
            self._graph.edge_pool,
            self._enabled,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            self._rates,
            self._depths,
        )

    def _run(self, touched: Int32, thresholds: Float64, again: bool = False) -> tuple[int, int]:
        if self._index is not None:
            return self._run_index(self._index, touched, thresholds)
        return self._run_walk(touched, thresholds, again)

    def _run_index(self, index: CycleIndex, touched: Int32, thresholds: Float64) -> tuple[int, int]:
        arrays, rows = self._arrays, self._rows
        self._epoch += 1
        return screen_touched(
            touched,
            index.pool_start,
            index.pool_cycles,
            index.edges,
            index.hops,
            self._stamp,
            self._epoch,
            self._graph.token_in,
            self._start_of_token,
            self._rates,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            self._cost_ppm,
            thresholds,
            self._work,
            self._position,
            rows.edges,
            rows.hops,
            rows.start,
            rows.amounts_in,
            rows.profits,
        )

    def _run_walk(self, touched: Int32, thresholds: Float64, again: bool) -> tuple[int, int]:
        arrays, rows, graph = self._arrays, self._rows, self._graph
        if not again:
            sweep_bounds(
                self._max_hops,
                graph.starts,
                graph.out_start,
                graph.out_edges,
                graph.out_heads,
                graph.in_start,
                graph.in_edges,
                graph.in_tails,
                self._rates,
                self._reach,
                self._back,
            )
        return walk_touched(
            touched,
            self._pool_edge_start,
            self._max_hops,
            graph.starts,
            graph.out_start,
            graph.out_edges,
            graph.out_heads,
            graph.in_start,
            graph.in_edges,
            graph.in_tails,
            graph.edge_pool,
            graph.token_in,
            graph.token_out,
            graph.distance,
            self._rates,
            self._depths,
            self._reach,
            self._back,
            self._rank,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            self._cost_ppm,
            thresholds,
            self._work,
            self._position,
            rows.edges,
            rows.hops,
            rows.start,
            rows.amounts_in,
            rows.profits,
        )
