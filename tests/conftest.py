"""What every room's tests share: where things are, and which skips are honest.

``OURO_FORBID_SKIPS=1`` (set where everything has been installed) turns a skip into a failure, except for recorded
data beside the checkout, which no package provides.
"""

import glob
import os
import shutil
import socket
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

REPO_ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("OURO_SHARED_DATA") or REPO_ROOT.parent / "shared" / "data")
_NO_DATA = "shared/data is absent"


def skips_forbidden() -> bool:
    """Everything that can be installed has been."""
    return os.environ.get("OURO_FORBID_SKIPS", "") not in ("", "0")


# Where a change is judged, every run tries the same examples; elsewhere each run looks for new ones.
settings.register_profile("ouro", deadline=None, derandomize=skips_forbidden())
settings.load_profile("ouro")


def find_program(pattern: str) -> Path | None:
    """A program by name, or by a path that may hold ``*`` (Debian's PostgreSQL is not on the PATH)."""
    found = shutil.which(pattern) or next(iter(sorted(glob.glob(pattern), reverse=True)), None)  # noqa: PTH207
    return Path(found) if found else None


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before the workers that would each do it."""
    if not hasattr(config, "workerinput"):
        from ouro.strategies.warm import warm

        warm()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.needs_package("postgresql", "/usr/lib/postgresql/*/bin/postgres")``: package, program."""
    for mark in item.iter_markers("needs_package"):
        if not mark.args:
            continue  # the test looks for itself
        package, *programs = mark.args
        missing = [program for program in programs or [package] if find_program(program) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)} of the Debian package {package} (apt-get install {package})")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.CallInfo[None], None]:
    """Where skips are forbidden, report them as failures with the reason."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    if not (report.skipped and skips_forbidden()) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if _NO_DATA not in reason:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where skips are forbidden: {reason}"


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recorded data beside the checkout; skips where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{_NO_DATA}: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
