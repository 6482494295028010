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


class Candidates(Sequence[Candidate]):
    """An immutable sequence of candidates, kept as columns; a ``Candidate`` is made when it is asked for.

    Sorted by value (largest first), then fewer hops, then edge ids, so the order is the same in every run.
    """

    __slots__ = ("amounts_in", "cycle_ids", "edges", "hops", "profits", "start_tokens", "values")

    def __init__(
        self, edges: Int32, hops: Int8, start_tokens: Int32, amounts_in: Float64, profits: Float64, values: Float64
    ) -> None:
        keys = (*(edges[:, column] for column in reversed(range(edges.shape[1]))), hops, -values)
        order = np.lexsort(keys)
        self.edges = edges[order]
        self.hops = hops[order]
        self.start_tokens = start_tokens[order]
        self.amounts_in = amounts_in[order]
        self.profits = profits[order]
        self.values = values[order]
        self.cycle_ids = cycle_ids(self.edges)

    def __len__(self) -> int:
        return len(self.hops)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return Candidate(
            cycle_id=int(self.cycle_ids[index]),
            edges=tuple(self.edges[index, : self.hops[index]].tolist()),
            start_token=int(self.start_tokens[index]),
            amount_in=float(self.amounts_in[index]),
            profit=float(self.profits[index]),
            value=float(self.values[index]),
        )

    def __repr__(self) -> str:
        return f"Candidates({len(self)})"
