"""What pools say they swapped, read from their Swap events."""

from collections.abc import Sequence

from ouro.hashing import topic
from ouro.types import Hop, Log, PoolId

V2_SWAP_TOPIC = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
SOLIDLY_SWAP_TOPIC = topic("Swap(address,address,uint256,uint256,uint256,uint256)")
V3_SWAP_TOPIC = topic("Swap(address,address,int256,int256,uint160,uint128,int24)")
PANCAKE_V3_SWAP_TOPIC = topic("Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)")
V4_SWAP_TOPIC = topic("Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)")

_IN_AND_OUT = {V2_SWAP_TOPIC: 4, SOLIDLY_SWAP_TOPIC: 4}
"""Inputs of both tokens, then outputs of both; with the number of words."""
_BALANCE_CHANGES = {V3_SWAP_TOPIC: 5, PANCAKE_V3_SWAP_TOPIC: 7}
"""The pool's balance changes: positive came in, negative (two's complement) went out."""
_WORD = 64


def swap_amounts(pool: PoolId, i: int, j: int, log: Log) -> tuple[int, int] | None:
    """(amount in, amount out) if ``log`` is a swap of token ``i`` for ``j`` in ``pool``, else None.

    A pool inside a Uniswap V4 manager is known by its id alone: whoever forges such a log makes two of it, and two
    count as none (see ``realised``).
    """
    if not log.topics:
        return None
    kind = log.topics[0]
    if kind == V4_SWAP_TOPIC:
        if len(log.topics) < 2 or log.topics[1] != pool:
            return None
    elif log.address != pool:
        return None
    words = [int(log.data[k : k + _WORD], 16) for k in range(2, len(log.data) - _WORD + 1, _WORD)]
    if _IN_AND_OUT.get(kind) == len(words):
        amount_in, amount_out = words[i], words[2 + j]
    elif _BALANCE_CHANGES.get(kind) == len(words):
        amount_in, amount_out = words[i], (1 << 256) - words[j]
    elif kind == V4_SWAP_TOPIC and len(words) == 6:
        # The swapper's balance changes: the other way round.
        amount_in, amount_out = (1 << 256) - words[i], words[j]
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
