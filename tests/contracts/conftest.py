"""Worlds of real protocol contracts for the executor's tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bigworld import BigWorld
from packages import available
from world import EvmBackend, World

from ouro.execution import contract

# A mutant's creation code instead of the shipped one: tests/contracts/mutants.py.
if mutant := os.environ.get("OURO_TEST_EXECUTOR"):
    shipped = contract.executor_artifact()
    code = bytes.fromhex(Path(mutant).read_text())
    changed = contract.ExecutorArtifact(shipped.abi, code, shipped.runtime_code, shipped.compiler)
    contract.executor_artifact = lambda: changed  # type: ignore[assignment]


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


@pytest.fixture(scope="module")
def built_big_world() -> BigWorld:
    """With Uniswap V4 and lenders; use ``big_world``."""
    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    return BigWorld(EvmBackend()).build(5)


@pytest.fixture
def big_world(built_big_world: BigWorld) -> Iterator[BigWorld]:
    """``built_big_world``, restored afterwards."""
    evm = built_big_world.backend.evm
    checkpoint = evm.snapshot()
    yield built_big_world
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built_big_world.backend.set_block(100)
