"""What pools say they swapped, read from their Swap events."""

from collections.abc import Sequence

from ouro.hashing import topic
from ouro.types import Address, Hop, Log

V2_SWAP_TOPIC = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
V3_SWAP_TOPIC = topic("Swap(address,address,int256,int256,uint160,uint128,int24)")
_WORD = 64


def swap_amounts(pool: Address, i: int, j: int, log: Log) -> tuple[int, int] | None:
    """(amount in, amount out) if ``log`` is a swap of token ``i`` for ``j`` in ``pool``, else None."""
    if log.address != pool or not log.topics:
        return None
    words = [int(log.data[k : k + _WORD], 16) for k in range(2, len(log.data) - _WORD + 1, _WORD)]
    if log.topics[0] == V2_SWAP_TOPIC and len(words) == 4:
        amount_in, amount_out = words[i], words[2 + j]
    elif log.topics[0] == V3_SWAP_TOPIC and len(words) == 5:
        # The pool's balance changes: positive came in, negative (two's complement) went out.
        amount_in, amount_out = words[i], (1 << 256) - words[j]
    else:
        return None
    return (amount_in, amount_out) if 0 < amount_in < 1 << 255 and 0 < amount_out < 1 << 255 else None


def realised(hops: Sequence[Hop], logs: Sequence[Log]) -> tuple[int, ...]:
    """Hop inputs and the last output by the pools' own events; empty unless each hop has exactly one."""
    amounts: list[int] = []
    out = 0
    for hop in hops:
        found = [pair for log in logs if (pair := swap_amounts(hop.pool, hop.i, hop.j, log))]
        if len(found) != 1:
            return ()
        amounts.append(found[0][0])
        out = found[0][1]
    return (*amounts, out)
