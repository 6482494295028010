"""Netted batches: exact, self-funding, better than single cycles."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_math import sqrt_ratio_at_tick
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import EMPTY_TICKS
from ouro.search.finder import Finder
from ouro.strategies.cyclic import CyclicStrategy
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.strategies.netted import Flow, plan_netted
from ouro.strategies.netted_plan import NettedPlan, PlanError, verify_plan
from ouro.strategies.network import NetworkStrategy, NetworkView

HASH = "0x" + "11" * 32
DECIMALS = (18, 6, 8, 18, 18, 2)


def address(number: int) -> str:
    return f"0x{number:040x}"


def pair(pool: int, a: int, b: int, r0: int, r1: int) -> UniswapV2State:
    return UniswapV2State(address(100 + pool), (address(a + 1), address(b + 1)), r0, r1, 3000)


def concentrated(pool: int, a: int, b: int, liquidity: int, tick: int, widths: tuple[int, ...]) -> UniswapV3State:
    ticks, total = EMPTY_TICKS, 0
    for width in widths:
        here = tick // 10
        ticks = ticks.with_position((here - width) * 10, (here + 1 + width) * 10, liquidity)
        total += liquidity
    price = (sqrt_ratio_at_tick(tick) + sqrt_ratio_at_tick(tick + 1)) // 2
    return UniswapV3State(address(100 + pool), (address(a + 1), address(b + 1)), 500, 10, price, tick, total, ticks)


def market_of(states: list[Any]) -> Market:
    market = Market("test", {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()})
    market.start(Head(1, HASH, 1_700_000_000, 10**9), states)
    return market


def random_market(seed: int, n_pools: int = 14) -> Market:
    rng = np.random.default_rng(seed)
    states: list[Any] = []
    for pool in range(n_pools):
        a, b = sorted(int(token) for token in rng.choice(len(DECIMALS), 2, replace=False))
        depth = rng.lognormal(4, 1)
        price = 10.0 ** (DECIMALS[b] - DECIMALS[a]) * rng.lognormal(0, 0.03)
        if rng.random() < 0.4:
            tick = int(np.log(price) / np.log(1.0001))
            liquidity = int(depth * 10 ** ((DECIMALS[a] + DECIMALS[b]) / 2) * 20) + 1
            widths = tuple(int(width) for width in rng.integers(1, 60, 3))
            states.append(concentrated(pool, a, b, liquidity, tick, widths))
        else:
            r0 = max(int(depth * 10 ** DECIMALS[a]), 2)
            states.append(pair(pool, a, b, r0, max(int(r0 * price), 2)))
    return market_of(states)


def strategy_of(market: Market, token: str) -> NetworkStrategy:
    view: NetworkView = market
    return NetworkStrategy(view, token)


def replay(market: Market, plan: NettedPlan) -> dict[str, int]:
    return verify_plan(plan, market.states.__getitem__, market.family_of, market.context)


def best_single_cycle(market: Market, token: str) -> int:
    candidates = Finder(market.arrays, [market.arrays.token_index[token]], 4).evaluate_all()
    selection = CyclicStrategy(market, max_opportunities=1).opportunities(candidates, market.context, 1, HASH)
    return max((found.gross_profit_wei for found in selection.opportunities), default=0)


@given(st.integers(0, 100_000))
@settings(max_examples=15, deadline=None)
def test_batches_fund_themselves_and_are_near_the_bound(seed: int) -> None:
    market = random_market(seed)
    token = address(1)
    if token not in market.arrays.token_index:
        return
    batch = strategy_of(market, token).batch(market.context, 1, HASH)
    single = best_single_cycle(market, token)
    if batch.plan is None:
        # rounding may eat what is worth less than a few units of a coarse token
        assert batch.bound_wei < 1e17
        return
    plan = batch.plan
    left = replay(market, plan)
    assert all(amount >= 0 for amount in left.values())
    assert left[token] == plan.profit_wei > 0
    assert plan.profit_wei <= batch.bound_wei * (1 + 1e-9)
    assert len(set(plan.pools)) == len(plan.trades)
    assert plan.trades[0].deferred
    # one unit of the coarsest token is worth about 1e16 wei, and each trade may lose one
    rounding = 2e16 * len(plan.trades)
    assert plan.profit_wei >= 0.99 * batch.bound_wei - rounding
    assert plan.profit_wei >= single - rounding


def ring_with_detour() -> Market:
    """A dear pair, two ways to buy back."""
    unit = 10**18
    return market_of(
        [
            pair(0, 0, 1, 100 * unit, 130 * unit),
            pair(1, 0, 1, 100 * unit, 100 * unit),
            pair(2, 1, 2, 100 * unit, 100 * unit),
            pair(3, 0, 2, 100 * unit, 100 * unit),
            pair(4, 3, 4, 100 * unit, 900 * unit),
        ]
    )


def test_a_split_beats_the_best_cycle_and_sequences_of_them() -> None:
    market = ring_with_detour()
    batch = strategy_of(market, address(1)).batch(market.context, 7, HASH)
    assert batch.plan is not None
    assert set(batch.plan.pools) == {address(100 + k) for k in range(4)}
    assert batch.plan.profit_wei > best_single_cycle(market, address(1))
    assert batch.plan.profit_wei == pytest.approx(batch.bound_wei, rel=1e-12)
    assert abs(batch.gap) < 1e-8
    assert (batch.plan.block_number, batch.plan.block_hash, batch.plan.chain) == (7, HASH, "test")
    assert batch.plan.n_deferred == 1
    assert "duality gap" in str(batch)


@pytest.mark.parametrize("seed", range(20))
def test_one_callback_is_enough_whatever_the_last_digits(seed: int) -> None:
    """Solvers on other machines differ in the last digits of a flow; the plan's shape must not."""
    market = ring_with_detour()
    known = strategy_of(market, address(1)).batch(market.context).plan
    assert known is not None
    rng = np.random.default_rng(seed)
    flows = [
        Flow(
            market.family_of(trade.pool),
            market.states[trade.pool],
            trade.i,
            trade.j,
            trade.amount_in_wei * (1.0 + 1e-9 * float(rng.standard_normal())),
            float(rng.random()),
        )
        for trade in known.trades
    ]
    plan = plan_netted(flows, address(1), market.context)
    assert plan is not None
    assert (len(plan.trades), plan.n_deferred) == (4, 1)
    assert replay(market, plan)[address(1)] == pytest.approx(known.profit_wei, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_fits_one_transaction(seed: int) -> None:
    market = random_market(seed, 30)
    token = address(1)
    if token not in market.arrays.token_index:
        return
    whole = strategy_of(market, token).batch(market.context).plan
    for most in (2, 5, 9):
        plan = strategy_of(market, token).batch(market.context, max_trades=most).plan
        if plan is not None:
            assert whole is not None
            assert len(plan.trades) <= most
            assert 0 < plan.profit_wei <= whole.profit_wei + 10**15
            replay(market, plan)


def test_gas_leaves_out_pools_that_do_not_pay_for_themselves() -> None:
    market = ring_with_detour()
    free = strategy_of(market, address(1)).batch(market.context).plan
    assert free is not None
    worth = free.profit_wei / (4 * 49_500)
    dear = strategy_of(market, address(1)).batch(market.context, gas_price_wei=0.6 * worth)
    assert dear.plan is not None
    assert len(dear.plan.trades) == 2
    net = dear.plan.profit_wei - 0.6 * worth * (TRANSACTION_GAS + dear.plan.gas_units)
    assert 0 < net <= dear.bound_wei
    assert strategy_of(market, address(1)).batch(market.context, gas_price_wei=10 * worth).plan is None


def test_locked_and_quarantined_pools_are_left_alone() -> None:
    market = ring_with_detour()
    batch = strategy_of(market, address(1)).batch(market.context, locked=[address(101).upper().replace("0X", "0x")])
    assert batch.plan is not None
    assert address(101) not in batch.plan.pools
    market.set_quarantine(address(100), "test")
    assert strategy_of(market, address(1)).batch(market.context).plan is None


def test_the_second_block_starts_from_the_first_and_agrees() -> None:
    market = random_market(3)
    strategy = strategy_of(market, address(1))
    first, second = strategy.batch(market.context), strategy.batch(market.context)
    assert second.bound_wei == pytest.approx(first.bound_wei, rel=1e-9)
    fresh = strategy_of(market, address(1)).batch(market.context)
    assert fresh.plan == first.plan


def test_an_unknown_profit_token_is_an_error() -> None:
    with pytest.raises(LookupError, match="no known pool"):
        strategy_of(ring_with_detour(), address(77)).batch(ring_with_detour().context)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount_out_wei": 1}, "gives"),
        ({"amount_in_wei": 10**17}, "gives|paid|left"),
        ({"deferred": False}, "paid"),
        ({"token_in": address(5)}, "doesn't trade"),
    ],
)
def test_a_plan_that_does_not_hold_is_refused(change: dict[str, Any], message: str) -> None:
    market = ring_with_detour()
    plan = strategy_of(market, address(1)).batch(market.context).plan
    assert plan is not None
    trades = (dataclasses.replace(plan.trades[0], **change), *plan.trades[1:])
    with pytest.raises(PlanError, match=message):
        replay(market, dataclasses.replace(plan, trades=trades))
    with pytest.raises(PlanError, match="twice"):
        replay(market, dataclasses.replace(plan, trades=(*plan.trades, plan.trades[0])))
    with pytest.raises(PlanError, match="left"):
        replay(market, dataclasses.replace(plan, profit_wei=plan.profit_wei + 1))


def test_flows_that_pools_refuse_are_planned_around() -> None:
    market = ring_with_detour()
    states = market.states
    family = market.family_of(address(100))
    unit = 10**18

    def flow(pool: int, i: int, amount: float) -> Flow:
        return Flow(family, states[address(100 + pool)], i, 1 - i, amount, amount)

    good = [flow(0, 0, 8.0 * unit), flow(1, 1, 9.0 * unit)]
    bad = [flow(2, 0, float("nan")), flow(3, 0, float("inf")), flow(4, 0, 1e40), flow(2, 0, 0.3)]
    plan = plan_netted([*good, *bad], address(1), market.context)
    assert plan is not None
    assert set(plan.pools) == {address(100), address(101)}
    assert replay(market, plan)[address(1)] == plan.profit_wei
    assert plan_netted(bad, address(1), market.context) is None
    assert plan_netted([flow(0, 1, 9.0 * unit), flow(1, 0, 9.0 * unit)], address(1), market.context) is None
