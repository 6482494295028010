"""Checkpoints as they are exported and read again."""

import json
from pathlib import Path

import pytest

from ouro.audit import AuditChain, AuditError, read_checkpoint, take_checkpoint, write_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with AuditChain.open(tmp_path / "audit", writer="engine") as chain:
        chain.append("approved", {"plan": "p"})
    return tmp_path / "audit"


def test_an_exported_checkpoint_is_read_again(folder: Path, tmp_path: Path) -> None:
    taken = take_checkpoint(folder)
    write_checkpoint(taken, tmp_path / "c.json")
    assert read_checkpoint(tmp_path / "c.json") == taken
    with pytest.raises(AuditError, match="there is one already"):
        write_checkpoint(taken, tmp_path / "c.json")
    with pytest.raises(AuditError, match="can be written"):
        write_checkpoint(taken, tmp_path / "none" / "c.json")


def test_no_checkpoint_of_a_broken_chain(folder: Path) -> None:
    path = folder / "engine.jsonl"
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(AuditError, match="not whole"):
        take_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 2}, "format"),
        ({"at_ms": "now"}, "at_ms"),
        ({"chains": []}, "chains"),
        ({"chains": {"engine": {"sequence": True, "hash": "0" * 64}}}, r"chains\.engine\.sequence"),
        ({"chains": {"engine": {"sequence": 1, "hash": "0"}}}, r"chains\.engine\.hash"),
        ({"at_ms": 1}, "digest"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, tmp_path: Path, change: dict[str, object], field: str) -> None:
    values = json.loads(take_checkpoint(folder).to_json()) | change
    (tmp_path / "c.json").write_text(json.dumps(values))
    with pytest.raises(AuditError, match=field):
        read_checkpoint(tmp_path / "c.json")


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="check the path"):
        read_checkpoint(tmp_path / "none.json")
    (tmp_path / "c.json").write_text("hello")
    with pytest.raises(AuditError, match="no JSON"):
        read_checkpoint(tmp_path / "c.json")
