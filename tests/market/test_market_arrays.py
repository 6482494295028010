import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.market.arrays import MarketArrays, segment_fault

from .streams import address


def rows(count: int, seed: int = 1) -> np.ndarray:
    made = np.full((count, 4), 0.5)
    made[:, 0] = np.arange(seed, seed + count)
    made[:, 3] = 9.0
    return made


def test_edges_of_pools_with_two_and_three_tokens() -> None:
    a, b, c = (address(k, "token") for k in range(3))
    arrays = MarketArrays()
    assert arrays.add_pools([(a, b), (a, b, c)]) == range(2)
    assert arrays.edge_pool.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert arrays.pool_edge_start.tolist() == [0, 2, 8]
    for edge, back in enumerate(arrays.edge_reverse.tolist()):
        assert arrays.edge_token_in[edge] == arrays.edge_token_out[back]
        assert arrays.edge_i[edge] == arrays.edge_j[back]
        assert arrays.edge_reverse[back] == edge
    assert arrays.n_tokens == 3
    assert (arrays.edge_i.dtype, arrays.edge_pool.dtype, arrays.seg_start.dtype) == (np.int8, np.int32, np.int64)


@pytest.mark.parametrize(
    "row",
    [
        (np.nan, 1.0, 0.9, np.inf),
        (1.0, np.inf, 0.9, np.inf),
        (0.0, 1.0, 0.9, np.inf),
        (1.0, -1.0, 0.9, np.inf),
        (1.0, 1.0, 0.0, np.inf),
        (1.0, 1.0, 1.01, np.inf),
        (1.0, 1.0, 0.9, 0.0),
        (1.0, 1e61, 0.9, 1.0),
        (1.0, 1.0, 0.9, np.nan),
    ],
)
def test_absurd_segments_disable_the_pool(row: tuple[float, ...]) -> None:
    arrays = MarketArrays()
    arrays.add_pools([("a", "b")])
    assert arrays.update(0, [rows(1), rows(1)]) is None
    bad = np.array([row])
    for segs in (bad, np.vstack([rows(2), bad])):
        assert segment_fault(segs)
        assert arrays.update(0, [rows(1), segs])
        assert not arrays.enabled[0]
        assert arrays.seg_count.tolist() == [0, 0]
    assert arrays.update(0, [rows(1), np.empty((0, 4))]) is None
    assert arrays.enabled[0]
    assert arrays.seg_count.tolist() == [1, 0]
    assert arrays.update(0, [rows(1)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 400), st.integers(0, 400)), max_size=80))
def test_any_sequence_of_updates_is_read_back(updates: list[tuple[int, int, int]]) -> None:
    """In place, moved, and packed together: every edge holds what was written last, and the store stays small."""
    arrays = MarketArrays()
    expected: dict[int, np.ndarray] = {}
    for seed, (pool, forward, backward) in enumerate(updates, start=1):
        while arrays.n_pools <= pool:
            arrays.add_pools([(address(arrays.n_pools, "t"), address(arrays.n_pools + 1, "t"))])
        segments = [rows(forward, seed), rows(backward, seed + 7)]
        arrays.update(pool, segments)
        expected.update(zip(arrays.edges_of(pool), segments, strict=True))
        assert arrays.enabled[pool] == (forward + backward > 0)
    for edge, segs in expected.items():
        assert np.array_equal(arrays.segments_of(edge), segs)
    assert arrays.segs.shape[0] <= max(1_024, 4 * 24 * 602)


def test_in_place_updates_do_not_move_the_store() -> None:
    arrays = MarketArrays()
    arrays.add_pools([(f"t{k}", f"t{k + 1}") for k in range(50)])
    for pool in range(50):
        arrays.update(pool, [rows(20), rows(20)])
    store = arrays.segs
    starts = arrays.seg_start.copy()
    for pool in range(50):
        for count in (1, 20, 25, 0, 30):
            arrays.update(pool, [rows(count), rows(count, 3)])
    assert arrays.segs is store
    assert np.array_equal(arrays.seg_start, starts)
