from collections.abc import Iterator
from pathlib import Path

import pytest

from ouro.testnet.testnet import ChainOptions, LocalChain, Testnet


@pytest.fixture(scope="session")
def quiet_testnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testnet]:
    """Both chains with pools and nobody trading; a folder name with a blank on purpose."""
    with Testnet.start(
        tmp_path_factory.mktemp("test net"),
        rivals=1,
        agents=False,
        options=ChainOptions(block_time_s=0.25),
    ) as testnet:
        yield testnet


@pytest.fixture(params=["ethereum", "fantom"])
def chain(request: pytest.FixtureRequest, quiet_testnet: Testnet) -> Iterator[LocalChain]:
    """Each test finds the chain as it was seeded."""
    found = quiet_testnet.chains[request.param]
    with found.node.client() as client:
        snapshot = client.call("evm_snapshot")
        yield found
        assert client.call("evm_revert", snapshot)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "with blank"
    folder.mkdir()
    return folder
