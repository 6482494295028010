"""What the finder hands on: profitable cycles with their float optimum, best first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from ouro.search.arrays import Float64, Int8, Int32, Int64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cycle that pays in float arithmetic.

    ``cycle_id`` is a stable 63-bit number made from the edges, the same in every run and search method;
    ``edges`` are edge ids in path order from the start token; ``amount_in`` and ``profit`` are in the start token's
    smallest unit; ``value`` is the profit times the start token's unit value (1 unless the finder was told).
    """

    cycle_id: int
    edges: tuple[int, ...]
    start_token: int
    amount_in: float
    profit: float
    value: float


def cycle_ids(edges: Int32) -> Int64:
    """A 63-bit mix of each row of ``edges`` (n, max_hops), -1 padding left out; splitmix64 rounds."""
    state = np.zeros(len(edges), dtype=np.uint64)
    for column in range(edges.shape[1]):
        present = edges[:, column] >= 0
        mixed = state + edges[:, column].astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = np.where(present, mixed ^ (mixed >> np.uint64(31)), state)
    return (state >> np.uint64(1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Columns:
    """Candidates in the order in which they were found: a row of ``edges`` (padded with -1) each.

    For whoever looks at the best few of ten thousand: ordering all of them takes longer than finding them.
    """

    edges: Int32
    hops: Int8
    start_tokens: Int32
    amounts_in: Float64
    profits: Float64
    values: Float64

    def at(self, row: int) -> Candidate:
        """One row."""
        return Candidate(
            cycle_id=self.cycle_id(row),
            edges=tuple(self.edges[row, : self.hops[row]].tolist()),
            start_token=int(self.start_tokens[row]),
            amount_in=float(self.amounts_in[row]),
            profit=float(self.profits[row]),
            value=float(self.values[row]),
        )

    def cycle_id(self, row: int) -> int:
        """The stable number of one row."""
        return int(cycle_ids(self.edges[row : row + 1])[0])


class Candidates(Sequence[Candidate]):
    """An immutable sequence of candidates, kept as columns; a ``Candidate`` is made when it is asked for.

    Sorted by value (largest first), then fewer hops, then edge ids, so the order is the same in every run; sorted
    when it is first looked at as a sequence. ``found`` has the same in no order.
    """

    __slots__ = ("_cycle_ids", "_ordered", "found")

    def __init__(
        self, edges: Int32, hops: Int8, start_tokens: Int32, amounts_in: Float64, profits: Float64, values: Float64
    ) -> None:
        """The columns are kept, not copied."""
        self.found = Columns(edges, hops, start_tokens, amounts_in, profits, values)
        self._ordered: Columns | None = None
        self._cycle_ids: Int64 | None = None

    @property
    def ordered(self) -> Columns:
        """The columns, sorted."""
        if self._ordered is None:
            found = self.found
            edges = found.edges
            keys = (*(edges[:, column] for column in reversed(range(edges.shape[1]))), found.hops, -found.values)
            order = np.lexsort(keys)
            self._ordered = Columns(
                edges[order],
                found.hops[order],
                found.start_tokens[order],
                found.amounts_in[order],
                found.profits[order],
                found.values[order],
            )
        return self._ordered

    @property
    def edges(self) -> Int32:
        """Edge ids, a row each."""
        return self.ordered.edges

    @property
    def hops(self) -> Int8:
        """How many of a row count."""
        return self.ordered.hops

    @property
    def start_tokens(self) -> Int32:
        """Ids of the tokens that cycles begin and end with."""
        return self.ordered.start_tokens

    @property
    def amounts_in(self) -> Float64:
        """Float optima."""
        return self.ordered.amounts_in

    @property
    def profits(self) -> Float64:
        """In the start token's smallest unit."""
        return self.ordered.profits

    @property
    def values(self) -> Float64:
        """In the common unit."""
        return self.ordered.values

    @property
    def cycle_ids(self) -> Int64:
        """Stable numbers of all rows."""
        if self._cycle_ids is None:
            self._cycle_ids = cycle_ids(self.ordered.edges)
        return self._cycle_ids

    def __len__(self) -> int:
        return len(self.found.hops)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self.ordered.at(range(len(self))[index])

    def __repr__(self) -> str:
        return f"Candidates({len(self)})"
