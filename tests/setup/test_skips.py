"""A skip where everything was installed is a failure; absent recorded data never is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.needs_package("ouro-no-such-package", "/nowhere/*/ouro-no-such-program")
def test_package():
    raise AssertionError("not reached")

@pytest.mark.needs_package("dash", "sh")
def test_present():
    pass

def test_data(shared_data):
    raise AssertionError("not reached")

def test_own_skip():
    pytest.skip("did not feel like it")

@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("forbid", "closing"),
    [("0", "1 passed, 3 skipped, 1 xfailed"), ("1", "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error")],
)
def test_skips(tmp_path: Path, repo_root: Path, forbid: str, closing: str) -> None:
    (tmp_path / "conftest.py").write_text((repo_root / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs_package: x\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"OURO_FORBID_SKIPS": forbid, "OURO_SHARED_DATA": str(tmp_path / "absent")}
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "-c", "pytest.ini"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert closing in done.stdout.splitlines()[-1], done.stdout
    assert "apt-get install ouro-no-such-package" in done.stdout
