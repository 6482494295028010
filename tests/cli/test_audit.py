"""`ouro audit`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ouro.audit import AuditChain
from ouro.cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with AuditChain.open(tmp_path / "my audit", writer="engine") as chain:
        for number in range(3):
            chain.append("approved", {"plan": number})
    return tmp_path / "my audit"


def test_a_whole_chain(folder: Path) -> None:
    result = CliRunner().invoke(app, ["audit", "verify", str(folder)])
    assert result.exit_code == 0
    assert "engine: whole, 4 records in 1 file" in result.output


def test_a_changed_record_is_named_by_file_and_line(folder: Path) -> None:
    path = folder / "engine.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"plan":1', b'"plan":7'))
    result = CliRunner().invoke(app, ["audit", "verify", str(folder)])
    assert result.exit_code == 1
    assert f"{path}:3: its content is not" in result.output
    result = CliRunner().invoke(app, ["audit", "verify", str(folder), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)["problems"][0]["line"] == 3


def test_a_cut_end_is_found_by_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    exported = tmp_path / "c.json"
    result = CliRunner().invoke(app, ["audit", "checkpoint", str(folder), "-o", str(exported)])
    assert result.exit_code == 0
    path = folder / "engine.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert CliRunner().invoke(app, ["audit", "verify", str(folder)]).exit_code == 0
    result = CliRunner().invoke(app, ["audit", "verify", str(folder), "--checkpoint", str(exported)])
    assert result.exit_code == 1
    assert "cut off" in result.output


def test_a_checkpoint_on_stdout(folder: Path) -> None:
    result = CliRunner().invoke(app, ["audit", "checkpoint", str(folder)])
    assert json.loads(result.output)["chains"]["engine"]["sequence"] == 3
