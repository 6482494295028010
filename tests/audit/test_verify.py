"""Whatever single thing is changed in a chain is found, and where."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.audit import AuditChain, AuditError, AuditReport, take_checkpoint, verify
from ouro.audit.record import GENESIS, make_line


def _line_of(report: AuditReport) -> int:
    return report.problems[0].line


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Lines of a small whole chain of writer "engine"."""
    folder = tmp_path_factory.mktemp("whole")
    with AuditChain.open(folder, writer="engine") as chain:
        for number in range(5):
            chain.append("approved", {"plan": f"p{number}", "wei": 10**30 + number, "text": 'é"\\\n'})
    return (folder / "engine.jsonl").read_bytes().splitlines(keepends=True)


def _written(folder: Path, lines: list[bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "engine.jsonl").write_bytes(b"".join(lines))
    return folder


def test_a_whole_chain_is_whole(whole: list[bytes], tmp_path: Path) -> None:
    report = verify(_written(tmp_path, whole))
    assert report.ok
    assert report.records == len(whole) == 6
    assert report.chains[0].sequence == 5


def test_every_single_byte_changed_is_found(whole: list[bytes], tmp_path: Path) -> None:
    """All of them: each byte of two records replaced by another one, each time by another difference."""
    data = b"".join(whole[:2])
    path = tmp_path / "engine.jsonl"
    for position in range(len(data)):
        replacement = data[position] ^ (1 + position % 255)
        path.write_bytes(data[:position] + bytes([replacement]) + data[position + 1 :])
        report = verify(tmp_path)
        assert not report.ok, (position, replacement)
        assert _line_of(report) == data[:position].count(b"\n") + 1, (position, replacement)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_bytes_removed_or_inserted_are_found(
    whole: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = b"".join(whole)
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        changed = content[:position] + content[position + 1 :]
    else:
        changed = content[:position] + bytes([data.draw(st.integers(0, 255))]) + content[position:]
    folder = _written(tmp_path_factory.mktemp("changed"), [changed])
    assert changed == content or not verify(folder).ok


@pytest.mark.parametrize("number", range(6))
def test_a_removed_record_is_found(whole: list[bytes], tmp_path: Path, number: int) -> None:
    kept = whole[:number] + whole[number + 1 :]
    checkpoint = take_checkpoint(_written(tmp_path / "before", whole))
    report = verify(_written(tmp_path / "after", kept), checkpoint.heads)
    assert not report.ok
    alone = verify(tmp_path / "after")
    assert alone.ok == (number == 5)  # the end alone needs the checkpoint
    if number < 5:
        assert _line_of(alone) == number + 1


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(6)))
def test_re_ordered_records_are_found(
    whole: list[bytes], tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = _written(tmp_path_factory.mktemp("order"), [whole[k] for k in order])
    assert verify(folder).ok == (order == sorted(order))


def test_a_repeated_record_is_found(whole: list[bytes], tmp_path: Path) -> None:
    for k in range(6):
        assert not verify(_written(tmp_path, [*whole[: k + 1], *whole[k:]])).ok


def test_a_chain_written_anew_is_found_against_the_checkpoint(whole: list[bytes], tmp_path: Path) -> None:
    checkpoint = take_checkpoint(_written(tmp_path / "before", whole))
    prev, lines = GENESIS, []
    for number, body in enumerate([b'{"writer":"engine","format":1}', *[b'{"plan":"other"}'] * 5]):
        kind = "approved" if number else "chain_opened"
        prev, line = make_line(number, 1, kind, body, prev)
        lines.append(line)
    forged = _written(tmp_path / "forged", lines)
    assert verify(forged).ok
    report = verify(forged, checkpoint.heads)
    assert "checkpoint" in report.problems[0].what


def test_the_whole_end_and_the_whole_chain_are_missed_against_the_checkpoint(
    whole: list[bytes], tmp_path: Path
) -> None:
    checkpoint = take_checkpoint(_written(tmp_path / "a", whole))
    cut = verify(_written(tmp_path / "b", whole[:2]), checkpoint.heads)
    assert "cut off" in cut.problems[0].what
    assert cut.problems[0].line == 2
    (tmp_path / "c").mkdir()
    gone = verify(tmp_path / "c", checkpoint.heads)
    assert "is not here" in gone.problems[0].what


def test_growth_after_the_checkpoint_is_no_problem(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append("approved", {"plan": "p"})
    checkpoint = take_checkpoint(tmp_path)
    with AuditChain.open(tmp_path, writer="engine") as chain:
        chain.append("approved", {"plan": "q"})
    assert verify(tmp_path, checkpoint.heads).ok


def test_chains_can_not_be_exchanged(tmp_path: Path) -> None:
    for writer in ("engine", "signer"):
        with AuditChain.open(tmp_path, writer=writer) as chain:
            chain.append("approved", {"by": writer})
    engine, signer = tmp_path / "engine.jsonl", tmp_path / "signer.jsonl"
    engine.rename(tmp_path / "x")
    signer.rename(engine)
    (tmp_path / "x").rename(signer)
    assert len(verify(tmp_path).problems) == 2


def test_a_removed_full_file_is_found(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path, writer="engine", rotate_bytes=1_000) as chain:
        for number in range(40):
            chain.append("approved", {"plan": f"p{number}"}, durable=True)
    files = sorted(tmp_path.glob("engine.*.jsonl"))
    assert len(files) >= 3
    assert verify(tmp_path).ok
    for path in files:
        content = path.read_bytes()
        path.unlink()
        assert not verify(tmp_path).ok, path
        path.write_bytes(b"")
        assert not verify(tmp_path).ok, path
        path.write_bytes(content)
    assert verify(files[0]).records == 41  # a file stands for its whole chain


def test_no_chain_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="there is no audit chain in it"):
        verify(tmp_path)
    with pytest.raises(AuditError, match="no such file or folder"):
        verify(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(AuditError, match=r"WRITER\.jsonl"):
        verify(tmp_path / "notes.txt")
