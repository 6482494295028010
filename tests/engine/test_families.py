"""Every family on a node with its real contracts: found, read, followed by logs, and the shadow word by word."""

import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from familychain import Venue, concentrated, solidly, swapr
from tests.differential.chain import OWNER

from ouro.chain.logs import parse_log
from ouro.chain.rpc import Transport, connect
from ouro.config.model import ChainConfig, DexConfig
from ouro.engine.chain_state import ChainState
from ouro.execution.contract import creation_code
from ouro.market.snapshot import capture, load_snapshot, snapshot_path, write_snapshot
from ouro.market.sync import verify
from ouro.testnet.artifacts import artifact
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import BlockUpdate

pytestmark = pytest.mark.node

FAMILIES = (
    "uniswap_v3",
    "pancakeswap_v3",
    "slipstream",
    "uniswap_v4",
    "algebra_integral",
    "solidly",
    "swapr",
)
OPERATOR = "0x" + "0b" * 20
CHAIN_ID = 9_300_777


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AnvilNode]:
    config = NodeConfig(chain_id=CHAIN_ID, gas_limit=3_000_000_000, order="fifo", base_fee_wei=1)
    with AnvilNode(config, tmp_path / "a node") as started:
        yield started


@pytest.fixture
def client(node: AnvilNode) -> Iterator[Client]:
    with node.client() as opened:
        yield opened


@pytest.fixture
async def reader(node: AnvilNode) -> AsyncIterator[Transport]:
    transport = await connect(node.ws_url)
    yield transport
    await transport.close()


def make_venue(family: str, client: Client, rng: random.Random, pools: int = 3) -> Venue:
    """A factory of the family with pools."""
    if family == "solidly":
        return solidly(client, rng)
    return swapr(client, rng) if family == "swapr" else concentrated(family, client, rng, pools)


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
        start_tokens=(chain.tokens[0],),
        dexes=tuple(
            DexConfig(name=venue.family, family=venue.family, factory=venue.factory)  # type: ignore[arg-type]
            for venue in venues
        ),
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


async def follow(state: ChainState, reader: Transport, client: Client) -> None:
    """Every block up to the head."""
    for number in range(state.head_number + 1, client.block_number() + 1):
        result = state.apply(await read_update(reader, number, state.topics))
        assert result.quarantined == ()


async def exact(state: ChainState, reader: Transport) -> None:
    """Fields equal calls, all of them, and the shadow's words the node's."""
    await state.refresh(reader)
    assert state.unconfirmed == frozenset()
    assert await verify(state.market, reader, state.config.multicall) == []
    assert state.shadow is not None
    states = list(state.market.states.values())
    await state.shadow.reread(reader, states)
    assert state.shadow.faults == {}
    assert await state.shadow.verify(reader, states) == []


async def run(
    family: str, node: AnvilNode, client: Client, reader: Transport, data_dir: Path, actions: int
) -> None:
    rng = random.Random(f"{family} 2022")
    venue = make_venue(family, client, rng)
    config = config_of(node, client, [venue])
    state = await ChainState.load("test", config, reader, data_dir, lambda _: None)
    assert set(state.market.states) == set(venue.pools)
    assert state.market.rejected == {}
    await follow(state, reader, client)
    await exact(state, reader)
    done = 0
    while done < actions:
        for _ in range(25):
            venue.act(rng)
            done += 1
        for settle in venue.settle:
            settle()
        await follow(state, reader, client)
        if rng.random() < 0.5 or done >= actions:
            await exact(state, reader)
    snapshot = capture(state.market, config)
    assert snapshot is not None
    path = snapshot_path(data_dir, "test")
    write_snapshot(path, "test", config, snapshot, state.market.families)
    assert load_snapshot(path, "test", config, state.market.families) == snapshot


@pytest.mark.parametrize("family", FAMILIES)
async def test_followed_by_logs_and_equal_to_calls(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    await run(family, node, client, reader, tmp_path / "data with blanks", actions=100)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("family", FAMILIES)
async def test_five_thousand_actions(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    await run(family, node, client, reader, tmp_path, int(os.environ.get("OURO_ACTIONS", "5000")))
