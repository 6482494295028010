"""Uniswap V4: pools inside one manager contract, with native currency, protocol fees per direction and hooks.

The swap is Uniswap V3's with the fee ``protocol + lp - floor(protocol·lp / 10^6)`` of its direction. A pool's name
(``address``) is its 32-byte id; its logs come from ``manager`` with the id as first topic. The zero address among
``tokens`` is the chain's native currency.

Hooks: a pool whose hook is called around swaps is refused with the reason, because such a hook may change fee or
amounts, trade in the pool, or revert. Hooks around liquidity, donations and initialisation don't touch a swap.

Field sources: an LP fee that the hook may change at any time (dynamic) emits no event: ``must_refresh``. Nothing
says which tokens the manager holds for a pool, so ``storage_writes`` has no balances; tokens' Transfer logs tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec
import numpy as np

from ouro.hashing import topic
from ouro.protocols import jsonform, v4_listing, v4_reading
from ouro.protocols.base import (
    BalanceChange,
    DecodeError,
    ExactHeader,
    Family,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of
from ouro.protocols.eventdata import data_words, in_range, require_address, sint, topic_words, uint
from ouro.protocols.listings import Listing, bounded
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.protocols.steps import ManagedSwap, Shape
from ouro.protocols.storage import Place
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.uniswap_v3 import direction, header_of, limits_of, segments_of
from ouro.protocols.v3_events import price_and_tick, tick_range
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_SQRT_RATIO, MAX_TICK, MIN_TICK, PPM
from ouro.protocols.v3_state import check_state, ticks_from_json
from ouro.protocols.v3_swap import default_limit, swap
from ouro.protocols.v3_ticks import WORD_BITS
from ouro.protocols.v4_state import (
    DYNAMIC_FEE_FLAG,
    LIQUIDITY,
    MAX_TICK_SPACING,
    NATIVE,
    TICK_WORDS,
    UniswapV4State,
    base_slot,
    bitmap_slot,
    pool_id,
    refusal,
    slot0_word,
    slots_from_logs,
    swap_fee_ppm,
    swap_slots,
    tick_slot,
)
from ouro.types import Address, BlockContext, Hop, Log

__all__ = [
    "DYNAMIC_FEE_FLAG",
    "INITIALIZE_TOPIC",
    "NATIVE",
    "SWAP_TOPIC",
    "UniswapV4",
    "UniswapV4State",
    "base_slot",
    "pool_id",
    "slot0_word",
    "swap_fee_ppm",
    "tick_slot",
]

MAX_PROTOCOL_FEE = 1000
_U24, _U128, _U256 = (1 << 24) - 1, (1 << 128) - 1, (1 << 256) - 1
_INT128_END = 1 << 127

INITIALIZE_TOPIC = topic("Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)")
MODIFY_TOPIC = topic("ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)")
SWAP_TOPIC = topic("Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)")
PROTOCOL_FEE_TOPIC = topic("ProtocolFeeUpdated(bytes32,uint24)")

BASE_GAS = 65_000
GAS_PER_TICK = 20_000
GAS_PER_WORD = 5_000


class InitializeDelta(msgspec.Struct, frozen=True):
    """The first price."""

    sqrt_price_x96: int
    tick: int


class SwapDelta(msgspec.Struct, frozen=True):
    """Price, tick and liquidity in range after a swap."""

    sqrt_price_x96: int
    tick: int
    liquidity: int


class LiquidityDelta(msgspec.Struct, frozen=True):
    """A position that changed."""

    lower: int
    upper: int
    change: int


class ProtocolFeeDelta(msgspec.Struct, frozen=True):
    """Slot0's packed protocol fee."""

    protocol_fee: int


PoolDelta: TypeAlias = InitializeDelta | SwapDelta | LiquidityDelta | ProtocolFeeDelta


def _announced(event: Announcement) -> NewPool:
    """The key is checked against the id, so that a wrong one can't name another pool."""
    low = "0x" + event.topics[2][24:].lower()
    high = address_of(event.topics[3], "currency1")
    fee, spacing, hooks_word = int(event.words[0], 16), int(event.words[1], 16), int(event.words[2], 16)
    if fee >> 24 or not 0 < spacing <= MAX_TICK_SPACING or hooks_word >> 160:
        raise DecodeError(f"fee {fee}, tick spacing {spacing} or hooks {hooks_word:#x} is out of range")
    hooks = "0x" + hooks_word.to_bytes(20).hex()
    identity = "0x" + event.topics[1].lower()
    if identity != pool_id((low, high), fee, spacing, hooks):
        raise DecodeError(f"{identity} is not the id of its key")
    return event.pool(identity, (low, high), fee_ppm=fee, tick_spacing=spacing, hooks=hooks)


class UniswapV4(Family):
    """The family; stateless."""

    name: ClassVar[str] = "uniswap_v4"
    proof: ClassVar[Proof] = Proof(100_000)
    shape: ClassVar[Shape] = Shape.MANAGED
    creations: ClassVar[Mapping[str, CreationReader]] = {INITIALIZE_TOPIC: _announced}
    managed: ClassVar[bool] = True
    least_gas: ClassVar[int] = BASE_GAS
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    topics: ClassVar[tuple[str, ...]] = (INITIALIZE_TOPIC, MODIFY_TOPIC, SWAP_TOPIC, PROTOCOL_FEE_TOPIC)
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "manager", "tokens", "key_fee", "tick_spacing", "hooks"), Source.FIXED),
        "lp_fee_ppm": Source.MUST_REFRESH,
        **dict.fromkeys(("protocol_fee", "sqrt_price_x96", "tick", "liquidity", "ticks"), Source.FROM_LOGS),
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """By key: every two tokens, the native coin among them, with the usual fees and the configured ones."""
        keys = tuple(dict.fromkeys((*v4_listing.USUAL_KEYS, *dex.pool_keys)))
        return v4_listing.KeyListing(dex, bounded(dex, (NATIVE, *tokens), len(keys)), keys)

    def read(self, pool: NewPool) -> Script[UniswapV4State]:
        """Out of the manager's storage; a pool that is refused is not read."""
        return v4_reading.read(pool)

    def must_refresh(self, state: UniswapV4State) -> bool:
        """Only where the hook sets the fee."""
        return state.key_fee == DYNAMIC_FEE_FLAG

    def refresh(self, state: UniswapV4State, pool: NewPool) -> Script[UniswapV4State]:
        """The fee that a hook may have set."""
        return v4_reading.refresh(state)

    def described(self, state: UniswapV4State) -> NewPool:
        """The key."""
        return NewPool(
            "",
            self.name,
            state.address,
            state.tokens,
            0,
            factory=state.manager,
            fee_ppm=state.key_fee,
            tick_spacing=state.tick_spacing,
            hooks=state.hooks,
        )

    def decode(self, state: UniswapV4State, log: Log, timestamp: int) -> PoolDelta | None:
        """The delta of ``log``; None for other events and other pools of the manager."""
        require_address(log, state.manager)
        if len(log.topics) < 2 or log.topics[1] != state.address:
            return None
        reader = _READERS.get(log.topics[0])
        return reader(state, log) if reader else None

    def apply(self, state: UniswapV4State, delta: PoolDelta) -> UniswapV4State:
        """The state after ``delta``."""
        if isinstance(delta, SwapDelta):
            expected = state.ticks.active_liquidity(delta.tick)
            if not state.sqrt_price_x96 or delta.liquidity != expected:
                raise DecodeError(
                    f"{state.address}: liquidity {delta.liquidity} at tick {delta.tick}, its ticks say {expected}"
                )
            return _moved(state, delta.sqrt_price_x96, delta.tick, delta.liquidity)
        if isinstance(delta, LiquidityDelta):
            return _with_liquidity(state, delta)
        if isinstance(delta, ProtocolFeeDelta):
            return msgspec.structs.replace(state, protocol_fee=delta.protocol_fee)
        if state.sqrt_price_x96:
            raise DecodeError(f"{state.address} is initialised twice")
        return msgspec.structs.replace(state, sqrt_price_x96=delta.sqrt_price_x96, tick=delta.tick)

    def quote_in(self, state: UniswapV4State, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """Exact input."""
        return _quote(state, direction(i, j), amount_in_wei, 1)

    def quote_out(self, state: UniswapV4State, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """Exact output."""
        return _quote(state, direction(i, j), amount_out_wei, -1)

    def spot_rate(self, state: UniswapV4State, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; beyond a gap in the liquidity, the rate behind it."""
        rows = _segments(state, direction(i, j))
        return float(rows[0, 1] / rows[0, 0] * rows[0, 2]) if len(rows) else 0.0

    def limits(self, state: UniswapV4State, i: int, j: int, context: BlockContext) -> Limits:
        """Everything up to the last liquidity."""
        zero_for_one = direction(i, j)
        if refusal(state):
            return Limits(0, 0)
        return limits_of(state, zero_for_one, swap_fee_ppm(state, zero_for_one))

    def segments(self, state: UniswapV4State, i: int, j: int, context: BlockContext) -> Segments:
        """Every range with liquidity in the direction of travel; none where the pool is refused."""
        return _segments(state, direction(i, j))

    def exact_header(self, state: UniswapV4State, i: int, j: int) -> ExactHeader | None:
        """Price, liquidity and the table of the direction; None where the pool is refused."""
        zero_for_one = direction(i, j)
        return None if refusal(state) else header_of(state, zero_for_one, swap_fee_ppm(state, zero_for_one))

    def storage_writes(self, state: UniswapV4State, delta: PoolDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Slot0, liquidity, tick and bitmap words inside the manager."""
        after = self.apply(state, delta)
        base = base_slot(state)
        writes = []
        if slot0_word(after) != slot0_word(state):
            writes.append(StorageWrite(state.manager, base, slot0_word(after)))
        if after.liquidity != state.liquidity:
            writes.append(StorageWrite(state.manager, base + LIQUIDITY, after.liquidity))
        if isinstance(delta, LiquidityDelta) and delta.change:
            for tick in (delta.lower, delta.upper):
                writes += _tick_writes(state, after, tick)
        return tuple(writes)

    def places(self, state: UniswapV4State) -> Iterable[Place]:
        """In the manager."""
        return [(state.manager, slot) for slot in swap_slots(state)]

    def places_from_logs(self, state: UniswapV4State) -> Iterable[Place]:
        """Without fee growth, which changes no amount."""
        return [(state.manager, slot) for slot in slots_from_logs(state)]

    def known_words(self, state: UniswapV4State) -> Mapping[Place, int]:
        """Slot0 and the liquidity in range."""
        base = base_slot(state)
        return {
            (state.manager, base): slot0_word(state),
            (state.manager, (base + LIQUIDITY) & _U256): state.liquidity,
        }

    def swap_places(self, state: UniswapV4State, i: int, j: int) -> Iterable[Place]:
        """Price, fee growth, liquidity, the first word of the bitmap."""
        base, upwards = base_slot(state), 0 if i == 0 else 1
        compressed = state.tick // state.tick_spacing + upwards
        slots = (base, base + 1 + upwards, base + LIQUIDITY, bitmap_slot(state, compressed >> 8))
        return [(state.manager, slot & _U256) for slot in slots]

    def encode_swap(self, state: UniswapV4State, i: int, j: int) -> ManagedSwap:
        """By the pool's key, in the books of its manager."""
        low, high = state.tokens
        key = (low, high, state.key_fee, state.tick_spacing, state.hooks)
        return ManagedSwap(state.address, direction(i, j), state.manager, *key)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """From the swapper's balance changes: negative is what it paid. The emitter is not known here."""
        if len(log.topics) < 2 or log.topics[0] != SWAP_TOPIC or log.topics[1] != hop.pool:
            return None
        words = event_words(log)
        return plausible((1 << 256) - words[hop.i], words[hop.j]) if len(words) == 6 else None

    def to_json(self, state: UniswapV4State) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        plain = ("address", "manager", "key_fee", "tick_spacing", "hooks", "lp_fee_ppm", "protocol_fee", "tick")
        return {
            "family": self.name,
            "tokens": list(state.tokens),
            **{name: getattr(state, name) for name in plain},
            "sqrt_price_x96": str(state.sqrt_price_x96),
            "liquidity": str(state.liquidity),
            "ticks": [[tick, str(gross), str(net)] for tick, (gross, net) in state.ticks.items()],
        }

    def from_json(self, value: dict[str, Any]) -> UniswapV4State:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, UniswapV4State.__struct_fields__)

        def number(field: str, low: int, high: int) -> int:
            return jsonform.integer(found[field], field, low, high)

        key_fee = number("key_fee", 0, DYNAMIC_FEE_FLAG)
        if key_fee > PPM and key_fee != DYNAMIC_FEE_FLAG:
            raise ValueError(f"key_fee: {key_fee} is neither a fee nor the dynamic flag")
        spacing = number("tick_spacing", 1, MAX_TICK_SPACING)
        state = UniswapV4State(
            address=jsonform.word(found["address"], "address"),
            manager=jsonform.address(found["manager"], "manager"),
            tokens=jsonform.token_pair(found["tokens"]),
            key_fee=key_fee,
            tick_spacing=spacing,
            hooks=jsonform.address(found["hooks"], "hooks"),
            lp_fee_ppm=number("lp_fee_ppm", 0, PPM),
            protocol_fee=number("protocol_fee", 0, _U24),
            sqrt_price_x96=number("sqrt_price_x96", 0, MAX_SQRT_RATIO - 1),
            tick=number("tick", MIN_TICK - 1, MAX_TICK),
            liquidity=number("liquidity", 0, MAX_LIQUIDITY),
            ticks=ticks_from_json(found["ticks"], spacing),
        )
        if state.address != pool_id(state.tokens, key_fee, spacing, state.hooks):
            raise ValueError(f"address: {state.address} is not the id of this pool key")
        if key_fee != DYNAMIC_FEE_FLAG and state.lp_fee_ppm != key_fee:
            raise ValueError(f"lp_fee_ppm: {state.lp_fee_ppm} in a pool whose fee is fixed at {key_fee}")
        check_state(state)
        return state


def _tick_writes(before: UniswapV4State, after: UniswapV4State, tick: int) -> list[StorageWrite]:
    slot = tick_slot(after, tick)
    gross, net = after.ticks.get(tick, (0, 0))
    writes = [StorageWrite(after.manager, slot, gross | (net & _U128) << 128)]
    if not gross:  # the manager deletes the whole entry
        writes += [StorageWrite(after.manager, slot + word, 0) for word in range(1, TICK_WORDS)]
    if (tick in before.ticks) != (tick in after.ticks):
        word = tick // after.tick_spacing // WORD_BITS
        value = after.ticks.bitmap_word(word, after.tick_spacing)
        writes.append(StorageWrite(after.manager, bitmap_slot(after, word), value))
    return writes


def _moved(state: UniswapV4State, price: int, tick: int, liquidity: int) -> UniswapV4State:
    return UniswapV4State(
        state.address,
        state.manager,
        state.tokens,
        state.key_fee,
        state.tick_spacing,
        state.hooks,
        state.lp_fee_ppm,
        state.protocol_fee,
        price,
        tick,
        liquidity,
        state.ticks,
    )


def _with_liquidity(state: UniswapV4State, delta: LiquidityDelta) -> UniswapV4State:
    if not delta.change:
        return state  # collects fees only
    ticks = state.ticks.with_position(delta.lower, delta.upper, delta.change)
    liquidity = state.liquidity
    if delta.lower <= state.tick < delta.upper:
        liquidity += delta.change
    if not 0 <= liquidity <= MAX_LIQUIDITY:
        raise DecodeError(f"{delta.change:+} leaves {state.address} with liquidity {liquidity}")
    return msgspec.structs.replace(state, ticks=ticks, liquidity=liquidity)


def _segments(state: UniswapV4State, zero_for_one: bool) -> Segments:
    if refusal(state):
        return np.empty((0, 4))
    return segments_of(state, zero_for_one, swap_fee_ppm(state, zero_for_one))


def _quote(state: UniswapV4State, zero_for_one: bool, amount: int, sign: int) -> Quote:
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if reason := refusal(state):
        raise QuoteError(reason)
    result = swap(
        state, zero_for_one, sign * amount, default_limit(zero_for_one), swap_fee_ppm(state, zero_for_one)
    )
    if max(result.amount_in_wei, result.amount_out_wei) >= _INT128_END:
        raise QuoteError("the amounts do not fit int128")
    if result.remaining_wei:
        raise QuoteError("insufficient liquidity", result.amount_in_wei, result.amount_out_wei)
    gas = BASE_GAS + GAS_PER_TICK * result.ticks_crossed + GAS_PER_WORD * result.words_passed
    after = _moved(state, result.sqrt_price_x96, result.tick, result.liquidity)
    return Quote(result.amount_in_wei, result.amount_out_wei, gas, after)


def _initialize(state: UniswapV4State, log: Log) -> InitializeDelta:
    _, _, _, price_word, tick_word = data_words(log, 5, "Initialize")
    return InitializeDelta(*price_and_tick(price_word, tick_word))


def _swap(state: UniswapV4State, log: Log) -> SwapDelta:
    _, _, price_word, liquidity, tick_word, _ = data_words(log, 6, "Swap")
    return SwapDelta(*price_and_tick(price_word, tick_word), uint(liquidity, 128, "liquidity"))


def _modify(state: UniswapV4State, log: Log) -> LiquidityDelta:
    lower, upper, change, _ = data_words(log, 4, "ModifyLiquidity")
    return LiquidityDelta(*tick_range(state, lower, upper), sint(change, 128, "liquidityDelta"))


def _protocol_fee(state: UniswapV4State, log: Log) -> ProtocolFeeDelta:
    topic_words(log, 1, "ProtocolFeeUpdated")
    fee = uint(data_words(log, 1, "ProtocolFeeUpdated")[0], 24, "protocolFee")
    in_range(fee & 0xFFF, 0, MAX_PROTOCOL_FEE, "protocolFee of token0")
    in_range(fee >> 12, 0, MAX_PROTOCOL_FEE, "protocolFee of token1")
    return ProtocolFeeDelta(fee)


_READERS = {
    INITIALIZE_TOPIC: _initialize,
    SWAP_TOPIC: _swap,
    MODIFY_TOPIC: _modify,
    PROTOCOL_FEE_TOPIC: _protocol_fee,
}
