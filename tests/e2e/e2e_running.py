"""A demo that runs in a thread of the test, so that the test can break things under it."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from e2e_audit import audit

from ouro.ledger.books import Books
from ouro.ledger.records import AttemptRecord
from ouro.testnet.client import TRANSPORT_ERRORS
from ouro.testnet.demo import Demo, DemoOptions
from ouro.testnet.node import AnvilNode
from ouro.types import Mode, OutcomeKind

PATIENCE_S = 120.0
"""For whatever a test waits for: long enough for a busy machine, and only ever used up by a failure."""


@dataclass(slots=True)
class AuditedDemo(Demo):
    """Compares books and chain by itself once the engine has ended and before the chains are stopped."""

    engine_commands: list[list[str]] = field(default_factory=list)
    """Used up one by one, before the real engine."""

    def figures(self) -> dict[str, Any]:
        """As the demo's, after the audit."""
        if self.options.mode is Mode.LIVE:
            audit(self.ledger_url, self.testnet.chains, self.work_dir)
        return Demo.figures(self)

    def _engine_command(self, config_path: Path) -> list[str]:
        if self.engine_commands:
            return [*self.engine_commands.pop(0), "--config", str(config_path)]
        return Demo._engine_command(self, config_path)


class Running:
    """Use as a context manager; ``finish`` ends the run in order and gives its figures."""

    def __init__(
        self, work_dir: Path, options: DemoOptions, engine_commands: list[list[str]] | None = None
    ) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        self.lines: list[str] = []
        self.demo = AuditedDemo(options, work_dir, self.lines.append, engine_commands=engine_commands or [])
        self._figures: dict[str, Any] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="demo")
        self._books: Books | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.demo.ask_to_stop()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self.kill("engine")
            self._thread.join()
        if self._books is not None:
            self._books.close()

    def _run(self) -> None:
        try:
            self._figures = self.demo.run()
        except BaseException as error:
            self._error = error

    def finish(self) -> dict[str, Any]:
        """Stop, drain, audit; the figures, or what went wrong."""
        self.demo.ask_to_stop()
        return self.result()

    def result(self) -> dict[str, Any]:
        """The figures once the run has ended by itself."""
        self._thread.join(PATIENCE_S)
        if self._error is not None:
            raise self._error
        assert self._figures is not None, f"the run does not end: {self.end_of_log()}"
        return self._figures

    @property
    def books(self) -> Books:
        """The books, while they are written."""
        if self._books is None:
            self._books = Books.open(self.demo.ledger_url)
        return self._books

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Until ``condition`` gives something; fails at once when the run has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            alive = self._thread.is_alive()
            found = condition()
            if found:
                return found
            if not alive and self._error is not None:
                raise self._error
            assert alive, f"the run ended while waiting for {what}"
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.end_of_log()}"
            time.sleep(0.05)

    def wait_for_books(self) -> None:
        """Until there is something to read."""
        self.wait("a session in the books", self._has_session)

    def _has_session(self) -> bool:
        try:
            return bool(self.books.sessions())
        except Exception:
            self._books = None
            return False

    def attempts(self, chain: str) -> list[AttemptRecord]:
        """Trades of a chain, as the books have them now."""
        return [record for record in self.books.attempts(chain=chain) if record.is_trade]

    def landed(self, chain: str) -> int:
        """How many trades have landed."""
        return sum(r.outcome is not None and r.outcome.kind is OutcomeKind.LANDED for r in self.attempts(chain))

    def wait_landed(self, chain: str, more: int = 1) -> int:
        """Until ``more`` trades than now have landed; how many there are then."""
        if self._books is None:
            self.wait_for_books()
        wanted = self.landed(chain) + more
        self.wait(f"{wanted} landed trades on {chain}", lambda: self.landed(chain) >= wanted)
        return self.landed(chain)

    def wait_new_attempt(self) -> None:
        """Until anything is journaled after now: close to where most can go wrong."""
        before = len(self.books.attempts())
        self.wait("another attempt", lambda: len(self.books.attempts()) > before)

    def rest(self, seconds: float) -> None:
        """Let the run go on."""
        self._thread.join(seconds)

    def head(self, chain: str) -> int:
        """The node's head; -1 while it does not answer."""
        try:
            with self.demo.testnet.chains[chain].node.client() as client:
                return int(client.call("eth_blockNumber"), 16)
        except TRANSPORT_ERRORS:
            return -1

    def wait_blocks(self, chain: str, count: int) -> None:
        """Until the chain is ``count`` blocks further."""
        wanted = self.head(chain) + count
        self.wait(f"block {wanted} of {chain}", lambda: self.head(chain) >= wanted)

    def crash_node(self, chain: str) -> AnvilNode:
        """SIGKILL of a chain's node; ``start`` brings it back some blocks behind.

        anvil writes accounts and blocks of its regular state one after the other, and a block mined in between
        leaves accounts that no block explains: a chain that can't exist. Only a state that is one is kept.
        """
        node = self.demo.testnet.chains[chain].node
        whole = self.wait(f"a state of {chain} that is whole", lambda: _whole_state(node.state_path))
        node.kill()
        node.state_path.write_bytes(whole)
        return node

    def pid(self, name: str) -> int:
        """Of ``engine`` or ``signer``."""
        path = self.demo.work_dir / "processes.json"
        self.wait(f"the {name}", path.exists)
        return json.loads(path.read_text())[name]

    def kill(self, name: str) -> int:
        """SIGKILL; the pid that was."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def end_of_log(self) -> str:
        """For messages."""
        path = self.demo.work_dir / "engine.log"
        return path.read_text(errors="replace")[-1_500:] if path.exists() else "(no engine.log)"


def _whole_state(path: Path) -> bytes | None:
    """What the file holds, if every sender's nonce is the number of its transactions up to the head."""
    content = path.read_bytes() if path.exists() else b""
    try:
        state = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    head = state["best_block_number"]
    if int(str(state["block"]["number"]), 0) != head or max(_number(block) for block in state["blocks"]) != head:
        return None
    mined = Counter(
        entry["info"]["from"].lower() for entry in state["transactions"] if entry["block_number"] <= head
    )
    used = {
        account.lower(): int(str(facts["nonce"]), 0)
        for account, facts in state["accounts"].items()
        if facts["code"] in ("0x", "")
    }
    return content if all(mined[account] == nonce for account, nonce in used.items()) else None


def _number(block: dict[str, Any]) -> int:
    return int(str(block["header"]["number"]), 0)


def assert_sound(figures: dict[str, Any], *, success: bool = True, alone: bool = True) -> None:
    """What the figures of every run must satisfy among themselves.

    Only when it is ``alone`` must every landed trade have found the state that it was made for: behind a rival or a
    reorg, or on paper behind the block's own transactions, it may land on another one within its floor.
    """
    assert figures["max_abs_reconciliation_difference_wei"] == 0
    for name, chain in figures["chains"].items():
        finals = {kind.value: chain[kind.value] for kind in OutcomeKind}
        assert sum(finals.values()) == chain["attempts"], name
        assert chain["predicted_equals_executed"] <= chain["landed"], name
        if alone:
            assert chain["predicted_equals_executed"] == chain["landed"], name
        if chain["attempts"]:
            assert chain["success_rate"] == chain["landed"] / chain["attempts"]
        if success:
            assert chain["landed"] > 0, name
