"""A block's logs of one Uniswap V3 pool at once: a run of ``Swap`` ends where its last one does.

The oracle is written by the first that leaves the tick, with the tick and liquidity that stood before; amounts add
up. The last log of a run is checked as ever, and every log for its shape.
"""

from collections.abc import Mapping, Sequence

from ouro.protocols.base import Folded
from ouro.protocols.v3_events import SWAP_TOPIC, PoolDelta, Reader, SwapDelta, apply, decode
from ouro.protocols.v3_state import U32, UniswapV3State
from ouro.types import Log

_WORD_CHARS = 64
_SIGN = 1 << 255
_U256 = 1 << 256
_SWAP_CHARS = 2 + 5 * _WORD_CHARS
_TICK_AT = 2 + 4 * _WORD_CHARS


def fold(
    state: UniswapV3State, logs: Sequence[Log], timestamp: int, readers: Mapping[str, Reader]
) -> Folded | None:
    """Runs of swaps at once, and everything else as it comes."""
    deltas: list[tuple[UniswapV3State, PoolDelta]] = []
    at, count = 0, len(logs)
    while at < count:
        end = at
        while end < count and logs[end].topics[0] == SWAP_TOPIC:
            end += 1
        if end - at > 1:
            merged = _merged_swaps(state, logs[at:end], timestamp, readers)
            if merged is None:
                return None
            at = end
        else:
            delta = decode(state, logs[at], timestamp, readers)
            merged = [] if delta is None else [delta]
            at += 1
        for delta in merged:
            after = apply(state, delta)
            deltas.append((state, delta))
            state = after
    return state, deltas


def _merged_swaps(
    state: UniswapV3State, run: Sequence[Log], timestamp: int, readers: Mapping[str, Reader]
) -> list[SwapDelta] | None:
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
    last = decode(state, run[-1], timestamp, readers)
    if not isinstance(last, SwapDelta):
        return None
    if left is None or last.tick != here or state.observation.timestamp == timestamp & U32:
        return [_with_amounts(last, amount0, amount1)]
    first = decode(state, run[left], timestamp, readers)
    if not isinstance(first, SwapDelta):
        return None
    return [first, _with_amounts(last, amount0 - first.amount0, amount1 - first.amount1)]


def _tick(data: str) -> int:
    word = int(data[_TICK_AT:], 16)
    return word - _U256 if word >= _SIGN else word


def _with_amounts(delta: SwapDelta, amount0: int, amount1: int) -> SwapDelta:
    return SwapDelta(delta.sqrt_price_x96, delta.tick, delta.liquidity, amount0, amount1, delta.timestamp)
