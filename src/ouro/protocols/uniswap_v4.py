"""Uniswap V4: pools inside one manager contract, with native currency, protocol fees per direction and hooks.

The swap is Uniswap V3's with the fee ``protocol + lp - floor(protocol·lp / 10^6)`` of its direction. A pool's name
(``address``) is its 32-byte id; its logs come from ``manager`` with the id as first topic. The zero address among
``tokens`` is the chain's native currency.

Hooks: a pool whose hook is called around swaps is refused with the reason, because such a hook may change fee or
amounts, trade in the pool, or revert. Hooks around liquidity, donations and initialisation don't touch a swap.

Field sources: an LP fee that the hook may change at any time (dynamic) emits no event: ``must_refresh``. Nothing
says which tokens the manager holds for a pool, so ``storage_writes`` has no balances; tokens' Transfer logs tell.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import msgspec
import numpy as np

from ouro.hashing import keccak, topic
from ouro.protocols import jsonform
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
from ouro.protocols.eventdata import data_words, in_range, require_address, sint, topic_words, uint
from ouro.protocols.proof import Proof
from ouro.protocols.steps import Shape
from ouro.protocols.uniswap_v3 import direction, header_of, limits_of, segments_of
from ouro.protocols.v3_events import price_and_tick, tick_range
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_SQRT_RATIO, MAX_TICK, MIN_TICK, PPM
from ouro.protocols.v3_state import check_state, ticks_from_json
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import default_limit, swap
from ouro.protocols.v3_ticks import EMPTY_TICKS, WORD_BITS, TickTable
from ouro.types import Address, BlockContext, Log

NATIVE: Address = "0x" + "00" * 20
DYNAMIC_FEE_FLAG = 0x800000
MAX_PROTOCOL_FEE = 1000
MAX_TICK_SPACING = 32_767
POOLS_SLOT = 6
LIQUIDITY, _TICKS, _BITMAP, TICK_WORDS = 3, 4, 5, 3
_U24, _U128 = (1 << 24) - 1, (1 << 128) - 1
_INT128_END = 1 << 127

SWAP_HOOKS = {
    1 << 7: "beforeSwap",
    1 << 6: "afterSwap",
    1 << 3: "beforeSwapReturnDelta",
    1 << 2: "afterSwapReturnDelta",
}

INITIALIZE_TOPIC = topic("Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)")
MODIFY_TOPIC = topic("ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)")
SWAP_TOPIC = topic("Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)")
PROTOCOL_FEE_TOPIC = topic("ProtocolFeeUpdated(bytes32,uint24)")

BASE_GAS = 65_000
GAS_PER_TICK = 20_000
GAS_PER_WORD = 5_000


class UniswapV4State(msgspec.Struct, frozen=True):
    """A pool. ``key_fee`` is the pool key's (the dynamic flag or the LP fee), ``lp_fee_ppm`` what slot0 has now.

    ``protocol_fee`` is slot0's packed pair: 12 bits for token0 in, 12 above for token1 in.
    """

    family: ClassVar[str] = "uniswap_v4"
    word_edges: ClassVar[bool] = True

    address: Address
    manager: Address
    tokens: tuple[Address, Address]
    key_fee: int
    tick_spacing: int
    hooks: Address
    lp_fee_ppm: int
    protocol_fee: int = 0
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    ticks: TickTable = EMPTY_TICKS

    @property
    def fee_ppm(self) -> int:
        """The dearer direction's fee; a swap uses ``swap_fee_ppm``."""
        return max(swap_fee_ppm(self, True), swap_fee_ppm(self, False))


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


def pool_id(tokens: tuple[Address, Address], key_fee: int, tick_spacing: int, hooks: Address) -> str:
    """keccak of the abi-encoded pool key, as 0x-hex."""
    words = (int(tokens[0], 16), int(tokens[1], 16), key_fee, tick_spacing, int(hooks, 16))
    return "0x" + keccak(b"".join(word.to_bytes(32) for word in words)).hex()


def swap_fee_ppm(state: UniswapV4State, zero_for_one: bool) -> int:
    """``ProtocolFeeLibrary.calculateSwapFee`` of the direction."""
    protocol = state.protocol_fee & 0xFFF if zero_for_one else state.protocol_fee >> 12
    return protocol + state.lp_fee_ppm - protocol * state.lp_fee_ppm // PPM


def refusal(state: UniswapV4State) -> str | None:
    """Why a pool can't be quoted, for people; None where it can."""
    flags = [name for bit, name in SWAP_HOOKS.items() if int(state.hooks, 16) & bit]
    if flags:
        return (
            f"its hook {state.hooks} acts on swaps ({', '.join(flags)}): fee or amounts may differ from the curve's"
        )
    if state.fee_ppm >= PPM:
        return "its fee takes the whole input"
    return None


class UniswapV4(Family):
    """The family; stateless."""

    name: ClassVar[str] = "uniswap_v4"
    proof: ClassVar[Proof] = Proof(100_000)
    shape: ClassVar[Shape] = Shape.MANAGED
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

    def pool_of(self, log: Log) -> str:
        """The identity of the pool that a manager's log concerns."""
        return log.topics[1]

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


def slot0_word(state: UniswapV4State) -> int:
    """Slot0 packed."""
    price, tick = state.sqrt_price_x96, state.tick & _U24
    return price | tick << 160 | state.protocol_fee << 184 | (state.lp_fee_ppm << 208 if price else 0)


@lru_cache(maxsize=1 << 14)
def _base_of(pool: str) -> int:
    return int.from_bytes(keccak(bytes.fromhex(pool[2:]) + POOLS_SLOT.to_bytes(32)))


def base_slot(state: UniswapV4State) -> int:
    """Where the manager keeps a pool's words; slot0 is the first."""
    return _base_of(state.address)


def tick_slot(state: UniswapV4State, tick: int) -> int:
    """The first word of a tick: gross and net liquidity."""
    return mapping_slot(tick, base_slot(state) + _TICKS)


def bitmap_slot(state: UniswapV4State, word: int) -> int:
    """A word of the tick bitmap."""
    return mapping_slot(word, base_slot(state) + _BITMAP)


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
