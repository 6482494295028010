"""The whole-network optimum against golden instances of the literature and against properties that any optimum
has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.arrays import PoolPieces, build_arrays, constant_product
from ouro.search.dual import solve_dual
from ouro.search.fixed_cost import choose_pools, lagrangian_bound
from ouro.search.network import Network, WeightedPool, linear_piece, network_of


def benchmark_network(n_pools: int, factor: float) -> tuple[Network, np.ndarray]:
    """The generator of the published router benchmark with seed 1234."""
    n_tokens = round(factor * np.sqrt(n_pools))
    rng = np.random.default_rng(1234)
    pairs = [rng.choice(n_tokens, 2, replace=False) for _ in range(n_pools)]
    reserves = 1000 * rng.random((n_pools, 2))
    gammas = rng.choice([0.997, 1.0], n_pools)
    pools = [
        constant_product(int(a), int(b), *row, gamma)
        for (a, b), row, gamma in zip(pairs, reserves.tolist(), gammas.tolist(), strict=True)
    ]
    return network_of(build_arrays(pools), n_tokens), rng.random(n_tokens)


def test_monetised_loop_of_three_pools() -> None:
    pools = [constant_product(0, 1, 100, 200), constant_product(1, 2, 300, 200), constant_product(2, 0, 200, 400)]
    solution = solve_dual(network_of(build_arrays(pools)), [2, 10.2, 20])
    assert solution.converged
    assert solution.bound == pytest.approx(206.147, abs=5e-4)
    assert solution.flow == pytest.approx([0, 5.003, 7.756], abs=2e-3)
    assert abs(solution.gap) < 1e-12


def test_weighted_pool_and_constant_sum() -> None:
    flat = PoolPieces((2, 3), {(0, 1): linear_piece(0.999, 10 / 0.999), (1, 0): linear_piece(0.999, 10 / 0.999)})
    pools = [constant_product(0, 1, 10, 1), constant_product(1, 2, 1, 5), constant_product(2, 3, 40, 50), flat]
    weighted = WeightedPool((0, 1, 2, 3), (4, 4, 4, 4), (4, 3, 2, 1), 0.998)
    solution = solve_dual(network_of(build_arrays(pools), 4, [weighted]), [1.5, 10, 2, 3])
    assert solution.converged
    assert solution.bound == pytest.approx(21.4998, abs=1e-4)
    assert abs(solution.gap) < 1e-9


@pytest.mark.parametrize(("n_pools", "optimum"), [(100, 6_999.31), (1_000, 79_531.37), (10_000, 770_695.39)])
def test_published_generator(n_pools: int, optimum: float) -> None:
    network, values = benchmark_network(n_pools, 2)
    for quasi_newton_steps in (0, 12):
        solution = solve_dual(
            network, values, start=np.ones(len(values)), quasi_newton_steps=quasi_newton_steps, tolerance=1e-9
        )
        assert solution.converged
        assert solution.bound == pytest.approx(optimum, abs=0.006)
        assert abs(solution.gap) <= 1e-8


@pytest.mark.parametrize("cost", [0.7, 7.0, 21.0])
def test_fixed_cost_reaches_the_bound(cost: float) -> None:
    network, values = benchmark_network(100, 2)
    chosen = choose_pools(network, values, cost)
    assert 0.999 <= chosen.ratio <= 1.0 + 1e-9
    again = solve_dual(network.only(chosen.kept), values)
    assert again.value - cost * chosen.kept.sum() == pytest.approx(chosen.net_value, rel=1e-9)


@pytest.mark.parametrize("cost", [0.795, 7.95, 23.9])
def test_fixed_cost_of_a_thousand_pools(cost: float) -> None:
    network, values = benchmark_network(1_000, 2)
    assert choose_pools(network, values, cost, search_solves=100).ratio >= 0.999


def test_every_price_gives_a_bound() -> None:
    network, values = benchmark_network(100, 1)
    best = choose_pools(network, values, 5.0).net_value
    for factor in (1.0, 1.3, 2.0):
        assert lagrangian_bound(network, values, 5.0, values * factor) >= best * (1 - 1e-9)
    nothing = choose_pools(network, values, 1e9)
    assert not nothing.kept.any()
    assert nothing.net_value == 0.0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), n_tokens=st.integers(2, 7), n_pools=st.integers(1, 20), priced=st.integers(1, 3)
)
def test_optimum_of_random_markets(seed: int, n_tokens: int, n_pools: int, priced: int) -> None:
    """Tokens without a price, pieces with ends, decades between units: gap closed and flows that net out."""
    rng = np.random.default_rng(seed)
    unit = 10.0 ** rng.integers(0, 18, n_tokens)
    pools = []
    for _ in range(n_pools):
        a, b = (int(t) for t in rng.choice(n_tokens, 2, replace=False))
        depth = rng.lognormal(3, 2)
        pool = constant_product(a, b, depth * unit[a], depth * unit[b] * rng.lognormal(0, 0.1))
        if rng.random() < 0.5:
            share = 10.0 ** rng.uniform(-5, -1)
            segments = {w: np.array([[*row[0][:3], share * row[0][0]]]) for w, row in pool.segments.items()}
            pool = PoolPieces(pool.tokens, segments)
        pools.append(pool)
    values = np.where(np.arange(n_tokens) < priced, 1.0 / unit, 0.0)
    solution = solve_dual(network_of(build_arrays(pools), n_tokens), values, tolerance=1e-9)
    assert solution.value <= solution.bound * (1 + 1e-12)
    assert solution.bound - solution.value <= (1e-8 if solution.converged else 1e-5) * solution.bound + 1e-10
    assert (solution.prices >= values * (1 - 1e-12)).all()


def test_curves_that_are_not_concave_are_left_out_with_a_reason() -> None:
    rising = PoolPieces((0, 1), {(0, 1): np.array([[100.0, 100, 0.99, 5], [100, 105, 0.999, 5]])})
    broken = PoolPieces((0, 1), {(0, 1): np.array([[np.nan, 100, 0.99, 5]])})
    network = network_of(build_arrays([rising, broken, constant_product(0, 1, 100, 120)]))
    assert network.excluded == {
        0: "its rate rises along the curve",
        1: "reserves, fee or capacity that make no sense",
    }
    assert set(network.pool.tolist()) == {2}


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [1.0, -1.0]])
def test_senseless_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="token_values"):
        solve_dual(network_of(build_arrays([constant_product(0, 1, 1, 1)])), values)
