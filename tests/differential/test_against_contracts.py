"""A short run of ``python -m tests.differential``: our integers against the real contracts."""

import random

import msgspec
import pytest
from tests.differential import v3_cases
from tests.differential.mirror import Mismatch
from tests.differential.v2_cases import V2World
from tests.differential.v3_cases import V3World
from tests.differential.worlds import WORLDS

from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_swap import SwapResult, swap
from ouro.testnet.artifacts import ArtifactError, fetch


@pytest.fixture(scope="module", autouse=True)
def _contracts() -> None:
    try:
        fetch()
    except ArtifactError as error:
        pytest.fail(f"the protocol packages are needed: {error}")


@pytest.mark.parametrize("seed", ["first", "second"])
def test_v2_quotes_and_words_equal_the_pairs(seed: str) -> None:
    world = V2World()
    for k in range(15):
        world.scenario(random.Random(f"{seed}-{k}"), cases=30)
    assert world.tally.cases == 450
    assert 0 < world.tally.refused < 300


@pytest.mark.parametrize("seed", ["first", "second"])
def test_v3_swaps_and_words_equal_the_pool(seed: str) -> None:
    world = V3World()
    for k in range(15):
        world.scenario(random.Random(f"{seed}-{k}"), actions=20, cases=30)
    assert world.tally.cases == 450
    assert 0 < world.tally.reverts < 300
    assert world.tally.words > 2000
    assert world.tally.ticks_crossed > 100
    assert world.tally.word_edges_passed > 100


@pytest.mark.parametrize("name", [name for name in WORLDS if name not in ("uniswap_v2", "uniswap_v3")])
def test_the_other_families(name: str) -> None:
    try:
        world = WORLDS[name]()
    except ArtifactError as error:
        pytest.skip(f"needs its packages once, `python -m tests.differential.sources` fetches them: {error}")
    for k in range(12):
        world.scenario(random.Random(f"{name}-{k}"), cases=25)
    assert world.tally.cases == 300


def test_a_wrong_integer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself works: one unit more in our step maths does not pass."""

    def off_by_one(
        state: UniswapV3State, zero_for_one: bool, amount: int, limit: int, fee: int | None = None
    ) -> SwapResult:
        result = swap(state, zero_for_one, amount, limit, fee)
        return msgspec.structs.replace(result, amount_out_wei=result.amount_out_wei + 1)

    monkeypatch.setattr(v3_cases, "swap", off_by_one)
    with pytest.raises(Mismatch):
        V3World().scenario(random.Random("first-0"), actions=5, cases=20)
