"""The whole-network dual: known optima, certificates, and what floating point must survive."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.arrays import PoolPieces, build_arrays, constant_product
from ouro.search.convex import NetworkBuilder, certify, network_of_arrays, solve
from ouro.search.convex.instances import mixed, random_network, triangle
from ouro.search.convex.network import Network, restricted
from ouro.search.convex.stable import invariant, stable_curve
from ouro.search.sizing import scratch, size_path


def ticked(seed: int, depth: float, price: float, ranges: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of both directions of a concentrated pool: ranges of random liquidity around ``price``."""
    rng = np.random.default_rng(seed)
    gamma = float(rng.choice([0.9995, 0.997]))
    out = []
    for upward in (False, True):
        root, rows = math.sqrt(price), []
        for _ in range(ranges):
            liquidity = depth * rng.lognormal(0, 0.6)
            target = root * 1.002 if upward else root / 1.002
            if upward:
                rows.append([liquidity * root, liquidity / root, gamma, liquidity * (target - root) / gamma])
            else:
                cap = liquidity * (1 / target - 1 / root) / gamma
                rows.append([liquidity / root, liquidity * root, gamma, cap])
            root = target
        out.append(np.array(rows))
    return out[0], out[1]


def one_priced(network: Network, token: int = 0) -> np.ndarray:
    prices = np.zeros(network.n_tokens)
    prices[token] = 1.0
    return prices


@pytest.mark.parametrize(
    ("instance", "optimum", "within"),
    [
        (triangle(), 206.147, 5e-4),
        (mixed(), 21.4998, 5e-5),
        (random_network(100, 2), 6_999.31, 5e-3),
        (random_network(1_000, 2), 79_531.37, 5e-3),
        (random_network(10_000, 2), 770_695.39, 5e-3),
    ],
    ids=["triangle", "mixed", "m=100", "m=1000", "m=10000"],
)
def test_known_optima(instance: tuple[Network, np.ndarray], optimum: float, within: float) -> None:
    network, prices = instance
    solution = solve(network, prices)
    certificate = certify(solution)
    assert certificate.bound == pytest.approx(optimum, abs=within)
    assert abs(certificate.gap) <= 1e-8
    assert np.all(certificate.net >= 0.0)
    assert "duality gap" in str(certificate)


def test_the_triangle_beats_its_best_cycle() -> None:
    network, prices = triangle()
    best = 0.0
    for start in range(3):
        arrays = build_arrays(
            [constant_product(0, 1, 100, 200), constant_product(1, 2, 300, 200), constant_product(2, 0, 200, 400)]
        )
        edges = np.array([0, 2, 4], dtype=np.int32)
        work, position = scratch()
        _, profit = size_path(
            np.roll(edges, -start), 3, arrays.seg_start, arrays.seg_count, arrays.segs, 0.0, work, position
        )
        best = max(best, profit * prices[start])
    assert best == pytest.approx(205.59, abs=0.01)
    assert solve(network, prices).bound > best


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_a_ring_of_ticked_pools_has_the_cycles_optimum(seed: int, n_hops: int) -> None:
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder(n_hops)
    pools = []
    for hop in range(n_hops):
        forward, backward = ticked(seed + hop, 1e6, 1.03 if hop == 0 else rng.lognormal(0, 0.002))
        tokens = (hop, (hop + 1) % n_hops)
        builder.add_pieces(*tokens, forward, backward)
        pools.append(PoolPieces(tokens, {(0, 1): forward}))
    arrays = build_arrays(pools)
    work, position = scratch()
    _, profit = size_path(
        np.arange(n_hops, dtype=np.int32),
        n_hops,
        arrays.seg_start,
        arrays.seg_count,
        arrays.segs,
        0.0,
        work,
        position,
    )
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert certify(solution).value == pytest.approx(profit, rel=1e-7, abs=1e-6)
    assert solution.bound >= profit * (1 - 1e-9)


@given(
    st.integers(0, 10_000),
    st.lists(st.integers(-12, 12), min_size=8, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_units_of_tokens_do_not_matter(seed: int, exponents: list[int]) -> None:
    rng = np.random.default_rng(seed)
    plain, wild = NetworkBuilder(8), NetworkBuilder(8)
    unit = 10.0 ** np.array(exponents)
    unit[0] = 1.0
    for _ in range(24):
        a, b = (int(token) for token in rng.choice(8, 2, replace=False))
        r0, r1 = 1e15 * rng.lognormal(0, 2), 1e15 * rng.lognormal(0, 2)
        plain.add_product(a, b, r0, r1, 0.997)
        wild.add_product(a, b, r0 * unit[a], r1 * unit[b], 0.997)
    prices = one_priced(plain.build())
    expected, found = solve(plain.build(), prices), solve(wild.build(), prices)
    assert found.bound == pytest.approx(expected.bound, rel=1e-9)
    assert abs(certify(found).gap) <= 1e-8
    assert abs(certify(expected).gap) <= 1e-8


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_nearly_efficient_markets_converge(seed: int) -> None:
    """Narrow ranges, prices within a few basis points, profits a billionth of the liquidity."""
    rng = np.random.default_rng(seed)
    value = rng.lognormal(0, 3, 10)
    builder = NetworkBuilder(10)
    for pool in range(40):
        a, b = (int(token) for token in rng.choice(10, 2, replace=False))
        price = value[a] / value[b] * rng.lognormal(0, 0.002)
        if pool % 2:
            builder.add_product(a, b, 1e20 / value[a], 1e20 / value[a] * price, 0.997)
        else:
            builder.add_pieces(a, b, *ticked(seed + pool, 1e23 / math.sqrt(value[a] * value[b]), price, 2))
    network = builder.build()
    solution = solve(network, one_priced(network))
    certificate = certify(solution)
    assert solution.converged
    assert certificate.gap <= 1e-8
    assert np.all(certificate.net >= 0.0)


def test_warm_start_finds_the_same_optimum_faster() -> None:
    network, prices = random_network(1_000, 2)
    cold = solve(network, prices)
    warm = solve(network, prices, start=cold.prices)
    assert warm.bound == pytest.approx(cold.bound, rel=1e-12)
    assert warm.evaluations < cold.evaluations


def test_only_what_leads_to_a_priced_token_counts() -> None:
    builder = NetworkBuilder(7)
    builder.add_product(0, 1, 100.0, 200.0, 0.997)
    builder.add_product(1, 0, 100.0, 100.0, 0.997)
    builder.add_product(1, 2, 50.0, 50.0, 0.997)  # a dead end
    builder.add_product(3, 4, 10.0, 90.0, 0.997)  # an island with a cycle of its own
    builder.add_product(4, 5, 10.0, 90.0, 0.997)
    builder.add_product(5, 3, 10.0, 90.0, 0.997)
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert solution.problem.n_tokens == 2
    assert solution.prices[3:].tolist() == [0.0] * 4
    assert solution.bound > 0.0
    nothing = solve(network, np.zeros(7))
    assert nothing.bound == 0.0
    assert certify(nothing).gap == 0.0


def test_a_token_that_is_nearly_free() -> None:
    """Token 1 is to be had for a thousandth of what it sells for, and only so much of it can be sold."""
    builder = NetworkBuilder(3)
    builder.add_product(0, 2, 100.0, 300.0, 1.0)
    builder.add_product(2, 0, 100.0, 300.0, 1.0)
    gift = np.array([[1e-2, 50.0, 1.0, 1.0]])
    builder.add_pieces(0, 1, gift, np.empty((0, 4)))
    builder.add_pieces(1, 2, np.array([[1.0, 5.0, 1.0, 2.0]]), np.empty((0, 4)))
    network = builder.build()
    solution = solve(network, one_priced(network))
    certificate = certify(solution)
    assert solution.prices[1] < 1e-3
    assert np.all(certificate.net >= 0.0)
    assert abs(certificate.gap) <= 1e-8


def test_weighted_pools_with_equal_weights_are_products() -> None:
    rng = np.random.default_rng(5)
    plain, weighted = NetworkBuilder(5), NetworkBuilder(5)
    for pool in range(15):
        a, b = (int(token) for token in rng.choice(5, 2, replace=False))
        r0, r1 = rng.lognormal(5, 1, 2).tolist()
        plain.add_product(a, b, r0, r1, 0.997)
        if pool % 2:
            weighted.add_weighted((a, b), (r0, r1), (7.0, 7.0), 0.997)
        else:
            weighted.add_product(a, b, r0, r1, 0.997)
    prices = rng.random(5)
    expected, found = solve(plain.build(), prices), solve(weighted.build(), prices)
    assert found.bound == pytest.approx(expected.bound, rel=1e-10)
    assert abs(certify(found).gap) <= 1e-8


def test_curves_that_are_products_give_the_products_optimum() -> None:
    def curve(r_in: float, r_out: float) -> tuple:
        return (
            lambda x: 0.997 * x * r_out / (r_in + 0.997 * x),
            lambda x: 0.997 * r_in * r_out / (r_in + 0.997 * x) ** 2,
            1e9,
        )

    network, prices = triangle()
    builder = NetworkBuilder(3)
    builder.add_product(0, 1, 100.0, 200.0, 0.997)
    builder.add_product(1, 2, 300.0, 200.0, 0.997)
    builder.add_curve(2, 0, curve(200.0, 400.0), curve(400.0, 200.0))
    found = solve(builder.build(), prices)
    assert found.bound == pytest.approx(solve(network, prices).bound, rel=1e-10)
    assert abs(certify(found).gap) <= 1e-8


def test_constant_sum_against_a_pair_by_hand() -> None:
    """Buy token 1 from a free constant sum, sell it to the pair until its price is one: x = √k - r."""
    builder = NetworkBuilder(2)
    builder.add_constant_sum(0, 1, 1e6, 1e6, 1.0)
    builder.add_product(0, 1, 400.0, 100.0, 1.0)
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert solution.bound == pytest.approx((math.sqrt(400) - math.sqrt(100)) ** 2, rel=1e-9)
    assert abs(certify(solution).gap) <= 1e-8


@pytest.mark.parametrize("amplification", [1.0, 85.0, 2_000.0])
def test_stable_curve_keeps_the_invariant_and_its_slope_is_its_derivative(amplification: float) -> None:
    out, slope, _ = stable_curve(3e6, 2e6, amplification, 1.0)
    for amount in (1.0, 1e4, 2e6, 1e7):
        before, after = (
            invariant(3e6, 2e6, amplification),
            invariant(3e6 + amount, 2e6 - out(amount), amplification),
        )
        assert after == pytest.approx(before, rel=1e-10)
        step = 1e-3 * amount
        numeric = (out(amount + step) - out(amount - step)) / (2 * step)
        assert slope(amount) == pytest.approx(numeric, rel=1e-4)


def test_stable_pool_in_a_network() -> None:
    builder = NetworkBuilder(3)
    builder.add_curve(0, 1, stable_curve(3e6, 2e6, 200.0, 0.9996), stable_curve(2e6, 3e6, 200.0, 0.9996))
    builder.add_product(1, 2, 1e6, 1e6, 0.997)
    builder.add_product(2, 0, 1e6, 1.1e6, 0.997)
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert solution.bound > 0.0
    assert solution.converged
    assert certify(solution).gap <= 1e-8


@pytest.mark.parametrize("bad", [float("nan"), 0.0, -1.0, 1e70, float("inf")])
def test_unusable_pools_are_left_out_with_a_reason(bad: float) -> None:
    builder = NetworkBuilder(3)
    good = builder.add_product(0, 1, 100.0, 200.0, 0.997)
    faulty = builder.add_product(1, 0, bad, 100.0, 0.997)
    twice = builder.add_product(1, 1, 10.0, 100.0, 0.997)
    unknown = builder.add_product(1, 9, 10.0, 100.0, 0.997)
    fee = builder.add_product(0, 1, 10.0, 100.0, 1.5)
    network = builder.build()
    assert set(network.excluded) == {faulty, twice, unknown, fee}
    assert set(network.edge_pool.tolist()) == {good}
    assert solve(network, np.ones(3)).bound == pytest.approx(
        solve(restricted(network, np.arange(5) == 0), np.ones(3)).bound
    )


def test_arrays_with_faults_are_read_around_them() -> None:
    rising = np.array([[100.0, 100.0, 0.997, 10.0], [100.0, 300.0, 0.997, 10.0]])
    arrays = build_arrays(
        [
            constant_product(0, 1, 100, 200),
            constant_product(0, 1, 100, 100),
            constant_product(0, 1, float("nan"), 100),
            PoolPieces((0, 1), {(0, 1): rising}),
            constant_product(2, 2, 100, 100),
            PoolPieces((0, 1), constant_product(0, 1, 1, 1e9).segments, enabled=False),
            constant_product(0, 1, 100, 200),
        ]
    )
    network = network_of_arrays(arrays)
    assert set(network.excluded) == {2, 3, 4}
    assert "piece" in network.excluded[3]
    assert set(network.edge_pool.tolist()) == {0, 1, 6}  # a duplicate is a pool like any other
    solution = solve(network, one_priced(network))
    assert abs(certify(solution).gap) <= 1e-8


@pytest.mark.parametrize("prices", [[1.0], [1.0, -1.0, 0.0], [1.0, float("nan"), 0.0], [float("inf"), 0.0, 0.0]])
def test_bad_prices_are_refused(prices: list[float]) -> None:
    network, _ = triangle()
    with pytest.raises(ValueError, match="price"):
        solve(network, np.array(prices))


def test_a_huge_hub_is_no_problem() -> None:
    rng = np.random.default_rng(3)
    builder = NetworkBuilder(3_001)
    for leaf in range(1, 3_001):
        builder.add_product(0, leaf, 1e6, rng.lognormal(10, 3), 0.997)
        if leaf % 3 == 0:
            builder.add_product(leaf, leaf - 1, rng.lognormal(10, 3), rng.lognormal(10, 3), 0.997)
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert solution.problem.n_tokens < 3_000
    assert solution.converged
    assert certify(solution).gap <= 1e-8


def test_absurd_but_finite_reserves() -> None:
    builder = NetworkBuilder(3)
    builder.add_product(0, 1, 1.0, 1e30, 0.997)
    builder.add_product(1, 2, 1e30, 5e3, 0.997)
    builder.add_product(2, 0, 1e3, 5.0, 0.997)
    network = builder.build()
    solution = solve(network, one_priced(network))
    assert solution.bound > 0.0
    assert abs(certify(solution).gap) <= 1e-8
