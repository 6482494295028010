"""Where a concentrated pool keeps what its events change; ``Layout`` has what differs between the dialects.

Not derived, because it does not change what a swap pays: fee growth (slots 1 and 2, words 1 and 2 of a tick), what
crossings do to the oracle's share of a tick (word 3), protocol fees owed (slot 3), positions (mapping 7).
"""

from collections.abc import Iterator

from ouro.protocols.storage import BalanceChange, StorageWrite, mapping_slot
from ouro.protocols.tick_maps import bitmap_slots, tick_slots
from ouro.protocols.v3_events import (
    CardinalityDelta,
    InitializeDelta,
    LiquidityDelta,
    PoolDelta,
    SwapDelta,
    TransferDelta,
    apply,
)
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_TICK
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import WORD_BITS

_U24, _U56, _U128, _U256 = (1 << 24) - 1, (1 << 56) - 1, (1 << 128) - 1, (1 << 256) - 1


def slot0_words(state: UniswapV3State) -> dict[int, int]:
    """Slot0 packed (and the word after it where it needs two), with the reentrancy lock open."""
    layout, unlocked = state.layout, int(bool(state.sqrt_price_x96))
    if layout.fee_word:
        return {layout.slot0: _price_word(state), layout.slot0 + 1: state.fee_protocol | unlocked << 32}
    if layout.packs_protocol_fee:
        return {layout.slot0: _price_word(state) | state.fee_protocol << 232 | unlocked << 240}
    return {layout.slot0: _price_word(state) | unlocked << 232}


def liquidity_word(state: UniswapV3State) -> int:
    """The word with the liquidity in range."""
    if not state.layout.liquidity_shares_word:
        return state.liquidity
    spacing = state.tick_spacing
    ticks = 2 * (MAX_TICK // spacing) + 1
    return state.liquidity | MAX_LIQUIDITY // ticks << 128


def _price_word(state: UniswapV3State) -> int:
    return (
        state.sqrt_price_x96
        | (state.tick & _U24) << 160
        | state.observation_index << 184
        | state.observation_cardinality << 200
        | state.observation_cardinality_next << 216
    )


def observation_word(state: UniswapV3State) -> int:
    """The oracle's last entry packed."""
    last = state.observation
    return last.timestamp | (last.tick_cumulative & _U56) << 32 | last.seconds_per_liquidity_x128 << 88 | 1 << 248


def storage_writes(state: UniswapV3State, delta: PoolDelta) -> tuple[StorageWrite | BalanceChange, ...]:
    """Words and balances that ``delta`` changes in the contract, given the state before it."""
    after = apply(state, delta)
    writes: list[StorageWrite | BalanceChange] = []
    layout, before = state.layout, slot0_words(state)
    writes += [
        StorageWrite(state.address, slot, word) for slot, word in slot0_words(after).items() if word != before[slot]
    ]
    if after.liquidity != state.liquidity:
        writes.append(StorageWrite(state.address, layout.liquidity, liquidity_word(after)))
    if after.observation != state.observation or isinstance(delta, InitializeDelta):
        slot = layout.observations + after.observation_index
        writes.append(StorageWrite(state.address, slot, observation_word(after)))
    if isinstance(delta, CardinalityDelta):  # the contract marks new entries so that filling them costs less
        new = range(state.observation_cardinality_next, delta.cardinality_next)
        writes += [StorageWrite(state.address, layout.observations + index, 1) for index in new]
    if isinstance(delta, LiquidityDelta) and delta.change:
        for tick in (delta.lower, delta.upper):
            writes += _tick_writes(state, after, tick, delta.timestamp)
    return (*writes, *_balance_changes(state, delta))


def _tick_writes(before: UniswapV3State, after: UniswapV3State, tick: int, timestamp: int) -> list[StorageWrite]:
    layout = after.layout
    base = mapping_slot(tick, layout.ticks)
    gross, net = after.ticks.get(tick, (0, 0))
    writes = [StorageWrite(after.address, base, gross | (net & _U128) << 128)]
    if not gross:  # the contract deletes the whole entry
        writes += [StorageWrite(after.address, (base + word) & _U256, 0) for word in range(1, layout.tick_words)]
    elif tick not in before.ticks:
        writes.append(
            StorageWrite(
                after.address, (base + layout.outside_word) & _U256, _outside_word(before, tick, timestamp)
            )
        )
    if (tick in before.ticks) != (tick in after.ticks):
        word = tick // after.tick_spacing // WORD_BITS
        value = after.ticks.bitmap_word(word, after.tick_spacing)
        writes.append(StorageWrite(after.address, mapping_slot(word, layout.bitmap), value))
    return writes


def _outside_word(before: UniswapV3State, tick: int, timestamp: int) -> int:
    """Word 3 of a tick that becomes initialised: all time so far counts as below it, if it is below the price."""
    if tick > before.tick:
        return 1 << 248
    now = before.observation.advanced(timestamp, before.tick, before.liquidity)
    return (now.tick_cumulative & _U56) | now.seconds_per_liquidity_x128 << 56 | now.timestamp << 216 | 1 << 248


def _balance_changes(state: UniswapV3State, delta: PoolDelta) -> list[BalanceChange]:
    amounts = (0, 0)
    if isinstance(delta, SwapDelta | TransferDelta) or (isinstance(delta, LiquidityDelta) and delta.change > 0):
        amounts = (delta.amount0, delta.amount1)
    return [
        BalanceChange(token, state.address, amount)
        for token, amount in zip(state.tokens, amounts, strict=True)
        if amount
    ]


# ---------------------------------------------------------------------------------------------- what a swap touches

RING_SIZE = 65_535
MAX_OBSERVATIONS = 64
"""Entries of an oracle's ring that are loaded around the current one. Others read as zero, which changes no amount;
a swap that writes one is then estimated 15 000 gas too high."""


def slots(state: UniswapV3State) -> Iterator[int]:
    """All below the ring, the whole entries of the initialised ticks, and the farm of a dialect that has one."""
    layout = state.layout
    yield from range(layout.observations)
    yield from bitmap_slots(state.ticks, state.tick_spacing, layout.bitmap)
    yield from tick_slots(state.ticks, layout.ticks, range(layout.tick_words))
    if layout.fee_word:
        yield farm_slot(state)


def farm_slot(state: UniswapV3State) -> int:
    """Where PancakeSwap's pools keep the farm that they report to: behind the ring."""
    return state.layout.observations + RING_SIZE


def slots_from_logs(state: UniswapV3State) -> Iterator[int]:
    """What ``storage_writes`` keeps exact, observations aside."""
    layout = state.layout
    yield from (*slot0_words(state), layout.liquidity)
    yield from bitmap_slots(state.ticks, state.tick_spacing, layout.bitmap)
    yield from tick_slots(state.ticks, layout.ticks, (0,))


def ring_slots(slot0: int, first: int) -> tuple[int, ...]:
    """Slots of a ring that starts at ``first``: the current entry and those that follow it."""
    index, cardinality = slot0 >> 184 & 0xFFFF, slot0 >> 200 & 0xFFFF
    size = max(cardinality, slot0 >> 216 & 0xFFFF, 1)
    return tuple(first + (index + k) % size for k in range(min(size, MAX_OBSERVATIONS)))


def fee_growth_slot(state: UniswapV3State, zero_for_one: bool) -> int:
    """Where the pool adds up the fees of the token that goes in."""
    layout = state.layout
    return layout.slot0 + (2 if layout.fee_word else 1) + (0 if zero_for_one else 1)


def swap_slots(state: UniswapV3State, zero_for_one: bool) -> tuple[int, ...]:
    """Words that any swap in this direction touches: price, liquidity, fee growth, the first word of the bitmap.

    What a swap crosses beyond is left out: it depends on the amount.
    """
    layout = state.layout
    compressed = state.tick // state.tick_spacing + (0 if zero_for_one else 1)
    first = mapping_slot(compressed >> 8, layout.bitmap)
    return (*slot0_words(state), fee_growth_slot(state, zero_for_one), layout.liquidity, first)
