"""Budgets in native wei, in a file that a person can read and every engine does."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ouro.capital.errors import CapitalError
from ouro.capital.files import exclusive, read_json, replace_file, stamp_of

_FORMAT = 1


class Budgets(Protocol):
    """What a limit asks: the most native wei that may be at risk at once. None: no budget is set."""

    def of(self, chain: str, strategy: str, token: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """``strategy`` and ``token`` "*" stand for whatever has no budget of its own."""

    chain: str
    strategy: str
    token: str
    wei: int


@dataclass(frozen=True, slots=True)
class BudgetFile:
    """A whole allocation. ``inputs_sha256`` names the returns and settings that it was made from."""

    made_at_ms: int
    inputs_sha256: str
    multiplier_ppm: int
    budgets: tuple[Budget, ...]

    def to_json(self) -> str:
        """Its text; ``digest`` at the end says that nobody changed it by accident."""
        return json.dumps({**self._content(), "digest": self.digest}, indent=1) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "made_at_ms": self.made_at_ms,
            "inputs_sha256": self.inputs_sha256,
            "multiplier_ppm": self.multiplier_ppm,
            "budgets": [
                {"chain": each.chain, "strategy": each.strategy, "token": each.token, "wei": str(each.wei)}
                for each in self.budgets
            ],
        }


def budget_path(data_dir: Path) -> Path:
    """Where the budgets of a configuration are."""
    return data_dir / "capital" / "budgets.json"


def write_budgets(path: Path, made: BudgetFile) -> None:
    """Put them in force. Raises `CapitalError`."""
    with exclusive(path.parent):
        replace_file(path, made.to_json())


def read_budgets(path: Path) -> BudgetFile | None:
    """Those in force; None where none were ever made. Raises `CapitalError` naming the field."""
    values = read_json(path)
    if values is None:
        return None

    def wrong(field: str, expected: str) -> CapitalError:
        return CapitalError(f"{path}: {field}: {expected}; make budgets anew by `ouro capital apply`")

    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise wrong("format", f"{_FORMAT} is expected")
    rows = values.get("budgets")
    if not isinstance(rows, list):
        raise wrong("budgets", "a list is expected")
    budgets = []
    for position, row in enumerate(rows):
        names = [row.get(key) if isinstance(row, dict) else None for key in ("chain", "strategy", "token", "wei")]
        chain, strategy, token, wei = names
        if not all(isinstance(name, str) and name for name in names) or not str(wei).isdecimal():
            raise wrong(
                f"budgets[{position}]", "chain, strategy, token and a wei of 0 or more, as texts, are expected"
            )
        budgets.append(Budget(str(chain), str(strategy), str(token), int(str(wei))))
    numbers = [values.get("made_at_ms"), values.get("multiplier_ppm")]
    if not all(type(number) is int for number in numbers) or not isinstance(values.get("inputs_sha256"), str):
        raise wrong("made_at_ms, multiplier_ppm, inputs_sha256", "two integers and a hash are expected")
    made = BudgetFile(values["made_at_ms"], values["inputs_sha256"], values["multiplier_ppm"], tuple(budgets))
    if values.get("digest") != made.digest:
        raise wrong("digest", "it is not that of this content, which was changed by hand")
    return made


class FileBudgets:
    """The budgets in force, read again when the file changes. One that can't be read allows nothing, loudly."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._read = False
        self._amounts: dict[tuple[str, str, str], int] | None = None
        self.problem = ""

    def of(self, chain: str, strategy: str, token: str) -> int | None:
        """See `Budgets`: the arm's own, or what is left to explore on the chain; 0 while the file can't be read."""
        self._refresh()
        if self.problem:
            return 0
        if self._amounts is None:
            return None
        own = self._amounts.get((chain, strategy, token))
        return own if own is not None else self._amounts.get((chain, "*", "*"), 0)

    def _refresh(self) -> None:
        stamp = stamp_of(self._path)
        if self._read and stamp == self._stamp:
            return
        self._stamp, self._read = stamp, True
        try:
            made = read_budgets(self._path)
        except CapitalError as error:
            self.problem = str(error)
            return
        self.problem = ""
        self._amounts = (
            None if made is None else {(each.chain, each.strategy, each.token): each.wei for each in made.budgets}
        )
