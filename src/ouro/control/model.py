"""A halt, and what it reaches."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ouro.control.errors import ControlError

HaltMode: TypeAlias = Literal["stop", "reduce_only", "throttle"]
MODES: tuple[HaltMode, ...] = get_args(HaltMode)
PERSON = "person"
BREAKER_PREFIX = "breaker:"
UNREADABLE = "breaker:control_store"
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Halt:
    """One order to stop. ``chain`` and ``strategy`` None mean all of them.

    ``mode``: "stop" sends nothing new; "reduce_only" nothing that adds risk (trades are out, cancels and what
    brings funds home stay); "throttle" leaves it to the limits to go slower. ``source`` is "person" or
    "breaker:NAME".
    A throttle ends by itself at ``until_ms``; of the others it only says before when nobody should lift them.
    ``open_attempts`` says whether transactions that are under way are taken back by their nonces, or left to end.
    """

    id: str
    chain: str | None
    strategy: str | None
    mode: HaltMode
    by: str
    why: str
    source: str
    at_ms: int
    until_ms: int | None = None
    open_attempts: Literal["cancel", "leave"] = "cancel"

    def reaches(self, chain: str | None, strategy: str | None) -> bool:
        """Whether it stops ``strategy`` on ``chain``; None asks for what is stopped whatever their names are."""
        return self.chain in (None, chain) and self.strategy in (None, strategy)

    def has_ended(self, now_ms: int) -> bool:
        """Whether it has healed by itself."""
        return self.mode == "throttle" and self.until_ms is not None and now_ms >= self.until_ms

    @property
    def scope_text(self) -> str:
        """What it reaches, for people."""
        chain = "all chains" if self.chain is None else self.chain
        return chain if self.strategy is None else f"{self.strategy} on {chain}"

    def describe(self) -> str:
        """One line for people."""
        return f"{self.scope_text}: {self.mode} by {self.by} ({self.source}): {self.why}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which halts a person lifts: those that name exactly what is given; nothing given lifts all."""

    chain: str | None = None
    strategy: str | None = None
    id: str | None = None
    source: str | None = None

    def covers(self, halt: Halt) -> bool:
        """Whether ``halt`` is meant."""
        asked = ((self.chain, halt.chain), (self.strategy, halt.strategy), (self.source, halt.source))
        return all(want is None or want == has for want, has in asked) and self.id in (None, halt.id)

    def __str__(self) -> str:
        parts = [
            f"{name} {value}" for name in ("id", "chain", "strategy", "source") if (value := getattr(self, name))
        ]
        return ", ".join(parts) or "everything"


def blocks_trades(halts: Iterable[Halt]) -> Halt | None:
    """The first of ``halts`` under which no trade may be sent, or None."""
    return next((halt for halt in halts if halt.mode != "throttle"), None)


def checked_text(field: str, value: str | None, *, least: int = 2) -> str:
    """``value`` without blanks around it, in one line. Raises ``ControlError`` naming ``field``."""
    text = " ".join((value or "").split())
    if len(text) < least:
        raise ControlError(f"{field}: {value!r} says nothing; a name of a person and a reason are needed")
    if len(text) > _LONGEST_TEXT:
        raise ControlError(f"{field}: {len(text)} characters are too many; {_LONGEST_TEXT} are kept")
    return text


def checked_name(field: str, value: str | None) -> str | None:
    """A name of a chain or strategy, or None. Raises ``ControlError`` naming ``field``."""
    if value is None:
        return None
    if not value.strip() or len(value) > _LONGEST_TEXT:
        raise ControlError(f"{field}: {value[:40]!r} is no name; leave it out to mean all")
    return value


def checked_source(source: str) -> str:
    """ "person" or "breaker:NAME". Raises ``ControlError``."""
    if source == PERSON or (source.startswith(BREAKER_PREFIX) and len(source) > len(BREAKER_PREFIX)):
        return source
    raise ControlError(f"source: {source!r} is neither 'person' nor 'breaker:NAME'")
