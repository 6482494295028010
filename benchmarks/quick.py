"""The short form that CI runs: ``python -m benchmarks.quick``. It asserts correctness, never times."""

import sys
import time

import numpy as np

from benchmarks.graphs import busiest_tokens, complete_market, machine, random_market
from ouro.search.cycles import CycleIndex
from ouro.search.finder import Finder, Method
from ouro.search.sizing import path_output
from ouro.strategies.warm import warm


def main() -> None:
    """The comparison alone, with its time."""
    started = time.perf_counter()
    warm()
    compared = methods_agree()
    seconds = time.perf_counter() - started
    sys.stdout.write(f"search: {compared} candidates equal in every method, {seconds:.1f} s, {machine()}\n")


def methods_agree() -> int:
    """Search a random market with every method, block by block, and compare with the full search."""
    assert len(CycleIndex.build(complete_market(20, 2), [0], 4)) == 95_798
    arrays = random_market(60, 250, 3, noise=0.004)
    starts = busiest_tokens(arrays, 2)
    finders = [Finder(arrays, starts, 4, method=method) for method in Method]
    full = Finder(arrays, starts, 4)
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(10):
        touched = rng.choice(arrays.n_pools, 8, replace=False)
        for pool in touched:
            arrays.segs[arrays.seg_start[arrays.pool_edge_start[pool]], 1] *= rng.lognormal(0, 0.003)
        walked, stored = (finder.evaluate(touched) for finder in finders)
        wanted = {tuple(c.edges) for c in full.evaluate_all() if touching(arrays.edge_pool, c.edges, touched)}
        assert list(walked) == list(stored)
        assert {c.edges for c in walked} == wanted
        compared += len(walked)
        for candidate in walked[:20]:
            edges = np.array(candidate.edges, dtype=np.int32)
            output = path_output(
                edges, len(edges), candidate.amount_in, arrays.seg_start, arrays.seg_count, arrays.segs
            )
            assert abs(output - candidate.amount_in - candidate.profit) <= 1e-9 * candidate.amount_in
    assert compared > 100
    return compared


def touching(edge_pool: np.ndarray, edges: tuple[int, ...], touched: np.ndarray) -> bool:
    """Whether a path goes through a touched pool."""
    return not set(edge_pool[list(edges)].tolist()).isdisjoint(touched.tolist())


if __name__ == "__main__":
    main()
