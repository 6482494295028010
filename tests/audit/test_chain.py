"""What a chain promises to who appends to it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ouro.audit import AuditChain, AuditError, note, verify
from ouro.audit.record import read_line


def _bodies(folder: Path, writer: str = "engine") -> list[dict[str, object]]:
    return [json.loads(line)["body"] for line in (folder / f"{writer}.jsonl").read_text().splitlines()]


def test_records_are_json_lines_with_their_hash(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        digest = chain.append("approved", {"plan": "p", "wei": 2**200}, durable=True)
        assert chain.head == (1, digest)
        line = (tmp_path / "engine.jsonl").read_bytes().splitlines(keepends=True)[1]
    values = json.loads(line)
    assert (values["seq"], values["kind"], values["hash"]) == (1, "approved", digest)
    assert values["body"] == {"plan": "p", "wei": 2**200}
    record = read_line(line)
    assert not isinstance(record, str)
    assert record.body == values["body"]


def test_appending_goes_on_where_it_ended(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append("approved", {"plan": 1})
        head = chain.head
    with AuditChain.open(tmp_path / "engine.jsonl", writer="engine") as chain:
        assert chain.head == head
        chain.append("approved", {"plan": 2})
    assert verify(tmp_path).records == 3


def test_many_threads_make_one_chain(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine", rotate_bytes=20_000) as chain:

        def run(name: int) -> None:
            for number in range(100):
                if number % 2:
                    chain.append("approved", {"by": name, "number": number}, durable=number == 51)
                else:
                    chain.append_later("approved", lambda: {"by": name})

        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report = verify(tmp_path)
    assert report.ok
    assert report.records == 401


def test_what_comes_later_keeps_its_place(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append_later("found", lambda: {"n": 1})
        chain.append("approved", {"n": 2})
        chain.append_later("sent", lambda: {"n": 3})
        assert chain.head[0] == 3
    assert [body.get("n") for body in _bodies(tmp_path)] == [None, 1, 2, 3]


def test_a_body_that_fails_later_is_recorded_as_failed(tmp_path: Path) -> None:
    def fail() -> dict[str, object]:
        raise KeyError("pool")

    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append_later("found", fail)
        chain.append_later("found", lambda: {"bytes": object()})
    assert [body.get("kind") for body in _bodies(tmp_path)] == [None, "found", "found"]
    assert verify(tmp_path).ok


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_a_torn_last_line_is_healed_and_told(tmp_path: Path, cut: int) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        for number in range(3):
            chain.append("approved", {"plan": number})
    path = tmp_path / "engine.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert not verify(tmp_path).ok
    with AuditChain.open(tmp_path, writer="engine") as chain:
        assert chain.head[0] == 3
    assert verify(tmp_path).ok
    told = _bodies(tmp_path)[-1]
    assert isinstance(told["bytes"], int)
    assert told["bytes"] > 0


def test_a_chain_torn_in_its_first_line_begins_again(tmp_path: Path) -> None:
    (tmp_path / "engine.jsonl").write_bytes(b'{"hash":"')
    with AuditChain.open(tmp_path, writer="engine") as chain:
        assert chain.head[0] == 1
    assert verify(tmp_path).ok


def test_a_crash_between_two_files_is_taken_up(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append("approved", {"plan": 1})
        head = chain.head
    (tmp_path / "engine.jsonl").rename(tmp_path / "engine.000000000000.jsonl")
    with AuditChain.open(tmp_path, writer="engine", rotate_bytes=1) as chain:
        assert chain.head == head
        chain.append("approved", {"plan": 2}, durable=True)
        chain.append("approved", {"plan": 3}, durable=True)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "engine.000000000000.jsonl",
        "engine.000000000002.jsonl",
        "engine.jsonl",
    ]
    assert verify(tmp_path).records == 4


def test_a_damaged_tail_is_refused(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append("approved", {"plan": "p"})
    path = tmp_path / "engine.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"p"', b'"q"'))
    with pytest.raises(AuditError, match=r"engine\.jsonl: its last record is damaged.*ouro audit verify"):
        AuditChain.open(tmp_path, writer="engine")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine"), pytest.raises(AuditError, match="another process writes"):
        AuditChain.open(tmp_path, writer="engine", wait_s=0.05)


def test_short_lived_writers_wait_for_each_other(tmp_path: Path) -> None:
    threads = [threading.Thread(target=note, args=(tmp_path, "halted", {"by": f"n{k}"})) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(tmp_path).records == 7


@pytest.mark.parametrize("writer", ["", "Engine", "../engine", "a.b", "a b"])
def test_bad_writers_are_refused(tmp_path: Path, writer: str) -> None:
    with pytest.raises(AuditError, match="audit writer"):
        AuditChain.open(tmp_path, writer=writer)


def test_bad_records_are_refused(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        with pytest.raises(AuditError, match="kind"):
            chain.append("Not A Kind", {})
        with pytest.raises(AuditError, match="no JSON form"):
            chain.append("approved", {"plan": object()})
        with pytest.raises(AuditError, match="must be an object"):
            chain.append("approved", [1])  # type: ignore[arg-type]
    with pytest.raises(AuditError, match="closed"):
        chain.append("approved", {})
    assert verify(tmp_path).records == 1


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(AuditError, match="can't be written"):
        AuditChain.open(tmp_path / "audit", writer="engine")
    with pytest.raises(AuditError, match=r"is named engine\.jsonl"):
        AuditChain.open(tmp_path / "other.jsonl", writer="engine")


def test_a_disk_that_fails_is_a_problem_until_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        real = os.fsync

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ouro.audit.chain.os.fsync", full)
        with pytest.raises(AuditError, match="No space left"):
            chain.append("approved", {"plan": 1}, durable=True)
        assert chain.problem is not None
        monkeypatch.setattr("ouro.audit.chain.os.fsync", real)
        chain.append("approved", {"plan": 2})
        chain.flush()
        assert chain.problem is None
    report = verify(tmp_path)
    assert report.ok
    assert [body.get("plan") for body in _bodies(tmp_path)] == [None, 1, 2]


def test_what_was_durable_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom ouro.audit import AuditChain\n"
        "chain = AuditChain.open(Path(sys.argv[1]), writer='engine')\n"
        "for k in range(20): chain.append('approved', {'plan': k}, durable=True)\n"
        "chain.append('approved', {'plan': 'maybe'})\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, env=os.environ)
    assert done.returncode == -9
    with AuditChain.open(tmp_path, writer="engine") as chain:
        assert chain.head[0] >= 20
    assert verify(tmp_path).ok


def test_a_new_file_that_can_not_be_begun_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AuditChain.open(tmp_path, writer="engine", rotate_bytes=1) as chain:
        with monkeypatch.context() as patch:

            def full(_folder: Path) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr("ouro.audit.chain._sync_folder", full)
            with pytest.raises(AuditError, match="No space left"):
                chain.append("approved", {"plan": 1}, durable=True)
        chain.flush()
        assert chain.problem is None
    assert verify(tmp_path).ok
    assert [body.get("plan") for body in _bodies(tmp_path)][-1] == 1
