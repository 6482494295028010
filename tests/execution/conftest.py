"""A node with real pools and an executor, shared by the tests of this room."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "contracts")]

from world import NodeBackend, World  # noqa: E402  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module")
def node_world() -> Iterator[World]:
    """Pools for cycles of up to four hops on an anvil of its own."""
    backend = NodeBackend()
    try:
        yield World(backend).build(3)
    finally:
        backend.close()
