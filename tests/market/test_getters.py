"""Factories that are asked for their pools: what they may answer, and nodes that have no old logs."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.chain.errors import RpcError
from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig, DexConfig
from ouro.market import discovery
from ouro.market.bootstrap import load_market
from ouro.market.discovery import Discovered, discover
from ouro.market.errors import SyncError
from ouro.market.listing import listing_for
from ouro.protocols import listings, v4_listing
from ouro.protocols.creation import NewPool
from ouro.protocols.listings import MOST_POOLS, MOST_SILENCE
from ouro.protocols.reads import Ask, Garbage, play
from ouro.protocols.registry import FAMILIES
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment

from .localchain import Traffic
from .streams import address, word

FACTORY = address(1, "asked factory")


def dex_of(family: str, **more: Any) -> DexConfig:
    fee = {"fee_ppm": 3000} if family == "uniswap_v2" else {}
    return DexConfig.model_validate(
        {"name": "asked", "family": family, "factory": FACTORY, "discovery": "getters"} | fee | more
    )


def chain_of(tokens: int, *dexes: DexConfig) -> ChainConfig:
    return ChainConfig(
        chain_id=1,
        profile="p",
        endpoints=("http://127.0.0.1:1",),
        block_time_ms=1_000,
        wrapped_native=address(0, "token"),
        multicall=address(0, "multicall"),
        tokens=tuple(address(k, "token") for k in range(tokens)),
        dexes=dexes or (dex_of("uniswap_v2"),),
    )


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.integers(0, 10_000),
    st.lists(st.one_of(st.none(), st.binary(max_size=100), st.integers(0, 2**256 - 1)), min_size=1, max_size=9),
)
def test_whatever_is_answered_gives_pools_or_one_kind_of_error(
    family: str, first: int, told: list[bytes | int | None]
) -> None:
    listing = listing_for(dex_of(family), chain_of(5))
    asked = 0

    def answer(_: Ask) -> bytes | None:
        nonlocal asked
        asked += 1
        value = told[asked % len(told)]
        return value.to_bytes(32) if isinstance(value, int) else value

    with suppress(Garbage):
        page = play(listing.page(first, 7), answer)
        assert page.following >= first
        assert asked < 10_000
        for pool in page.pools:
            assert isinstance(pool, NewPool)
            assert int(pool.tokens[0], 16) < int(pool.tokens[1], 16)
            assert pool.created_block == 7


def test_more_questions_than_an_operator_can_want_are_refused() -> None:
    listing_for(dex_of("uniswap_v3"), chain_of(150))
    with pytest.raises(SyncError, match="name fewer tokens"):
        listing_for(dex_of("uniswap_v3"), chain_of(200))
    listing_for(dex_of("uniswap_v2"), chain_of(5_000))  # it keeps a list


def test_a_pool_that_is_told_twice_and_otherwise_is_told() -> None:
    found = Discovered()
    pool = NewPool("d", "uniswap_v2", "0x1", ("0x2", "0x3"), 5, "0x4", 3000)
    found.add(pool)
    found.add(NewPool("d", "uniswap_v2", "0x1", ("0x2", "0x3"), 9, "0x4", 3000))
    assert found.refused == {}
    found.add(NewPool("d", "uniswap_v2", "0x1", ("0x2", "0x5"), 9, "0x4", 3000))
    assert found.refused == {"d:0x1": "announced a second time, and otherwise"}
    assert found.pools == {"0x1": pool}
    for k in range(5_000):
        found.refuse("d", str(k), "many")
    assert len(found.refused) == 1_000
    assert found.more_refused == 4_001


class WithoutOldLogs:
    """A node that pruned the logs below a block; it counts calls, and fails after some of them."""

    def __init__(self, inner: Transport, first: int = 0) -> None:
        self.inner, self.first = inner, first
        self.calls, self.calls_left = 0, 1 << 30

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        if method == "eth_getLogs" and int(params[0]["fromBlock"], 16) < self.first:
            raise RpcError(-32000, "history has been pruned for this block")
        if method == "eth_call":
            self.calls += 1
            self.calls_left -= 1
            if self.calls_left < 0:
                raise SyncError("interrupted")
        return await self.inner.call(method, params, timeout_ms)

    async def batch(self, calls: Sequence[tuple[str, list[Any]]], timeout_ms: int | None = None) -> list[Any]:
        return await self.inner.batch(calls, timeout_ms)


def asking(config: ChainConfig, way: str, deployment: Deployment) -> ChainConfig:
    tokens = tuple(token.address for token in deployment.tokens)
    dexes = tuple(dex.model_copy(update={"discovery": way}) for dex in config.dexes)
    return config.model_copy(update={"dexes": dexes, "tokens": tokens})


@pytest.mark.node
async def test_pools_older_than_the_nodes_logs_are_found_by_asking(
    traffic: Traffic, deployment: Deployment, config: ChainConfig, reader: Transport, client: Client, data_dir: Path
) -> None:
    for _ in range(config.finality_depth + 2):
        traffic.mine()
    every = {pool.address for pool in deployment.pools}
    node = WithoutOldLogs(reader, client.block_number() - config.finality_depth)
    with pytest.raises(SyncError, match="pruned"):
        await discover("ethereum", config, node)
    for way in ("getters", "both"):
        said: list[str] = []
        found = await discover("ethereum", asking(config, way, deployment), node, progress=said.append)
        assert set(found.pools) == every
        assert found.refused == {}
        assert any("old events" in line for line in said) == (way == "both")
    market, _, _ = await load_market("ethereum", asking(config, "getters", deployment), node, data_dir)
    assert set(market.states) == every
    # a pool that is created afterwards is announced by its event, and found by a start that asks again
    known = {frozenset(pool.tokens) for pool in deployment.pools if pool.dex == "sushiswap_v2"}
    tokens = [token.address for token in deployment.tokens]
    pair = next((a, b) for a in tokens for b in tokens if a < b and frozenset((a, b)) not in known)
    factory = deployment.venue("sushiswap_v2").factory
    traffic.send(factory, "0xc9c65396" + "".join(word(int(t, 16)) for t in pair), gas=4_000_000)
    for _ in range(config.finality_depth + 1):
        traffic.mine()
        found = await discover("ethereum", asking(config, "getters", deployment), node, data_dir)
        [born] = found.pools.keys() - every
        assert found.pools[born].tokens == pair


@pytest.mark.node
async def test_an_interrupted_listing_is_resumed(
    deployment: Deployment,
    config: ChainConfig,
    reader: Transport,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listings, "ITEMS_IN_PAGE", 1)
    for module in (listings, v4_listing):
        monkeypatch.setattr(module, "QUESTIONS_IN_PAGE", 7)
    monkeypatch.setattr(discovery, "_SAVE_EVERY_S", 0.0)
    asked = asking(config, "getters", deployment)
    node = WithoutOldLogs(reader)
    whole = await discover("ethereum", asked, node)
    needed, node.calls = node.calls, 0
    found = Discovered()
    for _ in range(needed):
        node.calls_left = needed // 3
        with suppress(SyncError):
            found = await discover("ethereum", asked, node, data_dir)
            break
    assert found.pools.keys() == whole.pools.keys()
    assert needed < node.calls < 2 * needed


def told(length: int, item: str) -> str:
    """Runtime code of a list: ``length`` items, and each of them is ``item``."""
    end = "60005260206000f3"
    return f"0x366004106030577f{word(length)}{end}5b73{item[2:]}{end}"


@pytest.mark.node
async def test_a_hostile_list_costs_itself_only(
    traffic: Traffic, deployment: Deployment, config: ChainConfig, reader: Transport, client: Client
) -> None:
    honest = set((await discover("ethereum", config, reader)).pools)
    pair = next(pool for pool in deployment.pools if pool.kind == "v2")
    codes = {
        "endless": told(1 << 255, pair.address),
        "twice": told(3, pair.address),
        "codeless": told(2, address(9, "nothing here")),
        "long": told(MOST_POOLS, address(9, "nothing here")),
        "token": told(1, pair.tokens[0]),
        "silent": "0x60006000fd",
        "burns": "0x5b600056",
        "megabyte": "0x620fffff6000f3",
        "nothing": "",
    }
    dexes = [*config.dexes]
    for k, (name, code) in enumerate(codes.items()):
        factory = address(k, "hostile list")
        if code:
            client.call("anvil_setCode", factory, code)
        dexes.append(DexConfig(name=name, family="uniswap_v2", factory=factory, fee_ppm=3000, discovery="getters"))
    for family in ("uniswap_v3", "slipstream", "algebra_adaptive", "uniswap_v4", "solidly"):
        for name in ("twice", "megabyte", "burns"):
            factory = address(len(dexes), "hostile factory")
            client.call("anvil_setCode", factory, codes[name])
            dexes.append(
                DexConfig(name=f"{family} {name}", family=family, factory=factory, discovery="getters")  # type: ignore[arg-type]
            )
    for _ in range(config.finality_depth + 1):
        traffic.mine()
    tokens = tuple(token.address for token in deployment.tokens)[:3]
    node = WithoutOldLogs(reader)
    found = await discover("ethereum", config.model_copy(update={"dexes": tuple(dexes), "tokens": tokens}), node)
    assert set(found.pools) == honest
    assert {pool.dex for pool in found.pools.values()} <= {dex.name for dex in config.dexes}
    why = found.refused
    assert "not believed" in why["endless:getters:"]
    assert why[f"twice:getters:{pair.address}"] == "it is listed twice"
    assert "already announced" in why[f"twice:{pair.address}"]
    assert why[f"codeless:getters:{address(9, 'nothing here')}"] == "it has no code"
    assert f"{MOST_SILENCE * 2} items in a row" in why["long:getters:"]
    assert "token0()" in why[f"token:getters:{pair.tokens[0]}"]
    for name in ("silent", "burns", "megabyte", "nothing"):
        assert "is it a factory" in why[f"{name}:getters:"]
    for family in ("uniswap_v3", "slipstream", "algebra_adaptive", "uniswap_v4", "solidly"):
        for name in ("twice", "megabyte", "burns"):
            assert any(key.startswith(f"{family} {name}:") for key in why), (family, name)
    assert node.calls < 3_000
