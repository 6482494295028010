"""Which of several opportunities to take when they share pools: an exact small integer program, greedy as the
baseline.

``max Σ v_k·z_k`` over ``z ∈ {0, 1}`` with every pool used at most once (set packing), by HiGHS. The limit is a
number of branch-and-bound nodes, not a time: the same input gives the same choice in every replay.
Opportunities that share no pool with a better one are settled beforehand, component by component.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

DEFAULT_NODES = 1_000


@dataclass(frozen=True, slots=True)
class Choice:
    """Indices that were chosen, ascending; their value; the best that any choice could have; the greedy value."""

    chosen: tuple[int, ...]
    value: float
    bound: float
    greedy_value: float
    proven: bool


def greedy_choice(values: Sequence[float], pools: Sequence[Collection[int]]) -> tuple[int, ...]:
    """Best first, each if its pools are free; ties by index."""
    taken: set[int] = set()
    chosen = []
    for index in sorted(range(len(values)), key=lambda k: (-values[k], k)):
        if values[index] > 0.0 and taken.isdisjoint(pools[index]):
            taken.update(pools[index])
            chosen.append(index)
    return tuple(sorted(chosen))


def best_choice(
    values: Sequence[float], pools: Sequence[Collection[int]], *, node_limit: int = DEFAULT_NODES
) -> Choice:
    """The choice of greatest total value, or within ``node_limit`` nodes the best found, never worse than greedy.

    Only positive values are considered. Raises ``ValueError`` where the two sequences differ in length.
    """
    if len(values) != len(pools):
        raise ValueError(f"{len(values)} values for {len(pools)} sets of pools")
    greedy = greedy_choice(values, pools)
    greedy_value = float(sum(values[k] for k in greedy))
    candidates = [k for k in range(len(values)) if values[k] > 0.0]
    if not candidates:
        return Choice((), 0.0, 0.0, 0.0, True)
    chosen: list[int] = []
    bound, proven = 0.0, True
    for group in _components(candidates, pools):
        part, part_bound, part_proven = _solve(group, values, pools, node_limit)
        chosen += part
        bound += part_bound
        proven &= part_proven
    value = float(sum(values[k] for k in chosen))
    if value < greedy_value:
        return Choice(greedy, greedy_value, max(bound, greedy_value), greedy_value, proven)
    return Choice(tuple(sorted(chosen)), value, max(bound, value), greedy_value, proven)


def _components(candidates: Sequence[int], pools: Sequence[Collection[int]]) -> list[list[int]]:
    """Candidates that share pools, directly or through others."""
    parent = {k: k for k in candidates}

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    owner: dict[int, int] = {}
    for k in candidates:
        for pool in pools[k]:
            parent[root(k)] = root(owner.setdefault(pool, k))
    groups: dict[int, list[int]] = {}
    for k in candidates:
        groups.setdefault(root(k), []).append(k)
    return list(groups.values())


def _solve(
    group: list[int], values: Sequence[float], pools: Sequence[Collection[int]], node_limit: int
) -> tuple[list[int], float, bool]:
    if len(group) == 1:
        return group, float(values[group[0]]), True
    scale = max(values[k] for k in group)
    columns = {pool: n for n, pool in enumerate(sorted({pool for k in group for pool in pools[k]}))}
    rows = [columns[pool] for k in group for pool in sorted(set(pools[k]))]
    at = [n for n, k in enumerate(group) for _ in set(pools[k])]
    matrix = csr_array((np.ones(len(rows)), (rows, at)), shape=(len(columns), len(group)))
    result = milp(
        -np.array([values[k] / scale for k in group]),
        integrality=np.ones(len(group)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, -np.inf, 1.0),
        options={"node_limit": node_limit, "mip_rel_gap": 0.0},
    )
    greedy = [group[n] for n in greedy_choice([values[k] for k in group], [pools[k] for k in group])]
    dual = getattr(result, "mip_dual_bound", None)
    top = sum(values[k] for k in group) if dual is None or not np.isfinite(dual) else -float(dual) * scale
    if result.x is None:
        return greedy, float(top), False
    chosen = [group[n] for n in np.flatnonzero(result.x > 0.5)]
    if sum(values[k] for k in chosen) < sum(values[k] for k in greedy):
        chosen = greedy
    return chosen, float(top), bool(result.status == 0)
