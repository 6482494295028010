"""``ouro demo`` as a person starts it, and the processes that it leaves."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError

PATIENCE_S = 150.0

CHAIN_KEYS = {
    "blocks", "blocks_decided", "pools", "cycles", "opportunities", "refused", "attempts", "landed", "lost",
    "reverted", "expired", "dropped", "success_rate", "gross_profit_wei", "net_profit_wei", "net_profit_usd",
    "gas_spent_wei", "predicted_equals_executed", "latency_ms",
}  # fmt: skip
"""What a chain's figures have to name."""

ProcessId = tuple[int, str]
"""Pid and start time: pids are used again."""


class DemoCommand:
    """A running ``ouro demo --json``. Use as a context manager: nothing is left, whatever the test does."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.work_dir = folder / "work dir"
        command = [
            sys.executable,
            "-m",
            "ouro.cli",
            "demo",
            "--json",
            "--no-ui",
            "--work-dir",
            "work dir",
            *arguments,
        ]
        self._stdout = (folder / "stdout").open("w+")
        self._stderr = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(command, cwd=folder, stdout=self._stdout, stderr=self._stderr)
        self.family: set[ProcessId] = set()

    def __enter__(self) -> "DemoCommand":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.close()
        self._stderr.close()

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """The exit code."""
        return wait_all(self, patience_s=patience_s)[0]

    def wait_until_told(self, text: str) -> None:
        """Until stderr holds ``text``."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.stderr:
            self.family |= descendants(self.process.pid)
            assert self.process.poll() is None, f"ended without {text!r}: {self.stderr[-1_500:]}"
            assert time.monotonic() < deadline, f"never said {text!r}: {self.stderr[-1_500:]}"
            time.sleep(0.05)

    def wait_for_books(self, what: str, condition: Callable[[Books], bool]) -> None:
        """Until ``condition`` holds of the books, however many blocks that takes."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._books_say(condition):
            self.family |= descendants(self.process.pid)
            assert self.process.poll() is None, f"ended before {what}: {self.stderr[-1_500:]}"
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.stderr[-1_500:]}"
            time.sleep(0.2)

    def _books_say(self, condition: Callable[[Books], bool]) -> bool:
        try:
            books = Books.open(f"sqlite:///{self.work_dir / 'ledger.db'}")
        except LedgerError:
            return False  # not there yet
        try:
            return condition(books)
        except LedgerError:
            return False
        finally:
            books.close()

    def wait_for_children(self) -> None:
        """Until there is something that could be left behind."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.family:
            self.family |= descendants(self.process.pid)
            assert time.monotonic() < deadline, f"it started nothing: {self.stderr[-1_500:]}"
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """A signal to the parent alone, as a supervisor sends it."""
        self.process.send_signal(number)

    @property
    def stdout(self) -> str:
        """All of it so far."""
        return Path(self._stdout.name).read_text()

    @property
    def stderr(self) -> str:
        """All of it so far."""
        return Path(self._stderr.name).read_text(errors="replace")

    def left_behind(self) -> set[ProcessId]:
        """Descendants that are still there; they get a moment to be gone."""
        assert self.family, "no process of the demo was ever seen"
        deadline = time.monotonic() + 60.0
        while (alive := self.family & set(_processes().keys())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return alive


def wait_all(*demos: DemoCommand, patience_s: float = PATIENCE_S) -> list[int]:
    """Exit codes of all; collects their descendants meanwhile."""
    deadline = time.monotonic() + patience_s
    while any(demo.process.poll() is None for demo in demos):
        for demo in demos:
            demo.family |= descendants(demo.process.pid)
        assert time.monotonic() < deadline, f"no end: {[demo.stderr[-1_500:] for demo in demos]}"
        time.sleep(0.1)
    return [demo.process.returncode for demo in demos]


def descendants(pid: int) -> set[ProcessId]:
    """All processes below ``pid``."""
    children: dict[int, list[ProcessId]] = defaultdict(list)
    for process, parent in _processes().items():
        children[parent].append(process)
    found: set[ProcessId] = set()
    waiting = [pid]
    while waiting:
        for child in children[waiting.pop()]:
            found.add(child)
            waiting.append(child[0])
    return found


def _processes() -> dict[ProcessId, int]:
    """Every process that is not a zombie, with its parent."""
    found: dict[ProcessId, int] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.name), fields[19]] = int(fields[1])
    return found
