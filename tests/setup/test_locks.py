"""Locks name packages and hashes, never hosts, and leave nothing to be built."""

import json
import re
from pathlib import Path

import pytest

LOCKS = (
    "package-lock.json",
    "contracts.lock",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-audit.lock",
    "requirements-build.lock",
    "requirements-bootstrap.lock",
    "requirements-audit.lock",
)


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_host(repo_root: Path, name: str) -> None:
    lines = (repo_root / name).read_text().splitlines()
    assert [line for line in lines if "://" in line] == [], "run `make lock`, which removes links"


def test_every_lock_is_looked_at(repo_root: Path) -> None:
    found = {path.name for path in repo_root.iterdir() if path.name.endswith((".lock", "-lock.json"))}
    assert found == set(LOCKS)


@pytest.mark.parametrize("name", [name for name in LOCKS if name.startswith("requirements")])
def test_every_requirement_is_pinned_and_hashed(repo_root: Path, name: str) -> None:
    text = re.sub(r"\\\n", " ", (repo_root / name).read_text())
    requirements = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+ ", line), line
        assert "--hash=sha256:" in line, line


def test_development_lock_agrees_with_the_run_lock(repo_root: Path) -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==\S+)", (repo_root / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_package_lock_is_hashed_and_runs_no_scripts(repo_root: Path) -> None:
    packages = json.loads((repo_root / "package-lock.json").read_text())["packages"]
    declared = json.loads((repo_root / "package.json").read_text())["devDependencies"]
    assert packages[""]["devDependencies"] == declared
    for name, entry in packages.items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
            assert not entry.get("hasInstallScript") or entry.get("optional"), name
