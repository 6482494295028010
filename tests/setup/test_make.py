"""The first minute of a newcomer: what is missing is said in one line, and make adds nothing to stdout."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

TOOLS = ("sh", "cat", "make", "mkdir", "flock", "sha256sum", "cut", "env", "pwd", "uname", "touch", "rm")
OLD = "#!/bin/sh\nexit 1\n"


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env: Mapping[str, str] = {"HOME": str(folder)} | environment
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path, repo_root: Path) -> Path:
    folder = tmp_path / "a name with blanks"
    folder.mkdir()
    shutil.copy(repo_root / "Makefile", folder)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with the usual tools only."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


def add(programs: Path, name: str, text: str) -> None:
    (programs / name).write_text(text)
    (programs / name).chmod(0o755)


def add_python(programs: Path) -> None:
    add(programs, "python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed make printed."""
    assert done.returncode != 0
    lines = (done.stderr + done.stdout).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_no_python(checkout: Path, programs: Path) -> None:
    line = said(make(checkout, "setup", PATH=str(programs)))
    assert "Python 3.11 or 3.12 is needed: install python3 and python3-venv" in line


def test_old_python_is_no_python(checkout: Path, programs: Path) -> None:
    add(programs, "python3", OLD)
    assert "Python 3.11 or 3.12 is needed: install" in said(make(checkout, "demo", PATH=str(programs)))
    line = said(make(checkout, "setup", "PYTHON=python3", PATH=str(programs)))
    assert "python3 is not Python 3.11 or 3.12: install" in line


def test_no_or_old_node_or_no_npm(checkout: Path, programs: Path) -> None:
    add_python(programs)
    assert "Node.js 20 or newer is needed: install nodejs" in said(make(checkout, "test", PATH=str(programs)))
    add(programs, "node", OLD)
    assert "Node.js 20 or newer is needed: install nodejs" in said(make(checkout, "test", PATH=str(programs)))
    add(programs, "node", "#!/bin/sh\nexit 0\n")
    assert "npm is needed: install npm" in said(make(checkout, "test", PATH=str(programs)))


def test_make_adds_nothing_to_stdout(checkout: Path, programs: Path) -> None:
    for name in ("python3", "npm", "node"):
        add(programs, name, "#!/bin/sh\necho noise of $0\nexit 0\n")
    for folder in (".venv/bin", "node_modules"):
        (checkout / folder).mkdir(parents=True)
    prefix = '#!/bin/sh\ncase "$2" in *prefix*) echo "$(pwd -P)/.venv";; *) echo noise of $0;; esac\n'
    add(checkout / ".venv/bin", "python", prefix)
    add(checkout / ".venv/bin", "uv", "#!/bin/sh\necho noise of $0\n")
    add(checkout / ".venv/bin", "ouro", '#!/bin/sh\necho "{\\"arguments\\": \\"$*\\"}"\n')
    for name in ("requirements-bootstrap", "requirements-build", "requirements-dev"):
        (checkout / f"{name}.lock").touch()
    for name in ("pyproject.toml", "package.json", "package-lock.json"):
        (checkout / name).touch()
    done = make(checkout, "demo", "ARGS=--json --blocks 3", PATH=str(programs))
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{"arguments": "demo --json --blocks 3"}\n'
    assert "noise" in done.stderr
    outside = subprocess.run(
        ["make", "-s", "-C", str(checkout), "demo", "ARGS=--json"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert outside.stdout == '{"arguments": "demo --json"}\n'


def test_clean_keeps_recorded_data(checkout: Path, programs: Path) -> None:
    for folder in (".venv", "node_modules", ".cache", ".ouro"):
        (checkout / folder).mkdir()
    assert make(checkout, "clean", PATH=str(programs)).returncode == 0
    assert sorted(path.name for path in checkout.iterdir()) == [".ouro", "Makefile"]
