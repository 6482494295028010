"""Sizing where the profit has several tops, against a fine grid over the whole input."""

import numpy as np
import pytest

from ouro.search.arrays import PoolPieces, StaticArrays, build_arrays, constant_product
from ouro.search.sizing import path_output, scratch, size_path, size_path_global


def pieces(rng: np.random.Generator, concave: bool) -> np.ndarray:
    """A curve of five pieces whose fee changes from piece to piece."""
    rows, r_in, r_out = [], 1e6, 1.02e6
    for number in range(5):
        gamma = 0.999 if concave else float(rng.uniform(0.97, 1.0))
        cap = r_in * float(rng.uniform(0.0005, 0.004)) if number < 4 else r_in * 0.05
        rows.append([r_in, r_out, gamma, cap])
        after = r_in + gamma * cap
        r_in, r_out = after, r_out * r_in / after
    return np.array(rows)


def market(seed: int, concave: bool) -> StaticArrays:
    rng = np.random.default_rng(seed)
    bent = PoolPieces((0, 1), {(0, 1): pieces(rng, concave)})
    return build_arrays([bent, constant_product(1, 0, 3e6, 3e6, 0.998)])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("crossing", [0.0, 3.0])
def test_best_of_all_tops(seed: int, crossing: float) -> None:
    arrays = market(seed, concave=False)
    path = np.array([0, 1], dtype=np.int32)
    segments = arrays.seg_start, arrays.seg_count, arrays.segs
    costs = np.array([crossing, 0.0, 0.0])
    amount, profit = size_path_global(path, 2, *segments, 0.0, costs, *scratch())
    ends = np.cumsum(arrays.segs[:5, 3])

    def net(x: float) -> float:
        crossed = int((x > ends[:-1] * (1 + 1e-12)).sum())
        return path_output(path, 2, x, *segments) - x - crossing * crossed

    best = max(net(float(x)) for x in np.linspace(1.0, ends[-1], 4_000))
    assert profit >= best - 1e-6
    if profit > 0:
        assert net(amount) == pytest.approx(profit, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_fast_way_where_there_is_one_top(seed: int) -> None:
    arrays = market(seed, concave=True)
    path = np.array([0, 1], dtype=np.int32)
    segments = arrays.seg_start, arrays.seg_count, arrays.segs
    fast = size_path(path, 2, *segments, 0.0, *scratch())
    assert size_path_global(path, 2, *segments, 0.0, np.zeros(3), *scratch()) == pytest.approx(fast, rel=1e-9)
