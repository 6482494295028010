"""Worlds of real protocol contracts for the executor's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import EvmBackend, World


@pytest.fixture(scope="module")
def built_world() -> World:
    """In-process world for cycles of up to six hops; use ``world``, which undoes what a test does."""
    return World(EvmBackend()).build(5)


@pytest.fixture
def world(built_world: World) -> Iterator[World]:
    """``built_world``, restored afterwards."""
    evm = built_world.backend.evm
    checkpoint = evm.snapshot()
    yield built_world
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built_world.backend.set_block(100)
