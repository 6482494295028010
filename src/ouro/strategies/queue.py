"""The candidates of a block in the order in which they are worth a look: by what they can bring at most after gas.

A finder may hand on ten thousand cycles through one pool that is off its price. All of them are looked at as
columns; only the few that are finished exactly become objects.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ouro.search.candidates import Candidates, Columns
from ouro.strategies.gas import LEAST_HOP_GAS, TRANSACTION_GAS
from ouro.strategies.kernels.queue import best_free, bounds_and_pools, cover

CARRY_SHARE = 0.75
"""Base fees fall by at most an eighth a block: what misses its gas by less than this may pay in the next block."""


def least_value(gas_price_wei: int) -> float:
    """Native wei below which a cycle is neither finished nor looked at again: the search need not list it."""
    return CARRY_SHARE * gas_price_wei * (TRANSACTION_GAS + 2 * LEAST_HOP_GAS)


class CandidateLike(Protocol):
    """A cycle found in float arithmetic; ``value`` is its profit in native wei."""

    @property
    def cycle_id(self) -> int: ...
    @property
    def edges(self) -> tuple[int, ...]: ...
    @property
    def start_token(self) -> int: ...
    @property
    def amount_in(self) -> float: ...
    @property
    def profit(self) -> float: ...
    @property
    def value(self) -> float: ...


class CandidateQueue:
    """``candidates`` by falling bound, then edge ids; those that can't pay their gas are left out.

    The bound is the float value less the gas of the transaction and of the cheapest hops. Nothing is sorted: few of
    many are looked at, and one look over all of them is quicker than their order.
    """

    def __init__(
        self,
        candidates: Sequence[CandidateLike],
        edge_pool: npt.NDArray[np.int32],
        n_pools: int,
        gas_price_wei: int,
    ) -> None:
        self._found = _columns(candidates)
        found = self._found
        self._bounds, self._gas_cost, self._pools = bounds_and_pools(
            found.values, found.hops, found.edges, edge_pool, float(gas_price_wei), TRANSACTION_GAS, LEAST_HOP_GAS
        )
        self._done = np.zeros(len(self._bounds), dtype=np.bool_)
        self._next: int | None = None
        self._taken = np.zeros(n_pools, dtype=np.bool_)

    def take(self, pool_ids: Sequence[int]) -> None:
        """Candidates through these pools don't come up any more."""
        self._taken[list(pool_ids)] = True
        self._next = None

    def is_taken(self, pool_ids: Sequence[int]) -> bool:
        """Whether one of these pools was taken."""
        return bool(self._taken[list(pool_ids)].any())

    def head(self) -> tuple[float, int, int] | None:
        """``(-bound, cycle_id, index)`` of the next candidate; None when there is none left."""
        if self._next is None:
            found = self._found
            self._next = int(best_free(self._bounds, self._pools, found.hops, self._taken, self._done, found.edges))
        if self._next < 0:
            return None
        return -float(self._bounds[self._next]), self._found.cycle_id(self._next), self._next

    def pop(self) -> CandidateLike:
        """The candidate that ``head`` told of."""
        head = self.head()
        if head is None:
            raise IndexError("nothing is left in the queue")
        self._done[head[2]] = True
        self._next = None
        return self._found.at(head[2])

    def pools_of(self, index: int) -> list[int]:
        """Pool ids of a candidate, in path order."""
        return self._pools[index, : self._found.hops[index]].tolist()

    def near(self) -> list[int]:
        """Pool ids that have one of every candidate whose value is not far below its gas."""
        found, marked = self._found, np.zeros(len(self._taken), dtype=np.bool_)
        return cover(found.values, self._gas_cost, CARRY_SHARE, self._pools, found.hops, marked).tolist()


def _columns(candidates: Sequence[CandidateLike]) -> Columns:
    """The finder has them as columns already."""
    if isinstance(candidates, Candidates):
        return candidates.found
    edges = np.full((len(candidates), max([len(c.edges) for c in candidates], default=1)), -1, dtype=np.int32)
    for row, candidate in enumerate(candidates):
        edges[row, : len(candidate.edges)] = candidate.edges
    return Columns(
        edges,
        np.array([len(c.edges) for c in candidates], dtype=np.int8),
        np.array([c.start_token for c in candidates], dtype=np.int32),
        np.array([c.amount_in for c in candidates], dtype=np.float64),
        np.array([c.profit for c in candidates], dtype=np.float64),
        np.array([c.value for c in candidates], dtype=np.float64),
    )
