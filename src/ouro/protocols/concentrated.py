"""What families whose pools swap like Uniswap V3's have in common, whatever their ticks and fees are like."""

from typing import Any, ClassVar

from ouro.protocols.base import Family
from ouro.protocols.steps import ConcentratedSwap, Shape
from ouro.protocols.swapevents import balance_changes
from ouro.protocols.v3_events import SWAP_TOPIC
from ouro.types import Hop, Log


class Concentrated(Family):
    """``swap`` by exact input, paid in a callback, with the pool's balance changes in its event."""

    shape: ClassVar[Shape] = Shape.CONCENTRATED
    trial: ClassVar[str] = "ticks"
    swap_topic: ClassVar[str] = SWAP_TOPIC
    swap_words: ClassVar[int] = 5
    """Words in the data of its Swap event."""

    def encode_swap(self, state: Any, i: int, j: int) -> ConcentratedSwap:
        """By direction; the callback pays."""
        return ConcentratedSwap(state.address, i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """From the pool's balance changes."""
        if log.address != hop.pool:
            return None
        return balance_changes(log, self.swap_topic, self.swap_words, hop.i, hop.j)
