"""Enumeration against known counts, and the index from pools to cycles."""

import itertools

import numpy as np
import pytest

from ouro.search.arrays import StaticArrays, build_arrays, constant_product
from ouro.search.cycles import CycleIndex, count_cycles
from ouro.search.graph import build_graph


def complete_graph(n_tokens: int, parallel: int) -> StaticArrays:
    pairs = itertools.combinations(range(n_tokens), 2)
    return build_arrays([constant_product(a, b, 1e6, 1e6) for a, b in pairs for _ in range(parallel)])


def expected_count(n_tokens: int, parallel: int, max_hops: int) -> int:
    """Two hops: ordered choices of two of the parallel pools; k hops: ordered tokens, free pools."""
    total = (n_tokens - 1) * parallel * (parallel - 1)
    for hops in range(3, max_hops + 1):
        tokens = 1
        for k in range(1, hops):
            tokens *= n_tokens - k
        total += tokens * parallel**hops
    return total


@pytest.mark.parametrize(
    ("n_tokens", "parallel", "max_hops"), [(4, 1, 4), (5, 2, 4), (6, 3, 3), (7, 1, 5), (20, 2, 3), (20, 2, 4)]
)
def test_counts_on_complete_graphs(n_tokens: int, parallel: int, max_hops: int) -> None:
    arrays = complete_graph(n_tokens, parallel)
    index = CycleIndex.build(arrays, [0], max_hops)
    assert len(index) == expected_count(n_tokens, parallel, max_hops)


def test_published_counts() -> None:
    """20 tokens, 380 pools: a peer counts 2,774 up to 3 hops and 98,534 up to 4.

    Its 98,534 allow a token twice (S-a-b-a-S and S-a-S-b-S by distinct pools: 19·18·8); simple cycles are the rest.
    """
    graph = complete_graph(20, 2)
    assert count_cycles(build_graph(graph, [0], 3)) == 2_774
    assert count_cycles(build_graph(graph, [0], 4)) == 98_534 - 19 * 18 * 8


def test_cycles_are_simple_distinct_and_indexed() -> None:
    arrays = complete_graph(6, 2)
    index = CycleIndex.build(arrays, [0, 2], 4)
    seen = set()
    of_pool: dict[int, list[int]] = {}
    for number in range(len(index)):
        path = index.cycle(number)
        seen.add(path)
        pools = [int(arrays.edge_pool[edge]) for edge in path]
        tokens = [int(arrays.edge_token_in[edge]) for edge in path]
        assert len(set(pools)) == len(pools)
        assert len(set(tokens)) == len(tokens)
        assert tokens[0] in (0, 2)
        assert [int(arrays.edge_token_out[edge]) for edge in path] == [*tokens[1:], tokens[0]]
        for pool in pools:
            of_pool.setdefault(pool, []).append(number)
    assert len(seen) == len(index)
    for pool in range(arrays.n_pools):
        assert index.cycles_of_pool(pool).tolist() == of_pool.get(pool, [])


def test_counting_stops_at_the_limit() -> None:
    graph = build_graph(complete_graph(20, 2), [0], 4)
    assert count_cycles(graph, 100) == 101


def test_dead_ends_are_left_out_of_the_graph() -> None:
    spokes = [constant_product(0, token, 1e6, 1e6) for token in range(1, 50)]
    arrays = build_arrays([*spokes, constant_product(1, 2, 1e6, 1e6)])
    graph = build_graph(arrays, [0], 4)
    assert sorted(set(graph.edge_pool[graph.out_edges].tolist())) == [0, 1, 49]
    assert graph.out_start[-1] == len(graph.out_edges) == 6
    assert np.all(np.diff(graph.out_start) >= 0)
