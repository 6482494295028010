"""Each family trades: a cycle is found, planned, simulated and executed on a node; all agree to the wei."""

import random
from pathlib import Path

import pytest
from curvechain import AT_HAND, CURVES, curve_at_one
from familychain import (
    OPERATOR,
    Venue,
    config_of,
    pair_of,
    solidly,
    swapr,
    unit_price_pools,
)
from familytrade import trade_once
from tests.differential.chain import OWNER

from ouro.chain.rpc import Transport
from ouro.config.model import BribeConfig, GuardConfig
from ouro.engine.chain_state import ChainState
from ouro.execution.contract import set_bribe_cap
from ouro.testnet.abi import call_bytes
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node

SHARE_PPM = 123_457
FAMILIES = (
    "uniswap_v3",
    "pancakeswap_v3",
    "slipstream",
    "uniswap_v4",
    "algebra_integral",
    "algebra_adaptive",
    "solidly",
    "swapr",
)


def venue_at_one(family: str, client: Client, *, native: bool = False) -> Venue:
    """Pools whose tokens are worth the same."""
    rng = random.Random(5)
    if family == "solidly":
        return solidly(client, rng)
    if family == "swapr":
        return swapr(client, rng, 10**24)
    return unit_price_pools(family, client, native=native)


@pytest.mark.parametrize("family", FAMILIES)
async def test_predicted_is_simulated_is_executed(
    family: str,
    node: AnvilNode,
    client: Client,
    reader: Transport,
    tmp_path: Path,
) -> None:
    venue = venue_at_one(family, client)
    chain = venue.chain
    pair = pair_of(chain, chain.tokens, 10**23, 12 * 10**22)
    config = config_of(node, client, [venue, pair]).model_copy(update={"wrapped_native": chain.tokens[0]})
    client.call("anvil_setBalance", OPERATOR, hex(10**20))
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    assert state.shadow is not None
    assert state.shadow.faults == {}
    assert family in await trade_once(state, chain, reader, client)
    for token in chain.tokens:  # the other way round, then once more
        pair.push(token, 3 * 10**22)
        assert family in await trade_once(state, chain, reader, client)


@pytest.mark.parametrize("family", [*CURVES, *AT_HAND])
async def test_curves_and_vaults_trade_as_predicted(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue, pair = curve_at_one(family, client)
    chain = venue.chain
    config = config_of(node, client, [venue, pair]).model_copy(update={"wrapped_native": venue.start_token})
    client.call("anvil_setBalance", OPERATOR, hex(10**20))
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    assert state.shadow is not None
    assert state.shadow.faults == {}
    assert family in await trade_once(state, chain, reader, client)
    for token in pair.tokens:  # the other way round, then once more
        pair.push(token, 3 * 10**22)
        assert family in await trade_once(state, chain, reader, client)


@pytest.mark.parametrize("terms", [False, True], ids=["plain", "bribe and guards"])
async def test_native_coin_of_v4_against_wrapped(
    node: AnvilNode,
    client: Client,
    reader: Transport,
    tmp_path: Path,
    terms: bool,
) -> None:
    """With and without a bribe to the block's fee recipient and guards, as the configuration may ask for."""
    venue = venue_at_one("uniswap_v4", client, native=True)
    chain = venue.chain
    config = config_of(node, client, [venue])
    wrapped, token = config.wrapped_native, chain.tokens[1]
    client.call("anvil_setBalance", OWNER, hex(1 << 160))
    chain.call(wrapped, call_bytes("deposit()"), value=10**24)
    chain.call(wrapped, call_bytes("transfer(address,uint256)", chain.driver, 10**24))
    tokens = (min(wrapped, token), max(wrapped, token))
    amounts = (10**23, 12 * 10**22) if tokens[0] == wrapped else (12 * 10**22, 10**23)
    pair = pair_of(chain, tokens, *amounts)
    client.call("anvil_mine", "0x2")
    chain.timestamp += 10
    config = config.model_copy(update={"dexes": (*config.dexes, *pair.dexes), "start_tokens": (wrapped,)})
    if terms:
        bribe, guards = BribeConfig(share_ppm=SHARE_PPM), GuardConfig(probe="on")
        config = config.model_copy(update={"bribe": bribe, "guards": guards})
        chain.call(config.executor or "", set_bribe_cap(SHARE_PPM))
        client.call("anvil_mine", "0x2")
        chain.timestamp += 10
    client.call("anvil_setBalance", OPERATOR, hex(10**20))
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    assert state.shadow is not None
    assert state.shadow.faults == {}
    assert "uniswap_v4" in await trade_once(state, chain, reader, client)
    for pushed in tokens:
        pair.push(pushed, 3 * 10**22)
        assert "uniswap_v4" in await trade_once(state, chain, reader, client)
