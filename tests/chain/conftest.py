"""Real anvil nodes, and a loopback node that lies on demand."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chain_model import ModelNode

from ouro.testnet.node import AnvilNode, NodeConfig

CHAIN_ID = 9_300_777


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[AnvilNode]:
    """An automining anvil that writes no blocks by itself."""
    with AnvilNode(NodeConfig(chain_id=CHAIN_ID), tmp_path / "a node") as node:
        yield node


@pytest.fixture
async def model_node() -> AsyncIterator[ModelNode]:
    """A WebSocket node whose chain the test shapes and whose answers it may spoil."""
    async with ModelNode(CHAIN_ID) as node:
        yield node
