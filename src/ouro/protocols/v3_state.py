"""The state of a Uniswap V3 pool and what its events do to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.v3_math import (
    MAX_LIQUIDITY,
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    PPM,
    sqrt_ratio_at_tick,
)
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable
from ouro.types import Address

U32 = (1 << 32) - 1
_INT56_END = 1 << 55
_U160 = (1 << 160) - 1
MAX_TICK_SPACING = 16_383


class Observation(msgspec.Struct, frozen=True):
    """The oracle's last entry: int56 tick·seconds and Q128 seconds per liquidity, both wrapping."""

    timestamp: int = 0
    tick_cumulative: int = 0
    seconds_per_liquidity_x128: int = 0

    def advanced(self, timestamp: int, tick: int, liquidity: int) -> "Observation":
        """``Oracle.transform``: the price stood at ``tick`` with ``liquidity`` since this entry."""
        now = timestamp & U32
        elapsed = (now - self.timestamp) & U32
        cumulative = self.tick_cumulative + tick * elapsed
        wrapped = (cumulative + _INT56_END) % (2 * _INT56_END) - _INT56_END
        seconds = (self.seconds_per_liquidity_x128 + (elapsed << 128) // (liquidity or 1)) & _U160
        return Observation(now, wrapped, seconds)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the contracts of a dialect keep what its events change: storage slots and packing.

    ``outside_word`` is the word of a tick with the oracle's share. Where ``packs_protocol_fee`` slot0 ends with the
    protocol fee and the lock; a wider protocol fee has the word after slot0 with the lock (``fee_word``); else only
    the lock follows. ``liquidity_shares_word`` says that the word holds the most liquidity per tick above it.
    """

    slot0: int
    liquidity: int
    ticks: int
    bitmap: int
    observations: int
    tick_words: int = 4
    outside_word: int = 3
    packs_protocol_fee: bool = True
    fee_word: bool = False
    liquidity_shares_word: bool = False


class UniswapV3State(msgspec.Struct, frozen=True):
    """A pool; every field is ``from_logs``. ``sqrt_price_x96`` is 0 before ``Initialize``.

    ``fee_protocol`` is slot0's packed byte (token1's share in the upper four bits) and does not change what a
    trader gets. The observation fields only matter for ``storage_writes``.
    """

    family: ClassVar[str] = "uniswap_v3"
    word_edges: ClassVar[bool] = True
    layout: ClassVar[Layout] = Layout(slot0=0, liquidity=4, ticks=5, bitmap=6, observations=8)
    max_fee_protocol: ClassVar[int] = 255
    first_fee_protocol: ClassVar[Mapping[int, int]] = {}  # by fee, set with the first price; 0 elsewhere

    address: Address
    tokens: tuple[Address, Address]
    fee_ppm: int
    tick_spacing: int
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    ticks: TickTable = EMPTY_TICKS
    fee_protocol: int = 0
    observation_index: int = 0
    observation_cardinality: int = 0
    observation_cardinality_next: int = 0
    observation: Observation = Observation()


StateT = TypeVar("StateT", bound=UniswapV3State)


def moved(state: StateT, sqrt_price_x96: int, tick: int, liquidity: int, timestamp: int) -> StateT:
    """The state after a swap: where the tick changed, the oracle first records how long the old one stood."""
    oracle = state if tick == state.tick else observed(state, timestamp)
    return type(state)(
        state.address,
        state.tokens,
        state.fee_ppm,
        state.tick_spacing,
        sqrt_price_x96,
        tick,
        liquidity,
        state.ticks,
        state.fee_protocol,
        oracle.observation_index,
        oracle.observation_cardinality,
        oracle.observation_cardinality_next,
        oracle.observation,
    )


def observed(state: StateT, timestamp: int) -> StateT:
    """``Oracle.write``: at most one entry per block, growing the ring when the index reaches its end."""
    if state.observation.timestamp == timestamp & U32:
        return state
    cardinality = state.observation_cardinality
    if state.observation_cardinality_next > cardinality and state.observation_index == cardinality - 1:
        cardinality = state.observation_cardinality_next
    return msgspec.structs.replace(
        state,
        observation_index=(state.observation_index + 1) % max(cardinality, 1),
        observation_cardinality=cardinality,
        observation=state.observation.advanced(timestamp, state.tick, state.liquidity),
    )


def state_to_json(state: UniswapV3State) -> dict[str, Any]:
    """A tagged, JSON-safe form; ticks as ``[tick, gross, net]`` ascending."""
    last = state.observation
    return {
        "family": state.family,
        "address": state.address,
        "tokens": list(state.tokens),
        "fee_ppm": state.fee_ppm,
        "tick_spacing": state.tick_spacing,
        "sqrt_price_x96": str(state.sqrt_price_x96),
        "tick": state.tick,
        "liquidity": str(state.liquidity),
        "ticks": [[tick, str(gross), str(net)] for tick, (gross, net) in state.ticks.items()],
        "fee_protocol": state.fee_protocol,
        "observation_index": state.observation_index,
        "observation_cardinality": state.observation_cardinality,
        "observation_cardinality_next": state.observation_cardinality_next,
        "observation": [last.timestamp, str(last.tick_cumulative), str(last.seconds_per_liquidity_x128)],
    }


def state_from_json(value: dict[str, Any], kind: type[StateT]) -> StateT:
    """The inverse, for a dialect's state. Raises ``ValueError`` naming the field that is wrong."""
    found = jsonform.fields(value, kind.family, kind.__struct_fields__)

    def number(field: str, low: int, high: int) -> int:
        return jsonform.integer(found[field], field, low, high)

    spacing = number("tick_spacing", 1, MAX_TICK_SPACING)
    state = kind(
        address=jsonform.address(found["address"], "address"),
        tokens=jsonform.token_pair(found["tokens"]),
        fee_ppm=number("fee_ppm", 0, PPM - 1),
        tick_spacing=spacing,
        sqrt_price_x96=number("sqrt_price_x96", 0, MAX_SQRT_RATIO - 1),
        tick=number("tick", MIN_TICK - 1, MAX_TICK),
        liquidity=number("liquidity", 0, MAX_LIQUIDITY),
        ticks=ticks_from_json(found["ticks"], spacing),
        fee_protocol=number("fee_protocol", 0, kind.max_fee_protocol),
        observation_index=number("observation_index", 0, 65_535),
        observation_cardinality=number("observation_cardinality", 0, 65_535),
        observation_cardinality_next=number("observation_cardinality_next", 0, 65_535),
        observation=_observation_from_json(found["observation"]),
    )
    check_state(state)
    return state


def check_state(state: Any) -> None:
    """Raise ``ValueError`` naming the field where price, tick, ticks and liquidity contradict each other."""
    if state.sqrt_price_x96:
        if state.sqrt_price_x96 < MIN_SQRT_RATIO:
            raise ValueError(f"sqrt_price_x96: {state.sqrt_price_x96} is below {MIN_SQRT_RATIO}")
        # a downward swap that stops exactly on a tick stores tick - 1
        low = sqrt_ratio_at_tick(max(state.tick, MIN_TICK))
        high = sqrt_ratio_at_tick(min(state.tick + 1, MAX_TICK))
        if not low <= state.sqrt_price_x96 <= high:
            raise ValueError(f"tick: {state.tick} does not belong to sqrt_price_x96 {state.sqrt_price_x96}")
    elif state.liquidity or state.ticks:
        raise ValueError("sqrt_price_x96: 0 (not initialised) but there is liquidity")
    total = sum(net for _, net in state.ticks.values())
    if total:
        raise ValueError(f"ticks: the nets of a complete tick map sum to 0, not {total}")
    if state.ticks.active_liquidity(state.tick) != state.liquidity:
        raise ValueError(f"liquidity: {state.liquidity} is not the sum of the ticks up to {state.tick}")


def ticks_from_json(value: Any, spacing: int) -> TickTable:
    """Rows ``[tick, gross, net]`` as a table. Raises ``ValueError`` naming the row."""
    if not isinstance(value, list):
        raise ValueError(f"ticks: a list is expected, got {type(value).__name__}")
    entries: dict[int, tuple[int, int]] = {}
    for k, row in enumerate(value):
        field = f"ticks[{k}]"
        if not isinstance(row, list | tuple) or len(row) != 3:
            raise ValueError(f"{field}: [tick, gross, net] is expected, got {row!r:.80}")
        tick = jsonform.integer(row[0], f"{field}.tick", MIN_TICK, MAX_TICK)
        gross = jsonform.integer(row[1], f"{field}.gross", 1, MAX_LIQUIDITY)
        if tick % spacing:
            raise ValueError(f"{field}.tick: {tick} is not a multiple of the spacing {spacing}")
        if tick in entries:
            raise ValueError(f"{field}.tick: {tick} occurs twice")
        entries[tick] = (gross, jsonform.integer(row[2], f"{field}.net", -gross, gross))
    return TickTable(entries)


def _observation_from_json(value: Any) -> Observation:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"observation: [timestamp, tick cumulative, seconds] is expected, got {value!r:.80}")
    return Observation(
        jsonform.integer(value[0], "observation.timestamp", 0, U32),
        jsonform.integer(value[1], "observation.tick_cumulative", -_INT56_END, _INT56_END - 1),
        jsonform.integer(value[2], "observation.seconds_per_liquidity_x128", 0, _U160),
    )
