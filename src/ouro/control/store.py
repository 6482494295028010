"""The halts in force, as every process asks for them before each order."""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from ouro.control.errors import ControlError
from ouro.control.files import STATE_NAME, State, exclusive, read_history, read_state, write_state
from ouro.control.model import (
    PERSON,
    UNREADABLE,
    Halt,
    HaltMode,
    Scope,
    checked_name,
    checked_source,
    checked_text,
)

_Stamp = tuple[int, int, int] | None
_Key = tuple[str | None, str | None]


def control_folder(data_dir: Path) -> Path:
    """Where the halts of a configuration are."""
    return data_dir / "control"


def _log() -> Any:
    """Imported when something happens: the signer, which starts with this module, logs nothing else."""
    import structlog

    return structlog.get_logger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ControlStore:
    """Halts by chain and strategy. Asking costs one look at the file's stamp; it is read again only when changed.

    A store that can't be read, or that was there and is gone, stops everything: `in_force` then gives one halt that
    says so. Writing is durable when it returns, and serialised over all processes.
    """

    def __init__(self, folder: Path, *, clock_ms: Callable[[], int] = _now_ms) -> None:
        self.folder = folder
        self._path = str(folder / STATE_NAME)
        self._clock_ms = clock_ms
        self._stamp: _Stamp | Literal["new", "error"] = "new"
        self._halts: tuple[Halt, ...] = ()
        self._answers: dict[_Key, tuple[Halt, ...]] = {}
        self._next_end_ms: int | None = None
        self._seen = False

    # ---------------------------------------------------------------------------------------------- asking

    def in_force(self, chain: str | None = None, strategy: str | None = None) -> tuple[Halt, ...]:
        """Halts that reach ``strategy`` on ``chain``; None asks for what holds for every one of them."""
        self._refresh()
        key = (chain, strategy)
        known = self._answers.get(key)
        if known is None:
            known = tuple(halt for halt in self._halts if halt.reaches(chain, strategy))
            self._answers[key] = known
        return known

    def on_chain(self, chain: str) -> tuple[Halt, ...]:
        """Everything in force that touches ``chain``, whatever the strategy."""
        return tuple(halt for halt in self.all() if halt.chain in (None, chain))

    def all(self) -> tuple[Halt, ...]:
        """Everything in force, oldest first."""
        self._refresh()
        return self._halts

    def history(self) -> list[dict[str, Any]]:
        """Every change, oldest first: ``event`` (halt, resume, repair), ``by``, ``why``, ``at_ms``, ``halts``."""
        return list(read_history(self.folder))

    # ---------------------------------------------------------------------------------------------- changing

    def halt(
        self,
        *,
        by: str,
        why: str,
        chain: str | None = None,
        strategy: str | None = None,
        mode: HaltMode = "stop",
        source: str = PERSON,
        until_ms: int | None = None,
        open_attempts: Literal["cancel", "leave"] = "cancel",
    ) -> Halt:
        """Stop ``strategy`` on ``chain`` (None: all); durable when it returns. Raises ``ControlError``.

        A breaker that trips again while its halt is in force gets that one (or a later end of it), so that it may
        say so at every block.
        """
        if mode not in ("stop", "reduce_only", "throttle"):
            raise ControlError(f"mode: {mode!r} is none of stop, reduce_only, throttle")
        wanted = Halt(
            id=secrets.token_hex(6),
            chain=checked_name("chain", chain),
            strategy=checked_name("strategy", strategy),
            mode=mode,
            by=checked_text("by", by),
            why=checked_text("why", why),
            source=checked_source(source),
            at_ms=self._clock_ms(),
            until_ms=until_ms,
            open_attempts=open_attempts,
        )
        standing = self._standing(self.all(), wanted)
        if standing is not None and not _is_later(wanted, standing):
            return standing
        with exclusive(self.folder):
            state = self._read_to_change()
            standing = self._standing(state.halts, wanted)
            if standing is not None:
                if not _is_later(wanted, standing):
                    return standing
                wanted = replace(standing, until_ms=wanted.until_ms, why=wanted.why)
            others = tuple(halt for halt in state.halts if halt.id != wanted.id)
            self._write(State(state.sequence + 1, (*others, wanted)), "halt", wanted.by, wanted.why, (wanted,))
        return wanted

    def resume(self, scope: Scope | None = None, *, by: str, why: str) -> list[Halt]:
        """Lift what ``scope`` names (None: everything); the halts that were lifted.

        Raises ``ControlError`` without a name or a reason, or when nothing like that is in force.
        """
        by, why = checked_text("by", by), checked_text("why", why)
        scope = scope or Scope()
        with exclusive(self.folder):
            state = self._read_to_change()
            lifted = tuple(halt for halt in state.halts if scope.covers(halt))
            if not lifted:
                standing = "; ".join(halt.describe() for halt in state.halts) or "nothing is halted"
                raise ControlError(f"no halt of {scope} is in force: {standing}")
            kept = tuple(halt for halt in state.halts if not scope.covers(halt))
            self._write(State(state.sequence + 1, kept), "resume", by, why, lifted)
        return list(lifted)

    def repair(self, *, by: str, why: str) -> None:
        """Begin a damaged store anew, with a halt of everything in it: what was in force is not known any more."""
        by, why = checked_text("by", by), checked_text("why", why)
        with exclusive(self.folder):
            at_ms = self._clock_ms()
            everything = Halt(secrets.token_hex(6), None, None, "stop", by, f"store repaired: {why}", PERSON, at_ms)
            self._write(State(at_ms, (everything,)), "repair", by, why, (everything,))

    # ---------------------------------------------------------------------------------------------- inside

    def halt_by_signal(self, chain: str | None, where: str) -> None:
        """SIGUSR1 to ``where``: halt, and say so in the audit chain. Raises ``ControlError`` when it can't halt."""
        from ouro.audit import AuditError, note

        written = self.halt(chain=chain, by="signal", why=f"SIGUSR1 to {where}")
        try:
            note(self.folder.parent / "audit", "halt", {"halt": asdict(written)})
        except AuditError as error:
            _log().error("halt_not_in_audit_chain", error=str(error))

    def _read_to_change(self) -> State:
        state = read_state(self.folder)
        now_ms = self._clock_ms()
        return State(state.sequence, tuple(halt for halt in state.halts if not halt.has_ended(now_ms)))

    def _write(self, state: State, event: str, by: str, why: str, halts: tuple[Halt, ...]) -> None:
        facts = {"event": event, "by": by, "why": why, "at_ms": self._clock_ms()}
        write_state(self.folder, state, {**facts, "halts": [asdict(halt) for halt in halts]})
        self._stamp = "new"
        _log().warning(f"trading_{event}", by=by, why=why, halts=[halt.describe() for halt in halts])

    @staticmethod
    def _standing(halts: tuple[Halt, ...], wanted: Halt) -> Halt | None:
        if wanted.source == PERSON:
            return None
        same = ("chain", "strategy", "mode", "source")
        return next((h for h in halts if all(getattr(h, name) == getattr(wanted, name) for name in same)), None)

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - Path.stat costs more than the rest
            stamp: _Stamp | Literal["error"] = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            stamp = None
        except OSError:
            stamp = "error"
        if stamp == self._stamp and stamp != "error" and (stamp is not None or not self._seen):
            if self._next_end_ms is not None and self._clock_ms() >= self._next_end_ms:
                self._adopt(self._halts)
            return
        self._read(stamp)

    def _read(self, stamp: _Stamp | Literal["error"]) -> None:
        try:
            if stamp is None and self._seen:
                raise ControlError(f"{self._path}: was there and is gone; restore it, or `ouro halt --repair`")
            halts = read_state(self.folder).halts
            self._seen = self._seen or stamp is not None
        except ControlError as error:
            if self._stamp != "error":
                _log().critical(
                    "halts_unreadable", error=str(error), detail="nothing is traded until that is cured"
                )
            self._stamp = "error"
            why = f"the halts can't be read, so everything is halted: {error}"
            self._adopt((Halt("unreadable", None, None, "stop", "ouro", why, UNREADABLE, 0),))
            return
        self._stamp = stamp
        self._adopt(halts)

    def _adopt(self, halts: tuple[Halt, ...]) -> None:
        now_ms = self._clock_ms()
        self._halts = tuple(halt for halt in halts if not halt.has_ended(now_ms))
        ends = [h.until_ms for h in self._halts if h.mode == "throttle" and h.until_ms is not None]
        self._next_end_ms = min(ends, default=None)
        self._answers = {}


def _is_later(wanted: Halt, standing: Halt) -> bool:
    """Whether a breaker asks for longer than what stands; without an end is longest."""
    if standing.until_ms is None:
        return False
    return wanted.until_ms is None or wanted.until_ms > standing.until_ms
