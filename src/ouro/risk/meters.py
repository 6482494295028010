"""Sums over rolling time, with what is in flight held apart: it does not age before it is final."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Entry:
    """One final amount; ``counted`` while it is in its meter's sum."""

    at_ms: int
    amount: int
    counted: bool = True


@dataclass(slots=True, eq=False)
class Meter:
    """What was used of one limit on one key: ``held`` in flight, ``total`` final within the window."""

    window_ms: int
    held: int = 0
    total: int = 0
    entries: deque[Entry] = field(default_factory=deque)

    def used(self, now_ms: int) -> int:
        """In flight, and final within the window."""
        entries = self.entries
        if entries:
            oldest = now_ms - self.window_ms
            # A clock that was set back may leave an older entry behind a younger one: it goes when that one does.
            while entries and entries[0].at_ms <= oldest:
                gone = entries.popleft()
                if gone.counted:
                    gone.counted = False
                    self.total -= gone.amount
        return self.held + self.total

    def add(self, at_ms: int, amount: int) -> Entry:
        """Count a final amount."""
        entry = Entry(at_ms, amount)
        self.entries.append(entry)
        self.total += amount
        return entry

    def withdraw(self, entry: Entry) -> None:
        """It does not count any more (nothing happens if it has aged)."""
        if entry.counted:
            entry.counted = False
            self.total -= entry.amount
