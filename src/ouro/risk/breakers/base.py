"""What a breaker is."""

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ouro.risk.breakers.events import Event

HaltMode: TypeAlias = Literal["stop", "reduce_only", "throttle"]
SEVERITY: dict[str, int] = {"throttle": 1, "reduce_only": 2, "stop": 3}


@dataclass(frozen=True, slots=True)
class Tripped:
    """A breaker's verdict: what holds now and why. ``until_ms``: when a throttle heals by itself; None: never."""

    mode: HaltMode
    reason: str
    until_ms: int | None = None


class Breaker(Protocol):
    """One reason to stop a chain. No clock, no I/O: it knows only what it is told."""

    @property
    def name(self) -> str: ...
    @property
    def interests(self) -> tuple[type, ...]:
        """The kinds of events that it looks at; empty: all. Blocks should be among them: time passes by them."""
        ...

    def observe(self, event: Event) -> None: ...
    def state(self) -> Tripped | None:
        """What is tripped by what was observed so far."""
        ...

    def reset(self) -> None:
        """A person lifted its halt: what led to it does not count again."""
        ...


class Latch:
    """The state that breakers share: a trip stays, and only ever gets worse, until it heals or is reset."""

    interests: tuple[type, ...] = ()

    def __init__(self, name: str, mode: HaltMode, heal_ms: int) -> None:
        self.name = name
        self._mode: HaltMode = mode
        self._heal_ms = heal_ms
        self._tripped: Tripped | None = None

    def trip(self, reason: str, at_ms: int, mode: HaltMode | None = None) -> None:
        """Trip, or trip worse, or (a throttle) for longer."""
        mode = mode or self._mode
        until = at_ms + self._heal_ms if mode == "throttle" else None
        now = self._tripped
        if now is not None and SEVERITY[now.mode] > SEVERITY[mode]:
            return
        # A standing throttle is only prolonged by a good part of its time: each change is durable and told to all.
        if (
            now is not None
            and now.mode == mode
            and (until is None or (now.until_ms or 0) >= until - self._heal_ms // 2)
        ):
            return
        self._tripped = Tripped(mode, reason, until)

    def heal(self, at_ms: int) -> None:
        """Let go of a throttle whose time has passed."""
        now = self._tripped
        if now is not None and now.mode == "throttle" and now.until_ms is not None and at_ms >= now.until_ms:
            self._tripped = None

    def state(self) -> Tripped | None:
        """See ``Breaker.state``."""
        return self._tripped

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        self._tripped = None


class Window:
    """Amounts of the last so many milliseconds."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._items: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, at_ms: int, amount: int = 1) -> int:
        """Count ``amount``; the sum now."""
        self._items.append((at_ms, amount))
        self.total += amount
        return self.sum(at_ms)

    def take_back(self, at_ms: int) -> None:
        """One less, if there is one."""
        if self.sum(at_ms) > 0:
            self.add(at_ms, -1)

    def sum(self, at_ms: int) -> int:
        """The sum at a time."""
        while self._items and self._items[0][0] <= at_ms - self._window_ms:
            self.total -= self._items.popleft()[1]
        return self.total

    def clear(self) -> None:
        """Forget."""
        self._items.clear()
        self.total = 0
