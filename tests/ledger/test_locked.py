"""A database that somebody else holds: nothing waits, nothing is lost, nothing new is sent."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_examples import OWNER, PROFIT, WETH, attempt, book, journal, landed, plan

from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import BlockStats


@pytest.fixture
def patient(url: str) -> Iterator[Ledger]:
    ledger = Ledger.open(url, give_up_s=0.4, interval_s=0.02)
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    yield ledger
    ledger.close()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    holder = sqlite3.connect(tmp_path / "a ledger.db", isolation_level=None, check_same_thread=False)
    yield holder
    holder.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_short_lock_is_waited_for(url: str, lock: sqlite3.Connection) -> None:
    ledger = Ledger.open(url, give_up_s=30, interval_s=0.02)
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    lock.execute("BEGIN IMMEDIATE")
    future = ledger.journal_attempt(attempt(), plan())
    threading.Timer(0.2, lambda: lock.execute("COMMIT")).start()
    future.result(60)
    assert len(ledger.books.attempts()) == 1
    ledger.close()


def test_a_long_lock_stops_new_trades_and_loses_nothing(patient: Ledger, lock: sqlite3.Connection) -> None:
    journal(patient, "1")
    lock.execute("BEGIN IMMEDIATE")
    waiting = patient.journal_attempt(attempt("2", nonce=1), plan("2"))
    patient.mark_sent("attempt-1")
    book(patient, landed("1"))
    patient.reverse_outcome("attempt-1", "reorg")
    book(patient, landed("1", block=12))
    for number in range(100):
        patient.record_block("ethereum", BlockStats(number, 1, 1, 1, 5))
    with pytest.raises(LedgerError, match=r"a ledger\.db: database is locked"):
        waiting.result(30)
    wait_until(lambda: not patient.healthy)
    assert "database is locked" in str(patient.problem)
    # While it is unhealthy, nothing new is taken on, at once.
    with pytest.raises(LedgerError):
        patient.journal_attempt(attempt("3", nonce=1), plan("3")).result(0)
    with pytest.raises(LedgerError, match=r"records not written in .* locked"):
        patient.flush(0.1)
    lock.execute("COMMIT")
    wait_until(lambda: patient.healthy)
    patient.flush()
    # What was refused is not in the books, what was taken is, in its order.
    (record,) = patient.books.attempts()
    assert record.outcome == landed("1", block=12)
    assert record.reversals == 1
    assert [p.expected_wei for p in patient.books.positions("ethereum", 99) if p.token == WETH] == [PROFIT]
    assert patient.books.positions("ethereum", 99)[1].account == OWNER
    assert patient.books.activity()["ethereum"].blocks == 100
    patient.journal_attempt(attempt("3", nonce=1), plan("3")).result(30)


def test_trades_stay_stopped_until_the_database_is_really_back(patient: Ledger, lock: sqlite3.Connection) -> None:
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError):
        patient.journal_attempt(attempt(), plan()).result(30)
    time.sleep(0.5)
    assert not patient.healthy
    lock.execute("COMMIT")
    wait_until(lambda: patient.healthy)


def test_a_cancelled_wait_leaves_no_attempt(patient: Ledger, lock: sqlite3.Connection) -> None:
    lock.execute("BEGIN IMMEDIATE")
    future = patient.journal_attempt(attempt(), plan())
    assert future.cancel()
    lock.execute("COMMIT")
    patient.flush()
    assert patient.books.attempts() == []


def test_closing_while_locked_says_what_is_missing(url: str, lock: sqlite3.Connection) -> None:
    ledger = Ledger.open(url, give_up_s=0.1)
    ledger.start_session(mode="live", config_hash="c", code_version="v")
    journal(ledger)
    lock.execute("BEGIN IMMEDIATE")
    book(ledger, landed())
    with pytest.raises(LedgerError, match="not written"):
        ledger.close(timeout_s=0.5)
    lock.execute("COMMIT")
    with pytest.raises(LedgerError, match="closed"):
        ledger.mark_sent("attempt-1")


def test_too_many_waiting_records_stop_trades(url: str, lock: sqlite3.Connection) -> None:
    ledger = Ledger.open(url, queue_limit=10, give_up_s=60)
    ledger.start_session(mode="live", config_hash="c", code_version="v")
    journal(ledger)
    lock.execute("BEGIN IMMEDIATE")
    # The first batch is taken by the writer, so it takes more than one to fill the queue.
    for _ in range(600):
        ledger.mark_sent("attempt-1")
    assert "wait to be written" in str(ledger.problem)
    lock.execute("COMMIT")
    ledger.flush()
    assert ledger.healthy
    ledger.close()


def test_opening_a_locked_ledger(url: str, tmp_path: Path, lock: sqlite3.Connection) -> None:
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match=r"a ledger\.db: database is locked"):
        Ledger.open(url, give_up_s=0.2)
    threading.Timer(0.2, lambda: lock.execute("COMMIT")).start()
    Ledger.open(url, give_up_s=60).close()
