"""The candidates of a block in the order in which they are worth a look: by what they can bring at most after gas.

A finder may hand on ten thousand cycles through one pool that is off its price. All of them are ordered and
filtered as columns; only the few that are finished exactly become objects.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ouro.strategies.gas import LEAST_HOP_GAS, TRANSACTION_GAS
from ouro.strategies.kernels.queue import cover, next_free

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
    """``candidates`` by falling bound, then ``cycle_id``; those that can't pay their gas are left out.

    The bound is the float value less the gas of the transaction and of the cheapest hops.
    """

    def __init__(
        self,
        candidates: Sequence[CandidateLike],
        edge_pool: npt.NDArray[np.int32],
        n_pools: int,
        gas_price_wei: int,
    ) -> None:
        self._candidates = candidates
        values, hops, ids, edges = _columns(candidates)
        gas_cost = float(gas_price_wei) * (TRANSACTION_GAS + LEAST_HOP_GAS * hops.astype(np.float64))
        self._bounds = values - gas_cost
        # padding points at some pool; nobody looks beyond ``hops``
        self._pools = np.ascontiguousarray(edge_pool[np.maximum(edges, 0)])
        self._hops = hops
        self._ids = ids
        self._values, self._gas_cost = values, gas_cost
        paying = np.flatnonzero(self._bounds > 0.0)
        self._order = paying[np.lexsort((paying, ids[paying], -self._bounds[paying]))]
        self._at = 0
        self._taken = np.zeros(n_pools, dtype=np.bool_)

    def take(self, pool_ids: Sequence[int]) -> None:
        """Candidates through these pools don't come up any more."""
        self._taken[list(pool_ids)] = True

    def is_taken(self, pool_ids: Sequence[int]) -> bool:
        """Whether one of these pools was taken."""
        return bool(self._taken[list(pool_ids)].any())

    def head(self) -> tuple[float, int, int] | None:
        """``(-bound, cycle_id, index)`` of the next candidate; None when there is none left."""
        self._at = int(next_free(self._order, self._at, self._pools, self._hops, self._taken))
        if self._at >= len(self._order):
            return None
        index = int(self._order[self._at])
        return -float(self._bounds[index]), int(self._ids[index]), index

    def pop(self) -> CandidateLike:
        """The candidate that ``head`` told of."""
        index = int(self._order[self._at])
        self._at += 1
        return self._candidates[index]

    def pools_of(self, index: int) -> list[int]:
        """Pool ids of a candidate, in path order."""
        return self._pools[index, : self._hops[index]].tolist()

    def near(self) -> list[int]:
        """Pool ids that have one of every candidate whose value is not far below its gas."""
        rows = np.flatnonzero(self._values > CARRY_SHARE * self._gas_cost)
        rows = rows[np.lexsort((rows, self._ids[rows], -self._bounds[rows]))]
        return cover(rows, self._pools, self._hops, np.zeros(len(self._taken), dtype=np.bool_)).tolist()


def _columns(
    candidates: Sequence[CandidateLike],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Values, hops, ids and edges (padded with -1); the finder has them as columns already."""
    values = getattr(candidates, "values", None)
    if values is not None:
        return values, candidates.hops, candidates.cycle_ids, candidates.edges  # pyright: ignore[reportAttributeAccessIssue]
    edges = np.full((len(candidates), max([len(c.edges) for c in candidates], default=1)), -1, dtype=np.int32)
    for row, candidate in enumerate(candidates):
        edges[row, : len(candidate.edges)] = candidate.edges
    return (
        np.array([c.value for c in candidates], dtype=np.float64),
        np.array([len(c.edges) for c in candidates], dtype=np.int8),
        np.array([c.cycle_id for c in candidates], dtype=np.int64),
        edges,
    )
