"""A family that nothing in the system has heard of: one class and one line make it found, followed and traded.

The contracts are beside this file: pairs of the Uniswap V2 kind with another creation event, fee, callback, Swap
event and storage layout. Everything that the system learns of them is in ``Dialect``.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from familychain import OPERATOR, NodeChain, config_of, follow, pair_of, read_update
from familytrade import trade_once
from pydantic import ValidationError
from tests.differential import sources
from tests.differential.chain import Reverted

from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig, DexConfig
from ouro.engine.chain_state import ChainState
from ouro.engine.proofs import why_off
from ouro.hashing import selector, topic
from ouro.market.snapshot import capture, load_snapshot, snapshot_path, write_snapshot
from ouro.market.sync import verify
from ouro.market.upkeep import join_pools
from ouro.protocols.base import Source, StorageWrite
from ouro.protocols.catalogue import CATALOGUE, Entry
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.eventdata import data_words, require_address, uint
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Read, Script, answer_words, require_tokens, unsigned
from ouro.protocols.registry import FAMILIES, register
from ouro.protocols.storage import BalanceChange, Place
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.testnet.abi import call_bytes
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode
from ouro.types import Address, BlockContext, Hop, Log, Mode

pytestmark = pytest.mark.node

BORN = topic("Born(address,address,address,uint32)")
BALANCES = topic("Balances(uint32,uint112,uint112)")
FEE_CHANGED = topic("FeeChanged(uint32)")
TRADE = topic("Trade(address,uint256[2],uint256[2],uint32,address)")
NAME = "dialect_v2"
_QUOTE_AND_FEE_SLOT, _RESERVES_SLOT = 1, 2
_GETTERS = (selector("base()"), selector("quote()"), selector("state()"))


# ------------------------------------------------------------------------------------------------------- the family


class DialectState(UniswapV2State, frozen=True):
    """A pair; its fee changes with an event."""

    family: ClassVar[str] = NAME


class Delta(msgspec.Struct, frozen=True):
    """Fields that an event sets."""

    values: tuple[tuple[str, int], ...]


def _announced(event: Announcement) -> NewPool:
    return event.pool(address_of(event.topics[1], "pair"), event.indexed_pair(2))


def _words(state: UniswapV2State) -> dict[int, int]:
    return {
        _QUOTE_AND_FEE_SLOT: int(state.tokens[1], 16) | state.fee_ppm // 100 << 160,
        _RESERVES_SLOT: state.reserve0 | state.reserve1 << 112,
    }


class Dialect(UniswapV2):
    """The curve and its rounding are Uniswap V2's, nothing else is."""

    name: ClassVar[str] = NAME
    kind: ClassVar[type[UniswapV2State]] = DialectState
    topics: ClassVar[tuple[str, ...]] = (BALANCES, FEE_CHANGED)
    sources: ClassVar[Mapping[str, Source]] = {**UniswapV2.sources, "fee_ppm": Source.FROM_LOGS}
    proof: ClassVar[Proof] = Proof()
    creations: ClassVar[Mapping[str, CreationReader]] = {BORN: _announced}

    def read(self, pool: NewPool) -> Script[UniswapV2State]:
        base, quote, state = yield [Read(pool.address, getter, 6_000) for getter in _GETTERS]
        require_tokens((base, quote), pool.tokens)
        fee_bps, reserve0, reserve1 = answer_words(state, 3, "state()")
        both = unsigned(reserve0, 112, "reserveBase"), unsigned(reserve1, 112, "reserveQuote")
        return DialectState(pool.address, (pool.tokens[0], pool.tokens[1]), *both, fee_bps * 100)

    def decode(self, state: UniswapV2State, log: Log, timestamp: int) -> Delta | None:  # type: ignore[override]
        require_address(log, state.address)
        if log.topics[0] == FEE_CHANGED:
            return Delta((("fee_ppm", 100 * uint(data_words(log, 1, "FeeChanged")[0], 32, "feeBps")),))
        if log.topics[0] != BALANCES:
            return None
        fee_bps, *reserves = data_words(log, 3, "Balances")
        reserve0, reserve1 = (uint(reserve, 112, "reserve") for reserve in reserves)
        return Delta((("fee_ppm", 100 * fee_bps), ("reserve0", reserve0), ("reserve1", reserve1)))

    def apply(self, state: UniswapV2State, delta: Delta) -> UniswapV2State:  # type: ignore[override]
        return msgspec.structs.replace(state, **dict(delta.values))

    def storage_writes(  # type: ignore[override]
        self, state: UniswapV2State, delta: Delta
    ) -> tuple[StorageWrite | BalanceChange, ...]:
        after = self.apply(state, delta)
        old = _words(state)
        words = [
            StorageWrite(state.address, slot, word) for slot, word in _words(after).items() if word != old[slot]
        ]
        changes = (after.reserve0 - state.reserve0, after.reserve1 - state.reserve1)
        pairs = zip(state.tokens, changes, strict=True)
        return (*words, *(BalanceChange(token, state.address, change) for token, change in pairs if change))

    def places(self, state: UniswapV2State) -> Iterable[Place]:
        return [(state.address, slot) for slot in range(3)]

    def places_from_logs(self, state: UniswapV2State) -> Iterable[Place]:
        return self.places(state)

    def known_words(self, state: UniswapV2State) -> Mapping[Place, int]:
        return {(state.address, slot): word for slot, word in _words(state).items()}

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        words = event_words(log) if log.address == hop.pool and log.topics and log.topics[0] == TRADE else []
        return plausible(words[hop.i], words[2 + hop.j]) if len(words) == 5 else None


@pytest.fixture
def registered() -> Iterator[None]:
    """The one line."""
    register(Entry(NAME, f"{__name__}:Dialect"))
    yield
    del CATALOGUE[NAME], FAMILIES[NAME]


# ---------------------------------------------------------------------------------------------------- its contracts


class Town:
    """A factory of the dialect with one pair, and what strangers do to it."""

    def __init__(self, client: Client) -> None:
        artifacts = sources.compiled(
            {"": Path(__file__).parent / "dialect"}, {"DialectFactory": "Dialect.sol"}, None, "cancun"
        )
        self.chain = NodeChain(client)
        self.factory = self.chain.deploy(artifacts["DialectFactory"].bytecode)
        self.pair = self.create(*self.chain.tokens)
        self.rng = random.Random("a new family")
        for token in self.chain.tokens:
            self.send(token, 10**23)
        self.chain.call(self.pair, call_bytes("settle()"))

    def create(self, one: Address, other: Address) -> Address:
        """Another pair."""
        answer = self.chain.call(self.factory, call_bytes("create(address,address,uint32)", one, other, 30))
        return "0x" + answer[-20:].hex()

    def send(self, token: Address, amount: int) -> None:
        self.chain.drive(token, call_bytes("transfer(address,uint256)", self.pair, amount))

    def act(self, state: UniswapV2State) -> None:
        """A swap of exactly what the family quotes, one unit more (refused), a donation, a change of the fee."""
        act: Callable[[UniswapV2State], None] = self.rng.choice([self.swap, self.swap, self.donate, self.set_fee])
        act(state)

    def swap(self, state: UniswapV2State) -> None:
        i = self.rng.randrange(2)
        amount = self.rng.randrange(10**6, 10**22)
        now = BlockContext(self.chain.number + 1, self.chain.timestamp + 1, 0)
        out = FAMILIES[NAME].quote_in(state, i, 1 - i, amount, now).amount_out_wei
        self.send(self.chain.tokens[i], amount)
        with pytest.raises(Reverted):
            self.take(i, out + 1)
        self.take(i, out)

    def take(self, i: int, out: int) -> None:
        outs = (0, out) if i == 0 else (out, 0)
        data = call_bytes("swap(uint256,uint256,address,bytes)", *outs, self.chain.driver, b"")
        self.chain.call(self.pair, data)

    def donate(self, state: UniswapV2State) -> None:
        self.send(self.rng.choice(self.chain.tokens), self.rng.randrange(10**20))
        self.chain.call(self.pair, call_bytes("settle()"))

    def set_fee(self, state: UniswapV2State) -> None:
        fee_bps = self.rng.choice((1, 30, 100, 1_000))
        self.chain.call(self.factory, call_bytes("setFee(address,uint32)", self.pair, fee_bps))


def config_with(node: AnvilNode, client: Client, town: Town) -> ChainConfig:
    """The chain with the dialect's factory and a pair to trade against. It is not proven: somebody asks for it."""
    other = pair_of(town.chain, town.chain.tokens, 10**23, 12 * 10**22)
    config = config_of(node, client, [other])
    dex = DexConfig(name="a fork", family=NAME, factory=town.factory, unproven="watch")
    client.call("anvil_setBalance", OPERATOR, hex(10**20))
    return config.model_copy(update={"dexes": (*config.dexes, dex), "wrapped_native": town.chain.tokens[0]})


@pytest.mark.usefixtures("registered")
async def test_one_class_and_one_line_are_a_family(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    town = Town(client)
    config = config_with(node, client, town)
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    market, shadow = state.market, state.shadow
    assert market.rejected == {}
    assert town.pair in market.states  # found by its event, read by its getters
    assert shadow is not None
    assert shadow.faults == {}  # laid out as its family says
    await follow(state, reader, client)
    for _ in range(12):
        town.act(market.states[town.pair])
        await follow(state, reader, client)
    assert isinstance(market.states[town.pair], DialectState)
    assert await verify(market, reader, config.multicall) == []
    assert await shadow.verify(reader, list(market.states.values())) == []
    for token in town.chain.tokens:  # found, planned, simulated, executed, read back from its event: all the same
        town.send(token, 3 * 10**22)
        town.chain.call(town.pair, call_bytes("settle()"))
        assert NAME in await trade_once(state, town.chain, reader, client)
    await follow(state, reader, client)
    assert await shadow.verify(reader, list(market.states.values())) == []


@pytest.mark.usefixtures("registered")
async def test_a_pair_that_is_born_joins_and_a_snapshot_brings_all_back(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    town = Town(client)
    config = config_with(node, client, town)
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    await follow(state, reader, client)
    born = town.create(town.chain.tokens[0], config.multicall)  # a contract is all that a token has to be here
    announced = []
    for number in range(state.head_number + 1, client.block_number() + 1):
        announced += state.apply(await read_update(reader, number, state.topics)).new_pools
    assert [pool.address for pool in announced] == [born]
    await join_pools(state.market, config, reader, announced)
    assert isinstance(state.market.states[born], DialectState)
    snapshot = capture(state.market, config)
    assert snapshot is not None
    path = snapshot_path(tmp_path, "test")
    write_snapshot(path, "test", config, snapshot, state.market.families)
    assert load_snapshot(path, "test", config, state.market.families) == snapshot


@pytest.mark.usefixtures("registered")
def test_it_is_off_until_it_is_proven() -> None:
    dex = DexConfig(name="a fork", family=NAME, factory="0x" + "12" * 20)
    assert "not proven" in (why_off(dex, Mode.OBSERVE) or "")


def test_without_its_line_nobody_knows_it() -> None:
    with pytest.raises(ValidationError, match="'uniswap_v2'"):
        DexConfig(name="a fork", family=NAME, factory="0x" + "12" * 20)
