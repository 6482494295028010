"""Reading pools of Algebra's adaptive-fee generation: state, ticks, a day of the data storage.

The entries of the data storage are read backwards, in growing portions, until one has left the day's window (or the
first one is reached): what a fee can still depend on. The volume since the last entry has no getter: its word is
read.
"""

import msgspec

from ouro.hashing import selector
from ouro.protocols.algebra_oracle import RING, FeeConfig, Timepoint, Timepoints, older
from ouro.protocols.algebra_state import LIQUIDITY_SLOT, AlgebraAdaptiveState
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import (
    Garbage,
    Read,
    Script,
    StorageRead,
    account,
    answer_words,
    require_tokens,
    signed,
    uint_word,
    unsigned,
)
from ouro.protocols.tick_maps import bitmap_reads, bitmap_ticks, tick_reads, tick_table
from ouro.protocols.v3_state import MAX_TICK_SPACING
from ouro.types import Address

_HEAD_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("tickSpacing()"), 4_000),
    (selector("globalState()"), 8_000),
    (selector("liquidity()"), 4_000),
    (selector("dataStorageOperator()"), 4_000),
    (selector("factory()"), 4_000),
)
_FEE_CONFIG = selector("feeConfig()")
_TICK_TABLE = selector("tickTable(int16)")
_TICKS = selector("ticks(int24)")
_TIMEPOINTS = selector("timepoints(uint256)")
_CONFIG_GAS = 12_000
_TICK_GAS = 15_000
_TIMEPOINT_GAS = 12_000
_FIRST_PORTION = 256
_CONFIG_BITS = (16, 16, 32, 32, 16, 16, 32, 16, 16)
_U128 = (1 << 128) - 1


def read(pool: NewPool) -> Script[AlgebraAdaptiveState]:
    """Head values; configuration, volume and bitmap; ticks and the newest entries; older entries."""
    answers = yield [Read(pool.address, data, gas) for data, gas in _HEAD_CALLS]
    state = _head(pool, answers)
    if not state.sqrt_price_x96:
        [config] = yield [_config_read(state.operator)]
        return msgspec.structs.replace(state, fee_config=_config(config))
    config, volume, *bitmap = yield [
        _config_read(state.operator),
        StorageRead(pool.address, LIQUIDITY_SLOT),
        *bitmap_reads(pool.address, _TICK_TABLE, state.tick_spacing),
    ]
    ticks = bitmap_ticks(bitmap, state.tick_spacing, "tickTable")
    first = range(_FIRST_PORTION)
    answers = yield [
        *tick_reads(pool.address, _TICKS, ticks, _TICK_GAS),
        *(_entry_read(state, back) for back in first),
    ]
    return msgspec.structs.replace(
        state,
        fee_config=_config(config),
        volume_in_block=_volume(volume, state.liquidity),
        ticks=tick_table(ticks, answers[: len(ticks)], 8),
        timepoints=(yield from _entries(state, answers[len(ticks) :])),
    )


def refresh(state: AlgebraAdaptiveState) -> Script[AlgebraAdaptiveState]:
    """What no log of the pool tells: how its fee follows the data storage."""
    [answer] = yield [_config_read(state.operator)]
    config = _config(answer)
    return state if config == state.fee_config else msgspec.structs.replace(state, fee_config=config)


def _head(pool: NewPool, answers: list[bytes | None]) -> AlgebraAdaptiveState:
    token0, token1, spacing, head, liquidity, operator, factory = answers
    require_tokens((token0, token1), pool.tokens)
    tick_spacing = answer_words(spacing, 1, "tickSpacing()")[0]
    if not 0 < tick_spacing <= MAX_TICK_SPACING:
        raise Garbage(f"tickSpacing = {tick_spacing}")
    price, tick, fee, index, share0, share1, _ = answer_words(head, 7, "globalState()")
    return AlgebraAdaptiveState(
        address=pool.address,
        tokens=(pool.tokens[0], pool.tokens[1]),
        operator=account(operator, "dataStorageOperator()"),
        factory=account(factory, "factory()"),
        tick_spacing=tick_spacing,
        fee_ppm=unsigned(fee, 16, "fee"),
        timepoint_index=unsigned(index, 16, "timepointIndex"),
        community_fee=(unsigned(share0, 8, "communityFeeToken0"), unsigned(share1, 8, "communityFeeToken1")),
        sqrt_price_x96=unsigned(price, 160, "price"),
        tick=signed(tick, 24, "tick"),
        liquidity=unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity"),
    )


def _config_read(operator: Address) -> Read:
    return Read(operator, _FEE_CONFIG, _CONFIG_GAS)


def _config(answer: bytes | None) -> FeeConfig:
    values = answer_words(answer, len(_CONFIG_BITS), "feeConfig()")
    return FeeConfig(*(unsigned(v, bits, "feeConfig()") for v, bits in zip(values, _CONFIG_BITS, strict=True)))


def _volume(word: bytes | None, liquidity: int) -> int:
    if word is None:
        raise Garbage("its storage can't be read")
    value = int.from_bytes(word)
    if value & _U128 != liquidity:
        raise Garbage("its storage is laid out otherwise: no liquidity where it should be")
    return value >> 128


def _entry_read(state: AlgebraAdaptiveState, back: int) -> Read:
    entry = (state.timepoint_index - back) % RING
    return Read(state.operator, _TIMEPOINTS + uint_word(entry), _TIMEPOINT_GAS)


def _entries(state: AlgebraAdaptiveState, answers: list[bytes | None]) -> Script[Timepoints]:
    """All that the fee may need, the newest ones given; portions double."""
    newest_first: list[Timepoint] = []
    portion = _FIRST_PORTION
    while not _complete(newest_first, answers):
        portion *= 2
        known = len(newest_first)
        answers = yield [_entry_read(state, back) for back in range(known, min(known + portion, RING))]
    return Timepoints(reversed(newest_first))


def _complete(entries: list[Timepoint], answers: list[bytes | None]) -> bool:
    """Take older entries; True when no further one is needed."""
    for answer in answers:
        known, time, ticks, seconds, volatility, average, volume = answer_words(answer, 7, "timepoints()")
        if not known:
            if not entries:
                raise Garbage("its last entry does not exist")
            return True
        entry = Timepoint(
            unsigned(time, 32, "blockTimestamp"),
            signed(ticks, 56, "tickCumulative"),
            unsigned(seconds, 160, "secondsPerLiquidityCumulative"),
            unsigned(volatility, 88, "volatilityCumulative"),
            signed(average, 24, "averageTick"),
            unsigned(volume, 144, "volumePerLiquidityCumulative"),
        )
        entries.append(entry)
        if len(entries) >= 2 and older(entry, entries[0].timestamp):
            return True
    return len(entries) == RING
