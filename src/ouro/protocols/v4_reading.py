"""Reading Uniswap V4 pools out of the manager's storage by ``extsload``.

Pools whose hook acts on swaps are refused before anything is read: what a hook does can't be known.
"""

from collections.abc import Sequence

import msgspec

from ouro.hashing import selector
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Answers, Garbage, Read, Script, uint_word, words
from ouro.protocols.tick_maps import bitmap_words, ticks_of_bitmap
from ouro.protocols.v3_ticks import TickTable
from ouro.protocols.v4_state import (
    DYNAMIC_FEE_FLAG,
    LIQUIDITY,
    UniswapV4State,
    base_slot,
    bitmap_slot,
    refusal,
    tick_slot,
)
from ouro.types import Address

_EXTSLOAD = selector("extsload(bytes32[])")
_SLOTS_AT_ONCE = 250
_GAS_PER_SLOT = 3_000
_GAS_PER_CALL = 5_000
_U24, _U128, _U160, _U256 = (1 << 24) - 1, (1 << 128) - 1, (1 << 160) - 1, (1 << 256) - 1


def read(pool: NewPool) -> Script[UniswapV4State]:
    """Slot0 and liquidity, the bitmap, the ticks."""
    state = _announced(pool)
    if reason := refusal(state):
        raise Garbage(reason)
    base = base_slot(state)
    slot0, liquidity = yield from load(state.manager, [base, (base + LIQUIDITY) & _U256])
    state = _with_head(state, slot0, liquidity)
    spacing = state.tick_spacing
    bitmap = yield from load(state.manager, [bitmap_slot(state, word) for word in bitmap_words(spacing)])
    ticks = ticks_of_bitmap(bitmap, spacing)
    entries = yield from load(state.manager, [tick_slot(state, tick) for tick in ticks])
    table = {tick: (word & _U128, _signed(word >> 128, 128)) for tick, word in zip(ticks, entries, strict=True)}
    return msgspec.structs.replace(state, ticks=TickTable(table))


def refresh(state: UniswapV4State) -> Script[UniswapV4State]:
    """Slot0, which has the fee that a hook may have set."""
    [slot0] = yield from load(state.manager, [base_slot(state)])
    fee_ppm = slot0 >> 208 & _U24
    return state if fee_ppm == state.lp_fee_ppm else msgspec.structs.replace(state, lp_fee_ppm=fee_ppm)


def _announced(pool: NewPool) -> UniswapV4State:
    """A pool by its key alone."""
    fixed = 0 if pool.fee_ppm == DYNAMIC_FEE_FLAG else pool.fee_ppm
    low, high = pool.tokens
    return UniswapV4State(
        pool.address, pool.factory, (low, high), pool.fee_ppm, pool.tick_spacing, pool.hooks, fixed
    )


def load(manager: Address, slots: Sequence[int]) -> Script[list[int]]:
    """These words of the manager's storage, in one round."""
    parts = [slots[k : k + _SLOTS_AT_ONCE] for k in range(0, len(slots), _SLOTS_AT_ONCE)]
    answers: Answers = yield [_extsload(manager, part) for part in parts]
    return [word for part, answer in zip(parts, answers, strict=True) for word in _loaded(answer, len(part))]


def _extsload(manager: Address, slots: Sequence[int]) -> Read:
    data = _EXTSLOAD + uint_word(32) + uint_word(len(slots)) + b"".join(map(uint_word, slots))
    return Read(manager, data, _GAS_PER_CALL + _GAS_PER_SLOT * len(slots))


def _loaded(answer: bytes | None, count: int) -> list[int]:
    found = words(answer or b"")
    if len(found) != count + 2 or found[0] != 32 or found[1] != count:
        raise Garbage(f"the manager's extsload does not answer with {count} words")
    return found[2:]


def _with_head(state: UniswapV4State, slot0: int, liquidity: int) -> UniswapV4State:
    if not slot0 & _U160:
        raise Garbage("the manager has no such pool: it is not initialised")
    if liquidity >> 128:
        raise Garbage(f"liquidity = {liquidity} does not fit uint128")
    return msgspec.structs.replace(
        state,
        sqrt_price_x96=slot0 & _U160,
        tick=_signed(slot0 >> 160 & _U24, 24),
        protocol_fee=slot0 >> 184 & _U24,
        lp_fee_ppm=slot0 >> 208 & _U24,
        liquidity=liquidity,
    )


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
