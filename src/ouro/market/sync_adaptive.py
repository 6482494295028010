"""Reading pools of Algebra's adaptive-fee generation at a pinned block: the pool, its fee configuration, its tick
map, and of its data storage all entries that a day's fee depends on.

The volume of the current block has no getter; its storage word is read. Entries are read backwards in portions
until one is older than the day's window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ouro.chain.quantity import parse_data
from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently
from ouro.market.shapes import Garbage, answer_words, require_tokens, set_bits, signed, unsigned
from ouro.market.sync_v3 import bitmap_words
from ouro.protocols.algebra_oracle import RING, U32, WINDOW_S, FeeConfig, Timepoint, Timepoints
from ouro.protocols.algebra_state import LIQUIDITY_SLOT, AlgebraAdaptiveState
from ouro.protocols.v3_state import MAX_TICK_SPACING
from ouro.protocols.v3_ticks import TickTable
from ouro.types import Address

_HEAD_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("tickSpacing()"), 4_000),
    (selector("globalState()"), 6_000),
    (selector("liquidity()"), 4_000),
    (selector("dataStorageOperator()"), 4_000),
)
_TICK_TABLE = selector("tickTable(int16)")
_TICKS = selector("ticks(int24)")
_TIMEPOINTS = selector("timepoints(uint256)")
_FEE_CONFIG = selector("feeConfig()")
_CONFIG_BITS = (16, 16, 32, 32, 16, 16, 32, 16, 16)
_CODES_AT_ONCE = 50
_FIRST_PORTION = 32
_MOST_AT_ONCE = 4_096


@dataclass(slots=True)
class _Draft:
    pool: NewPool
    spacing: int = 0
    head: list[int] = field(default_factory=list)
    liquidity: int = 0
    volume: int = 0
    operator: Address = ""
    config: FeeConfig = FeeConfig()  # noqa: RUF009 - frozen
    set_ticks: list[int] = field(default_factory=list)
    ticks: dict[int, tuple[int, int]] = field(default_factory=dict)
    entries: list[Timepoint] = field(default_factory=list)
    """Newest first."""
    complete: bool = False
    garbage: Garbage | None = None


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[AlgebraAdaptiveState | Garbage]:
    """State or the reason why there is none, per pool in order."""
    drafts = [_Draft(pool) for pool in pools]
    reads = [Read(draft.pool.address, data, gas) for draft in drafts for data, gas in _HEAD_CALLS]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        _take_head(draft, [next(answers) for _ in _HEAD_CALLS])
    await _read_volumes(reader, _sound(drafts), block)
    await _read_maps(reader, multicall, _sound(drafts), block)
    await _read_ticks(reader, multicall, _sound(drafts), block)
    portion = _FIRST_PORTION
    while behind := [draft for draft in _sound(drafts) if not draft.complete]:
        await _read_entries(reader, multicall, behind, block, portion)
        portion = min(2 * portion, _MOST_AT_ONCE)
    return [_state(draft) for draft in drafts]


def _sound(drafts: Sequence[_Draft]) -> list[_Draft]:
    return [draft for draft in drafts if draft.garbage is None]


def _take_head(draft: _Draft, answers: Sequence[bytes | None]) -> None:
    token0, token1, spacing, head, liquidity, operator = answers
    try:
        require_tokens(token0, token1, (draft.pool.token0, draft.pool.token1))
        draft.spacing = signed(answer_words(spacing, 1, "tickSpacing()")[0], 24, "tickSpacing")
        if not 0 < draft.spacing <= MAX_TICK_SPACING:
            raise Garbage(f"tickSpacing() is {draft.spacing}")
        price, tick, fee, index, share0, share1, _ = answer_words(head, 7, "globalState()")
        draft.head = [
            unsigned(price, 160, "price"),
            signed(tick, 24, "tick"),
            unsigned(fee, 16, "fee"),
            unsigned(index, 16, "timepointIndex"),
            unsigned(share0, 8, "communityFeeToken0"),
            unsigned(share1, 8, "communityFeeToken1"),
        ]
        if not draft.head[0]:
            draft.complete = True  # no price yet: no entries either
        draft.liquidity = unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity")
        place = unsigned(answer_words(operator, 1, "dataStorageOperator()")[0], 160, "dataStorageOperator")
        draft.operator = "0x" + place.to_bytes(20).hex()
    except Garbage as garbage:
        draft.garbage = garbage


async def _read_volumes(reader: Caller, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    for k in range(0, len(drafts), _CODES_AT_ONCE):
        part = drafts[k : k + _CODES_AT_ONCE]
        calls = [("eth_getStorageAt", [draft.pool.address, hex(LIQUIDITY_SLOT), block.tag]) for draft in part]

        async def ask(calls: list[tuple[str, list[Any]]] = calls) -> list[Any]:
            return await reader.batch(calls, READ_TIMEOUT_MS)

        for draft, answer in zip(part, await patiently(ask, "storage of pools"), strict=True):
            try:
                word = int(parse_data(answer), 16)
            except ValueError:
                draft.garbage = Garbage("its storage can't be read")
                continue
            if word & (1 << 128) - 1 != draft.liquidity:
                draft.garbage = Garbage("its storage is not laid out as algebra_adaptive's")
            draft.volume = word >> 128


async def _read_maps(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads: list[Read] = []
    for draft in drafts:
        words = bitmap_words(draft.spacing)
        reads += [Read(draft.pool.address, _TICK_TABLE + uint_word(word), 5_000) for word in words]
        reads.append(Read(draft.operator, _FEE_CONFIG, 6_000))
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(word, next(answers)) for word in bitmap_words(draft.spacing)]
        config = next(answers)
        try:
            for word, answer in found:
                [bits] = answer_words(answer, 1, f"tickTable({word})")
                draft.set_ticks += [(word * 256 + bit) * draft.spacing for bit in set_bits(bits)]
            draft.config = _config(config)
        except Garbage as garbage:
            draft.garbage = garbage


def _config(answer: bytes | None) -> FeeConfig:
    found = answer_words(answer, len(_CONFIG_BITS), "feeConfig()")
    return FeeConfig(*(unsigned(word, bits, "feeConfig") for word, bits in zip(found, _CONFIG_BITS, strict=True)))


async def _read_ticks(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(d.pool.address, _TICKS + uint_word(tick), 13_000) for d in drafts for tick in d.set_ticks]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(tick, next(answers)) for tick in draft.set_ticks]
        try:
            for tick, answer in found:
                gross, net = answer_words(answer, 8, f"ticks({tick})")[:2]
                draft.ticks[tick] = (
                    unsigned(gross, 128, f"ticks({tick}).liquidityTotal"),
                    signed(net, 128, f"ticks({tick}).liquidityDelta"),
                )
        except Garbage as garbage:
            draft.garbage = garbage


async def _read_entries(
    reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock, portion: int
) -> None:
    """The next ``portion`` entries back in time, of each pool."""
    places = []
    for draft in drafts:
        newest, count = draft.head[3], min(portion, RING - len(draft.entries))
        places.append([(newest - len(draft.entries) - k) % RING for k in range(count)])
    reads = [
        Read(draft.operator, _TIMEPOINTS + uint_word(place), 8_000)
        for draft, asked in zip(drafts, places, strict=True)
        for place in asked
    ]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft, asked in zip(drafts, places, strict=True):
        found = [next(answers) for _ in asked]
        try:
            _take_entries(draft, found, block.timestamp)
        except Garbage as garbage:
            draft.garbage = garbage


def _take_entries(draft: _Draft, found: Sequence[bytes | None], now: int) -> None:
    for answer in found:
        known, time, cumulative, seconds, volatility, average, volume = answer_words(answer, 7, "timepoints()")
        if not known:
            draft.complete = True
            break
        entry = Timepoint(
            unsigned(time, 32, "timepoint.blockTimestamp"),
            signed(cumulative, 56, "timepoint.tickCumulative"),
            unsigned(seconds, 160, "timepoint.secondsPerLiquidity"),
            unsigned(volatility, 88, "timepoint.volatility"),
            signed(average, 24, "timepoint.averageTick"),
            unsigned(volume, 144, "timepoint.volumePerLiquidity"),
        )
        draft.entries.append(entry)
        if (now - entry.timestamp) & U32 >= WINDOW_S:
            draft.complete = True
            break
    draft.complete = draft.complete or len(draft.entries) >= RING
    if draft.complete and not draft.entries:
        raise Garbage("its data storage has no entry at its index")


def _state(draft: _Draft) -> AlgebraAdaptiveState | Garbage:
    if draft.garbage is not None:
        return draft.garbage
    price, tick, fee, index, share0, share1 = draft.head
    return AlgebraAdaptiveState(
        address=draft.pool.address,
        tokens=(draft.pool.token0, draft.pool.token1),
        operator=draft.operator,
        tick_spacing=draft.spacing,
        fee_config=draft.config,
        fee_ppm=fee,
        timepoint_index=index,
        volume_in_block=draft.volume,
        community_fee=(share0, share1),
        sqrt_price_x96=price,
        tick=tick,
        liquidity=draft.liquidity,
        ticks=TickTable(draft.ticks),
        timepoints=Timepoints(reversed(draft.entries)),
    )


def fee_reads(state: AlgebraAdaptiveState, pool: NewPool) -> list[Read]:
    """The call that tells the fee configuration, which changes without an event of the pool."""
    return [Read(state.operator, _FEE_CONFIG, 6_000)]


def with_fee(state: AlgebraAdaptiveState, answers: Sequence[bytes | None]) -> AlgebraAdaptiveState:
    """The state with the answer of ``fee_reads``. Raises ``Garbage``."""
    config = _config(answers[0])
    return state if config == state.fee_config else msgspec.structs.replace(state, fee_config=config)
