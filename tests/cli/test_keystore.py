"""``ouro keystore``: keys go into a private file, addresses come out, passwords and keys are nowhere else."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ouro.cli import keystore as command
from ouro.cli.main import app
from ouro.config.model import SignerConfig
from ouro.hashing import checksummed
from ouro.signer.keys import KeystoreError, load_keys

PASSWORD = "correct horse battery staple"
VARIABLE = "OURO_KEYSTORE_PASSWORD"


def run(*words: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["keystore", *map(str, words)], env={VARIABLE: ""} | (env or {}))


def test_new_and_show(tmp_path: Path) -> None:
    path = tmp_path / "a folder with blanks" / "operators.json"
    made = run("new", path, "--count", "3", env={VARIABLE: PASSWORD})
    assert made.exit_code == 0, made.output
    assert path.stat().st_mode & 0o777 == 0o600
    addresses = made.stdout.split()
    assert len(set(addresses)) == 3
    ring = load_keys(SignerConfig(keystore=path), {VARIABLE: PASSWORD})
    assert {checksummed(address) for address in ring.addresses} == set(addresses)
    word = tmp_path / "password"
    word.write_text(PASSWORD + "\n")
    shown = run("show", path, "--password-file", word)
    assert sorted(shown.stdout.split()) == sorted(addresses)
    for said in (made, shown):
        assert PASSWORD not in said.output
        assert all(key.secret.hex() not in said.output for address in ring.addresses if (key := ring.get(address)))


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "operators.json"
    path.write_text("keys that hold funds")
    said = run("new", path, env={VARIABLE: PASSWORD})
    assert isinstance(said.exception, KeystoreError)
    assert "is there already" in str(said.exception)
    assert path.read_text() == "keys that hold funds"


def test_a_short_password_gets_the_slow_derivation(tmp_path: Path) -> None:
    for password, work in ((PASSWORD, 2**14), ("short", 2**18)):
        path = tmp_path / f"{work}.json"
        assert run("new", path, env={VARIABLE: password}).exit_code == 0
        assert json.loads(path.read_text())["keystores"][0]["crypto"]["kdfparams"]["n"] == work


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "operators.json"
    said = run("new", path)
    assert "no password: set OURO_KEYSTORE_PASSWORD" in str(said.exception)
    assert not path.exists()
    (tmp_path / "empty").touch()
    assert "first line is empty" in str(run("new", path, "--password-file", tmp_path / "empty").exception)
    assert "no such keystore" in str(run("show", path).exception)
    assert run("new", path, env={VARIABLE: PASSWORD}).exit_code == 0
    wrong = run("show", path, env={VARIABLE: "another one"})
    assert "the password does not open it" in str(wrong.exception)
    # at a terminal it is asked for, twice where it will be needed later
    asked: list[bool] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(command.typer, "prompt", lambda *_, **how: asked.append(how["hide_input"]) or PASSWORD)
    assert command._password(VARIABLE, None, confirm=True) == PASSWORD
    assert asked == [True]
