"""Choosing pools when each touched one costs something."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.convex import NetworkBuilder, certify, solve
from ouro.search.convex.fixed_cost import choose_pools
from ouro.search.convex.instances import mixed, random_network
from ouro.search.convex.network import Network, restricted


@pytest.mark.parametrize(
    ("n_pools", "cost", "published"),
    [
        (100, 0.7, 6_935.9),
        (100, 7.0, 6_413.5),
        (100, 21.0, 5_448.8),
        (1_000, 0.795, None),
        (1_000, 7.95, None),
        (1_000, 23.9, None),
    ],
)
def test_the_six_cases_reach_the_bound(n_pools: int, cost: float, published: float | None) -> None:
    network, prices = random_network(n_pools, 2)
    choice = choose_pools(network, prices, cost, good_enough=0.9993)
    assert choice.value >= 0.999 * choice.bound
    assert choice.value <= choice.bound * (1 + 1e-9)
    certificate = certify(choice.solution)
    assert certificate.value - cost * len(choice.pools) == pytest.approx(choice.value, rel=1e-9)
    if published is not None:
        assert choice.value >= published * 0.9998


def small_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder(4)
    for _ in range(8):
        a, b = (int(token) for token in rng.choice(4, 2, replace=False))
        builder.add_product(a, b, *rng.lognormal(5, 1, 2).tolist(), gamma=0.997)
    return builder.build()


@given(st.integers(0, 1_000), st.sampled_from([0.5, 5.0, 20.0]))
@settings(max_examples=5, deadline=None)
def test_against_every_subset(seed: int, cost: float) -> None:
    network = small_network(seed)
    prices = np.array([1.0, 0.0, 0.5, 0.0])
    best = 0.0
    for size in range(2, 9):
        for pools in itertools.combinations(range(8), size):
            keep = np.isin(np.arange(8), pools)
            best = max(best, solve(restricted(network, keep), prices).bound - cost * size)
    choice = choose_pools(network, prices, cost)
    assert choice.bound >= best * (1 - 1e-9)
    assert choice.value <= best * (1 + 1e-9) + 1e-9
    # the local search isn't exact; on eight pools it must come close
    assert choice.value >= 0.9 * best


def test_costs_above_every_profit_choose_nothing() -> None:
    network, prices = random_network(100, 2)
    choice = choose_pools(network, prices, 1e9)
    assert choice.pools == ()
    assert choice.value == 0.0
    assert choice.bound == pytest.approx(0.0, abs=1e-6)


def test_without_cost_it_is_the_plain_optimum() -> None:
    network, prices = random_network(100, 2)
    choice = choose_pools(network, prices, 0.0)
    assert choice.value == pytest.approx(solve(network, prices).bound, rel=1e-12)
    assert choice.ratio == pytest.approx(1.0, rel=1e-9)


def test_the_same_call_makes_the_same_choice() -> None:
    network, prices = random_network(100, 2)
    first, second = (choose_pools(network, prices, 21.0) for _ in range(2))
    assert first.pools == second.pools
    assert first.solves == second.solves


def test_what_it_cannot_do_is_refused() -> None:
    network, prices = mixed()
    with pytest.raises(ValueError, match="special"):
        choose_pools(network, prices, 1.0)
    network, prices = random_network(100, 2)
    with pytest.raises(ValueError, match="cost"):
        choose_pools(network, prices, float("nan"))
