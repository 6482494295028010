"""Netted batches of real families' pools: funded hop by hop, wei-exact, near the dual's bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.v3_math import sqrt_ratio_at_tick
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.strategies.netting import NettedPlan, market_network, net_plan, optimum, replay
from ouro.strategies.scan import FAMILIES
from ouro.types import BlockContext, Hop

CONTEXT = BlockContext(1, 1, 1)


def address(number: int) -> str:
    return f"0x{number:040x}"


def market(seed: int, n_tokens: int, n_pools: int) -> list:
    """Pools a few per cent apart; every third concentrated in one narrow range; tokens of 6, 8 and 18 decimals."""
    rng = np.random.default_rng(seed)
    unit = [10 ** int(d) for d in rng.choice([6, 8, 18], n_tokens)]
    unit[0] = 10**18
    states = []
    for number in range(n_pools):
        a, b = sorted(int(t) for t in rng.choice(n_tokens, 2, replace=False))
        depth, gap = rng.uniform(10, 1_000), rng.lognormal(0, 0.02)
        if number % 3 == 2:
            tick = round(np.log(unit[b] / unit[a] * gap) / np.log(1.0001))
            low = tick // 60 * 60
            liquidity = int(depth * np.sqrt(float(unit[a]) * float(unit[b])) * 20) + 1
            ticks = TickTable({low - 120: (liquidity, liquidity), low + 180: (liquidity, -liquidity)})
            price = sqrt_ratio_at_tick(tick)
            states.append(
                UniswapV3State(
                    address(100 + number), (address(a), address(b)), 3000, 60, price, tick, liquidity, ticks
                )
            )
        else:
            reserves = int(depth * unit[a]), int(depth * unit[b] * gap)
            states.append(UniswapV2State(address(100 + number), (address(a), address(b)), *reserves, 3000))
    return states


def check(plan: NettedPlan, states: list) -> None:
    by_address = {state.address: state for state in states}

    def quote(hop: Hop) -> int:
        state = by_address[hop.pool]
        return FAMILIES[hop.family].quote_in(state, hop.i, hop.j, hop.amount_in_wei, CONTEXT).amount_out_wei

    balances = replay(plan, quote)
    assert balances[plan.profit_token] == plan.profit_wei > 0
    assert plan.profit_wei <= plan.bound_wei * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_tokens=st.integers(2, 8), n_pools=st.integers(2, 24))
def test_plans_are_funded_and_near_the_bound(seed: int, n_tokens: int, n_pools: int) -> None:
    states = market(seed, n_tokens, n_pools)
    network = market_network(states, FAMILIES, [address(0)], CONTEXT)
    bound = optimum(network, address(0)).bound
    plan = net_plan(network, FAMILIES, address(0), CONTEXT)
    if bound < 1e15:
        return
    assert plan is not None
    check(plan, states)
    # a unit of a token with 6 decimals is worth 1e12 wei here
    assert plan.bound_wei - plan.profit_wei <= 1e-4 * bound + 5e12 * n_pools
    costly = net_plan(network, FAMILIES, address(0), CONTEXT, cost_per_pool_wei=0.02 * bound, search_solves=50)
    if costly is not None:
        check(costly, states)
        assert len(costly.hops) <= len(plan.hops)


def test_beats_the_best_single_cycle_where_cycles_share_pools() -> None:
    def pair(number: int, a: int, b: int, reserve0: int, reserve1: int) -> UniswapV2State:
        return UniswapV2State(address(number), (address(a), address(b)), reserve0, reserve1, 3000)

    states = [
        pair(100, 0, 1, 10**21, 10**21),
        pair(101, 0, 1, 10**21, 11 * 10**20),
        pair(102, 0, 1, 10**21, 12 * 10**20),
        pair(103, 0, 2, 10**21, 10**21),
        pair(104, 1, 2, 10**21, 9 * 10**20),
    ]
    plan = net_plan(market_network(states, FAMILIES, [address(0)], CONTEXT), FAMILIES, address(0), CONTEXT)
    assert plan is not None
    check(plan, states)
    assert plan.gap < 1e-12
    assert len(plan.hops) > 3


def test_dead_ends_and_islands_are_left_out() -> None:
    states = [
        UniswapV2State(address(100), (address(0), address(1)), 10**20, 10**20, 3000),
        UniswapV2State(address(101), (address(0), address(1)), 10**20, 12 * 10**19, 3000),
        UniswapV2State(address(102), (address(1), address(2)), 10**20, 10**20, 3000),
        UniswapV2State(address(103), (address(5), address(6)), 10**20, 10**20, 3000),
        UniswapV2State(address(104), (address(5), address(6)), 10**20, 12 * 10**19, 3000),
    ]
    network = market_network(states, FAMILIES, [address(0)], CONTEXT)
    assert [state.address for state in network.states] == [address(100), address(101)]


def test_a_plan_that_is_not_funded_is_refused() -> None:
    hop = Hop(address(100), "uniswap_v2", address(0), address(1), 0, 1, 10, 9)
    plan = NettedPlan(address(0), (hop, hop), ((address(0), 10),), 1, (), 0, 1.0)
    with pytest.raises(ValueError, match="used twice"):
        replay(plan, lambda _: 9)
    with pytest.raises(ValueError, match="aren't there"):
        replay(NettedPlan(address(0), (hop,), (), 1, (), 0, 1.0), lambda _: 9)
    with pytest.raises(ValueError, match="isn't repaid"):
        replay(NettedPlan(address(0), (hop,), ((address(0), 10),), 1, (), 0, 1.0), lambda _: 9)
