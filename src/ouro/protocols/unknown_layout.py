"""Families whose contracts keep their words where the compiler put them: everything is read again."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ouro.protocols.base import Family
from ouro.protocols.storage import BalanceChange, Place, StorageWrite


class UnknownLayout(Family):
    """``view_calls`` of the family finds the words that a swap touches; they are read again after a move."""

    views_move: ClassVar[bool] = True

    def storage_writes(self, state: Any, delta: Any) -> tuple[StorageWrite | BalanceChange, ...]:
        """None."""
        return ()

    def places(self, state: Any) -> Iterable[Place]:
        """None that all pools of the family share."""
        return ()

    def places_from_logs(self, state: Any) -> Iterable[Place]:
        """None."""
        return ()

    def known_words(self, state: Any) -> Mapping[Place, int]:
        """None."""
        return {}
