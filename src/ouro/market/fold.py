"""A block's logs of one pool at once. Within a block only the last reserves or price of a pool can be traded on, so
the steps on the way need not become states; what is left is exactly what one log after the other gives.

Pairs: every ``Sync`` replaces the reserves, and the accumulators move with the block's first alone (no time passes
within a block). Concentrated pools: a run of ``Swap`` ends at the price, tick and liquidity of its last; the oracle
is written by the first that leaves the tick, with the tick and liquidity that stood before; amounts add up. The
last log of a run is checked as ever, and every log for its shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ouro.market.journal import PoolDelta
from ouro.market.venues import pool_of
from ouro.protocols.base import Family
from ouro.protocols.uniswap_v2 import SYNC_TOPIC, SyncDelta
from ouro.protocols.v3_events import SWAP_TOPIC, SwapDelta
from ouro.protocols.v3_state import U32
from ouro.types import Address, Log, PoolId

Folded: TypeAlias = tuple[Any, list[PoolDelta]]
Fold: TypeAlias = Callable[[Family, Any, Sequence[Log], int], "Folded | None"]
"""The state after the logs and what led to it; None where they must be looked at one by one."""


@dataclass(slots=True)
class Grouped:
    """A block's logs by pool id, in order; ``movers`` are the pools with the transaction that came first."""

    groups: dict[int, list[Log]] = field(default_factory=dict)
    movers: dict[PoolId, int] = field(default_factory=dict)
    unknown: list[Log] = field(default_factory=list)


def by_pool(logs: Sequence[Log], index: Mapping[PoolId, int], managers: Mapping[Address, Family]) -> Grouped:
    """``index`` names the pools' ids; which pool a log of one of the ``managers`` is about, its family knows."""
    found = Grouped()
    groups = found.groups
    for log in logs:
        pool = pool_of(log, managers) if log.address in managers else log.address
        pool_id = index.get(pool)
        if pool_id is None:
            found.unknown.append(log)
        elif pool_id in groups:
            groups[pool_id].append(log)
        else:
            groups[pool_id] = [log]
            found.movers[pool] = log.tx_index
    return found


_WORD_CHARS = 64
_U112_ZEROS = "0" * (64 - 28)
_SIGN = 1 << 255
_U256 = 1 << 256
_SWAP_CHARS = 2 + 5 * _WORD_CHARS
_TICK_AT = 2 + 4 * _WORD_CHARS


def fold_pair(family: Family, state: Any, logs: Sequence[Log], timestamp: int) -> Folded | None:
    """Of ``uniswap_v2``: the last ``Sync`` is all that matters."""
    for log in logs:
        data = log.data
        if (
            log.topics[0] != SYNC_TOPIC
            or len(data) != 2 + 2 * _WORD_CHARS
            or not data.startswith(_U112_ZEROS, 2)
            or not data.startswith(_U112_ZEROS, 2 + _WORD_CHARS)
        ):
            return None
    delta = family.decode(state, logs[-1], timestamp)
    if not isinstance(delta, SyncDelta):
        return None
    return family.apply(state, delta), [PoolDelta(family, state, delta)]


def fold_concentrated(family: Family, state: Any, logs: Sequence[Log], timestamp: int) -> Folded | None:
    """Of ``uniswap_v3``: runs of swaps, and everything else as it comes."""
    deltas: list[PoolDelta] = []
    at, count = 0, len(logs)
    while at < count:
        end = at
        while end < count and logs[end].topics[0] == SWAP_TOPIC:
            end += 1
        if end - at > 1:
            merged = _merged_swaps(family, state, logs[at:end], timestamp)
            if merged is None:
                return None
            at = end
        else:
            delta = family.decode(state, logs[at], timestamp)
            merged = [] if delta is None else [delta]
            at += 1
        for delta in merged:
            after = family.apply(state, delta)
            deltas.append(PoolDelta(family, state, delta))
            state = after
    return state, deltas


def _merged_swaps(family: Family, state: Any, run: Sequence[Log], timestamp: int) -> list[SwapDelta] | None:
    """One swap with the amounts of all, or two where the tick left and came back, which the oracle notices."""
    amount0 = amount1 = 0
    left: int | None = None
    here = state.tick
    for k, log in enumerate(run):
        data = log.data
        if len(data) != _SWAP_CHARS:
            return None
        word0, word1 = int(data[2:66], 16), int(data[66:130], 16)
        amount0 += word0 - _U256 if word0 >= _SIGN else word0
        amount1 += word1 - _U256 if word1 >= _SIGN else word1
        if left is None and _tick(data) != here:
            left = k
    last = family.decode(state, run[-1], timestamp)
    if not isinstance(last, SwapDelta):
        return None
    if left is None or last.tick != here or state.observation.timestamp == timestamp & U32:
        return [_with_amounts(last, amount0, amount1)]
    first = family.decode(state, run[left], timestamp)
    if not isinstance(first, SwapDelta):
        return None
    return [first, _with_amounts(last, amount0 - first.amount0, amount1 - first.amount1)]


def _tick(data: str) -> int:
    word = int(data[_TICK_AT:], 16)
    return word - _U256 if word >= _SIGN else word


def _with_amounts(delta: SwapDelta, amount0: int, amount1: int) -> SwapDelta:
    return SwapDelta(delta.sqrt_price_x96, delta.tick, delta.liquidity, amount0, amount1, delta.timestamp)


FOLDS: Mapping[str, Fold] = {"uniswap_v2": fold_pair, "uniswap_v3": fold_concentrated}
"""By family. Of the others every log is decoded by itself."""
