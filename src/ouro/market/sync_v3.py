"""Reading Uniswap V3 pools and dialects at a pinned block: slot0, liquidity, last observation, the whole tick map.

In three rounds, because each asks for what the one before has found: head values; bitmap words and the observation;
the ticks whose bits are set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, answer_words, require_tokens, set_bits, signed, unsigned
from ouro.protocols.pancakeswap_v3 import PancakeV3State
from ouro.protocols.slipstream import SlipstreamState
from ouro.protocols.v3_math import MAX_TICK, MIN_TICK
from ouro.protocols.v3_state import Observation, UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.types import Address

_HEAD_CALLS = (
    (selector("token0()"), 2_000),
    (selector("token1()"), 2_000),
    (selector("fee()"), 2_000),
    (selector("tickSpacing()"), 2_000),
    (selector("slot0()"), 6_000),
    (selector("liquidity()"), 4_000),
)
_OBSERVATIONS = selector("observations(uint256)")
_TICK_BITMAP = selector("tickBitmap(int16)")
_TICKS = selector("ticks(int24)")
_WORD_GAS = 5_000
_TICK_GAS = 13_000


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the getters of a family differ. ``fee_protocol_bits`` None: slot0 has no protocol fee.

    ``fee_told``: the pool's fee is what ``fee()`` says at the block, not what its factory announced.
    """

    kind: type[UniswapV3State]
    fee_protocol_bits: int | None = 8
    tick_words: int = 8
    fee_told: bool = False


DIALECTS: Mapping[str, Dialect] = {
    "uniswap_v3": Dialect(UniswapV3State),
    "pancakeswap_v3": Dialect(PancakeV3State, fee_protocol_bits=32),
    "slipstream": Dialect(SlipstreamState, fee_protocol_bits=None, tick_words=10, fee_told=True),
}


@dataclass(slots=True)
class _Draft:
    """What is known of a pool so far."""

    pool: NewPool
    dialect: Dialect
    fee_ppm: int = 0
    slot0: list[int] = field(default_factory=list)
    liquidity: int = 0
    observation: Observation = field(default_factory=Observation)
    set_ticks: list[int] = field(default_factory=list)
    ticks: dict[int, tuple[int, int]] = field(default_factory=dict)
    garbage: Garbage | None = None

    @property
    def live(self) -> bool:
        """Worth asking more: sound so far, and initialised."""
        return self.garbage is None and self.slot0[0] != 0


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[UniswapV3State | Garbage]:
    """State or the reason why there is none, per pool in order."""
    drafts = [_Draft(pool, DIALECTS[pool.family]) for pool in pools]
    await _read_heads(reader, multicall, drafts, block)
    await _read_words(reader, multicall, [draft for draft in drafts if draft.live], block)
    await _read_ticks(reader, multicall, [draft for draft in drafts if draft.live], block)
    return [_state(draft) for draft in drafts]


async def _read_heads(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(draft.pool.address, data, gas) for draft in drafts for data, gas in _HEAD_CALLS]
    answers = await read_many(reader, multicall, reads, block)
    size = len(_HEAD_CALLS)
    for k, draft in enumerate(drafts):
        token0, token1, fee, spacing, slot0, liquidity = answers[k * size : (k + 1) * size]
        try:
            require_tokens(token0, token1, (draft.pool.token0, draft.pool.token1))
            draft.fee_ppm = _fee(draft.dialect, fee, draft.pool)
            _require(spacing, draft.pool.tick_spacing, "tickSpacing()")
            draft.slot0 = _checked_slot0(slot0, draft.dialect)
            draft.liquidity = unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity")
        except Garbage as garbage:
            draft.garbage = garbage


def _require(answer: bytes | None, announced: int, call: str) -> None:
    [value] = answer_words(answer, 1, call)
    if value != announced:
        raise Garbage(f"{call} is {value}, the factory announced {announced}")


def _fee(dialect: Dialect, answer: bytes | None, pool: NewPool) -> int:
    if not dialect.fee_told:
        _require(answer, pool.fee_ppm, "fee()")
        return pool.fee_ppm
    return told_fee(answer)


def told_fee(answer: bytes | None) -> int:
    """The fee of a pool whose factory may change it."""
    return unsigned(answer_words(answer, 1, "fee()")[0], 24, "fee")


def _checked_slot0(answer: bytes | None, dialect: Dialect) -> list[int]:
    bits = dialect.fee_protocol_bits
    found = answer_words(answer, 6 if bits is None else 7, "slot0()")
    price, tick, index, cardinality, cardinality_next = found[:5]
    return [
        unsigned(price, 160, "sqrtPriceX96"),
        signed(tick, 24, "tick"),
        unsigned(index, 16, "observationIndex"),
        unsigned(cardinality, 16, "observationCardinality"),
        unsigned(cardinality_next, 16, "observationCardinalityNext"),
        0 if bits is None else unsigned(found[5], bits, "feeProtocol"),
    ]


def bitmap_words(tick_spacing: int) -> range:
    """Every bitmap word that can hold a usable tick of this spacing."""
    return range((MIN_TICK // tick_spacing) >> 8, ((MAX_TICK // tick_spacing) >> 8) + 1)


async def _read_words(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads: list[Read] = []
    for draft in drafts:
        address = draft.pool.address
        reads.append(Read(address, _OBSERVATIONS + uint_word(draft.slot0[2]), _WORD_GAS))
        reads += [
            Read(address, _TICK_BITMAP + uint_word(word), _WORD_GAS)
            for word in bitmap_words(draft.pool.tick_spacing)
        ]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        spacing = draft.pool.tick_spacing
        observation = next(answers)
        bitmap = [(word, next(answers)) for word in bitmap_words(spacing)]
        try:
            draft.observation = _observation(answer_words(observation, 4, "observations()"))
            for word, answer in bitmap:
                [bits] = answer_words(answer, 1, f"tickBitmap({word})")
                draft.set_ticks += [(word * 256 + bit) * spacing for bit in set_bits(bits)]
        except Garbage as garbage:
            draft.garbage = garbage


def _observation(found: list[int]) -> Observation:
    return Observation(
        timestamp=unsigned(found[0], 32, "observation.blockTimestamp"),
        tick_cumulative=signed(found[1], 56, "observation.tickCumulative"),
        seconds_per_liquidity_x128=unsigned(found[2], 160, "observation.secondsPerLiquidity"),
    )


async def _read_ticks(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [
        Read(draft.pool.address, _TICKS + uint_word(tick), _TICK_GAS)
        for draft in drafts
        for tick in draft.set_ticks
    ]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(tick, next(answers)) for tick in draft.set_ticks]
        try:
            for tick, answer in found:
                gross, net = answer_words(answer, draft.dialect.tick_words, f"ticks({tick})")[:2]
                draft.ticks[tick] = (
                    unsigned(gross, 128, f"ticks({tick}).liquidityGross"),
                    signed(net, 128, f"ticks({tick}).liquidityNet"),
                )
        except Garbage as garbage:
            draft.garbage = garbage


def _state(draft: _Draft) -> UniswapV3State | Garbage:
    if draft.garbage is not None:
        return draft.garbage
    pool = draft.pool
    price, tick, index, cardinality, cardinality_next, fee_protocol = draft.slot0
    return draft.dialect.kind(
        address=pool.address,
        tokens=(pool.token0, pool.token1),
        fee_ppm=draft.fee_ppm,
        tick_spacing=pool.tick_spacing,
        sqrt_price_x96=price,
        tick=tick,
        liquidity=draft.liquidity,
        ticks=TickTable(draft.ticks),
        fee_protocol=fee_protocol,
        observation_index=index,
        observation_cardinality=cardinality,
        observation_cardinality_next=cardinality_next,
        observation=draft.observation,
    )


def fee_reads(state: UniswapV3State, pool: NewPool) -> list[Read]:
    """The calls that tell again what no log tells: the fee of a dialect whose factory sets it."""
    return [Read(state.address, selector("fee()"), 60_000)]


def with_fee(state: UniswapV3State, answers: Sequence[bytes | None]) -> UniswapV3State:
    """The state with the fee of ``fee_reads``. Raises ``Garbage``."""
    fee_ppm = told_fee(answers[0])
    return state if fee_ppm == state.fee_ppm else msgspec.structs.replace(state, fee_ppm=fee_ppm)
