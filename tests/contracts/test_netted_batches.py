"""The network optimum of real pools, run by the executor in one transaction, to the wei."""

from dataclasses import dataclass
from typing import Any

import pytest
from world import Pool, Reverted, World

from ouro.execution.encode_dag import MAX_DAG_HOPS
from ouro.execution.netted import encode_netted, hops_of_batch
from ouro.execution.reverts import classify_revert
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.strategies.netted_plan import NettedPlan, verify_plan
from ouro.strategies.network import NetworkStrategy
from ouro.types import Address

HASH = "0x" + "11" * 32
SPACINGS = {500: 10, 3000: 60}


def state_of(world: World, pool: Pool) -> Any:
    """A pool as the contracts have it."""
    if pool.family == "uniswap_v2":
        x, y, _ = world.read(pool.address, "getReserves()", ["uint112", "uint112", "uint32"])
        return UniswapV2State(pool.address, pool.tokens, x, y, pool.fee)
    kinds = ["uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool"]
    price, tick, *_ = world.read(pool.address, "slot0()", kinds)
    (liquidity,) = world.read(pool.address, "liquidity()", ["uint128"])
    ticks = {}
    # positions are minted round the first price, on multiples of 60
    for width in (887220, 6000, 600):
        for centre in range(tick // 60 * 60 - 600, tick // 60 * 60 + 660, 60):
            for at in (max(-887220, centre - width), min(887220, centre + width)):
                gross, net, *_ = world.read(
                    pool.address, "ticks(int24)", ["uint128", "int128", *["uint256"] * 2], at
                )
                if gross:
                    ticks[at] = (gross, net)
    return UniswapV3State(
        pool.address, pool.tokens, pool.fee, SPACINGS[pool.fee], price, tick, liquidity, TickTable(ticks)
    )


@dataclass
class Recorded:
    """The world's pools as a market, and its batch."""

    world: World
    market: Market
    plan: NettedPlan


def record(world: World, max_trades: int = MAX_DAG_HOPS) -> Recorded:
    market = Market("test", {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()})
    states = [state_of(world, pool) for pool in world.pools.values()]
    market.start(Head(1, HASH, 1_700_000_000, 10**9), states)
    batch = NetworkStrategy(market, world.tokens["W"]).batch(market.context, max_trades=max_trades)
    assert batch.plan is not None
    verify_plan(batch.plan, market.states.__getitem__, market.family_of, market.context)
    assert abs(batch.gap) <= 1e-8
    return Recorded(world, market, batch.plan)


@pytest.fixture
def recorded(world: World) -> Recorded:
    return record(world)


def holdings(world: World) -> dict[tuple[Address, Address], int]:
    """What each pool, the executor and the treasury hold of each token."""
    holders = [*(pool.address for pool in world.pools.values()), world.executor, world.treasury]
    return {(h, token): world.balance(token, h) for h in holders for token in world.tokens.values()}


def expected(recorded: Recorded) -> dict[tuple[Address, Address], int]:
    """How the plan's integers move them."""
    moved: dict[tuple[Address, Address], int] = {}
    for hop in hops_of_batch(recorded.plan):
        for token, amount in ((hop.token_in, hop.amount_in_wei), (hop.token_out, -hop.amount_out_wei)):
            moved[hop.pool, token] = moved.get((hop.pool, token), 0) + amount
    moved[recorded.world.treasury, recorded.plan.profit_token] = recorded.plan.profit_wei
    return moved


def test_the_whole_batch_lands_as_planned(recorded: Recorded) -> None:
    """Splits, merges and detours over V2 and V3, without capital: every balance moves by the plan's integers."""
    world, plan = recorded.world, recorded.plan
    families = {trade.family for trade in plan.trades}
    assert families == {"uniswap_v2", "uniswap_v3"}
    assert len(plan.trades) >= 10
    before = holdings(world)
    world.backend.send(world.executor, encode_netted(plan), world.operator)
    after = holdings(world)
    assert {key: after[key] - before[key] for key in before if after[key] != before[key]} == {
        key: amount for key, amount in expected(recorded).items() if amount
    }
    for trade in plan.trades:
        if trade.family == "uniswap_v3":
            state = recorded.market.states[trade.pool]
            quote = UniswapV3().quote_in(state, trade.i, trade.j, trade.amount_in_wei, recorded.market.context)
            (price, *_) = world.read(trade.pool, "slot0()", ["uint160", *["uint256"] * 6])
            assert price == quote.next_state.sqrt_price_x96
    # the optimum was taken: what rounding leaves is nothing against it
    again = NetworkStrategy(record_market(world), world.tokens["W"]).batch(recorded.market.context)
    assert again.bound_wei < 1e-6 * plan.profit_wei


def record_market(world: World) -> Market:
    market = Market("test", {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()})
    market.start(Head(2, HASH, 1_700_000_001, 10**9), [state_of(world, pool) for pool in world.pools.values()])
    return market


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_smaller_batches_land_too(world: World, most: int) -> None:
    recorded = record(world, most)
    assert 2 <= len(recorded.plan.trades) <= most
    before = holdings(world)
    world.backend.send(world.executor, encode_netted(recorded.plan), world.operator)
    after = holdings(world)
    for key, amount in expected(recorded).items():
        assert after[key] - before[key] == amount


def test_more_trades_bring_more(world: World) -> None:
    profits = [record(world, most).plan.profit_wei for most in (2, 5, MAX_DAG_HOPS)]
    assert profits == sorted(profits)
    assert profits[-1] > 1.05 * profits[0]


def test_what_was_taken_already_reverts_as_a_whole(recorded: Recorded) -> None:
    """Nothing is done by halves: the floor is the plan's own profit."""
    world, data = recorded.world, encode_netted(recorded.plan)
    world.backend.send(world.executor, data, world.operator)
    before = holdings(world)
    with pytest.raises(Reverted) as caught:
        world.backend.send(world.executor, data, world.operator)
    assert classify_revert(caught.value.data)[1]
    assert holdings(world) == before
