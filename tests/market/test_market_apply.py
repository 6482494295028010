from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.config.model import DexConfig
from ouro.market.errors import MarketError, Remedy
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.uniswap_v2 import PAIR_CREATED, UniswapV2, UniswapV2State
from ouro.types import BlockUpdate

from .streams import CHAIN, ChainBuilder, address, sync_log, v2_state, word

FAMILIES = {"uniswap_v2": UniswapV2()}


def started(states: Sequence[UniswapV2State], chain: ChainBuilder, ring_depth: int = 64) -> Market:
    market = Market(CHAIN, FAMILIES, ring_depth=ring_depth)
    market.start(Head(chain.number, chain.hash, chain.timestamp, 10**9), states)
    return market


def same(left: Market, right: Market) -> None:
    """Both hold the same states, quarantine and searchable segments."""
    assert left.states == right.states
    assert left.quarantine == right.quarantine
    assert left.head == right.head
    assert left.context == right.context
    a, b = left.arrays, right.arrays
    assert np.array_equal(a.enabled, b.enabled)
    for edge in range(a.n_edges):
        assert np.array_equal(a.segments_of(edge), b.segments_of(edge))


def test_a_block_touches_only_its_pools() -> None:
    chain = ChainBuilder()
    market = started([v2_state(k) for k in range(4)], chain)
    pool = address(2)
    result = market.apply(chain.block([sync_log(pool, 5, 7), sync_log(address(99), 1, 1), sync_log(pool, 6, 8)]))
    assert result.touched.tolist() == [2]
    assert result.touched.dtype == np.int32
    # two logs of a pool are one step: nothing can be traded on what lies between them
    assert [(step.state.reserve0, step.delta.reserve0) for step in result.deltas] == [(10**21, 6)]
    assert result.movers == {pool: 0}
    assert result.unknown_logs == 1
    assert (market.states[pool].reserve0, market.states[pool].reserve1) == (6, 8)
    row = market.arrays.segments_of(next(iter(market.arrays.edges_of(2))))[0]
    assert row.tolist() == [6.0, 8.0, 0.997, np.inf]
    assert market.context.number == chain.number + 1


def _bad_updates(good: BlockUpdate) -> dict[str, tuple[BlockUpdate, Remedy]]:
    first, second = good.logs
    other = "0x" + "cd" * 32
    return {
        "gap": (replace(good, number=good.number + 1), Remedy.RESYNC),
        "parent": (replace(good, parent_hash=other), Remedy.RESYNC),
        "chain": (replace(good, chain="other"), Remedy.FIX_FEED),
        "log twice": (replace(good, logs=(first, first)), Remedy.FIX_FEED),
        "log order": (replace(good, logs=(second, first)), Remedy.FIX_FEED),
        "log of another block": (replace(good, logs=(first, replace(second, block_hash=other))), Remedy.FIX_FEED),
    }


@pytest.mark.parametrize("case", ["gap", "parent", "chain", "log twice", "log order", "log of another block"])
def test_a_bad_update_changes_nothing(case: str) -> None:
    chain = ChainBuilder()
    states = [v2_state(k) for k in range(3)]
    market, untouched = started(states, chain), started(states, chain)
    good = chain.block([sync_log(address(0), 1, 2), sync_log(address(1), 3, 4)])
    bad, remedy = _bad_updates(good)[case]
    with pytest.raises(MarketError) as caught:
        market.apply(bad)
    assert caught.value.remedy is remedy
    same(market, untouched)
    market.apply(good)
    with pytest.raises(MarketError, match="applied before") as again:
        market.apply(good)
    assert again.value.remedy is Remedy.IGNORE


def test_a_log_that_cannot_be_read_costs_only_its_pool() -> None:
    chain = ChainBuilder()
    states = [v2_state(k) for k in range(2)]
    market, before = started(states, chain), started(states, chain)
    broken = (address(0), sync_log(address(0), 1, 1)[1], "0x1234")
    result = market.apply(chain.block([sync_log(address(0), 3, 3), broken, sync_log(address(1), 5, 6)]))
    assert [pool for pool, _ in result.quarantined] == [address(0)]
    assert "log 1 of block" in result.quarantined[0][1]
    assert result.touched.tolist() == [0, 1]
    assert [delta.state.address for delta in result.deltas] == [address(1)]
    assert not market.usable(address(0))
    assert market.usable(address(1))
    assert market.arrays.enabled.tolist() == [False, True]
    market.apply(chain.block([sync_log(address(0), 9, 9)]))
    assert market.states[address(0)] == states[0]
    market.rollback(*chain.back(2))
    same(market, before)


def test_rollback_beyond_the_ring_is_refused_and_changes_nothing() -> None:
    chain = ChainBuilder()
    market = started([v2_state(0)], chain, ring_depth=2)
    for k in range(4):
        market.apply(chain.block([sync_log(address(0), 10 + k, 20)]))
    head, state = market.head, market.states[address(0)]
    with pytest.raises(MarketError, match="not among the last blocks") as caught:
        market.rollback(*chain.back(3))
    assert caught.value.remedy is Remedy.RESYNC
    assert (market.head, market.states[address(0)]) == (head, state)


def test_a_pool_read_at_an_older_block_catches_up() -> None:
    chain = ChainBuilder()
    market = started([v2_state(0)], chain)
    late = v2_state(7)
    market.apply(chain.block([sync_log(late.address, 50, 60)]))
    read_at = (chain.number, chain.hash)
    market.apply(chain.block([sync_log(late.address, 51, 61)]))
    market.apply(chain.block([sync_log(late.address, 52, 62), sync_log(address(0), 1, 2)]))
    read = replace_reserves(late, 50, 60)
    assert market.install([read], *read_at).tolist() == [1]
    assert market.states[late.address].reserve0 == 52
    assert market.arrays.topology_version == 2
    market.rollback(*chain.back(1))
    assert market.states[late.address].reserve0 == 51
    finalised = market.finalised(2)
    assert finalised is not None
    assert late.address not in finalised[1]
    touched = market.rollback(*chain.back(2))
    assert 1 in touched.tolist()
    assert "rolled back" in market.quarantine[late.address].reason
    with pytest.raises(MarketError):
        market.install([read], *read_at)


def replace_reserves(state: UniswapV2State, reserve0: int, reserve1: int) -> UniswapV2State:
    return UniswapV2State(state.address, state.tokens, reserve0, reserve1, state.fee_ppm)


def test_quarantine_from_outside_survives_rollback_and_ends_with_install() -> None:
    chain = ChainBuilder()
    market = started([v2_state(0)], chain)
    market.apply(chain.block([sync_log(address(0), 3, 4)]))
    market.set_quarantine(address(0), "differs from the chain")
    market.rollback(*chain.back(1))
    assert not market.usable(address(0))
    market.install([v2_state(0)], chain.number, chain.hash)
    assert market.usable(address(0))
    assert market.arrays.enabled.tolist() == [True]


def test_new_pools_are_announced() -> None:
    factory = address(1, "factory")
    dex = DexConfig(name="dex", family="uniswap_v2", factory=factory, fee_ppm=2500)
    chain = ChainBuilder()
    market = Market(CHAIN, FAMILIES, factories={factory: dex})
    market.start(Head(chain.number, chain.hash, chain.timestamp), [])
    token0, token1 = "0x" + "11" * 20, "0x" + "22" * 20
    topics = (PAIR_CREATED, "0x" + word(int(token0, 16)), "0x" + word(int(token1, 16)))
    data = "0x" + word(int(address(3), 16)) + word(1)
    result = market.apply(
        chain.block([(factory, topics, data), (address(8), topics, data), (factory, topics[:2], data)])
    )
    assert [(p.address, *p.tokens, p.fee_ppm) for p in result.new_pools] == [(address(3), token0, token1, 2500)]
    assert result.unknown_logs == 2


def test_reserves_that_cannot_trade_leave_the_search() -> None:
    chain = ChainBuilder()
    market = started([v2_state(0), v2_state(1, 0, 0)], chain)
    assert market.arrays.enabled.tolist() == [True, False]
    market.apply(chain.block([sync_log(address(0), 0, 5), sync_log(address(1), 5, 5)]))
    assert market.arrays.enabled.tolist() == [False, True]
    assert market.usable(address(0))


reserve = st.integers(0, 2**112 - 1)
block_logs = st.lists(st.tuples(st.integers(0, 5), reserve, reserve, st.integers(0, 19)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(block_logs, st.integers(0, 4)), max_size=14))
def test_apply_and_rollback_equal_a_fresh_rebuild(steps: list[tuple[list[tuple[int, int, int, int]], int]]) -> None:
    """After any mix of blocks, undecodable logs and reorgs the market is what a fresh one makes of the branch."""
    chain = ChainBuilder()
    states = [v2_state(k) for k in range(5)]
    market = started(states, chain)
    branch: list[BlockUpdate] = []
    for salt, (logs, back) in enumerate(steps):
        if back and back <= len(branch):
            market.rollback(*chain.back(back))
            del branch[-back:]
        made = [
            sync_log(address(p), a, b) if luck else (address(p), sync_log(address(p), a, b)[1], "0xzz")
            for p, a, b, luck in logs
        ]
        update = chain.block(made, salt=str(salt))
        market.apply(update)
        branch.append(update)
    fresh = started(states, ChainBuilder())
    for update in branch:
        fresh.apply(update)
    same(market, fresh)
    for depth in range(len(branch) + 1):
        older = started(states, ChainBuilder())
        for update in branch[: len(branch) - depth]:
            older.apply(update)
        found = market.finalised(depth)
        assert found is not None
        assert found[0] == older.head
        assert found[1] == {a: older.states[a] for a in older.states if a not in market.quarantine}
