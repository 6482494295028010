"""Sizing against published instances, closed forms and a golden-section search."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.arrays import Float64, PoolPieces, StaticArrays, build_arrays, constant_product
from ouro.search.finder import Finder
from ouro.search.sizing import path_output, scratch, size_path

WORK, POSITION = scratch()


def size(arrays: StaticArrays, path: list[int], cost_ppm: float = 0.0) -> tuple[float, float]:
    edges = np.array(path, dtype=np.int32)
    return size_path(edges, len(path), arrays.seg_start, arrays.seg_count, arrays.segs, cost_ppm, WORK, POSITION)


def output(arrays: StaticArrays, path: list[int], amount: float) -> float:
    edges = np.array(path, dtype=np.int32)
    return path_output(edges, len(path), amount, arrays.seg_start, arrays.seg_count, arrays.segs)


def golden_section(arrays: StaticArrays, path: list[int], high: float, cost_ppm: float = 0.0) -> float:
    """The best profit on [0, high], by 200 steps on a unimodal function."""

    def profit(amount: float) -> float:
        return output(arrays, path, amount) - amount * (1 + cost_ppm * 1e-6)

    ratio = (math.sqrt(5) - 1) / 2
    low = 0.0
    for _ in range(200):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if profit(left) < profit(right):
            low = left
        else:
            high = right
    return profit((low + high) / 2)


def test_toy_instance_of_profit_maximisation_in_arbitrage_loops() -> None:
    """Zhang et al. 2024 (arXiv 2406.16600): X/Y (100, 200), Y/Z (300, 200), Z/X (200, 400), fee 0.3 %."""
    arrays = build_arrays(
        [constant_product(0, 1, 100, 200), constant_product(1, 2, 300, 200), constant_product(2, 0, 200, 400)]
    )
    expected = {0: 16.870, 1: 19.719, 2: 10.280}
    found = Finder(arrays, [0, 1, 2], 3, unit_values={0: 2.0, 1: 10.2, 2: 20.0}).evaluate_all()
    assert {candidate.start_token: round(candidate.profit, 3) for candidate in found} == expected
    assert [candidate.start_token for candidate in found] == [2, 1, 0]
    assert found[0].value == pytest.approx(205.59, abs=0.005)


def test_two_pool_closed_form() -> None:
    g1, g2, r1_in, r1_out, r2_in, r2_out = 0.997, 0.9975, 5e20, 3e12, 2.5e12, 5e20
    arrays = build_arrays([constant_product(0, 1, r1_in, r1_out, g1), constant_product(1, 0, r2_in, r2_out, g2)])
    a, b, c = g1 * g2 * r1_out * r2_out, r1_in * r2_in, g1 * r2_in + g1 * g2 * r1_out
    amount, profit = size(arrays, [0, 2])
    assert amount == pytest.approx((math.sqrt(a * b) - b) / c, rel=1e-12)
    assert profit == pytest.approx((math.sqrt(a) - math.sqrt(b)) ** 2 / c, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_hops=st.integers(2, 6),
    cost_ppm=st.sampled_from([0.0, 500.0, 900.0]),
)
def test_random_constant_product_paths(seed: int, n_hops: int, cost_ppm: float) -> None:
    """Benchmark B1: log-normal reserves, fees of 1 to 100 basis points; the path is set to pay a few per cent."""
    rng = np.random.default_rng(seed)
    reserves = rng.lognormal(40, 2, (n_hops, 2))
    gamma = 1 - rng.choice([1e-4, 5e-4, 3e-3, 1e-2], n_hops)
    reserves[-1, 1] *= rng.uniform(1.01, 2.0) / np.prod(reserves[:, 1] / reserves[:, 0])
    arrays = build_arrays(
        [
            constant_product(k, (k + 1) % n_hops, reserves[k, 0], reserves[k, 1], float(gamma[k]))
            for k in range(n_hops)
        ]
    )
    path = [2 * k for k in range(n_hops)]
    amount, profit = size(arrays, path, cost_ppm)
    best = golden_section(arrays, path, 3 * float(reserves[0, 0]), cost_ppm)
    if best > 0:
        assert profit >= best * (1 - 1e-9)
        # subtracting two near numbers is what limits the check, not the formula
        checked = output(arrays, path, amount) - amount * (1 + cost_ppm * 1e-6)
        assert profit == pytest.approx(checked, rel=1e-9, abs=1e-14 * amount)


def test_six_hops_of_1e30_do_not_overflow() -> None:
    arrays = build_arrays([constant_product(k, (k + 1) % 6, 1e30, 1.01e30, 0.9999) for k in range(6)])
    amount, profit = size(arrays, [2 * k for k in range(6)])
    assert math.isfinite(amount)
    assert profit > 0


def ticked(price: float, liquidity: Float64, width: float, gamma: float, downwards: bool) -> Float64:
    """Segments of a concentrated pool from ``price`` on, one per tick range of relative width ``width``."""
    rows = []
    root = math.sqrt(price)
    for amount in liquidity:
        target = root / math.sqrt(1 + width) if downwards else root * math.sqrt(1 + width)
        if downwards:
            rows.append([amount / root, amount * root, gamma, amount * (1 / target - 1 / root) / gamma])
        else:
            rows.append([amount * root, amount / root, gamma, amount * (target - root) / gamma])
        root = target
    return np.array(rows)


@pytest.mark.parametrize("width", [0.002, 0.006])
def test_concentrated_pairs_against_golden_section(width: float) -> None:
    """Benchmark B2: 80 ranges, log-normal liquidity, 20 and 60 basis points, price noise 3 %, seed 3."""
    rng = np.random.default_rng(3)
    worst, tried = 0.0, 0
    for _ in range(150):
        noise = rng.normal(0, 0.03)
        first = ticked(1.0, rng.lognormal(14, 0.6, 80), width, 0.9995, downwards=True)
        second = ticked(math.exp(-noise), rng.lognormal(14, 0.6, 80), width, 0.9995, downwards=False)
        arrays = build_arrays([PoolPieces((0, 1), {(0, 1): first}), PoolPieces((1, 0), {(0, 1): second})])
        amount, profit = size(arrays, [0, 1])
        if profit == 0.0:
            assert noise < 0.0011
            continue
        tried += 1
        best = golden_section(arrays, [0, 1], float(first[:, 3].sum()))
        worst = max(worst, (best - profit) / best)
        assert profit == pytest.approx(output(arrays, [0, 1], amount) - amount, rel=1e-9)
    assert tried > 40
    assert worst <= 1e-9


def test_capacity_ends_the_trade() -> None:
    """The optimum lies beyond the last range: take all that there is."""
    capped = np.array([[1e6, 1e6, 1.0, 1_000.0]])
    arrays = build_arrays([PoolPieces((0, 1), {(0, 1): capped}), constant_product(1, 0, 1e6, 2e6, 1.0)])
    amount, profit = size(arrays, [0, 1])
    assert amount == 1_000.0
    assert profit == pytest.approx(output(arrays, [0, 1], 1_000.0) - 1_000.0)


def test_proportional_cost_takes_the_profit_away() -> None:
    arrays = build_arrays([constant_product(0, 1, 1e6, 1e6, 1.0), constant_product(1, 0, 1e6, 1.01e6, 1.0)])
    assert size(arrays, [0, 2], 0.0)[1] > size(arrays, [0, 2], 5_000.0)[1] > 0.0
    assert size(arrays, [0, 2], 11_000.0) == (0.0, 0.0)


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("bad", [math.nan, -1.0, 0.0, math.inf])
def test_bad_segments_never_hang(column: int, bad: float) -> None:
    rows = np.array([[1e6, 1e6, 0.997, 1e3], [0.9e6, 0.9e6, 0.997, 1e3], [0.8e6, 0.8e6, 0.997, math.inf]])
    for row in range(3):
        broken = rows.copy()
        broken[row, column] = bad
        arrays = build_arrays([PoolPieces((0, 1), {(0, 1): broken}), constant_product(1, 0, 1e6, 1.2e6)])
        amount, profit = size(arrays, [0, 1])
        assert math.isfinite(amount)
        assert math.isfinite(profit)
        assert profit >= 0.0
