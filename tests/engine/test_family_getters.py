"""Pools found by asking each family's real factory are those that its events announced."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from familychain import NodeChain, config_of, follow, pair_of
from test_families import FAMILIES, make_venue
from tests.differential.chain import ROOT
from tests.differential.dialect_cases import family_driver

from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig
from ouro.engine import upkeep
from ouro.engine.chain_state import ChainState
from ouro.market.discovery import discover
from ouro.protocols.creation import NewPool
from ouro.protocols.uniswap_v2 import UniswapV2
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import load_json
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node


def by(config: ChainConfig, way: str) -> ChainConfig:
    return config.model_copy(
        update={"dexes": tuple(dex.model_copy(update={"discovery": way}) for dex in config.dexes)}
    )


def undated(pools: dict[str, NewPool]) -> dict[str, NewPool]:
    return {address: replace(pool, created_block=0) for address, pool in pools.items()}


@pytest.mark.parametrize("family", FAMILIES)
async def test_getters_find_what_events_announce(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = make_venue(family, client, random.Random(f"{family} getters"), pools=4)
    config = config_of(node, client, [venue])
    events = await discover("test", config, reader)
    assert set(events.pools) == set(venue.pools)
    keys = {(pool.fee_ppm, pool.tick_spacing) for pool in events.pools.values()}
    dex = config.dexes[0].model_copy(
        update={"fees_ppm": tuple(fee for fee, _ in keys), "pool_keys": tuple(sorted(keys))}
    )
    config = config.model_copy(update={"dexes": (dex,), "tokens": venue.chain.tokens})
    for way in ("getters", "both"):
        found = await discover("test", by(config, way), reader, tmp_path)
        assert undated(found.pools) == undated(events.pools)
        assert found.refused == {}
        again = await discover("test", by(config, way), reader, tmp_path)
        assert again.pools == found.pools


@pytest.mark.parametrize("unannounced", [False, True])
async def test_a_pool_that_no_event_announces_joins_while_the_engine_runs(
    unannounced: bool, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path, monkeypatch: Any
) -> None:
    """By the configuration, or because the family's events do not name pools."""
    monkeypatch.setattr(upkeep, "ASK_EVERY_BLOCKS", 2)
    chain = NodeChain(client)
    family_driver(chain)
    pair = pair_of(chain, chain.tokens, 10**23, 10**23)
    config = config_of(node, client, [pair])
    if unannounced:
        monkeypatch.setattr(UniswapV2, "told_by_events", False)
        monkeypatch.setattr(UniswapV2, "creations", {})
    else:
        config = by(config, "getters")
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    assert set(state.market.states) == set(pair.pools)
    third = chain.deploy(token_code())
    answer = chain.call(pair.factory, call_bytes("createPair(address,address)", chain.tokens[0], third))
    client.call("anvil_mine", "0x2")
    await follow(state, reader, client)  # what its event says is not passed on
    keeper = upkeep.Upkeep(state, reader, tmp_path)
    for _ in range(3):
        await keeper.tend()
        await keeper.asked()
    assert set(state.market.states) == {*pair.pools, "0x" + answer[-20:].hex()}
    await keeper.close()


def token_code() -> bytes:
    token = load_json(ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
    return token + encode(["string", "string", "uint8", "uint256"], ["T", "T", 18, 1])
