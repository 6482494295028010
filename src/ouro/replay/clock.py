"""The clock of a replay: it stands where the block that is being looked at was received."""

from ouro.types import BlockUpdate


class ReplayClock:
    """Time as decisions may see it: the recording's. Never goes back, whatever the blocks say."""

    def __init__(self, timestamp: int) -> None:
        self._wall_s = timestamp
        self._now_ns = 0
        self.went_back = 0

    def at(self, update: BlockUpdate) -> None:
        """Go on to ``update``; a block that is older than the last is counted, and time stands still."""
        if update.timestamp < self._wall_s:
            self.went_back += 1
        self._wall_s = max(self._wall_s, update.timestamp)
        self._now_ns = max(self._now_ns, update.received_ns)

    def ns(self) -> int:
        """As ``time.monotonic_ns``: when the last block was received."""
        return self._now_ns

    def wall_s(self) -> float:
        """As ``time.time``."""
        return float(self._wall_s)

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return self._wall_s * 1_000
