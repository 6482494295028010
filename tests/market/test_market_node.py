"""Against a real node with the real contracts: what logs say is what calls say."""

from pathlib import Path

import pytest

from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig
from ouro.market.bootstrap import load_market
from ouro.market.market import Market
from ouro.market.snapshot import capture
from ouro.market.sync import verify
from ouro.market.upkeep import join_pools, repair_pools, save_market
from ouro.testnet.abi import call_data
from ouro.testnet.client import Client

from .localchain import Traffic, read_update

pytestmark = pytest.mark.node


async def follow(market: Market, reader: Transport, client: Client) -> int:
    """Apply every block up to the head; returns how many pools were touched."""
    touched = 0
    assert market.head is not None
    for number in range(market.head.number + 1, client.block_number() + 1):
        result = market.apply(await read_update(reader, market.chain, number, market.topics))
        assert result.quarantined == ()
        touched += len(result.touched)
    return touched


async def test_state_from_logs_equals_state_from_calls(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    market, number, block_hash = await load_market("ethereum", config, reader, None)
    assert market.head is not None
    assert (market.head.number, market.head.hash) == (number, block_hash)
    assert set(market.states) == {pool.address for pool in traffic.deployment.pools}
    assert market.rejected == {}
    touched = 0
    for block in range(60):
        for _ in range(traffic.rng.randrange(8)):
            traffic.act()
        traffic.mine()
        touched += await follow(market, reader, client)
        if block % 20 == 19:
            assert await verify(market, reader, config.multicall) == []
    assert touched > 100
    assert market.counters["quarantined"] == 0


async def test_reorgs_lead_to_the_chains_state(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    market, _, _ = await load_market("ethereum", config, reader, None)
    for depth in (1, 3, 2):
        for _ in range(4):
            for _ in range(5):
                traffic.act()
            traffic.mine()
        await follow(market, reader, client)
        client.call("anvil_reorg", depth, [])
        fork = await read_update(reader, "ethereum", client.block_number() - depth, ())
        assert market.rollback(fork.number, fork.hash).size
        await follow(market, reader, client)
        assert await verify(market, reader, config.multicall) == []


async def test_a_snapshot_is_resumed_and_led_to_the_head(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client, data_dir: Path
) -> None:
    market, _, _ = await load_market("ethereum", config, reader, data_dir)
    await follow(market, reader, client)
    assert capture(market, config) is not None
    for _ in range(config.finality_depth + 2):
        traffic.act()
        traffic.mine()
    await follow(market, reader, client)
    snapshot = capture(market, config)
    assert snapshot is not None
    assert snapshot.head.number == client.block_number() - config.finality_depth
    assert await save_market("ethereum", config, market, data_dir)
    for _ in range(6):
        for _ in range(5):
            traffic.act()
        traffic.mine()
    said: list[str] = []
    resumed, _, _ = await load_market("ethereum", config, reader, data_dir, said.append)
    assert any(f"{len(market.states)} pools resumed" in line for line in said), said
    await follow(resumed, reader, client)
    await follow(market, reader, client)
    assert resumed.states == market.states
    assert resumed.pool_index == market.pool_index
    assert await verify(resumed, reader, config.multicall) == []


async def test_pools_born_meanwhile_join_and_sick_ones_come_back(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    market, _, _ = await load_market("ethereum", config, reader, None)
    await follow(market, reader, client)
    known = {frozenset(pool.tokens) for pool in traffic.deployment.pools if pool.dex == "sushiswap_v2"}
    tokens = [token.address for token in traffic.deployment.tokens]
    token0, token1 = next((a, b) for a in tokens for b in tokens if a < b and frozenset((a, b)) not in known)
    factory = traffic.deployment.venue("sushiswap_v2").factory
    traffic.send(factory, call_data("createPair(address,address)", token0, token1), gas=4_000_000)
    traffic.mine()
    result = market.apply(await read_update(reader, "ethereum", client.block_number(), market.topics))
    [born] = result.new_pools
    assert born.tokens == (token0, token1)
    [pool_id] = (await join_pools(market, config, reader, result.new_pools)).tolist()
    assert not market.arrays.enabled[pool_id]
    for token in (token0, token1):
        traffic.send(token, call_data("transfer(address,uint256)", born.address, 10**12))
    traffic.send(born.address, call_data("mint(address)", traffic.me))
    traffic.mine()
    await follow(market, reader, client)
    assert market.arrays.enabled[pool_id]
    sick = traffic.deployment.pools[0].address
    market.set_quarantine(sick, "for a test")
    traffic.swap_v2(traffic.deployment.pools[0])
    traffic.mine()
    await follow(market, reader, client)
    assert not market.usable(sick)
    assert (await repair_pools(market, config, reader)).tolist() == [market.pool_index[sick]]
    assert market.usable(sick)
    assert await verify(market, reader, config.multicall) == []
