"""The state of a pool of Algebra's adaptive-fee generation, its JSON form and its storage words."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.algebra_oracle import NO_TIMEPOINTS, RING, U32, FeeConfig, Timepoint, Timepoints
from ouro.protocols.storage import Place
from ouro.protocols.tick_maps import bitmap_slots, tick_slots
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_SQRT_RATIO, MAX_TICK, MIN_TICK
from ouro.protocols.v3_state import MAX_TICK_SPACING, check_state, ticks_from_json
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable
from ouro.types import Address

NO_OPERATOR: Address = "0x" + "00" * 20
FIRST_FEE_PPM = 100
MAX_COMMUNITY_FEE = 250

GLOBAL_STATE_SLOT, LIQUIDITY_SLOT, TICKS_SLOT, BITMAP_SLOT = 2, 3, 5, 6
TIMEPOINTS_SLOT, FEE_CONFIG_SLOT = 0, 2 * RING
_OUTSIDE_WORD = 3
_U16, _U24, _U56, _U128, _U256 = (1 << 16) - 1, (1 << 24) - 1, (1 << 56) - 1, (1 << 128) - 1, (1 << 256) - 1


class AlgebraAdaptiveState(msgspec.Struct, frozen=True):
    """A pool as of its last log, or (``at``) as of a block time.

    ``factory`` knows where community fees go. ``fee_ppm`` was set with the last entry of ``timepoints``,
    ``timepoint_index`` is its place in the ring and
    ``volume_in_block`` is the volume per liquidity since then. ``community_fee`` is each token's share of fees in
    1/1000; it changes no amount. ``as_of`` is the time that ``at`` made the state for, 0 where logs did.
    """

    family: ClassVar[str] = "algebra_adaptive"
    word_edges: ClassVar[bool] = True

    address: Address
    tokens: tuple[Address, Address]
    operator: Address = NO_OPERATOR
    factory: Address = NO_OPERATOR
    tick_spacing: int = 60
    fee_config: FeeConfig = FeeConfig()
    fee_ppm: int = FIRST_FEE_PPM
    timepoint_index: int = 0
    volume_in_block: int = 0
    community_fee: tuple[int, int] = (0, 0)
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    ticks: TickTable = EMPTY_TICKS
    timepoints: Timepoints = NO_TIMEPOINTS
    as_of: int = 0


def state_to_json(state: AlgebraAdaptiveState) -> dict[str, Any]:
    """A tagged, JSON-safe form."""
    plain = ("address", "operator", "factory", "tick_spacing", "fee_ppm", "timepoint_index", "tick", "as_of")
    return {
        "family": AlgebraAdaptiveState.family,
        "tokens": list(state.tokens),
        "community_fee": list(state.community_fee),
        "fee_config": list(msgspec.structs.astuple(state.fee_config)),
        **{name: getattr(state, name) for name in plain},
        "volume_in_block": str(state.volume_in_block),
        "sqrt_price_x96": str(state.sqrt_price_x96),
        "liquidity": str(state.liquidity),
        "ticks": [[tick, str(gross), str(net)] for tick, (gross, net) in state.ticks.items()],
        "timepoints": [[str(value) for value in entry] for entry in state.timepoints.needed()],
    }


def state_from_json(value: dict[str, Any]) -> AlgebraAdaptiveState:
    """The inverse of ``state_to_json``. Raises ``ValueError`` naming the field."""
    found = jsonform.fields(value, AlgebraAdaptiveState.family, AlgebraAdaptiveState.__struct_fields__)

    def number(field: str, low: int, high: int) -> int:
        return jsonform.integer(found[field], field, low, high)

    spacing = number("tick_spacing", 1, MAX_TICK_SPACING)
    shares = _integers(found["community_fee"], "community_fee", ((0, MAX_COMMUNITY_FEE),) * 2)
    state = AlgebraAdaptiveState(
        address=jsonform.address(found["address"], "address"),
        tokens=jsonform.token_pair(found["tokens"]),
        operator=jsonform.address(found["operator"], "operator"),
        factory=jsonform.address(found["factory"], "factory"),
        tick_spacing=spacing,
        fee_config=_config_from_json(found["fee_config"]),
        fee_ppm=number("fee_ppm", 0, _U16),
        timepoint_index=number("timepoint_index", 0, _U16),
        volume_in_block=number("volume_in_block", 0, _U128),
        community_fee=(shares[0], shares[1]),
        sqrt_price_x96=number("sqrt_price_x96", 0, MAX_SQRT_RATIO - 1),
        tick=number("tick", MIN_TICK - 1, MAX_TICK),
        liquidity=number("liquidity", 0, MAX_LIQUIDITY),
        ticks=ticks_from_json(found["ticks"], spacing),
        timepoints=_timepoints_from_json(found["timepoints"]),
        as_of=number("as_of", 0, 1 << 63),
    )
    check_state(state)
    if bool(state.sqrt_price_x96) != bool(len(state.timepoints)):
        raise ValueError("timepoints: a pool with a price has entries, one without has none")
    return state


def words(state: AlgebraAdaptiveState) -> dict[int, int]:
    """The pool's own packed words that its events tell, with the reentrancy lock open."""
    share0, share1 = state.community_fee
    unlocked = int(bool(state.sqrt_price_x96))
    packed = state.sqrt_price_x96 | (state.tick & _U24) << 160 | state.fee_ppm << 184 | state.timepoint_index << 200
    return {
        GLOBAL_STATE_SLOT: packed | share0 << 216 | share1 << 224 | unlocked << 232,
        LIQUIDITY_SLOT: state.liquidity | state.volume_in_block << 128,
    }


def timepoint_words(state: AlgebraAdaptiveState) -> dict[int, int]:
    """The operator's two words with the last entry."""
    slot = TIMEPOINTS_SLOT + 2 * state.timepoint_index
    last = state.timepoints[-1]
    first = 1 | last.timestamp << 8 | (last.tick_cumulative & _U56) << 40 | last.seconds_per_liquidity_x128 << 96
    second = last.volatility_cumulative | (last.average_tick & _U24) << 88
    return {slot: first, slot + 1: second | last.volume_per_liquidity_cumulative << 112}


def timepoint_of(first: int, second: int) -> Timepoint | None:
    """An entry from its two words; None where the ring has none yet."""
    if not first & 0xFF:
        return None
    cumulative, average = first >> 40 & _U56, second >> 88 & _U24
    return Timepoint(
        first >> 8 & U32,
        cumulative - ((cumulative >> 55) << 56),
        first >> 96,
        second & (1 << 88) - 1,
        average - ((average >> 23) << 24),
        second >> 112,
    )


def fee_config_of(word: int) -> FeeConfig:
    """The operator's fee configuration from its word ``FEE_CONFIG_SLOT``."""
    values = []
    for bits in (16, 16, 32, 32, 16, 16, 32, 16, 16):
        values.append(word & (1 << bits) - 1)
        word >>= bits
    return FeeConfig(*values)


def _integers(value: Any, field: str, ranges: tuple[tuple[int, int], ...]) -> list[int]:
    if not isinstance(value, list | tuple) or len(value) != len(ranges):
        raise ValueError(f"{field}: a list of {len(ranges)} integers is expected, got {value!r:.80}")
    pairs = zip(value, ranges, strict=True)
    return [jsonform.integer(one, f"{field}[{k}]", low, high) for k, (one, (low, high)) in enumerate(pairs)]


def _config_from_json(value: Any) -> FeeConfig:
    u16, u32 = (0, _U16), (0, U32)
    stretch = (1, _U16)
    found = FeeConfig(*_integers(value, "fee_config", (u16, u16, u32, u32, stretch, stretch, u32, stretch, u16)))
    if found.alpha1 + found.alpha2 + found.base_fee > _U16:
        raise ValueError("fee_config: alpha1, alpha2 and base_fee are together more than 65,535")
    return found


def _timepoints_from_json(value: Any) -> Timepoints:
    if not isinstance(value, list) or len(value) > RING:
        raise ValueError(f"timepoints: a list of at most {RING} entries is expected")
    ranges = (
        (0, U32),
        (-(1 << 55), (1 << 55) - 1),
        (0, (1 << 160) - 1),
        (0, (1 << 88) - 1),
        (-(1 << 23), (1 << 23) - 1),
        (0, (1 << 144) - 1),
    )
    entries = [Timepoint(*_integers(row, f"timepoints[{k}]", ranges)) for k, row in enumerate(value)]
    for k, entry in enumerate(entries[1:]):
        if entry.timestamp == entries[k].timestamp:
            raise ValueError(f"timepoints[{k + 1}]: the same time as the entry before")
    return Timepoints(entries)


# ---------------------------------------------------------------------------------------------- what a swap touches


def swap_places(state: AlgebraAdaptiveState) -> Iterator[Place]:
    """The pool below its ticks, whole ticks and the bitmap; of the operator the entries in the window, the next
    places of the ring, and the settings.

    Entries that left the window read as missing in a copy of these words; the contract's search passes over such.
    """
    for slot in (*range(TICKS_SLOT), *_map_slots(state, range(_OUTSIDE_WORD + 1))):
        yield state.address, slot
    last = state.timepoint_index
    held = [(last - back) % RING for back in range(len(state.timepoints))]
    for entry in dict.fromkeys((*held, 0, (last + 1) % RING, (last + 2) % RING)):
        yield from ((state.operator, TIMEPOINTS_SLOT + 2 * entry + word) for word in (0, 1))
    yield state.operator, FEE_CONFIG_SLOT


def places_from_logs(state: AlgebraAdaptiveState) -> Iterator[Place]:
    """The pool's packed words, the first word of each tick, the bitmap, the operator's last entry."""
    for slot in (*words(state), *_map_slots(state, (0,))):
        yield state.address, slot
    if len(state.timepoints):
        yield from ((state.operator, slot) for slot in timepoint_words(state))


def _map_slots(state: AlgebraAdaptiveState, of_tick: "range | tuple[int, ...]") -> Iterator[int]:
    yield from tick_slots(state.ticks, TICKS_SLOT, of_tick)
    yield from bitmap_slots(state.ticks, state.tick_spacing, BITMAP_SLOT)
