"""Which of several opportunities that share pools: an exact set packing, with greedy as baseline and fallback.

Maximise the sum of values with each pool in at most one chosen opportunity. Opportunities that share no pool with
another are taken at once; each connected cluster of the rest is a small MILP for HiGHS, bounded by nodes and not by
time, so that a replay decides alike. The result is never worse than greedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse

DEFAULT_NODE_LIMIT = 2_000
_SCALE = 1e6
_MAX_CLUSTER = 5_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """``indices`` of the chosen items, ascending; ``value`` their sum, ``greedy_value`` what greedy would bring.

    ``proven``: no other choice is better (up to the solver's tolerance of 1e-12 of the best item).
    """

    indices: tuple[int, ...]
    value: float
    greedy_value: float
    proven: bool


def select_greedy(values: Sequence[float], pools: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Best first, skipping what shares a pool with one already taken; ties go to the lower index."""
    taken: set[str] = set()
    chosen = []
    for index in sorted(_worthwhile(values), key=lambda index: (-values[index], index)):
        if taken.isdisjoint(pools[index]):
            chosen.append(index)
            taken.update(pools[index])
    return tuple(sorted(chosen))


def _worthwhile(values: Sequence[float]) -> list[int]:
    # NaN fails the comparison too
    return [index for index, value in enumerate(values) if 0.0 < value < float("inf")]


def _clusters(indices: Sequence[int], pools: Sequence[Sequence[str]]) -> list[list[int]]:
    """Connected components of 'shares a pool with', each ascending, by lowest index."""
    leader = {index: index for index in indices}

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    owner: dict[str, int] = {}
    for index in indices:
        for pool in pools[index]:
            if pool in owner:
                first, second = sorted((find(index), find(owner[pool])))
                leader[second] = first
            else:
                owner[pool] = index
    clusters: dict[int, list[int]] = {}
    for index in indices:
        clusters.setdefault(find(index), []).append(index)
    return list(clusters.values())


def select(
    values: Sequence[float], pools: Sequence[Sequence[str]], *, node_limit: int = DEFAULT_NODE_LIMIT
) -> Chosen:
    """The best disjoint items. ``values[k]`` is the net value of item k, ``pools[k]`` what it uses.

    Items whose value is not positive and finite are never chosen. Raises ValueError where the lengths differ.
    """
    if len(values) != len(pools):
        raise ValueError(f"{len(values)} values for {len(pools)} pool lists: give one each")
    chosen: list[int] = []
    proven = True
    for cluster in _clusters(_worthwhile(values), pools):
        if len(cluster) == 1:
            chosen += cluster
            continue
        part, exact = _pack(cluster, values, pools, node_limit)
        chosen += part
        proven &= exact
    value = float(sum(values[index] for index in chosen))
    greedy = select_greedy(values, pools)
    greedy_value = float(sum(values[index] for index in greedy))
    if greedy_value > value:
        return Chosen(greedy, greedy_value, greedy_value, False)
    return Chosen(tuple(sorted(chosen)), value, greedy_value, proven)


def _pack(
    cluster: Sequence[int], values: Sequence[float], pools: Sequence[Sequence[str]], node_limit: int
) -> tuple[list[int], bool]:
    """One cluster by MILP; greedy where it is too large or the solver gives nothing better."""
    local_values = [values[index] for index in cluster]
    local_pools = [pools[index] for index in cluster]
    greedy = [cluster[k] for k in select_greedy(local_values, local_pools)]
    if len(cluster) > _MAX_CLUSTER:
        return greedy, False
    rows: dict[str, int] = {}
    entries = [
        (rows.setdefault(pool, len(rows)), k) for k, names in enumerate(local_pools) for pool in sorted(set(names))
    ]
    row, column = (np.array(part, dtype=np.int64) for part in zip(*entries, strict=True))
    matrix = scipy.sparse.csr_matrix((np.ones(len(entries)), (row, column)), shape=(len(rows), len(cluster)))
    shared = np.asarray(matrix.sum(axis=1)).ravel() > 1
    cost = -np.array(local_values) * (_SCALE / max(local_values))
    result = scipy.optimize.milp(
        cost,
        integrality=np.ones(len(cluster)),
        bounds=scipy.optimize.Bounds(0, 1),
        constraints=scipy.optimize.LinearConstraint(matrix[shared], -np.inf, 1),
        options={"node_limit": node_limit, "mip_rel_gap": 0.0, "disp": False},
    )
    if result.x is None:
        return greedy, False
    picked = [cluster[k] for k in np.flatnonzero(result.x > 0.5).tolist()]
    if not _disjoint(picked, pools) or sum(values[k] for k in picked) < sum(values[k] for k in greedy):
        return greedy, False
    return picked, bool(result.status == 0)


def _disjoint(indices: Sequence[int], pools: Sequence[Sequence[str]]) -> bool:
    used = [pool for index in indices for pool in set(pools[index])]
    return len(used) == len(set(used))
