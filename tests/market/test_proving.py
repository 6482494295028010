"""Families proven against contracts by their own views: a real one in the EVM, and made answers that differ."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.differential.chain import Reverted
from tests.differential.saddle_cases import Play, SaddleWorld
from tests.protocols.pools import CONTEXT
from tests.protocols.test_liquidity_book import FAMILY, sample

from ouro.market.proving import AMOUNTS, PoolProof, probes, prove_pool, store
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Ask, Read, play
from ouro.protocols.registry import FAMILIES
from ouro.testnet.artifacts import ArtifactError
from ouro.types import BlockContext


def test_the_port_is_proven_by_its_own_view() -> None:
    try:
        world = SaddleWorld()
    except ArtifactError as error:
        pytest.skip(f"needs its packages once, `python -m tests.differential.sources` fetches them: {error}")
    made = Play(world, random.Random(11))
    made.fill()
    chain, context = world.chain, BlockContext(1, world.chain.timestamp, 0)

    def answer(ask: Ask) -> bytes | None:
        assert isinstance(ask, Read)
        try:
            return chain.call(ask.target, ask.data)
        except Reverted:
            return None

    pool = NewPool("x", "saddle", made.state.address, (), 0)
    proof = play(prove_pool(FAMILIES["saddle"], pool, context, "1"), answer)
    assert proof.sound, proof
    assert proof.cases > AMOUNTS
    nothing = play(
        prove_pool(FAMILIES["saddle"], NewPool("x", "saddle", chain.tokens[0], (), 0), context, "1"), answer
    )
    assert not nothing.sound
    assert "swapStorage" in nothing.problem


def test_a_difference_is_named() -> None:
    state = sample()
    asked = list(probes(FAMILY, state, CONTEXT, random.Random(1)))
    assert len(asked) == 2 * AMOUNTS

    def words(*values: int) -> bytes:
        return b"".join(value.to_bytes(32) for value in values)

    probe = asked[0]
    wrong: Callable[[int], str] = lambda more: probe.difference(words(0, probe.expected + more, 0))  # noqa: E731
    assert wrong(0) == ""
    assert str(probe.expected) in wrong(1)
    assert "reverts" in probe.difference(None)
    assert "0 bytes" in probe.difference(b"")


def test_the_record_keeps_the_newest_of_each_pool(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "proofs.json"
    store(path, 1, "saddle", [PoolProof("0xa", 5, 10), PoolProof("0xb", 5, problem="no")])
    store(path, 1, "saddle", [PoolProof("0xa", 6, 12, ("x",))])
    store(path, 10, "twocrypto", [PoolProof("0xc", 7, 3)])
    record = json.loads(path.read_text())
    assert record["saddle"]["1"]["0xa"]["block_number"] == 6
    assert record["saddle"]["1"]["0xb"]["problem"] == "no"
    assert record["twocrypto"]["10"]["0xc"]["cases"] == 3
    assert not PoolProof("0xa", 6, 12, ("x",)).sound
