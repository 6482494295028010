"""Pools, tokens and nodes that misbehave, on a real node: each costs itself only."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ouro.chain.errors import RpcError, TransportError
from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig, DexConfig
from ouro.hashing import keccak
from ouro.market.bootstrap import load_market
from ouro.market.discovery import discover, discovery_path
from ouro.market.errors import SyncError
from ouro.market.sync import verify
from ouro.protocols.uniswap_v2 import PAIR_CREATED
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment

from .localchain import Traffic
from .streams import address, word

pytestmark = pytest.mark.node

# emits log3(calldata[0:32], [32:64], [64:96]; data = the rest): announces whatever it is told
ANNOUNCER = "0x36600060003760405160205160005160603603" + "6060a300"
REVERTS = "0x60006000fd"
BURNS_ALL_GAS = "0x5b600056"
MEGABYTE = "0x620fffff6000f3"
ONE_WORD = "0x60206000f3"
MANY_WORDS = "0x6102006000f3"


def place(client: Client, number: int, code: str) -> str:
    """A contract with this runtime code."""
    where = address(number, "hostile")
    client.call("anvil_setCode", where, code)
    return where


class Announcer:
    """A factory that can be told what to announce."""

    def __init__(self, client: Client, sender: str, number: int) -> None:
        self.client, self.sender = client, sender
        self.factory = place(client, number, ANNOUNCER)

    def announce(self, token0: str, token1: str, data: str) -> None:
        topics = PAIR_CREATED[2:] + word(int(token0, 16)) + word(int(token1, 16))
        request = {"from": self.sender, "to": self.factory, "data": "0x" + topics + data, "gas": hex(200_000)}
        self.client.call("eth_sendTransaction", request | {"gasPrice": hex(10**12)})

    def pair(self, token0: str, token1: str, pool: str) -> None:
        self.announce(token0, token1, word(int(pool, 16)) + word(1))

    def dex(self) -> DexConfig:
        return DexConfig(name="hostile", family="uniswap_v2", factory=self.factory, fee_ppm=3000)


class Meddler:
    """A reader that passes calls on to a node, refusing or disturbing some as providers do."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.max_log_range = 10**9
        self.knows_block_hashes = True
        self.failures_left = 0
        self.before_call: Any = None
        self.log_ranges: list[int] = []

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        if self.failures_left:
            self.failures_left -= 1
            raise TransportError("the connection was reset")
        if method == "eth_getLogs":
            query = params[0]
            span = int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
            self.log_ranges.append(span)
            if span > self.max_log_range:
                raise RpcError(-32005, f"query exceeds {self.max_log_range} blocks")
        if not self.knows_block_hashes and any(isinstance(p, dict) and "blockHash" in p for p in params):
            raise RpcError(-32602, "invalid argument 1: cannot unmarshal object into string")
        if method == "eth_call" and self.before_call is not None:
            disturb, self.before_call = self.before_call, None
            await asyncio.to_thread(disturb)
        return await self.inner.call(method, params, timeout_ms)

    async def batch(self, calls: Sequence[tuple[str, list[Any]]], timeout_ms: int | None = None) -> list[Any]:
        return await self.inner.batch(calls, timeout_ms)


def with_dex(config: ChainConfig, *more: DexConfig) -> ChainConfig:
    return config.model_copy(update={"dexes": (*config.dexes, *more)})


async def test_hostile_pools_and_tokens_cost_only_themselves(
    traffic: Traffic, deployment: Deployment, config: ChainConfig, reader: Transport, client: Client
) -> None:
    good = [token.address for token in deployment.tokens]
    odd = {
        k: place(client, k, code) for k, code in enumerate((REVERTS, BURNS_ALL_GAS, MEGABYTE, ONE_WORD, MANY_WORDS))
    }
    announcer = Announcer(client, traffic.me, 50)
    for pool in odd.values():
        announcer.pair(good[0], good[1], pool)
    nothing, codeless = address(1, "nothing"), address(2, "nothing")
    announcer.pair(good[0], good[1], nothing)
    burner, bomb = odd[1], odd[2]
    for token in (codeless, burner, bomb):
        announcer.pair(good[0], token, address(int(token, 16) % 997, "pool of"))
    announcer.pair(good[0], good[0], address(3, "twin"))
    announcer.announce(good[0], good[1], "12")
    announcer.announce(good[0], good[1], "ff" * 64)
    client.call("evm_mine")
    market, _, _ = await load_market("ethereum", with_dex(config, announcer.dex()), reader, None)
    assert set(market.states) == {pool.address for pool in deployment.pools}
    assert await verify(market, reader, config.multicall) == []
    why = market.rejected
    assert "reverts" in why[odd[0]]
    assert "reverts" in why[odd[1]]
    assert "absurd" in why[odd[2]]
    assert "announced" in why[odd[3]]
    assert "32 are expected" in why[odd[4]]
    assert "no code at the pool" in why[nothing]
    assert f"token {codeless} has no code" in why[address(int(codeless, 16) % 997, "pool of")]
    refused = [text for key, text in why.items() if key.startswith("hostile:")]
    assert len(refused) == 3
    assert sum("distinct" in text for text in refused) == 1
    assert {market.tokens[token.address].decimals for token in deployment.tokens} == {6, 8, 18}
    assert market.tokens[burner].decimals is None
    assert market.tokens[bomb].symbol == ""


async def test_log_ranges_adapt_and_the_scan_resumes(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client, data_dir: Path
) -> None:
    client.call("anvil_mine", hex(40))
    meddler = Meddler(reader)
    meddler.max_log_range = 7
    meddler.failures_left = 2
    first = await discover("ethereum", config, meddler, data_dir)
    assert set(first.pools) == {pool.address for pool in traffic.deployment.pools}
    assert max(meddler.log_ranges) > 7
    meddler.log_ranges.clear()
    again = await discover("ethereum", config, meddler, data_dir)
    assert again.pools == first.pools
    assert sum(meddler.log_ranges) == config.finality_depth
    path = discovery_path(data_dir, "ethereum")
    path.write_bytes(path.read_bytes()[:-40])
    said: list[str] = []
    assert (await discover("ethereum", config, meddler, data_dir, said.append)).pools == first.pools
    assert any("truncated" in line for line in said)
    meddler.max_log_range = 0
    with pytest.raises(SyncError, match=r"logs of block .* exceeds 0 blocks"):
        await discover("ethereum", config, meddler, None)


async def test_a_new_factory_is_scanned_while_the_others_resume(
    traffic: Traffic, deployment: Deployment, config: ChainConfig, reader: Transport, client: Client, data_dir: Path
) -> None:
    few = config.model_copy(update={"dexes": config.dexes[:1]})
    assert {pool.dex for pool in (await discover("ethereum", few, reader, data_dir)).pools.values()} == {
        few.dexes[0].name
    }
    everything = (await discover("ethereum", config, reader, data_dir)).pools
    assert set(everything) == {pool.address for pool in deployment.pools}
    dearer = config.dexes[0].model_copy(update={"fee_ppm": 2500})
    changed = config.model_copy(update={"dexes": (dearer, *config.dexes[1:])})
    found = await discover("ethereum", changed, reader, data_dir)
    assert {pool.fee_ppm for pool in found.pools.values() if pool.dex == dearer.name} == {2500}


async def test_a_reorg_while_reading_is_noticed(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    for _ in range(6):
        traffic.act()
        traffic.mine()
    meddler = Meddler(reader)
    meddler.knows_block_hashes = False
    meddler.before_call = lambda: client.call("anvil_reorg", config.finality_depth + 1, [])
    said: list[str] = []
    market, number, block_hash = await load_market("ethereum", config, meddler, None, said.append)
    assert any("reorganised away" in line for line in said)
    header = client.call("eth_getBlockByNumber", hex(number), False)
    assert header["hash"] == block_hash
    assert await verify(market, reader, config.multicall) == []


async def test_a_wrong_multicall_is_named(config: ChainConfig, reader: Transport) -> None:
    wrong = config.model_copy(update={"multicall": "0x" + keccak(b"nowhere")[:20].hex()})
    with pytest.raises(SyncError, match=r"multicall 0x.*right"):
        await load_market("ethereum", wrong, reader, None)
