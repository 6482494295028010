"""What can go wrong with the copy of the chain's state, said so that the caller knows what to do."""

from enum import StrEnum


class Remedy(StrEnum):
    """What the caller of the market has to do next."""

    IGNORE = "ignore"  # the update was seen before; nothing was lost
    RESYNC = "resync"  # the state can't be continued: load the market anew
    FIX_FEED = "fix_feed"  # the update contradicts itself: fetch it again from another endpoint


class MarketError(Exception):
    """An update that can't be applied. Nothing of it was."""

    def __init__(self, reason: str, remedy: Remedy) -> None:
        super().__init__(f"{reason} (what to do: {remedy.value})")
        self.reason = reason
        self.remedy = remedy


class SyncError(Exception):
    """The node's answers don't allow a consistent state to be read."""


class SnapshotError(Exception):
    """A file of saved state that must not be used; the message names the file, the place and the reason."""
