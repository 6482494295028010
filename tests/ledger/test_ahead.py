"""The write-ahead file: what was said to be durable is found again, whatever happened after."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import attempt, plan

from ouro.ledger.ahead import WriteAhead, records_in
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.operations import JournalAttempt, decode_attempt, encode_attempt

payloads = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12)


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.[ab]"))]


def test_what_was_written_is_found_by_the_next(tmp_path: Path) -> None:
    first = WriteAhead(tmp_path)
    assert [first.append(bytes([k])).result(30) for k in range(1, 5)] == [1, 2, 3, 4]
    first.taken_over(1)
    first.close()
    second = WriteAhead(tmp_path)
    assert second.found == [b"\x01", b"\x02", b"\x03", b"\x04"]
    for number in range(1, 5):
        second.taken_over(number)
    second.close()
    third = WriteAhead(tmp_path)
    assert third.found == []
    third.close()


@given(payloads, st.data())
def test_a_torn_end_costs_only_what_was_torn(parts: list[bytes], data: st.DataObject) -> None:
    """A file cut off, or its end never written, at any byte: every record before it is whole."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        ahead = WriteAhead(Path(name), capacity=1 << 13)
        for part in parts:
            ahead.append(part).result(30)
        content = next(each for each in written(Path(name)) if records_in(each)[1])
        ahead.close()
    generation, whole = records_in(content)
    assert [payload for _, payload in whole] == parts
    ends, at = [], 32
    for part in parts:
        at += 28 + len(part)
        ends.append(at)
    cut = data.draw(st.integers(32, ends[-1]))
    survivors = sum(end <= cut for end in ends)
    for damaged in (content[:cut], content[:cut] + bytes(len(content) - cut)):
        found = records_in(damaged)
        assert found[0] == generation
        assert [payload for _, payload in found[1]][:survivors] == parts[:survivors]
        # a record that ends in zeros may be whole without its last bytes
        assert all(payload in parts for _, payload in found[1])


def test_a_full_file_is_left_for_the_other_one_and_read_in_order(tmp_path: Path) -> None:
    ahead = WriteAhead(tmp_path, capacity=4_096)
    sent = [bytes([k % 251 + 1]) * 500 for k in range(100)]
    for number, payload in enumerate(sent, start=1):
        ahead.append(payload).result(30)
        if number <= 90:
            ahead.taken_over(number)
    assert all(len(content) <= 3 * 4_096 for content in written(tmp_path))
    ahead.close()
    found = WriteAhead(tmp_path).found
    assert found == sent[-len(found) :]
    assert len(found) >= 10


def test_what_the_database_lacks_is_never_written_over(tmp_path: Path) -> None:
    ahead = WriteAhead(tmp_path, capacity=2_048)
    for number in range(1, 60):
        ahead.append(bytes([number]) * 200).result(30)
        if number != 3:
            ahead.taken_over(number)
    ahead.close()
    assert bytes([3]) * 200 in WriteAhead(tmp_path).found


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    first, second = WriteAhead(tmp_path), WriteAhead(tmp_path)
    first.append(b"of the first").result(30)
    second.append(b"of the second").result(30)
    assert second.found == []
    second.close()
    third = WriteAhead(tmp_path)
    assert third.found == [b"of the second"]
    third.close()
    first.close()


def test_many_at_once_share_a_flush(tmp_path: Path) -> None:
    ahead = WriteAhead(tmp_path)
    futures = [ahead.append(b"x" * 100) for _ in range(500)]
    assert sorted(future.result(30) for future in futures) == list(range(1, 501))
    assert ahead.flushes < 500
    ahead.close()


def test_an_attempt_survives_its_encoding() -> None:
    for made in (plan("1"), None):
        operation = JournalAttempt("session", attempt("1"), made, 1_700_000_000_000, 12, None)
        assert decode_attempt(encode_attempt(operation)) == operation
    with pytest.raises(ValueError, match="schema"):
        decode_attempt(b'{"schema": 99}')


HOLDER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ledger_examples import attempt, plan
from ouro.ledger.ledger import Ledger

ledger = Ledger.open(sys.argv[1], give_up_s=600, ahead=Path(sys.argv[3]))
ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
print("locked now", flush=True)
sys.stdin.readline()
for number in range(20):
    ledger.journal_attempt(attempt(str(number), nonce=number), plan(str(number))).result(60)
    print("durable", number, flush=True)
sys.stdin.readline()
"""


def test_a_kill_before_the_database_had_anything(url: str, tmp_path: Path) -> None:
    """The database is held by somebody for the whole life of the process: only the file has its attempts."""
    folder = tmp_path / "ahead"
    command = [sys.executable, "-c", HOLDER, url, str(Path(__file__).parent), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "locked now\n"
        holder = sqlite3.connect(tmp_path / "a ledger.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        child.stdin.write("go\n")
        child.stdin.flush()
        told = [child.stdout.readline() for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
    holder.execute("COMMIT")
    holder.close()
    assert told == [f"durable {number}\n" for number in range(20)]
    ledger = Ledger.open(url, ahead=folder)
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s2")
    unresolved = {found.attempt_id: found for found in ledger.unresolved_attempts("ethereum")}
    assert unresolved == {f"attempt-{k}": attempt(str(k), nonce=k) for k in range(20)}
    ledger.close()
    again = Ledger.open(url, ahead=folder)
    assert len(again.books.attempts()) == 20
    again.close()


def test_other_bytes_under_a_booked_name_are_refused(url: str, tmp_path: Path) -> None:
    from dataclasses import replace

    ledger = Ledger.open(url, ahead=tmp_path / "ahead")
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    made = attempt()
    ledger.journal_attempt(made, plan()).result(30)
    ledger.journal_attempt(made, plan()).result(30)
    with pytest.raises(LedgerError, match="already booked"):
        ledger.journal_attempt(replace(made, raw_tx=b"other"), plan()).result(30)
    ledger.flush()
    assert len(ledger.books.attempts()) == 1
    ledger.close()


def test_who_waits_hears_when_neither_file_nor_database_takes_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def closed(_operation: object) -> None:
        raise LedgerError("it is closed")

    ledger = Ledger.open(url, ahead=tmp_path / "ahead")
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    with monkeypatch.context() as patch:
        patch.setattr("ouro.ledger.ahead._File.append", full)
        patch.setattr(ledger._writer, "put_urgent", closed)
        with pytest.raises(LedgerError, match="it is closed"):
            ledger.journal_attempt(attempt(), plan()).result(30)
    ledger.close()


def test_what_fails_after_a_record_is_written_ends_no_thread(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError(13, "Permission denied")

    ledger = Ledger.open(url, ahead=tmp_path / "ahead")
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    with monkeypatch.context() as patch:
        patch.setattr("ouro.ledger.ahead.WriteAhead.taken_over", broken)
        ledger.journal_attempt(attempt("1", nonce=1), plan("1")).result(30)
        ledger.flush()
    ledger.journal_attempt(attempt("2", nonce=2), plan("2")).result(30)
    ledger.flush()
    assert len(ledger.books.attempts()) == 2
    ledger.close()
