"""Contracts that change their mind, on a node: each costs its own pool, with the reason, and never the loop."""

import random
from pathlib import Path

import pytest
from familychain import NodeChain, Venue, concentrated, config_of, follow, solidly, unit_price_pools
from tests.differential.chain import OWNER

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.market.refresh import MOST_MISSES
from ouro.protocols.base import QuoteError
from ouro.protocols.uniswap_v4 import pool_id
from ouro.protocols.v3_math import Q96
from ouro.testnet.abi import call_bytes
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node

REVERTS = "0x60006000fd"


async def loaded(
    venue: Venue, node: AnvilNode, client: Client, reader: Transport, folder: Path
) -> tuple[ChainState, NodeChain]:
    """The engine's state of a chain with this venue, at its head."""
    state = await ChainState.load("test", config_of(node, client, [venue]), reader, folder, lambda _: None)
    await follow(state, reader, client)
    await state.refresh(reader)
    return state, venue.chain


async def go_on(state: ChainState, client: Client, reader: Transport) -> None:
    await follow(state, reader, client)
    await state.refresh(reader)


async def test_a_hook_that_acts_on_swaps_is_refused_with_its_name(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = unit_price_pools("uniswap_v4", client)
    hook = "0x" + "ab" * 18 + "0080"  # the flag of beforeSwap
    key = (*venue.chain.tokens, 3_000, 60, hook)
    signature = "initialize((address,address,uint24,int24,address),uint160)"
    venue.chain.call(venue.factory, call_bytes(signature, key, Q96))
    state, _ = await loaded(venue, node, client, reader, tmp_path)
    refused = pool_id(venue.chain.tokens, 3_000, 60, hook)
    assert hook in state.market.rejected[refused]
    assert "beforeSwap" in state.market.rejected[refused]
    assert set(state.market.states) == set(venue.pools)


async def test_a_plugin_on_swaps_ends_and_resumes_the_quotes(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = unit_price_pools("algebra_integral", client)
    state, chain = await loaded(venue, node, client, reader, tmp_path)
    [pool] = venue.pools
    assert state.market.arrays.enabled.tolist() == [True]
    chain.call(pool, call_bytes("setPlugin(address)", OWNER))
    chain.call(pool, call_bytes("setPluginConfig(uint8)", 1))
    await go_on(state, client, reader)
    assert state.market.arrays.enabled.tolist() == [False]
    with pytest.raises(QuoteError, match=f"its plugin {OWNER} acts on swaps"):
        state.market.family_of(pool).quote_in(state.market.states[pool], 0, 1, 10**9, state.market.context)
    chain.call(pool, call_bytes("setPluginConfig(uint8)", 0))
    await go_on(state, client, reader)
    assert state.market.arrays.enabled.tolist() == [True]


async def test_a_paused_factory_takes_its_pools_out_and_back(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = solidly(client, random.Random(1))
    state, chain = await loaded(venue, node, client, reader, tmp_path)
    for paused in (True, False, True):
        chain.call(venue.factory, call_bytes("setPauseState(bool)", paused))
        await follow(state, reader, client)
        assert not any(state.market.tradable(pool) for pool in venue.pools)  # nobody has asked yet
        await state.refresh(reader)
        assert all(state.market.tradable(pool) for pool in venue.pools)
        assert state.market.arrays.enabled.tolist() == [not paused] * 2
        for pool in venue.pools:
            assert state.market.states[pool].paused is paused


async def test_a_pool_that_falls_silent_waits_and_is_put_aside(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = concentrated("slipstream", client, random.Random(3), 3)
    state, _ = await loaded(venue, node, client, reader, tmp_path)
    mute, *others = venue.pools
    client.call("anvil_setCode", mute, REVERTS)
    for block in range(MOST_MISSES):
        client.call("evm_mine")
        await go_on(state, client, reader)
        assert not state.market.tradable(mute)
        assert all(state.market.tradable(pool) for pool in others)
        assert (mute in state.market.quarantine) is (block == MOST_MISSES - 1)
    assert "without an answer" in state.market.quarantine[mute].reason


async def test_a_node_that_is_gone_leaves_the_loop_and_stops_the_trades(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = solidly(client, random.Random(1))
    state, _ = await loaded(venue, node, client, reader, tmp_path)
    client.call("evm_mine")
    await follow(state, reader, client)
    await reader.close()
    monkeypatch.setattr("ouro.market.reader._FIRST_PAUSE_S", 0.001)
    await state.refresh(reader)
    assert state.unconfirmed == frozenset(venue.pools)
    assert state.market.quarantine == {}
