"""One real chain for this room, mined by hand; each test finds it as it was seeded."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "execution")]

from engine_bench import Bench  # noqa: E402
from familychain import CHAIN_ID  # noqa: E402

from ouro.chain.rpc import Transport, connect  # noqa: E402
from ouro.testnet.client import Client  # noqa: E402
from ouro.testnet.node import AnvilNode, NodeConfig  # noqa: E402
from ouro.testnet.testnet import ChainOptions, LocalChain, Testnet  # noqa: E402


@pytest.fixture(scope="session")
def local_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalChain]:
    """Real pools, nobody trading, no block by itself."""
    folder = tmp_path_factory.mktemp("an engine")
    with Testnet.start(folder, ("ethereum",), agents=False, options=ChainOptions(block_time_s=0.2)) as testnet:
        chain = testnet.chains["ethereum"]
        with chain.node.client() as client:
            client.call("evm_setIntervalMining", 0)
        yield chain


@pytest.fixture
def seeded(local_chain: LocalChain) -> Iterator[LocalChain]:
    """The chain, put back afterwards."""
    with local_chain.node.client() as client:
        snapshot = client.call("evm_snapshot")
        yield local_chain
        assert client.call("evm_revert", snapshot)


@pytest.fixture
async def bench(seeded: LocalChain, tmp_path: Path) -> AsyncIterator[Bench]:
    """State, feed and books at the chain's head."""
    made = await Bench.start(seeded, tmp_path)
    yield made
    await made.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AnvilNode]:
    config = NodeConfig(
        chain_id=CHAIN_ID, gas_limit=3_000_000_000, order="fifo", base_fee_wei=1, code_size_limit=1 << 20
    )
    with AnvilNode(config, tmp_path / "a node") as started:
        yield started


@pytest.fixture
def client(node: AnvilNode) -> Iterator[Client]:
    with node.client() as opened:
        yield opened


@pytest.fixture
async def reader(node: AnvilNode) -> AsyncIterator[Transport]:
    transport = await connect(node.ws_url, timeout_ms=120_000)  # instrumented contracts, a loaded machine
    yield transport
    await transport.close()
