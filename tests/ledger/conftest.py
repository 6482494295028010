"""Books to write in: SQLite always, PostgreSQL when its Debian package is there (see `postgres.py`)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ouro.ledger.ledger import Ledger

# Helpers beside the tests; importmode=importlib leaves their folder out.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a ledger.db"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    books = Ledger.open(url, interval_s=0.02)
    books.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    yield books
    books.close()
