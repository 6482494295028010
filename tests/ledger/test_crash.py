"""SIGKILL at any point: what was promised to be in the books is in them, and what is in them is consistent."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_examples import GAS_COST, OPERATOR, OWNER, PROFIT, WETH, book, landed

from ouro.ledger.ledger import Ledger

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ledger_examples import attempt, book, landed, plan
from ouro.ledger.ledger import Ledger

ahead = Path(sys.argv[3]) if len(sys.argv) > 3 else None
ledger = Ledger.open(sys.argv[1], interval_s=0.001, ahead=ahead)
ledger.start_session(mode="live", config_hash="c", code_version="v")
for number in range(100_000):
    name = str(number)
    ledger.journal_attempt(attempt(name, nonce=number), plan(name)).result(60)
    print("durable", number, flush=True)
    ledger.mark_sent("attempt-" + name)
    book(ledger, landed(name))
    if number % 3 == 0:
        ledger.reverse_outcome("attempt-" + name, "reorg")
        book(ledger, landed(name, block=12))
    if number % 5 == 0:
        ledger.flush()
        print("booked", number, flush=True)
"""


@pytest.mark.parametrize("ahead", [False, True], ids=["database", "ahead"])
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_a_random_point(url: str, tmp_path: Path, seed: int, ahead: bool) -> None:
    folder = tmp_path / "written ahead" if ahead else None
    lines_before_death = random.Random(seed).randint(1, 60)
    command = [sys.executable, "-c", WRITER, url, str(Path(__file__).parent), *([str(folder)] if folder else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(lines_before_death)]
        os.kill(child.pid, signal.SIGKILL)
        told += child.stdout.readlines()
    assert all(told[:lines_before_death]), "the writer died by itself"
    words = [line.split() for line in told if line.endswith("\n")]
    durable = {f"attempt-{number}" for word, number in words if word == "durable"}
    booked = max((int(number) for word, number in words if word == "booked"), default=-1)

    ledger = Ledger.open(url, ahead=folder)
    ledger.start_session(mode="live", config_hash="c", code_version="v")
    records = {record.attempt.attempt_id: record for record in ledger.books.attempts()}
    assert durable <= set(records)
    assert all(records[f"attempt-{number}"].state == "final" for number in range(booked + 1))
    unresolved = ledger.unresolved_attempts("ethereum")
    assert all(attempt.raw_tx == b"\x02\xf8" + attempt.attempt_id.split("-")[1].encode() for attempt in unresolved)
    # Recovery finds out on the chain what became of the rest, and tells also what is booked already.
    for name in records:
        book(ledger, landed(name.split("-")[1], block=12))
    assert ledger.unresolved_attempts("ethereum") == []
    balances = {(p.account, p.token): p.expected_wei for p in ledger.books.positions("ethereum", 12)}
    assert balances == {(OPERATOR, None): -GAS_COST * len(records), (OWNER, WETH): PROFIT * len(records)}
    assert len(ledger.books.sessions()) == 2
    assert ledger.books.sessions()[0].ended_at_ms is None
    ledger.close()
