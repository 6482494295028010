"""What pools say they swapped, read from their Swap events by their families."""

from collections.abc import Sequence

from ouro.protocols.registry import FAMILIES
from ouro.types import Hop, Log


def realised(hops: Sequence[Hop], logs: Sequence[Log]) -> tuple[int, ...]:
    """Hop inputs and the last output by the pools' own events; empty unless each hop has exactly one."""
    amounts: list[int] = []
    out = 0
    for hop in hops:
        family = FAMILIES.get(hop.family)
        found = [pair for log in logs if (pair := family.swapped(hop, log))] if family is not None else []
        if len(found) != 1:
            return ()
        amounts.append(found[0][0])
        out = found[0][1]
    return (*amounts, out)
