"""Algebra's adaptive-fee generation (1.0 and 1.1, as QuickSwap V3 and others deployed it).

The swap is Uniswap V3's, with stops at bitmap words and a fixed tick spacing. The fee is none of the pool's choice:
the first swap, mint or burn in range of a block time writes an entry to the pool's data storage (a contract of its
own, ``operator``) and sets the fee that a day of entries gives, for this and all following swaps of that time. So a
quote depends on the executing block's time: ``at`` gives the pool as the first swap of that time finds it.

``fee_config`` is the operator's: changing it emits nothing at the pool, so it is ``must_refresh``. ``fee_ppm`` is
what the pool's ``Fee`` events say.

``storage_writes`` leaves out what moves without an event or does not change amounts: fee growth, what crossings do
to ticks, the farming contract's address, and token balances (community fees leave without an event of the pool).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec

from ouro.hashing import selector, topic
from ouro.protocols import algebra_reading, v3_events
from ouro.protocols.algebra_oracle import (
    RING,
    U32,
    Timepoint,
    Timepoints,
    fee_ppm,
    older,
    volume_per_liquidity,
    written,
)
from ouro.protocols.algebra_state import (
    BITMAP_SLOT,
    FEE_CONFIG_SLOT,
    LIQUIDITY_SLOT,
    MAX_COMMUNITY_FEE,
    NO_OPERATOR,
    TICKS_SLOT,
    AlgebraAdaptiveState,
    places_from_logs,
    state_from_json,
    state_to_json,
    swap_places,
    timepoint_words,
    words,
)
from ouro.protocols.base import (
    BalanceChange,
    DecodeError,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.concentrated import Concentrated
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of
from ouro.protocols.eventdata import data_words, in_range
from ouro.protocols.listings import AskedByTokens, Listing, bounded
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.protocols.storage import Place, ViewCall, account_in
from ouro.protocols.uniswap_v3 import GAS_PER_WORD, direction, header_of, limits_of, segments_of
from ouro.protocols.v3_events import InitializeDelta, LiquidityDelta, SwapDelta
from ouro.protocols.v3_math import MAX_LIQUIDITY
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import SwapResult, default_limit, swap
from ouro.protocols.v3_ticks import WORD_BITS
from ouro.types import Address, BlockContext, Log

FEE_TOPIC = topic("Fee(uint16)")
COMMUNITY_FEE_TOPIC = topic("CommunityFee(uint8,uint8)")

_OUTSIDE_WORD = 3
_U16, _U56, _U128, _U256 = (1 << 16) - 1, (1 << 56) - 1, (1 << 128) - 1, (1 << 256) - 1
_PAST = 1 << 31

YOUNG_GAS = 144_000
BASE_GAS = 170_000
"""The first swap of a block time; in a pool whose entries fill the day each fee searches the ring twice."""
GAS_PER_TICK = 30_000


class FieldsDelta(msgspec.Struct, frozen=True):
    """Fields that an event sets as they are."""

    values: tuple[tuple[str, Any], ...]


PoolDelta: TypeAlias = FieldsDelta | InitializeDelta | SwapDelta | LiquidityDelta

_FIXED = ("address", "tokens", "operator", "factory", "tick_spacing")
_OTHER_SOURCES = {"fee_config": Source.MUST_REFRESH, "as_of": Source.FROM_TIME}


ALGEBRA_POOL = topic("Pool(address,address,address)")


def announced(event: Announcement) -> NewPool:
    """Tokens and pool; everything else is the pool's to tell."""
    return event.pool(address_of(event.words[0], "pool"), event.indexed_pair())


class AlgebraAdaptive(Concentrated):
    """The family; stateless."""

    name: ClassVar[str] = "algebra_adaptive"
    proof: ClassVar[Proof] = Proof(200_000)
    creations: ClassVar[Mapping[str, CreationReader]] = {ALGEBRA_POOL: announced}
    least_gas: ClassVar[int] = YOUNG_GAS
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    follows_clock: ClassVar[bool] = True
    windows: ClassVar[frozenset[str]] = frozenset(("timepoints",))
    sources: ClassVar[Mapping[str, Source]] = {
        name: Source.FIXED if name in _FIXED else _OTHER_SOURCES.get(name, Source.FROM_LOGS)
        for name in AlgebraAdaptiveState.__struct_fields__
    }
    topics: ClassVar[tuple[str, ...]] = (
        v3_events.INITIALIZE_TOPIC,
        v3_events.MINT_TOPIC,
        v3_events.BURN_TOPIC,
        v3_events.SWAP_TOPIC,
        FEE_TOPIC,
        COMMUNITY_FEE_TOPIC,
    )

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Asked for every two tokens."""
        return AskedByTokens(dex, bounded(dex, tokens, 1))

    def read(self, pool: NewPool) -> Script[AlgebraAdaptiveState]:
        """The pool, and a day of its data storage."""
        return algebra_reading.read(pool)

    def refresh(self, state: AlgebraAdaptiveState, pool: NewPool) -> Script[AlgebraAdaptiveState]:
        """The operator's configuration of the fee."""
        return algebra_reading.refresh(state)

    def decode(self, state: AlgebraAdaptiveState, log: Log, timestamp: int) -> PoolDelta | None:
        """The delta of ``log``; None for events that change nothing here."""
        return v3_events.decode(state, log, timestamp, _READERS)  # type: ignore[arg-type,return-value]

    def apply(self, state: AlgebraAdaptiveState, delta: PoolDelta) -> AlgebraAdaptiveState:
        """The state after ``delta``."""
        if isinstance(delta, FieldsDelta):
            return msgspec.structs.replace(state, **dict(delta.values))
        if isinstance(delta, InitializeDelta):
            return _initialised(state, delta)
        if not state.sqrt_price_x96:
            raise DecodeError(f"{state.address} has no price yet")
        if isinstance(delta, LiquidityDelta):
            return _with_liquidity(state, delta)
        expected = state.ticks.active_liquidity(delta.tick)
        if delta.liquidity != expected:
            raise DecodeError(
                f"{state.address}: liquidity {delta.liquidity} at tick {delta.tick}, but its ticks say {expected}: "
                "a mint or burn was missed"
            )
        return _moved(
            _touched(state, delta.timestamp),
            delta.sqrt_price_x96,
            delta.tick,
            delta.liquidity,
            delta.amount0,
            delta.amount1,
        )

    def at(self, state: AlgebraAdaptiveState, timestamp: int) -> AlgebraAdaptiveState:
        """The pool as the first swap in a block of that time finds it. Raises ``QuoteError`` for a time gone by."""
        if not len(state.timepoints):
            raise QuoteError("the pool is not initialised")
        if (timestamp - state.timepoints[-1].timestamp) & U32 >= _PAST:
            raise QuoteError(f"block time {timestamp} is before the pool's last entry")
        key = (timestamp, state.tick, state.liquidity, state.volume_in_block, state.fee_config, state.fee_ppm)
        kept = state.timepoints.remembered(key)
        if kept is None:
            made = _touched(state, timestamp)
            points = made.timepoints
            fee = state.fee_ppm if points is state.timepoints else fee_ppm(points, state.fee_config)
            kept = (points, fee, made.timepoint_index, made.volume_in_block)
            state.timepoints.remember(key, kept)
        points, fee, index, volume = kept  # type: ignore[misc]
        return AlgebraAdaptiveState(
            state.address,
            state.tokens,
            state.operator,
            state.factory,
            state.tick_spacing,
            state.fee_config,
            fee,
            index,
            volume,
            state.community_fee,
            state.sqrt_price_x96,
            state.tick,
            state.liquidity,
            state.ticks,
            points,
            timestamp,
        )

    def quote_in(
        self, state: AlgebraAdaptiveState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """Exact input, with the fee of the executing block's time."""
        return self._quote(state, direction(i, j), amount_in_wei, 1, context)

    def quote_out(
        self, state: AlgebraAdaptiveState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """Exact output, with the fee of the executing block's time."""
        return self._quote(state, direction(i, j), amount_out_wei, -1, context)

    def _quote(
        self, state: AlgebraAdaptiveState, zero_for_one: bool, amount: int, sign: int, context: BlockContext
    ) -> Quote:
        if amount <= 0:
            raise QuoteError(f"the amount must be positive, got {amount}")
        now = self.at(state, context.timestamp)
        result = swap(now, zero_for_one, sign * amount, default_limit(zero_for_one))
        if result.remaining_wei:
            raise QuoteError("insufficient liquidity", result.amount_in_wei, result.amount_out_wei)
        points = state.timepoints
        base = BASE_GAS if older(points[0], points[-1].timestamp) else YOUNG_GAS
        gas = base + GAS_PER_TICK * result.ticks_crossed + GAS_PER_WORD * result.words_passed
        return Quote(result.amount_in_wei, result.amount_out_wei, gas, after_swap(now, zero_for_one, result))

    def spot_rate(self, state: AlgebraAdaptiveState, i: int, j: int) -> float:
        """Marginal output per unit of input with the state's own fee; behind a gap in the liquidity, there."""
        rows = segments_of(state, direction(i, j), state.fee_ppm)
        return float(rows[0, 1] / rows[0, 0] * rows[0, 2]) if len(rows) else 0.0

    def limits(self, state: AlgebraAdaptiveState, i: int, j: int, context: BlockContext) -> Limits:
        """Everything up to the last liquidity."""
        zero_for_one = direction(i, j)
        try:
            return limits_of(self.at(state, context.timestamp), zero_for_one)
        except QuoteError:
            return Limits(0, 0)

    def segments(self, state: AlgebraAdaptiveState, i: int, j: int, context: BlockContext) -> Segments:
        """Every range with liquidity in the direction of travel, with the fee of the executing block's time."""
        zero_for_one = direction(i, j)
        try:
            return segments_of(state, zero_for_one, self.at(state, context.timestamp).fee_ppm)
        except QuoteError:
            return segments_of(_EMPTY, zero_for_one, 0)

    def time_key(self, state: AlgebraAdaptiveState, context: BlockContext) -> int | None:
        """The fee of the executing block: while it is the same, so are ``segments``. None: nothing to trade."""
        if not (state.sqrt_price_x96 and len(state.ticks)):
            return None
        try:
            return self.at(state, context.timestamp).fee_ppm
        except QuoteError:
            return None

    def exact_header(self, state: AlgebraAdaptiveState, i: int, j: int) -> ExactHeader | None:
        """For a state that ``at`` made; None otherwise, because the fee depends on the executing block."""
        return header_of(state, direction(i, j), state.fee_ppm) if state.as_of else None

    def storage_writes(
        self, state: AlgebraAdaptiveState, delta: PoolDelta
    ) -> tuple[StorageWrite | BalanceChange, ...]:
        """Global state, liquidity with the block's volume, entries of the operator, ticks and their bitmap."""
        after = self.apply(state, delta)
        old, new = words(state), words(after)
        writes = [StorageWrite(state.address, slot, word) for slot, word in new.items() if word != old[slot]]
        if after.timepoint_index != state.timepoint_index or isinstance(delta, InitializeDelta):
            writes += [StorageWrite(state.operator, *one) for one in timepoint_words(after).items()]
        if isinstance(delta, LiquidityDelta) and delta.change:
            for tick in (delta.lower, delta.upper):
                writes += _tick_writes(state, after, tick, delta.timestamp)
        return tuple(writes)

    def places(self, state: AlgebraAdaptiveState) -> Iterable[Place]:
        """In the pool and in the contract that its fee comes from."""
        return swap_places(state)

    def places_from_logs(self, state: AlgebraAdaptiveState) -> Iterable[Place]:
        """In both."""
        return places_from_logs(state)

    def known_words(self, state: AlgebraAdaptiveState) -> Mapping[Place, int]:
        """Global state, and liquidity with the block's volume."""
        return {(state.address, slot): value for slot, value in words(state).items()}

    def drifting_places(self, state: AlgebraAdaptiveState) -> Iterable[Place]:
        """Fee growth, the farm, and settings that the pool does not tell."""
        told = words(state)
        places = ((state.address, slot) for slot in range(TICKS_SLOT) if slot not in told)
        return [(state.operator, FEE_CONFIG_SLOT), *places]

    def view_calls(self, state: AlgebraAdaptiveState, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The operator, the factory's vault, the farm that the pool reports to."""
        beside = [ViewCall(state.operator, _FEE_CONFIG), ViewCall(state.factory, _VAULT_ADDRESS)]
        farm = words.get((state.address, LIQUIDITY_SLOT + 1), 0) >> 32
        return [*beside, ViewCall(account_in(farm), _INCREASE, state.address)] if farm else beside

    def to_json(self, state: AlgebraAdaptiveState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return state_to_json(state)

    def from_json(self, value: dict[str, Any]) -> AlgebraAdaptiveState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return state_from_json(value)


_FEE_CONFIG, _VAULT_ADDRESS = selector("feeConfig()"), selector("vaultAddress()")
_INCREASE = selector("increaseCumulative(uint32)") + U32.to_bytes(32)
_EMPTY = AlgebraAdaptiveState(NO_OPERATOR, (NO_OPERATOR, NO_OPERATOR))


def after_swap(now: AlgebraAdaptiveState, zero_for_one: bool, result: SwapResult) -> AlgebraAdaptiveState:
    """The state after a swap of a state that ``at`` made."""
    amounts = (result.amount_in_wei, -result.amount_out_wei)
    amount0, amount1 = amounts if zero_for_one else amounts[::-1]
    return _moved(now, result.sqrt_price_x96, result.tick, result.liquidity, amount0, amount1)


def _touched(state: AlgebraAdaptiveState, timestamp: int) -> AlgebraAdaptiveState:
    """After the entry that the first event of a block time writes, the fee still the old one."""
    now = timestamp & U32
    if state.timepoints[-1].timestamp == now:
        return state
    return msgspec.structs.replace(
        state,
        timepoint_index=(state.timepoint_index + 1) % RING,
        volume_in_block=0,
        timepoints=written(state.timepoints, now, state.tick, state.liquidity, state.volume_in_block),
    )


def _moved(
    state: AlgebraAdaptiveState, price: int, tick: int, liquidity: int, amount0: int, amount1: int
) -> AlgebraAdaptiveState:
    volume = volume_per_liquidity(liquidity, amount0, amount1)
    return AlgebraAdaptiveState(
        state.address,
        state.tokens,
        state.operator,
        state.factory,
        state.tick_spacing,
        state.fee_config,
        state.fee_ppm,
        state.timepoint_index,
        (state.volume_in_block + volume) & _U128,
        state.community_fee,
        price,
        tick,
        liquidity,
        state.ticks,
        state.timepoints,
        state.as_of,
    )


def _initialised(state: AlgebraAdaptiveState, delta: InitializeDelta) -> AlgebraAdaptiveState:
    if state.sqrt_price_x96:
        raise DecodeError(f"{state.address} is initialised twice")
    first = Timepoint(delta.timestamp & U32, average_tick=delta.tick)
    return msgspec.structs.replace(
        state, sqrt_price_x96=delta.sqrt_price_x96, tick=delta.tick, timepoints=Timepoints([first])
    )


def _with_liquidity(state: AlgebraAdaptiveState, delta: LiquidityDelta) -> AlgebraAdaptiveState:
    if not delta.change:
        return state
    ticks = state.ticks.with_position(delta.lower, delta.upper, delta.change)
    if not delta.lower <= state.tick < delta.upper:
        return msgspec.structs.replace(state, ticks=ticks)
    liquidity = state.liquidity + delta.change
    if not 0 <= liquidity <= MAX_LIQUIDITY:
        raise DecodeError(f"{delta.change:+} leaves {state.address} with liquidity {liquidity}")
    return msgspec.structs.replace(_touched(state, delta.timestamp), ticks=ticks, liquidity=liquidity)


def _tick_writes(
    before: AlgebraAdaptiveState, after: AlgebraAdaptiveState, tick: int, timestamp: int
) -> list[StorageWrite]:
    base = mapping_slot(tick, TICKS_SLOT)
    gross, net = after.ticks.get(tick, (0, 0))
    found = {base: gross | (net & _U128) << 128}
    if not gross:  # the contract deletes the whole entry
        found |= {(base + word) & _U256: 0 for word in range(1, _OUTSIDE_WORD + 1)}
    elif tick not in before.ticks:
        found[base + _OUTSIDE_WORD & _U256] = _outside_word(before, tick, timestamp)
    if (tick in before.ticks) != (tick in after.ticks):
        word = tick // after.tick_spacing // WORD_BITS
        found[mapping_slot(word, BITMAP_SLOT)] = after.ticks.bitmap_word(word, after.tick_spacing)
    return [StorageWrite(after.address, slot, value) for slot, value in found.items()]


def _outside_word(before: AlgebraAdaptiveState, tick: int, timestamp: int) -> int:
    """A tick that becomes initialised: all time so far counts as below it, if it is below the price."""
    if tick > before.tick:
        return 1 << 248
    now = timestamp & U32
    last = before.timepoints[-1]
    if last.timestamp != now:
        last = written(before.timepoints, now, before.tick, before.liquidity, 0)[-1]
    return (last.tick_cumulative & _U56) | last.seconds_per_liquidity_x128 << 56 | now << 216 | 1 << 248


def _fee(state: AlgebraAdaptiveState, log: Log, timestamp: int) -> FieldsDelta:
    return FieldsDelta((("fee_ppm", in_range(data_words(log, 1, "Fee")[0], 0, _U16, "fee")),))


def _community_fee(state: AlgebraAdaptiveState, log: Log, timestamp: int) -> FieldsDelta:
    shares = data_words(log, 2, "CommunityFee")
    share0, share1 = (in_range(share, 0, MAX_COMMUNITY_FEE, "communityFee") for share in shares)
    return FieldsDelta((("community_fee", (share0, share1)),))


_V3_TOPICS = (v3_events.INITIALIZE_TOPIC, v3_events.MINT_TOPIC, v3_events.BURN_TOPIC, v3_events.SWAP_TOPIC)
_READERS: dict[str, Any] = {
    **{name: v3_events.READERS[name] for name in _V3_TOPICS},
    FEE_TOPIC: _fee,
    COMMUNITY_FEE_TOPIC: _community_fee,
}
