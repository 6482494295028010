"""Expected balances while running: what is final is summed up once, what is newer is read again at each look."""

from collections.abc import Sequence

from ouro.ledger.books import Books, Position
from ouro.types import Address

_Key = tuple[Address, Address | None]


class RunningPositions:
    """The positions of one chain at a moving head, from the books alone.

    A block more than ``final_depth`` below the head gets no further entries, so its sums are kept.
    """

    def __init__(self, books: Books, chain: str, final_depth: int) -> None:
        self._books, self._chain, self._final_depth = books, chain, final_depth
        self._base: dict[_Key, int] | None = None
        self._base_block = -1
        self._told: dict[_Key, int] = {}
        self._turn = 0

    def at(self, block_number: int) -> list[Position]:
        """Every opened or booked balance at the end of ``block_number``. Raises `LedgerError`; reads the books."""
        final = block_number - self._final_depth
        if self._base is None or self._base_block > final:
            self._base = _by_key(self._books.positions(self._chain, final))
            self._base_block = final
        elif final > self._base_block:
            self._advance(self._base, self._base_block, final)
            self._base_block = final
        sums = dict(self._base)
        self._advance(sums, final, block_number)
        ordered = sorted(sums.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        return [Position(account, token, wei) for (account, token), wei in ordered]

    def _advance(self, sums: dict[_Key, int], after_block: int, to_block: int) -> None:
        for opening in self._books.openings(self._chain):
            if after_block < opening.block_number <= to_block:
                sums[opening.account, opening.token] = opening.amount_wei
        for each in self._books.changes(self._chain, after_block, to_block):
            key = (each.account, each.token)
            sums[key] = sums.get(key, 0) + each.expected_wei

    def pick(self, positions: Sequence[Position], limit: int) -> list[Position]:
        """At most ``limit`` of them: what changed since the last pick, then the others in turn."""
        changed = [each for each in positions if self._told.get((each.account, each.token)) != each.expected_wei]
        rest = [each for each in positions if self._told.get((each.account, each.token)) == each.expected_wei]
        chosen = changed[:limit]
        room = min(limit - len(chosen), len(rest))
        if room > 0:
            start = self._turn % len(rest)
            chosen += [*rest[start:], *rest[:start]][:room]
            self._turn = start + room
        self._told |= {(each.account, each.token): each.expected_wei for each in chosen}
        return chosen


def _by_key(positions: Sequence[Position]) -> dict[_Key, int]:
    return {(each.account, each.token): each.expected_wei for each in positions}
