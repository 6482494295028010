"""SIGKILL of engine and signer: at exact points, and at random ones. What is asserted is in ``e2e_audit``."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from e2e_running import Running, assert_sound

from ouro.testnet.demo import DemoOptions
from ouro.types import AttemptKind

pytestmark = [pytest.mark.e2e, pytest.mark.node, pytest.mark.timeout(400)]

CRASHING = Path(__file__).parent / "crashing_engine.py"


def crashing_at(*points: str) -> list[list[str]]:
    """Engines that die there, one after the other."""
    return [[sys.executable, str(CRASHING), point, "run"] for point in points]


@pytest.mark.parametrize(
    "points",
    [("signed", "journaled", "cancel_signed"), ("sent", "landed", "signed", "cancel_journaled")],
    ids=["before-the-node", "behind-the-node"],
)
def test_engine_dies_at_exact_points(work_dir: Path, points: tuple[str, ...]) -> None:
    options = DemoOptions(blocks=None, chains=("fantom",))
    with Running(work_dir, options, crashing_at(*points)) as run:
        run.wait_for_books()
        run.wait("one session for each death", lambda: len(run.books.sessions()) > len(points))
        run.wait_landed("fantom", 3)
        assert_sound(run.finish())
        records = run.books.attempts(chain="fantom")
        kinds = Counter(record.attempt.kind for record in records)
        # Bytes that the journal does not have, or that were late, cost their nonce: a cancel each, at least.
        assert kinds[AttemptKind.CANCEL] >= 1


@pytest.mark.parametrize("victim", ["engine", "signer"])
def test_killed_at_random_points(work_dir: Path, victim: str) -> None:
    _kill_often(work_dir, seed=1, victims=[victim], kills=3 if victim == "engine" else 5)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(5))
def test_killed_very_often(work_dir: Path, seed: int) -> None:
    _kill_often(work_dir, seed=seed, victims=["engine", "signer", "ethereum", "fantom"], kills=25)


def _kill_often(work_dir: Path, seed: int, victims: list[str], kills: int) -> None:
    rng = random.Random(seed)
    nodes = bool({"ethereum", "fantom"} & set(victims))
    options = DemoOptions(blocks=None, seed=seed, state_interval_s=1 if nodes else None, one_process=nodes)
    with Running(work_dir, options) as run:
        run.wait_for_books()
        for _ in range(kills):
            victim = rng.choice(victims)
            if rng.random() < 0.7:
                run.wait_new_attempt()
            run.rest(rng.uniform(0.0, 1.0))
            if victim in run.demo.testnet.chains:
                node = run.crash_node(victim)
                run.rest(rng.uniform(0.0, 3.0))
                node.start()
                continue
            pid = run.kill(victim)
            run.wait(f"another {victim}", lambda v=victim, p=pid: run.pid(v) != p)
        for chain in run.demo.testnet.chains:
            run.wait_landed(chain, 2)
        assert_sound(run.finish())
