"""What is wrong at this moment, from what an instance leaves behind (halts, books, metrics)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from ouro.config.model import OuroConfig
from ouro.control import ControlError, ControlStore, control_folder
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.monitoring.alerts.store import Alert
from ouro.monitoring.endpoint import is_alive
from ouro.monitoring.metrics import FOLDER
from ouro.monitoring.read import Snapshot, read_metrics

log = structlog.get_logger(__name__)

RUNBOOKS = "docs/runbooks"
SILENT_S = 15.0
_BOOKS_EVERY_S = 5.0
_STALE = 2.0


@dataclass(slots=True)
class Sources:
    """Looks at everything of one instance. ``since_s``: signs of life from before it are of an earlier run."""

    config: OuroConfig
    since_s: float = 0.0
    wall_s: Callable[[], float] = time.time
    _books_at: float = 0.0
    _books: tuple[Alert, ...] = ()
    _complained: str = ""

    def look(self) -> dict[str, Alert]:
        """Everything that is wrong now, by key."""
        found: dict[str, Alert] = {}
        for source in (self.halts, self.books, self.metrics):
            try:
                found.update((alert.key, alert) for alert in source())
            except Exception as error:
                text = f"{source.__name__}: {type(error).__name__}: {error}"
                if text != self._complained:
                    self._complained = text
                    log.warning("alerts_source", error=text)
        return found

    def halts(self) -> Iterator[Alert]:
        """A halt that a person or a breaker has set."""
        folder = control_folder(self.config.data_dir)
        try:
            halts = ControlStore(folder).all()
        except ControlError as error:
            yield Alert(
                "halts", "critical", "halts can't be read: nothing is traded", str(error), runbook=_page("halted")
            )
            return
        for halt in halts:
            kind, _, name = halt.source.partition(":")
            page = "breaker-tripped" if kind == "breaker" else "halted"
            who = f"breaker {name}" if kind == "breaker" else halt.by
            title = f"{halt.scope_text}: {halt.mode} by {who}"
            yield Alert(f"halt:{halt.id}", "critical", title, halt.why, halt.chain or "", _page(page))

    def books(self) -> tuple[Alert, ...]:
        """Chains whose balances differ from the books."""
        now_s = self.wall_s()
        if now_s >= self._books_at + _BOOKS_EVERY_S:
            self._books_at = now_s
            self._books = tuple(self._compared())
        return self._books

    def _compared(self) -> Iterator[Alert]:
        try:
            books = Books.open(self.config.ledger.url)
        except LedgerError:
            return  # not written yet, or not by this version: the engine says so
        try:
            latest = books.last_reconciliations()
        except LedgerError as error:
            yield Alert(
                "ledger", "warning", "the books can't be read", str(error), runbook=_page("ledger-not-writable")
            )
            return
        finally:
            books.close()
        for chain, check in latest.items():
            if check.max_abs_difference_wei:
                title = f"{chain}: books and chain differ by {check.max_abs_difference_wei} wei"
                detail = (
                    f"at block {check.block_number}, {len(check.differences)} of {check.balances_checked} balances"
                )
                yield Alert(f"books:{chain}", "critical", title, detail, chain, _page("books-differ"))

    def metrics(self) -> Iterator[Alert]:
        """What the processes told of themselves, and those that tell nothing any more."""
        seen = read_metrics(self.config.data_dir)
        dead = self._silent(seen)
        for process, seconds in dead.items():
            title = f"{process} has given no sign of life for {seconds:.0f} s"
            chain = process.removeprefix("engine-") if process.startswith("engine-") else ""
            yield Alert(f"silent:{process}", "critical", title, "", chain, _page("engine-dead"))
        if seen.value("ouro_ledger_writable") == 0:
            title = "the books can't be written: nothing is traded"
            yield Alert("ledger", "critical", title, "", "", _page("ledger-not-writable"))
        for chain in self.config.chains:
            yield from self._of_chain(seen, chain)

    def _of_chain(self, seen: Snapshot, chain: str) -> Iterator[Alert]:
        # While a chain is loaded for the first time it is not stale yet, but young.
        blocks = seen.total("ouro_blocks_total", chain=chain)
        if blocks and seen.value("ouro_source_level", chain=chain, source="blocks") == _STALE:
            last_s = seen.value("ouro_source_update_timestamp_seconds", chain=chain, source="blocks")
            age = "" if last_s is None else f"the last block came {self.wall_s() - last_s:.0f} s ago"
            yield Alert(
                f"stale:{chain}",
                "critical",
                f"{chain} is stale: nothing is traded",
                age,
                chain,
                _page("chain-stale"),
            )
        reserve = seen.value("ouro_gas_reserve_trades", chain=chain)
        if reserve is not None and reserve < self.config.alerts.gas_reserve_trades:
            title = f"{chain}: an operator can pay {reserve:.1f} more transactions at worst"
            yield Alert(f"gas:{chain}", "critical", title, "send native coins to it", chain, _page("gas-tank-low"))
        used = seen.value("ouro_limit_used_ratio", chain=chain, limit="daily_loss")
        if used is not None and used > 0.8:
            title = f"{chain} has used {used:.0%} of its daily loss"
            yield Alert(f"loss:{chain}", "critical", title, "", chain, _page("drawdown"))

    def _silent(self, seen: Snapshot) -> dict[str, float]:
        """Engine processes of this run that were heard and are not any more, and for how long."""
        now_s = self.wall_s()
        beats = seen.by("ouro_process_heartbeat_timestamp_seconds", "process")
        return {
            process: now_s - at_s
            for process, at_s in beats.items()
            if process.startswith("engine") and at_s >= self.since_s and now_s - at_s > SILENT_S
        }


def _page(name: str) -> str:
    return f"{RUNBOOKS}/{name}.md"


def any_process_alive(data_dir: Path) -> bool:
    """Whether some process that counts under ``data_dir`` lives."""
    pids = {file.stem.rpartition("_")[2] for file in (data_dir / FOLDER).glob("*.db")}
    return any(pid.isdecimal() and is_alive(int(pid)) for pid in pids)
