"""Halting and letting go on, from the page: the same store and the same audit chain as the command line."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ouro.audit import note
from ouro.control import ControlError, ControlStore, Scope, control_folder


@dataclass(frozen=True, slots=True)
class Standing:
    """A halt in force as people read it."""

    id: str
    scope: str
    mode: str
    by: str
    why: str
    source: str
    at_ms: int

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.scope}: {self.why} ({self.by})"


class Controls:
    """The halts of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._store = ControlStore(control_folder(data_dir))

    def in_force(self) -> Sequence[Standing]:
        """What is halted now; a store that can't be read says so as a halt."""
        return [
            Standing(each.id, each.scope_text, each.mode, each.by, each.why, each.source, each.at_ms)
            for each in self._store.all()
        ]

    def history(self) -> list[dict[str, Any]]:
        """Halts and liftings, newest first."""
        return list(reversed(self._store.history()))

    def halt(self, *, by: str, why: str, chain: str | None, strategy: str | None) -> Standing:
        """Stop ``strategy`` on ``chain`` (None: all); durable and in the audit chain when it returns.

        Raises ``ControlError`` naming the field that is missing.
        """
        made = self._store.halt(by=by, why=why, chain=chain, strategy=strategy)
        self._note("halt", {"halt": asdict(made)})
        return Standing(made.id, made.scope_text, made.mode, made.by, made.why, made.source, made.at_ms)

    def resume(self, halt_id: str, *, by: str, why: str) -> None:
        """Lift one halt, in somebody's name and for a reason. Raises ``ControlError``."""
        if not halt_id:
            raise ControlError("id: name the halt to lift")
        lifted = self._store.resume(Scope(id=halt_id), by=by, why=why)
        self._note("resume", {"by": by, "why": why, "halts": [asdict(each) for each in lifted]})

    def _note(self, kind: str, body: dict[str, Any]) -> None:
        note(self._data_dir / "audit", kind, {**body, "via": "dashboard"})
