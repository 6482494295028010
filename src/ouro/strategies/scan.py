"""Every profitable cycle of a snapshot with exact amounts, best first: what ``ouro scan`` prints.

The float search finds all cycles whose optimum pays; each is then finished in exact integers by the compiled
kernel, or by the families' quotes where its shape is none of the kernel's. A search whose results exceed the
memory budget is done in parts, pool group by pool group, and the parts are merged.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ouro.protocols.base import Family
from ouro.protocols.quotes import QuoteBook
from ouro.protocols.uniswap_v2 import UniswapV2
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.search.arrays import Float64, Int32, PoolPieces, StaticArrays, build_arrays
from ouro.search.candidates import Candidates
from ouro.search.cycles import CycleBudgetError
from ouro.search.finder import Finder
from ouro.strategies.exact import ExactHop, finish
from ouro.strategies.kernels.finish import ELSEWHERE, FOUND, finish_paths, finish_scratch
from ouro.strategies.runs import Rows, Runs, row_type
from ouro.strategies.snapshot import Snapshot, SnapshotState
from ouro.types import Address, BlockContext

FAMILIES: dict[str, Family] = {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()}
DEFAULT_BUDGET_BYTES = 1 << 30
CAREFUL = 20_000
"""So many of the best cycles get the wide search over steps; the rest the short one."""

_CAREFUL_STEPS = 600
_SHORT_STEPS = 80
_EXACT_QUOTES = 400
_CHUNK = 4_096
_CONTEXT = BlockContext(0, 0, 0)
_LOW = (1 << 64) - 1

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class ScanCycle:
    """A profitable cycle; ``tokens`` begin and end with the start token, amounts are exact.

    ``bucket_only``: its v3 pools that are known only inside their current tick-spacing bucket.
    """

    pools: tuple[Address, ...]
    tokens: tuple[Address, ...]
    amount_in_wei: int
    amount_out_wei: int
    bucket_only: tuple[Address, ...]

    @property
    def profit_wei(self) -> int:
        """In the start token."""
        return self.amount_out_wei - self.amount_in_wei


class Scan:
    """One search of a snapshot. ``missing_starts`` are start tokens that no usable pool has."""

    def __init__(
        self,
        snapshot: Snapshot,
        starts: Sequence[Address],
        *,
        max_hops: int = 4,
        min_profit_wei: int = 1,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> None:
        self._snapshot = snapshot
        self._states = snapshot.states
        self._max_hops = max_hops
        self._min_profit_wei = max(1, min_profit_wei)
        self._budget_bytes = budget_bytes
        self._tokens = list(dict.fromkeys(token for state in self._states for token in state.tokens))
        ids = {token: number for number, token in enumerate(self._tokens)}
        self._starts = [ids[token] for token in dict.fromkeys(starts) if token in ids]
        self.missing_starts = [token for token in dict.fromkeys(starts) if token not in ids]
        self._arrays = _arrays(self._states, ids)
        self._book = _book(self._states, self._arrays)
        self._type = row_type(max_hops)
        self._values = _unit_values(self._arrays, self._starts) if self._starts else {}
        self._scratch = finish_scratch()
        self.float_candidates = 0

    def run(self, progress: Progress = lambda *_: None) -> Iterator[ScanCycle]:
        """Search, finish and yield the cycles with at least the minimum profit, best first."""
        if not self._starts:
            return
        finder = Finder(
            self._arrays,
            self._starts,
            self._max_hops,
            budget_bytes=self._budget_bytes // 2,
            unit_values=self._values,
        )
        with Runs(self._budget_bytes // 4) as runs:
            pools = np.arange(len(self._states), dtype=np.int32)
            progress("searching", 0, len(pools))
            self._search(finder, pools, pools[:0], runs, progress)
            written = 0
            for rows in runs.chunks(_CHUNK):
                progress("writing", written, runs.count)
                yield from self._cycles(rows)
                written += len(rows)
            progress("writing", runs.count, runs.count)

    def _search(self, finder: Finder, pools: Int32, closed: Int32, runs: Runs, progress: Progress) -> None:
        """The cycles through ``pools`` that use no pool of ``closed``; halved until the results fit."""
        try:
            # the threshold is in unit values; each cycle is held to its own token's minimum when it is exact
            floor = (self._min_profit_wei - 1) * min(self._values.values()) * (1.0 - 1e-9)
            candidates = finder.evaluate(pools, floor, closed_pool_ids=closed)
        except CycleBudgetError:
            if len(pools) < 2:
                raise
            middle = len(pools) // 2
            self._search(finder, pools[:middle], closed, runs, progress)
            self._search(finder, pools[middle:], np.concatenate((closed, pools[:middle])), runs, progress)
            return
        progress("searching", len(closed) + len(pools), len(self._states))
        self.float_candidates += len(candidates)
        parts = []
        for first in range(0, len(candidates), _CHUNK):
            progress("exact amounts", first, len(candidates))
            parts.append(self._finished(candidates, first, min(first + _CHUNK, len(candidates))))
        if parts:
            runs.add(np.concatenate(parts))
            progress("exact amounts", len(candidates), len(candidates))

    def _finished(self, candidates: Candidates, first: int, last: int) -> Rows:
        part = slice(first, last)
        edges, hops = candidates.edges[part], candidates.hops[part]
        rows = np.zeros(last - first, dtype=self._type)
        rows["edges"], rows["hops"] = edges, hops
        amounts_in = np.zeros((len(rows), 4), dtype=np.uint64)
        amounts_out = np.zeros_like(amounts_in)
        verdicts = np.zeros(len(rows), dtype=np.int8)
        finish_paths(
            edges,
            hops,
            candidates.amounts_in[part],
            candidates.profits[part],
            self._book.headers,
            0,
            0.0,
            _CAREFUL_STEPS if first < CAREFUL else _SHORT_STEPS,
            self._scratch,
            amounts_in,
            amounts_out,
            verdicts,
        )
        for prefix, limbs in (("in", amounts_in), ("out", amounts_out)):
            rows[f"{prefix}_low"], rows[f"{prefix}_high"] = limbs[:, 0], limbs[:, 1]
        paying = verdicts == FOUND
        for number in np.flatnonzero(verdicts == ELSEWHERE):
            paying[number] = self._finish_quoted(
                rows[number], candidates.amounts_in[first + number], candidates.profits[first + number]
            )
        profits = _profit_words(rows)
        values = np.array([self._values[int(token)] for token in candidates.start_tokens[part]])
        rows["value"] = profits * values
        threshold = float(self._min_profit_wei)
        kept = paying & (profits >= threshold * (1.0 - 1e-12))
        for number in np.flatnonzero(kept & (profits <= threshold * (1.0 + 1e-12))):
            kept[number] = _profit(rows[number]) >= self._min_profit_wei
        return rows[kept]

    def _finish_quoted(self, row: np.void, amount_in: float, profit: float) -> bool:
        hops = []
        for edge in row["edges"][: row["hops"]]:
            state = self._states[self._arrays.edge_pool[edge]]
            i, j = int(self._arrays.edge_i[edge]), int(self._arrays.edge_j[edge])
            hops.append(ExactHop(FAMILIES[state.family], state, i, j))
        exact = finish(hops, float(amount_in), _CONTEXT, expected_profit=float(profit), max_quotes=_EXACT_QUOTES)
        if exact is None:
            return False
        for prefix, amount in (("in", exact.amounts_wei[0]), ("out", exact.amounts_wei[-1])):
            row[f"{prefix}_low"], row[f"{prefix}_high"] = amount & _LOW, amount >> 64
        return True

    def _cycles(self, rows: Rows) -> Iterator[ScanCycle]:
        # columns as lists: one access per row and field of a record array costs more than everything else here
        pools = self._arrays.edge_pool[rows["edges"]].tolist()
        heads = self._arrays.edge_token_out[rows["edges"]].tolist()
        starts = self._arrays.edge_token_in[rows["edges"][:, 0]].tolist()
        words = [rows[name].tolist() for name in ("hops", "in_high", "in_low", "out_high", "out_low")]
        flagged = self._snapshot.bucket_only
        for path, tokens, start, hops, in_high, in_low, out_high, out_low in zip(
            pools, heads, starts, *words, strict=True
        ):
            names = tuple(self._states[pool].address for pool in path[:hops])
            yield ScanCycle(
                names,
                tuple(self._tokens[token] for token in (start, *tokens[:hops])),
                in_high << 64 | in_low,
                out_high << 64 | out_low,
                tuple(pool for pool in names if pool in flagged) if flagged else (),
            )


def _profit(row: np.void) -> int:
    amount_in = int(row["in_high"]) << 64 | int(row["in_low"])
    return (int(row["out_high"]) << 64 | int(row["out_low"])) - amount_in


def _profit_words(rows: Rows) -> Float64:
    """Fill the rows' exact profits (two words, the upper one signed); returns them as floats too."""
    rows["profit_low"] = rows["out_low"] - rows["in_low"]
    borrow = rows["out_low"] < rows["in_low"]
    rows["profit_high"] = (rows["out_high"] - rows["in_high"]).astype(np.int64) - borrow
    return rows["profit_high"] * 2.0**64 + rows["profit_low"]


def _arrays(states: Sequence[SnapshotState], ids: dict[Address, int]) -> StaticArrays:
    pieces = []
    for state in states:
        family = FAMILIES[state.family]
        segments = {way: family.segments(state, *way, _CONTEXT) for way in ((0, 1), (1, 0))}
        pieces.append(PoolPieces((ids[state.tokens[0]], ids[state.tokens[1]]), segments))
    return build_arrays(pieces)


def _book(states: Sequence[SnapshotState], arrays: StaticArrays) -> QuoteBook:
    """The exact headers of all edges."""
    book = QuoteBook(arrays.n_edges)
    for pool, state in enumerate(states):
        edges = range(int(arrays.pool_edge_start[pool]), int(arrays.pool_edge_start[pool + 1]))
        ways = [(edge, int(arrays.edge_i[edge]), int(arrays.edge_j[edge])) for edge in edges]
        book.set_pool(FAMILIES[state.family], state, ways)
    return book


def _unit_values(arrays: StaticArrays, starts: Sequence[int]) -> dict[int, float]:
    """What a unit of each start token is worth in the first one's, by the pool of theirs that holds most.

    Only for putting cycles of different start tokens in one order; 1 where no pool tells.
    """
    values = dict.fromkeys(starts, 1.0)
    first = starts[0]
    heads = arrays.seg_start[(arrays.seg_count > 0).nonzero()[0]]
    edges = (arrays.seg_count > 0).nonzero()[0]
    for token in starts[1:]:
        between = (arrays.edge_token_in[edges] == token) & (arrays.edge_token_out[edges] == first)
        if between.any():
            rows = arrays.segs[heads[between]]
            deepest = rows[rows[:, 1].argmax()]
            values[token] = float(deepest[1] / deepest[0])
    return values
