"""The differential tests' worlds of real contracts on a node, and pools of the pair kind moved at random.

A world deploys a family's own contracts and acts on its pools; here its chain is an anvil, and each call a block.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi.abi import encode
from tests.differential import adaptive_cases, algebra_cases, dialect_cases, sources, v3_cases, v4_cases
from tests.differential.chain import OWNER, ROOT, SUPPLY, Chain, Reverted
from tests.differential.dialect_cases import family_driver

from ouro.chain.logs import parse_log
from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig, DexConfig
from ouro.engine.chain_state import ChainState
from ouro.execution.contract import creation_code
from ouro.hashing import selector
from ouro.protocols.solidly_math import stable_out
from ouro.testnet.abi import call_bytes, decode_result
from ouro.testnet.artifacts import artifact, load_json
from ouro.testnet.client import Client, NodeError
from ouro.testnet.node import AnvilNode
from ouro.types import Address, BlockUpdate, Log

FEE_MODULE = bytes.fromhex("60158060095f395ff3") + bytes.fromhex("36602414600c575f355f55005b5f545f5260205ff3")
"""Creation code of a fee module: answers 36 bytes of calldata with what any other call has told it to."""
OPERATOR = "0x" + "0b" * 20
CHAIN_ID = 9_300_777
Q96 = 1 << 96
_LONGEST_PAUSE_S = 7_200
_VIEWS = frozenset(
    selector(call)
    for call in (
        "getPoolId()",
        "getRate()",
        "getPausedState()",
        "getActionId(bytes4)",
        "swapStorage()",
        "paused()",
        "totalSupply()",
        "totalAssets()",
    )
)
"""Getters of pools: asked, not sent."""
_GAS = 60_000_000


class NodeChain(Chain):
    """``Chain`` on a node that mines each transaction at once, in a block a second later or more."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.number = client.block_number()
        self.timestamp = int(client.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.last_logs: list[Log] = []
        self.last_gas_used = 0
        self.evm: Any = SimpleNamespace(
            basic=lambda who: SimpleNamespace(nonce=client.nonce(who)),
            set_balance=lambda who, wei: client.call("anvil_setBalance", who, hex(wei)),
        )
        client.call("anvil_autoImpersonateAccount", True)
        self.evm.set_balance(OWNER, 1 << 160)
        token = load_json(ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        code = token + encode(["string", "string", "uint8", "uint256"], ["T", "T", 18, SUPPLY])
        one, other = self.deploy(code), self.deploy(code)
        self.tokens = (min(one, other), max(one, other))
        driver = load_json(ROOT / "tests/differential/PoolDriver.json").bytecode
        self.driver = self.deploy(driver + encode(["address", "address"], self.tokens))
        for address in self.tokens:
            self.call(address, call_bytes("transfer(address,uint256)", self.driver, SUPPLY))

    def at(self, timestamp: int) -> None:
        """Later, but not by as much as the differential tests dare."""
        self.timestamp += min(timestamp - self.timestamp, _LONGEST_PAUSE_S)

    def deploy(self, code: bytes) -> Address:
        return str(self.send(OWNER, None, code)["contractAddress"]).lower()

    def call(self, to: Address, data: bytes, caller: Address = OWNER, value: int = 0) -> bytes:
        request = {"from": caller, "to": to, "data": "0x" + data.hex(), "gas": hex(_GAS), "value": hex(value)}
        try:
            answer = self.client.call("eth_call", request, "latest")
        except NodeError as error:
            raise Reverted(str(error)[:300]) from error
        if data[:4] in _VIEWS:
            self.last_logs = []
        else:
            self.send(caller, to, data, value)
        return bytes.fromhex(answer[2:])

    def ask(self, to: Address, data: bytes) -> bytes | None:
        try:
            return bytes.fromhex(self.client.read(to, "0x" + data.hex())[2:])
        except NodeError:
            return None

    def send(self, caller: Address, to: Address | None, data: bytes, value: int = 0) -> dict[str, Any]:
        self.timestamp += 1
        self.client.call("evm_setNextBlockTimestamp", self.timestamp)
        request = {"from": caller, "data": "0x" + data.hex(), "gas": hex(_GAS), "gasPrice": hex(10**11)}
        if to is not None:
            request |= {"to": to, "value": hex(value)}
        name = self.client.call("eth_sendTransaction", request)
        while (receipt := self.client.call("eth_getTransactionReceipt", name)) is None:
            time.sleep(0.0005)
        self.number = int(receipt["blockNumber"], 16)
        self.last_gas_used = int(receipt["gasUsed"], 16)
        self.last_logs = [parse_log(log) for log in receipt["logs"]]
        if receipt["status"] != "0x1":
            raise Reverted(f"transaction {receipt['transactionHash']}")
        return receipt

    def logs(self, address: Address) -> list[Log]:
        return [log for log in self.last_logs if log.address == address]

    def slot(self, address: Address, slot: int) -> int:
        return int(self.client.call("eth_getStorageAt", address, hex(slot), "latest"), 16)

    def balance(self, token: Address, holder: Address) -> int:
        return int(self.client.read(token, "0x" + call_bytes("balanceOf(address)", holder).hex()), 16)


@dataclass
class Venue:
    """One factory of a family, its pools and what can be done to one of them at random."""

    family: str
    factory: Address
    chain: NodeChain
    acts: list[Callable[[], None]] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    settle: list[Callable[[], None]] = field(default_factory=list)
    """Ends what no event tells yet: tokens that were sent to a pair whose swap then failed."""
    still: list[Callable[[], None]] = field(default_factory=list)
    """Ends what getters do not tell, before fields are compared with them."""

    @property
    def start_token(self) -> Address:
        """What cycles begin with."""
        return self.chain.tokens[0]

    @property
    def dexes(self) -> list[DexConfig]:
        """As an operator configures them."""
        return [DexConfig(name=self.family, family=self.family, factory=self.factory)]

    def act(self, rng: random.Random) -> None:
        """Something in one of the pools; it may fail."""
        with suppress(Reverted):
            rng.choice(self.acts)()


def world_of(family: str, client: Client) -> Any:
    """A world of the differential tests on the node."""
    worlds = {
        "uniswap_v3": (v3_cases, v3_cases.V3World),
        "pancakeswap_v3": (dialect_cases, dialect_cases.PancakeV3World),
        "slipstream": (dialect_cases, dialect_cases.SlipstreamWorld),
        "uniswap_v4": (v4_cases, v4_cases.V4World),
        "algebra_integral": (algebra_cases, algebra_cases.AlgebraIntegralWorld),
        "algebra_adaptive": (adaptive_cases, adaptive_cases.AlgebraAdaptiveWorld),
    }
    module, kind = worlds[family]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Chain", lambda *_: NodeChain(client))
        world: Any = kind()
    if family == "uniswap_v3":
        family_driver(world.chain)
    return world


def unit_price_pools(family: str, client: Client, *, native: bool = False) -> Venue:
    """Two pools of different fees whose tokens are worth the same, with liquidity everywhere."""
    world, rng = world_of(family, client), random.Random(11)
    chain = world.chain
    venue = Venue(family, getattr(world, "manager", None) or world.factory, chain)
    if native:
        chain.evm.set_balance(chain.driver, 1 << 160)
    if family == "uniswap_v4":
        rng.random = lambda: 0.0 if native else 0.99
    for _ in range(1 if native else 2):
        with pytest.MonkeyPatch.context() as patch, suppress(Reverted):
            patch.setattr(v3_cases.Play, "first_price", lambda _: Q96)
            patch.setattr(v3_cases.Play, "_mint", lambda _: None)
            patch.setattr(v4_cases.V4Play, "_mint", lambda _: None)
            patch.setattr(algebra_cases.AlgebraPlay, "_mint", lambda _: None)
            patch.setattr(adaptive_cases.AdaptivePlay, "_mint", lambda _: None)
            patch.setattr(v3_cases, "FEE_TIERS", {3_000: 60, 500: 10})
            patch.setattr(v4_cases, "_FEES", (3_000, 500))
            patch.setattr(v4_cases, "_SPACINGS", (60,))
            play = world.open_pool(rng)
            top = 887_272 // play.state.tick_spacing * play.state.tick_spacing
            for lower, upper in ((-top, top), (-play.state.tick_spacing * 20, play.state.tick_spacing * 30)):
                _add_position(family, chain, play, lower, upper, 10**23)
            venue.pools.append(play.state.address)
    return venue


def _add_position(family: str, chain: NodeChain, play: Any, lower: int, upper: int, amount: int) -> None:
    if family == "uniswap_v4":
        assert play._change(lower, upper, amount)
    elif family in ("algebra_integral", "algebra_adaptive"):
        signature = "mint(address,address,int24,int24,uint128,bytes)"
        chain.drive(play.pool, call_bytes(signature, chain.driver, chain.driver, lower, upper, amount, b""))
    else:
        signature = "mint(address,int24,int24,uint128,bytes)"
        chain.drive(play.pool, call_bytes(signature, chain.driver, lower, upper, amount, b""))


@dataclass
class Pair(Venue):
    """A Uniswap V2 factory with one pair, to trade against."""

    tokens: tuple[Address, Address] = ("", "")

    @property
    def dexes(self) -> list[DexConfig]:
        return [DexConfig(name="pair", family="uniswap_v2", factory=self.factory, fee_ppm=3_000)]

    def push(self, token: Address, amount: int) -> None:
        """Sell so much of a token to it."""
        pool, i = self.pools[0], self.tokens.index(token)
        held = _reserves(self.chain, pool)
        out = held[1 - i] * amount * 997 // (held[i] * 1_000 + amount * 997)
        _send(self.chain, token, pool, amount)
        outs = (0, out) if i == 0 else (out, 0)
        data = call_bytes("swap(uint256,uint256,address,bytes)", *outs, self.chain.driver, b"")
        self.chain.drive(pool, data)


def pair_of(chain: NodeChain, tokens: tuple[Address, Address], amount0: int, amount1: int) -> Pair:
    """The pair with these reserves; the driver has the tokens."""
    code = artifact("@uniswap/v2-core", "build/UniswapV2Factory.json").bytecode
    factory = chain.deploy(code + encode(["address"], [OWNER]))
    pool = "0x" + chain.call(factory, call_bytes("createPair(address,address)", *tokens))[-20:].hex()
    for token, amount in zip(tokens, (amount0, amount1), strict=True):
        _send(chain, token, pool, amount)
    chain.drive(pool, call_bytes("mint(address)", chain.driver))
    return Pair("uniswap_v2", factory, chain, pools=[pool], tokens=tokens)


def concentrated(family: str, client: Client, rng: random.Random, pools: int) -> Venue:
    """Swaps, mints, burns, collects, flashes, fees and whatever else the family's world has."""
    world = world_of(family, client)
    chain: Any = world.chain
    venue = Venue(family, getattr(world, "manager", None) or world.factory, chain)
    for _ in range(pools):
        with suppress(Reverted):  # the same fee or spacing may be drawn twice; Algebra has one pool of two tokens
            play = world.open_pool(rng)
            venue.pools.append(play.state.address)
            venue.acts += [play.act] * 4
    if family.startswith("algebra"):  # shares of nothing: a pool may start with one of its tokens only
        for token in chain.tokens:
            _send(chain, token, venue.pools[0], 10**9)
    if family == "slipstream":
        venue.acts += _fee_module(venue, rng)
    return venue


def _fee_module(venue: Venue, rng: random.Random) -> list[Callable[[], None]]:
    """The fee of all pools becomes that of a module, which changes it without any event."""
    chain = venue.chain
    module = chain.deploy(FEE_MODULE)
    chain.call(venue.factory, call_bytes("setSwapFeeModule(address)", module))
    chain.call(module, (500).to_bytes(32))
    return [lambda: void(chain.call(module, rng.choice([1, 77, 3_000, 100_000]).to_bytes(32)))]


def void(_: object) -> None:
    """An action has no result."""


def solidly(client: Client, rng: random.Random) -> Venue:
    """A volatile and a stable pool; fees and the pause of the factory change without an event of a pool."""
    chain = NodeChain(client)
    family_driver(chain)
    code = sources.aerodrome()
    implementation = chain.deploy(code["Pool"].bytecode)
    factory = chain.deploy(code["PoolFactory"].bytecode + encode(["address"], [implementation]))
    venue = Venue("solidly", factory, chain)
    for stable in (False, True):
        signature = "createPool(address,address,bool)"
        pool = "0x" + chain.call(factory, call_bytes(signature, *chain.tokens, stable))[-20:].hex()
        venue.pools.append(pool)
        _pair_mint(chain, pool, 10**24, 10**24)
        venue.acts += _pair_acts(chain, pool, rng, 30, stable=stable)
        venue.settle.append(lambda pool=pool: void(chain.drive(pool, call_bytes("sync()"))))
        venue.acts.append(
            lambda pool=pool: void(
                chain.call(factory, call_bytes("setCustomFee(address,uint256)", pool, rng.choice([1, 5, 77, 300])))
            )
        )
    venue.acts.append(lambda: void(chain.call(factory, call_bytes("setPauseState(bool)", rng.random() < 0.3))))
    return venue


def swapr(client: Client, rng: random.Random, amount1: int = 10**22) -> Venue:
    """A pair whose fee the factory's setter changes without an event."""
    chain = NodeChain(client)
    family_driver(chain)
    code = sources.package_artifact("@swapr/core", "build/DXswapFactory.json").bytecode
    factory = chain.deploy(code + encode(["address"], [OWNER]))
    pool = "0x" + chain.call(factory, call_bytes("createPair(address,address)", *chain.tokens))[-20:].hex()
    _pair_mint(chain, pool, 10**24, amount1)
    acts = _pair_acts(chain, pool, rng, 1_000, stable=False)
    setter = "setSwapFee(address,uint32)"
    acts.append(lambda: void(chain.call(factory, call_bytes(setter, pool, rng.choice([0, 10, 25, 1_000])))))
    settle = [lambda: void(chain.drive(pool, call_bytes("sync()")))]
    return Venue("swapr", factory, chain, acts, [pool], settle)


def _send(chain: NodeChain, token: Address, to: Address, amount: int) -> None:
    chain.drive(token, call_bytes("transfer(address,uint256)", to, amount))


def _pair_mint(chain: NodeChain, pool: Address, amount0: int, amount1: int) -> None:
    for token, amount in zip(chain.tokens, (amount0, amount1), strict=True):
        _send(chain, token, pool, amount)
    chain.drive(pool, call_bytes("mint(address)", chain.driver))


def _reserves(chain: NodeChain, pool: Address) -> tuple[int, int]:
    answer = chain.client.read(pool, "0x" + call_bytes("getReserves()").hex())
    return decode_result(("uint256", "uint256"), answer[:130])[:2]


def _pair_acts(
    chain: NodeChain, pool: Address, rng: random.Random, most_fee_bps: int, *, stable: bool
) -> list[Callable[[], None]]:
    """Swaps, mints, burns and donations. A swap asks for what is surely left after the dearest fee."""

    def swap() -> None:
        chain.at(chain.timestamp + rng.choice([0, 1, 12, 3_600]))
        i, held = rng.randrange(2), _reserves(chain, pool)
        amount = max(1_000, int(held[i] * 10 ** rng.uniform(-9, -1)))
        net = amount * (10_000 - most_fee_bps) // 10_000
        both = (held[i], held[1 - i])
        out = stable_out(net, *both, 10**18, 10**18) if stable else both[1] * net // (both[0] + net)
        outs = (0, out) if i == 0 else (out, 0)
        _send(chain, chain.tokens[i], pool, amount)
        chain.drive(pool, call_bytes("swap(uint256,uint256,address,bytes)", *outs, chain.driver, b""))

    def mint() -> None:
        share = rng.randint(2, 50)
        _pair_mint(chain, pool, *(held // share for held in _reserves(chain, pool)))

    def burn() -> None:
        _send(chain, pool, pool, chain.balance(pool, chain.driver) // rng.randint(3, 20))
        chain.drive(pool, call_bytes("burn(address)", chain.driver))

    def donate() -> None:
        _send(chain, rng.choice(chain.tokens), pool, rng.randint(1, 10**18))
        chain.drive(pool, call_bytes("sync()"))

    return [swap, swap, swap, swap, mint, burn, donate]


def config_of(node: AnvilNode, client: Client, venues: list[Venue]) -> ChainConfig:
    """The chain as an operator would configure it, with an executor of ours."""
    chain = venues[0].chain
    multicall = artifact("@across-protocol/contracts", "dist/evm/artifacts/Multicall3.sol/Multicall3.json")
    wrapped = artifact("@uniswap/v2-periphery", "build/WETH9.json")
    executor = creation_code(OWNER, [OPERATOR])
    places = [chain.deploy(code) for code in (wrapped.bytecode, multicall.bytecode, executor)]
    client.call("anvil_mine", "0x2")
    chain.timestamp += 10
    return ChainConfig(
        finality_depth=1,
        chain_id=CHAIN_ID,
        profile="ethereum",
        endpoints=(node.ws_url,),
        block_time_ms=1_000,
        wrapped_native=places[0],
        multicall=places[1],
        executor=places[2],
        owner=OWNER,
        operators=(OPERATOR,),
        start_tokens=(venues[0].start_token,),
        dexes=tuple(dex for venue in venues for dex in venue.dexes),
    )


async def read_update(reader: Transport, number: int, topics: tuple[str, ...]) -> BlockUpdate:
    """A block as a feed would deliver it."""
    header = await reader.call("eth_getBlockByNumber", [hex(number), False])
    logs = await reader.call("eth_getLogs", [{"blockHash": header["hash"], "topics": [list(topics)]}])
    return BlockUpdate(
        "test",
        number,
        header["hash"],
        header["parentHash"],
        int(header["timestamp"], 16),
        int(header["baseFeePerGas"], 16),
        int(header["gasUsed"], 16),
        int(header["gasLimit"], 16),
        tuple(parse_log(log) for log in logs),
        0,
    )


async def follow(state: ChainState, reader: Transport, client: Client, *, refreshed: bool = False) -> None:
    """Every block up to the head; ``refreshed`` reads after each what no log tells."""
    for number in range(state.head_number + 1, client.block_number() + 1):
        result = state.apply(await read_update(reader, number, state.topics))
        assert result.quarantined == ()
        if refreshed:
            await state.refresh(reader)
