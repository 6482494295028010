"""One small made-up chain for this room."""

from pathlib import Path

import pytest

from ouro.hashing import keccak
from ouro.replay.generate import Scale, generate
from ouro.replay.recording import Recording
from ouro.signer.keys import KeyRing

SCALE = Scale(
    pools=60, blocks=40, logs=40, touched=8, burst_every=10, empty_every=7, standing=0.3, base_fee_gwei=0.1
)
SECRETS = [keccak(f"replay {k}".encode()) for k in range(4)]


@pytest.fixture(scope="session")
def recording_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a recording") / "small.ouro"
    return generate(path, SCALE, seed=7, operators=KeyRing(SECRETS).addresses)


@pytest.fixture(scope="session")
def recording(recording_path: Path) -> Recording:
    return Recording.open(recording_path)
