"""Events of a Uniswap V3 pool as deltas, and the state after each."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from ouro.hashing import topic
from ouro.protocols.base import DecodeError
from ouro.protocols.eventdata import data_words, in_range, require_address, sint, topic_words, uint
from ouro.protocols.v3_math import MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, MIN_TICK, sqrt_ratio_at_tick
from ouro.protocols.v3_state import U32, Observation, StateT, UniswapV3State, moved, observed
from ouro.types import Log

INITIALIZE_TOPIC = topic("Initialize(uint160,int24)")
MINT_TOPIC = topic("Mint(address,address,int24,int24,uint128,uint256,uint256)")
BURN_TOPIC = topic("Burn(address,int24,int24,uint128,uint256,uint256)")
SWAP_TOPIC = topic("Swap(address,address,int256,int256,uint160,uint128,int24)")
COLLECT_TOPIC = topic("Collect(address,address,int24,int24,uint128,uint128)")
COLLECT_PROTOCOL_TOPIC = topic("CollectProtocol(address,address,uint128,uint128)")
FLASH_TOPIC = topic("Flash(address,address,uint256,uint256,uint256,uint256)")
SET_FEE_PROTOCOL_TOPIC = topic("SetFeeProtocol(uint8,uint8,uint8,uint8)")
CARDINALITY_TOPIC = topic("IncreaseObservationCardinalityNext(uint16,uint16)")


class InitializeDelta(msgspec.Struct, frozen=True):
    """The first price of a pool."""

    sqrt_price_x96: int
    tick: int
    timestamp: int


class SwapDelta(msgspec.Struct, frozen=True):
    """Price, tick and in-range liquidity after a swap; amounts are the pool's balance changes."""

    sqrt_price_x96: int
    tick: int
    liquidity: int
    amount0: int
    amount1: int
    timestamp: int


class LiquidityDelta(msgspec.Struct, frozen=True):
    """Mint (positive ``change``, tokens came in) or Burn (negative, tokens are owed but have not moved)."""

    lower: int
    upper: int
    change: int
    amount0: int
    amount1: int
    timestamp: int


class TransferDelta(msgspec.Struct, frozen=True):
    """Tokens that moved and nothing else that a state holds: Collect, CollectProtocol, Flash fees."""

    amount0: int
    amount1: int


class FeeProtocolDelta(msgspec.Struct, frozen=True):
    """Slot0's packed protocol fee."""

    fee_protocol: int


class CardinalityDelta(msgspec.Struct, frozen=True):
    """How long the oracle's ring may become."""

    cardinality_next: int


PoolDelta: TypeAlias = (
    InitializeDelta | SwapDelta | LiquidityDelta | TransferDelta | FeeProtocolDelta | CardinalityDelta
)


Reader: TypeAlias = Callable[[Any, Log, int], PoolDelta]


def decode(state: UniswapV3State, log: Log, timestamp: int, readers: Mapping[str, Reader]) -> PoolDelta | None:
    """The delta of ``log`` by a dialect's readers; None for events that are none of a pool's.

    Raises ``DecodeError``.
    """
    require_address(log, state.address)
    reader = readers.get(log.topics[0]) if log.topics else None
    return reader(state, log, timestamp) if reader else None


def price_and_tick(price_word: int, tick_word: int) -> tuple[int, int]:
    price = in_range(price_word, MIN_SQRT_RATIO, MAX_SQRT_RATIO - 1, "sqrtPriceX96")
    tick = in_range(sint(tick_word, 24, "tick"), MIN_TICK - 1, MAX_TICK - 1, "tick")
    low, high = sqrt_ratio_at_tick(max(tick, MIN_TICK)), sqrt_ratio_at_tick(tick + 1)
    if not low <= price <= high:
        raise DecodeError(f"tick {tick} does not belong to sqrtPriceX96 {price}")
    return price, tick


def _initialize(state: UniswapV3State, log: Log, timestamp: int) -> InitializeDelta:
    price_word, tick_word = data_words(log, 2, "Initialize")
    return InitializeDelta(*price_and_tick(price_word, tick_word), timestamp)


def _swap(state: UniswapV3State, log: Log, timestamp: int) -> SwapDelta:
    return read_swap(data_words(log, 5, "Swap"), timestamp)


def read_swap(words: tuple[int, ...], timestamp: int) -> SwapDelta:
    """The five words of a Swap event that every dialect's starts with."""
    amount0, amount1, price_word, liquidity, tick_word = words[:5]
    price, tick = price_and_tick(price_word, tick_word)
    return SwapDelta(
        price,
        tick,
        uint(liquidity, 128, "liquidity"),
        sint(amount0, 256, "amount0"),
        sint(amount1, 256, "amount1"),
        timestamp,
    )


def tick_range(state: Any, lower_word: int, upper_word: int) -> tuple[int, int]:
    """A position's ticks, checked against the pool's spacing."""
    lower = in_range(sint(lower_word, 24, "tickLower"), MIN_TICK, MAX_TICK, "tickLower")
    upper = in_range(sint(upper_word, 24, "tickUpper"), MIN_TICK, MAX_TICK, "tickUpper")
    if lower >= upper or lower % state.tick_spacing or upper % state.tick_spacing:
        raise DecodeError(f"[{lower}, {upper}) is not a range of a pool with spacing {state.tick_spacing}")
    return lower, upper


def _mint(state: UniswapV3State, log: Log, timestamp: int) -> LiquidityDelta:
    _, lower_word, upper_word = topic_words(log, 3, "Mint")
    _, amount, amount0, amount1 = data_words(log, 4, "Mint")
    lower, upper = tick_range(state, lower_word, upper_word)
    return LiquidityDelta(lower, upper, uint(amount, 128, "amount"), amount0, amount1, timestamp)


def _burn(state: UniswapV3State, log: Log, timestamp: int) -> LiquidityDelta:
    _, lower_word, upper_word = topic_words(log, 3, "Burn")
    amount, amount0, amount1 = data_words(log, 3, "Burn")
    lower, upper = tick_range(state, lower_word, upper_word)
    return LiquidityDelta(lower, upper, -uint(amount, 128, "amount"), amount0, amount1, timestamp)


def _collect(state: UniswapV3State, log: Log, timestamp: int) -> TransferDelta:
    _, amount0, amount1 = data_words(log, 3, "Collect")
    return TransferDelta(-uint(amount0, 128, "amount0"), -uint(amount1, 128, "amount1"))


def _collect_protocol(state: UniswapV3State, log: Log, timestamp: int) -> TransferDelta:
    amount0, amount1 = data_words(log, 2, "CollectProtocol")
    return TransferDelta(-uint(amount0, 128, "amount0"), -uint(amount1, 128, "amount1"))


def _flash(state: UniswapV3State, log: Log, timestamp: int) -> TransferDelta:
    _, _, paid0, paid1 = data_words(log, 4, "Flash")
    return TransferDelta(paid0, paid1)


def _fee_protocol(state: UniswapV3State, log: Log, timestamp: int) -> FeeProtocolDelta:
    _, _, new0, new1 = data_words(log, 4, "SetFeeProtocol")
    return FeeProtocolDelta(uint(new0, 4, "feeProtocol0New") | uint(new1, 4, "feeProtocol1New") << 4)


def _cardinality(state: UniswapV3State, log: Log, timestamp: int) -> CardinalityDelta:
    _, new = data_words(log, 2, "IncreaseObservationCardinalityNext")
    return CardinalityDelta(uint(new, 16, "observationCardinalityNextNew"))


READERS: dict[str, Reader] = {
    INITIALIZE_TOPIC: _initialize,
    MINT_TOPIC: _mint,
    BURN_TOPIC: _burn,
    SWAP_TOPIC: _swap,
    COLLECT_TOPIC: _collect,
    COLLECT_PROTOCOL_TOPIC: _collect_protocol,
    FLASH_TOPIC: _flash,
    SET_FEE_PROTOCOL_TOPIC: _fee_protocol,
    CARDINALITY_TOPIC: _cardinality,
}


def apply(state: StateT, delta: PoolDelta) -> StateT:
    """The state after ``delta``. Raises ``DecodeError`` where the two contradict each other."""
    if isinstance(delta, SwapDelta):
        if not state.sqrt_price_x96:
            raise DecodeError(f"a swap in {state.address}, which is not initialised")
        expected = state.ticks.active_liquidity(delta.tick)
        if delta.liquidity != expected:
            raise DecodeError(
                f"{state.address}: liquidity {delta.liquidity} at tick {delta.tick}, but its ticks say {expected}: "
                "a mint or burn was missed"
            )
        return moved(state, delta.sqrt_price_x96, delta.tick, delta.liquidity, delta.timestamp)
    if isinstance(delta, LiquidityDelta):
        return _with_liquidity(state, delta)
    if isinstance(delta, InitializeDelta):
        return _initialised(state, delta)
    if isinstance(delta, FeeProtocolDelta):
        return msgspec.structs.replace(state, fee_protocol=delta.fee_protocol)
    if isinstance(delta, CardinalityDelta):
        return msgspec.structs.replace(state, observation_cardinality_next=delta.cardinality_next)
    return state


def _initialised(state: StateT, delta: InitializeDelta) -> StateT:
    if state.sqrt_price_x96:
        raise DecodeError(f"{state.address} is initialised twice")
    return msgspec.structs.replace(
        state,
        sqrt_price_x96=delta.sqrt_price_x96,
        tick=delta.tick,
        fee_protocol=state.first_fee_protocol.get(state.fee_ppm, 0),
        observation_index=0,
        observation_cardinality=1,
        observation_cardinality_next=1,
        observation=Observation(timestamp=delta.timestamp & U32),
    )


def _with_liquidity(state: StateT, delta: LiquidityDelta) -> StateT:
    if not delta.change:
        return state  # a burn of zero only settles fees
    ticks = state.ticks.with_position(delta.lower, delta.upper, delta.change)
    if not delta.lower <= state.tick < delta.upper:
        return msgspec.structs.replace(state, ticks=ticks)
    liquidity = state.liquidity + delta.change
    if not 0 <= liquidity < 1 << 128:
        raise DecodeError(f"{delta.change:+} leaves {state.address} with liquidity {liquidity}")
    oracle = observed(state, delta.timestamp)
    return msgspec.structs.replace(oracle, ticks=ticks, liquidity=liquidity)
