"""Reading pools of Algebra's adaptive-fee generation at a pinned block: state, ticks, a day of the data storage.

The entries of the data storage are read backwards, in growing portions, until one has left the day's window (or the
first one is reached): what a fee can still depend on. The volume since the last entry has no getter: its word is
read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ouro.chain.quantity import parse_quantity
from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently
from ouro.market.shapes import Garbage, answer_words, require_tokens, set_bits, signed, unsigned
from ouro.market.sync_v3 import bitmap_words
from ouro.protocols.algebra_oracle import RING, FeeConfig, Timepoint, Timepoints, older
from ouro.protocols.algebra_state import LIQUIDITY_SLOT, AlgebraAdaptiveState
from ouro.protocols.v3_state import MAX_TICK_SPACING
from ouro.protocols.v3_ticks import TickTable
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
_WORD_GAS = 5_000
_TICK_GAS = 15_000
_TIMEPOINT_GAS = 12_000
_FIRST_PORTION = 256
_CONFIG_BITS = (16, 16, 32, 32, 16, 16, 32, 16, 16)


@dataclass(slots=True)
class _Draft:
    pool: NewPool
    spacing: int = 0
    head: list[int] = field(default_factory=list)
    """Price, tick, fee, index of the last entry, both community fees."""
    liquidity: int = 0
    operator: Address = ""
    factory: Address = ""
    config: FeeConfig = field(default_factory=FeeConfig)
    volume: int = 0
    set_ticks: list[int] = field(default_factory=list)
    ticks: dict[int, tuple[int, int]] = field(default_factory=dict)
    entries: list[Timepoint] = field(default_factory=list)
    """Newest first."""
    complete: bool = False
    garbage: Garbage | None = None

    @property
    def live(self) -> bool:
        """Worth asking more: sound so far, and initialised."""
        return self.garbage is None and self.head[0] != 0


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[AlgebraAdaptiveState | Garbage]:
    """State or the reason why there is none, per pool in order."""
    drafts = [_Draft(pool) for pool in pools]
    await _read_heads(reader, multicall, drafts, block)
    await _read_configs(reader, multicall, [draft for draft in drafts if draft.garbage is None], block)
    await _read_volumes(reader, [draft for draft in drafts if draft.live], block)
    await _read_words(reader, multicall, [draft for draft in drafts if draft.live], block)
    await _read_ticks(reader, multicall, [draft for draft in drafts if draft.live], block)
    portion = _FIRST_PORTION
    while missing := [draft for draft in drafts if draft.live and not draft.complete]:
        await _read_entries(reader, multicall, missing, block, portion)
        portion *= 2
    return [_state(draft) for draft in drafts]


async def _read_heads(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(draft.pool.address, data, gas) for draft in drafts for data, gas in _HEAD_CALLS]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        token0, token1, spacing, head, liquidity, operator, factory = (next(answers) for _ in _HEAD_CALLS)
        try:
            require_tokens(token0, token1, (draft.pool.token0, draft.pool.token1))
            draft.spacing = answer_words(spacing, 1, "tickSpacing()")[0]
            if not 0 < draft.spacing <= MAX_TICK_SPACING:
                raise Garbage(f"tickSpacing = {draft.spacing}")
            price, tick, fee, index, share0, share1, _ = answer_words(head, 7, "globalState()")
            draft.head = [
                unsigned(price, 160, "price"),
                signed(tick, 24, "tick"),
                unsigned(fee, 16, "fee"),
                unsigned(index, 16, "timepointIndex"),
                unsigned(share0, 8, "communityFeeToken0"),
                unsigned(share1, 8, "communityFeeToken1"),
            ]
            draft.liquidity = unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity")
            draft.operator = _account(operator, "dataStorageOperator()")
            draft.factory = _account(factory, "factory()")
        except Garbage as garbage:
            draft.garbage = garbage


def _account(answer: bytes | None, call: str) -> Address:
    return "0x" + unsigned(answer_words(answer, 1, call)[0], 160, call).to_bytes(20).hex()


async def _read_configs(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(draft.operator, _FEE_CONFIG, _CONFIG_GAS) for draft in drafts]
    for draft, answer in zip(drafts, await read_many(reader, multicall, reads, block), strict=True):
        try:
            draft.config = _config(answer)
        except Garbage as garbage:
            draft.garbage = garbage


def _config(answer: bytes | None) -> FeeConfig:
    values = answer_words(answer, len(_CONFIG_BITS), "feeConfig()")
    return FeeConfig(*(unsigned(v, bits, "feeConfig()") for v, bits in zip(values, _CONFIG_BITS, strict=True)))


async def _read_volumes(reader: Caller, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    calls = [("eth_getStorageAt", [draft.pool.address, hex(LIQUIDITY_SLOT), block.tag]) for draft in drafts]
    answers = await patiently(lambda: reader.batch(calls, READ_TIMEOUT_MS), "volumes") if calls else []
    for draft, answer in zip(drafts, answers, strict=True):
        try:
            word = parse_quantity(hex(int(answer, 16)))
        except (TypeError, ValueError):
            draft.garbage = Garbage(f"its storage can't be read: {answer!s:.80}")
            continue
        if word & (1 << 128) - 1 != draft.liquidity:
            draft.garbage = Garbage("its storage is laid out otherwise: no liquidity where it should be")
        draft.volume = word >> 128


async def _read_words(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [
        Read(draft.pool.address, _TICK_TABLE + uint_word(word), _WORD_GAS)
        for draft in drafts
        for word in bitmap_words(draft.spacing)
    ]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(word, next(answers)) for word in bitmap_words(draft.spacing)]
        try:
            for word, answer in found:
                [bits] = answer_words(answer, 1, f"tickTable({word})")
                draft.set_ticks += [(word * 256 + bit) * draft.spacing for bit in set_bits(bits)]
        except Garbage as garbage:
            draft.garbage = garbage


async def _read_ticks(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(d.pool.address, _TICKS + uint_word(tick), _TICK_GAS) for d in drafts for tick in d.set_ticks]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(tick, next(answers)) for tick in draft.set_ticks]
        try:
            for tick, answer in found:
                total, delta = answer_words(answer, 8, f"ticks({tick})")[:2]
                draft.ticks[tick] = (
                    unsigned(total, 128, f"ticks({tick}).liquidityTotal"),
                    signed(delta, 128, f"ticks({tick}).liquidityDelta"),
                )
        except Garbage as garbage:
            draft.garbage = garbage


async def _read_entries(
    reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock, portion: int
) -> None:
    """The next ``portion`` older entries of each ring."""
    wanted = {id(draft): range(len(draft.entries), min(len(draft.entries) + portion, RING)) for draft in drafts}
    reads = [
        Read(draft.operator, _TIMEPOINTS + uint_word((draft.head[3] - back) % RING), _TIMEPOINT_GAS)
        for draft in drafts
        for back in wanted[id(draft)]
    ]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [next(answers) for _ in wanted[id(draft)]]
        try:
            for answer in found:
                _take_entry(draft, answer)
        except Garbage as garbage:
            draft.garbage = garbage
        draft.complete = draft.complete or len(draft.entries) == RING


def _take_entry(draft: _Draft, answer: bytes | None) -> None:
    if draft.complete:
        return
    known, time, ticks, seconds, volatility, average, volume = answer_words(answer, 7, "timepoints()")
    if not known:
        draft.complete = True
        if not draft.entries:
            raise Garbage("its last entry does not exist")
        return
    entry = Timepoint(
        unsigned(time, 32, "blockTimestamp"),
        signed(ticks, 56, "tickCumulative"),
        unsigned(seconds, 160, "secondsPerLiquidityCumulative"),
        unsigned(volatility, 88, "volatilityCumulative"),
        signed(average, 24, "averageTick"),
        unsigned(volume, 144, "volumePerLiquidityCumulative"),
    )
    draft.entries.append(entry)
    draft.complete = len(draft.entries) >= 2 and older(entry, draft.entries[0].timestamp)


def _state(draft: _Draft) -> AlgebraAdaptiveState | Garbage:
    if draft.garbage is not None:
        return draft.garbage
    price, tick, fee, index, share0, share1 = draft.head
    return AlgebraAdaptiveState(
        address=draft.pool.address,
        tokens=(draft.pool.token0, draft.pool.token1),
        operator=draft.operator,
        factory=draft.factory,
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
    """The call that tells again what no log of the pool tells: how its fee follows the data storage."""
    return [Read(state.operator, _FEE_CONFIG, _CONFIG_GAS)]


def with_fee(state: AlgebraAdaptiveState, answers: Sequence[bytes | None]) -> AlgebraAdaptiveState:
    """The state with the configuration of ``fee_reads``. Raises ``Garbage``."""
    config = _config(answers[0])
    return state if config == state.fee_config else msgspec.structs.replace(state, fee_config=config)
