"""Worlds of real protocol contracts for the executor's tests."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world as world_module
from bigworld import BigWorld
from packages import available, own_code
from world import SPECS, TESTED, EvmBackend, World

from ouro.execution.builds import builds

# A mutant's creation code instead of the shipped one: tests/contracts/mutants.py.
if mutant := os.environ.get("OURO_TEST_EXECUTOR"):
    code = bytes.fromhex(Path(mutant).read_text())
    changed = replace(builds()[0], creation_code=code)
    world_module.builds = lambda: (changed,)  # type: ignore[assignment]


@pytest.fixture(scope="module", params=TESTED)
def built_world(request: pytest.FixtureRequest) -> World:
    """In-process world for cycles of up to six hops, per build on the oldest rules that it is made for.

    Use ``world``, which undoes what a test does.
    """
    token = own_code("TestToken.sol", "TestToken")
    return World(EvmBackend(SPECS[request.param]), request.param, token).build(5)


@pytest.fixture
def world(built_world: World) -> Iterator[World]:
    """``built_world``, restored afterwards."""
    evm = built_world.backend.evm
    checkpoint = evm.snapshot()
    yield built_world
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built_world.backend.set_block(100)


@pytest.fixture(scope="module", params=TESTED)
def built_big_world(request: pytest.FixtureRequest) -> BigWorld:
    """With Uniswap V4 and lenders, on the rules that V4 needs; use ``big_world``."""
    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    return BigWorld(EvmBackend(), request.param).build(5)


@pytest.fixture
def big_world(built_big_world: BigWorld) -> Iterator[BigWorld]:
    """``built_big_world``, restored afterwards."""
    evm = built_big_world.backend.evm
    checkpoint = evm.snapshot()
    yield built_big_world
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built_big_world.backend.set_block(100)
