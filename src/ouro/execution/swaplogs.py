"""What pools say they swapped, read from the logs of a transaction by their families."""

from collections.abc import Sequence

from ouro.protocols.registry import FAMILIES
from ouro.types import Hop, Log


def realised(hops: Sequence[Hop], logs: Sequence[Log]) -> tuple[int, ...]:
    """Hop inputs and the last output by the pools' own events; empty unless the logs tell every one of them.

    An amount that no event of a hop has is that of its neighbour: a hop takes what the one before it gave.
    """
    told: list[tuple[int | None, int | None]] = []
    for hop in hops:
        family = FAMILIES.get(hop.family)
        found = family.realised(hop, logs) if family is not None else None
        if found is None:
            return ()
        told.append(found)
    amounts: list[int] = []
    before: int | None = None
    for amount_in, amount_out in told:
        taken = before if amount_in is None else amount_in
        if taken is None:
            return ()
        amounts.append(taken)
        before = amount_out
    return (*amounts, before) if before is not None else ()
