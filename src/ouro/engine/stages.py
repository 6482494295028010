"""When a block reached each stage on its way from the socket to the lane."""

from collections.abc import Callable
from dataclasses import dataclass, fields

STAGES = ("received", "read", "applied", "found", "sized", "approved", "simulated", "signed", "journaled", "sent")
"""In the order in which a block passes them. ``received``: its bytes were read off the socket. ``read``: parsed,
checked, and taken by the engine. ``applied``: market and shadow are at its state. ``found``: candidates. ``sized``:
exact integers, plans. ``approved``: risk. ``simulated``: pre-flight of every plan. ``signed``, ``journaled``,
``sent``: the last of the block's transactions."""


@dataclass(slots=True)
class BlockTimes:
    """``time.monotonic_ns`` of each stage of one block, 0 where it did not get there; and how much there was."""

    number: int = 0
    received: int = 0
    read: int = 0
    applied: int = 0
    found: int = 0
    sized: int = 0
    approved: int = 0
    simulated: int = 0
    signed: int = 0
    journaled: int = 0
    sent: int = 0
    logs: int = 0
    touched: int = 0
    candidates: int = 0
    plans: int = 0
    transactions: int = 0

    def last_ns(self) -> int:
        """The latest stage that was reached."""
        return max(getattr(self, stage) for stage in STAGES)

    def steps_us(self) -> dict[str, float]:
        """Time of each stage that was reached, since the one before."""
        found: dict[str, float] = {}
        before = self.received
        for stage in STAGES[1:]:
            at = getattr(self, stage)
            if at:
                found[stage] = (at - before) / 1_000
                before = at
        return found


TimesListener = Callable[[BlockTimes], None]

assert {*STAGES} <= {field.name for field in fields(BlockTimes)}
