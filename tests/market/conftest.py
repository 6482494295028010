import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ouro.chain.rpc import Transport, connect
from ouro.config.model import ChainConfig, DexConfig
from ouro.testnet.artifacts import fetch
from ouro.testnet.client import Client
from ouro.testnet.deploy import deploy
from ouro.testnet.deployment import Deployment
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.testnet.profiles import PROFILES, ChainProfile, RecordedPool
from ouro.testnet.seed import seed

from .localchain import Traffic

OWNER = "0x" + "0a" * 20
OPERATOR = "0x" + "0b" * 20


class FewerPools(ChainProfile):
    """Half of the pools, and one of those whose ticks lie so close that reading them takes 7,000 calls."""

    @property
    def pools(self) -> tuple[RecordedPool, ...]:
        recorded = PROFILES[self.name].pools
        dense = [pool for pool in recorded if pool.tick_spacing == 1]
        return (*[pool for pool in recorded if pool.tick_spacing != 1][::2], dense[0])


PROFILE = FewerPools(**{field.name: getattr(PROFILES["ethereum"], field.name) for field in fields(ChainProfile)})


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilNode]:
    fetch()
    config = NodeConfig(chain_id=PROFILES["ethereum"].chain_id, gas_limit=3_000_000_000, order="fifo")
    with AnvilNode(config, tmp_path_factory.mktemp("market node")) as started:
        yield started


@pytest.fixture(scope="module")
def client(node: AnvilNode) -> Iterator[Client]:
    with node.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def deployment(client: Client) -> Deployment:
    client.call("evm_setAutomine", False)
    found = seed(client, deploy(client, PROFILE, OWNER, (OPERATOR,)), PROFILE)
    # for targets that burn whatever gas they get
    client.call("anvil_setBlockGasLimit", hex(30_000_000))
    return found


@pytest.fixture(scope="module")
def traffic(client: Client, deployment: Deployment) -> Traffic:
    return Traffic(client, deployment, random.Random(20_240_607))


@pytest.fixture
def config(node: AnvilNode, deployment: Deployment) -> ChainConfig:
    return ChainConfig(
        chain_id=deployment.chain_id,
        profile="ethereum",
        endpoints=(node.ws_url,),
        block_time_ms=1_000,
        wrapped_native=deployment.wrapped_native,
        multicall=deployment.multicall,
        stable_tokens=deployment.stable_tokens,
        dexes=tuple(
            DexConfig(
                name=venue.name,
                family="uniswap_v2" if venue.family == "uniswap_v2" else "uniswap_v3",
                factory=venue.factory,
                fee_ppm=venue.fee_ppm,
                start_block=venue.start_block,
            )
            for venue in deployment.venues
        ),
    )


@pytest.fixture
async def reader(node: AnvilNode) -> AsyncIterator[Transport]:
    transport = await connect(node.ws_url)
    yield transport
    await transport.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data with blanks"
