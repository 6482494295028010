"""Algebra Integral: concentrated pools whose initialised ticks form a list, with a plugin beside each pool.

The swap is Uniswap V3's without stops at bitmap words: each step goes to the next initialised tick. The fee is the
pool's stored one unless a plugin overrides it; whoever may set it emits ``Fee``.

Plugins: a pool that calls its plugin around swaps is refused with the reason, because an unknown plugin may
override the fee, take one of its own, or revert. Plugins around positions and loans don't touch a swap.

Every field is ``from_logs``. ``storage_writes`` leaves out reserves and pending community fees (they move without
events), fee growth, and token balances for the same reason: those are read again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec
import numpy as np

from ouro.hashing import selector, topic
from ouro.protocols import jsonform, v3_events
from ouro.protocols.algebra_adaptive import ALGEBRA_POOL, announced
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
from ouro.protocols.eventdata import data_words, in_range, require_address, sint, topic_words, uint
from ouro.protocols.listings import AskedByTokens, Listing, bounded
from ouro.protocols.proof import Proof
from ouro.protocols.reads import (
    Read,
    Script,
    account,
    answer_words,
    require_tokens,
    set_bits,
    signed,
    uint_word,
    unsigned,
)
from ouro.protocols.storage import Place
from ouro.protocols.tick_maps import tick_reads, tick_slots, tick_table
from ouro.protocols.uniswap_v3 import direction, header_of, limits_of, segments_of
from ouro.protocols.v3_events import price_and_tick
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_SQRT_RATIO, MAX_TICK, MIN_TICK, PPM
from ouro.protocols.v3_state import check_state, ticks_from_json
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import SwapResult, default_limit, swap
from ouro.protocols.v3_ticks import EMPTY_TICKS, WORD_BITS, TickTable
from ouro.types import Address, BlockContext, Log

NO_PLUGIN: Address = "0x" + "00" * 20
SWAP_FLAGS = {1: "beforeSwap", 2: "afterSwap"}
MAX_TICK_SPACING = 500
_U16, _U24, _U128 = (1 << 16) - 1, (1 << 24) - 1, (1 << 128) - 1

GLOBAL_STATE_SLOT, TICKS_SLOT, PLUGIN_SLOT, LEAFS_SLOT, LIQUIDITY_SLOT, SECOND_LAYER_SLOT = 2, 3, 6, 8, 9, 10
SECOND_LAYER_OFFSET = 3466
TICK_WORDS = 4

FEE_TOPIC = topic("Fee(uint16)")
PLUGIN_TOPIC = topic("Plugin(address)")
PLUGIN_CONFIG_TOPIC = topic("PluginConfig(uint8)")
COMMUNITY_FEE_TOPIC = topic("CommunityFee(uint16)")
TICK_SPACING_TOPIC = topic("TickSpacing(int24)")

BASE_GAS = 55_000
GAS_PER_TICK = 30_000


class AlgebraIntegralState(msgspec.Struct, frozen=True):
    """A pool. ``plugin_config`` has a bit per occasion on which the plugin is called."""

    family: ClassVar[str] = "algebra_integral"
    word_edges: ClassVar[bool] = False

    address: Address
    tokens: tuple[Address, Address]
    tick_spacing: int
    fee_ppm: int = 0
    plugin: Address = NO_PLUGIN
    plugin_config: int = 0
    community_fee: int = 0
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    ticks: TickTable = EMPTY_TICKS


class FieldsDelta(msgspec.Struct, frozen=True):
    """Fields that an event sets as they are."""

    values: tuple[tuple[str, Any], ...]


class LiquidityDelta(msgspec.Struct, frozen=True):
    """A position that changed."""

    lower: int
    upper: int
    change: int


PoolDelta: TypeAlias = FieldsDelta | LiquidityDelta


def refusal(state: AlgebraIntegralState) -> str | None:
    """Why a pool can't be quoted, for people; None where it can."""
    flags = [name for bit, name in SWAP_FLAGS.items() if state.plugin_config & bit]
    if flags and state.plugin != NO_PLUGIN:
        return f"its plugin {state.plugin} acts on swaps ({', '.join(flags)}): fee or amounts may differ"
    return None


ALGEBRA_CUSTOM_POOL = topic("CustomPool(address,address,address,address)")
_HEAD_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("tickSpacing()"), 4_000),
    (selector("globalState()"), 6_000),
    (selector("liquidity()"), 4_000),
    (selector("plugin()"), 4_000),
    (selector("tickTreeRoot()"), 4_000),
)
_SECOND_LAYER = selector("tickTreeSecondLayer(int16)")
_TICK_TABLE = selector("tickTable(int16)")
_TICKS = selector("ticks(int24)")
_WORD_GAS = 5_000
_TICK_GAS = 12_000
_OWN_SLOTS = range(16)


def _custom_announced(event: Announcement) -> NewPool:
    return event.pool(address_of(event.words[0], "pool"), event.indexed_pair(2))


class AlgebraIntegral(Concentrated):
    """The family; stateless."""

    name: ClassVar[str] = "algebra_integral"
    proof: ClassVar[Proof] = Proof(100_000)
    creations: ClassVar[Mapping[str, CreationReader]] = {
        ALGEBRA_POOL: announced,
        ALGEBRA_CUSTOM_POOL: _custom_announced,
    }
    least_gas: ClassVar[int] = BASE_GAS
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    sources: ClassVar[Mapping[str, Source]] = {
        name: Source.FIXED if name in ("address", "tokens") else Source.FROM_LOGS
        for name in AlgebraIntegralState.__struct_fields__
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Asked for every two tokens."""
        return AskedByTokens(dex, bounded(dex, tokens, 1))

    def read(self, pool: NewPool) -> Script[AlgebraIntegralState]:
        """Head values, then down the tree over the ticks: second layer, leaves, ticks whose bits are set."""
        answers = yield [Read(pool.address, data, gas) for data, gas in _HEAD_CALLS]
        state, nodes = _head(pool, answers)
        answers = yield _layer_reads(pool.address, _SECOND_LAYER, nodes)
        leaves = _below(nodes, answers, "tickTreeSecondLayer", SECOND_LAYER_OFFSET)
        answers = yield _layer_reads(pool.address, _TICK_TABLE, leaves)
        ticks = _below(leaves, answers, "tickTable", 0)
        answers = yield tick_reads(pool.address, _TICKS, ticks, _TICK_GAS)
        return msgspec.structs.replace(state, ticks=tick_table(ticks, answers, 6, gross_bits=256))

    def decode(self, state: AlgebraIntegralState, log: Log, timestamp: int) -> PoolDelta | None:
        """The delta of ``log``; None for events that change nothing here."""
        require_address(log, state.address)
        reader = _READERS.get(log.topics[0]) if log.topics else None
        return reader(log) if reader else None

    topics: ClassVar[tuple[str, ...]] = (
        v3_events.INITIALIZE_TOPIC,
        v3_events.MINT_TOPIC,
        v3_events.BURN_TOPIC,
        v3_events.SWAP_TOPIC,
        FEE_TOPIC,
        PLUGIN_TOPIC,
        PLUGIN_CONFIG_TOPIC,
        COMMUNITY_FEE_TOPIC,
        TICK_SPACING_TOPIC,
    )

    def apply(self, state: AlgebraIntegralState, delta: PoolDelta) -> AlgebraIntegralState:
        """The state after ``delta``."""
        if isinstance(delta, LiquidityDelta):
            return _with_liquidity(state, delta)
        values = dict(delta.values)
        if "liquidity" in values:
            expected = state.ticks.active_liquidity(values["tick"])
            if not state.sqrt_price_x96 or values["liquidity"] != expected:
                raise DecodeError(
                    f"{state.address}: liquidity {values['liquidity']} at tick {values['tick']}, "
                    f"but its ticks say {expected}: a mint or burn was missed"
                )
        elif "tick" in values and state.sqrt_price_x96:
            raise DecodeError(f"{state.address} is initialised twice")
        return msgspec.structs.replace(state, **values)

    def quote_in(
        self, state: AlgebraIntegralState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """Exact input."""
        return _quote(state, direction(i, j), amount_in_wei, 1)

    def quote_out(
        self, state: AlgebraIntegralState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """Exact output."""
        return _quote(state, direction(i, j), amount_out_wei, -1)

    def spot_rate(self, state: AlgebraIntegralState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; beyond a gap in the liquidity, the rate behind it."""
        rows = _segments(state, direction(i, j))
        return float(rows[0, 1] / rows[0, 0] * rows[0, 2]) if len(rows) else 0.0

    def limits(self, state: AlgebraIntegralState, i: int, j: int, context: BlockContext) -> Limits:
        """Everything up to the last liquidity."""
        zero_for_one = direction(i, j)
        return Limits(0, 0) if refusal(state) else limits_of(state, zero_for_one)

    def segments(self, state: AlgebraIntegralState, i: int, j: int, context: BlockContext) -> Segments:
        """Every range with liquidity in the direction of travel; none where the pool is refused."""
        return _segments(state, direction(i, j))

    def exact_header(self, state: AlgebraIntegralState, i: int, j: int) -> ExactHeader | None:
        """Price, liquidity and the table of the direction; None where the pool is refused."""
        return None if refusal(state) else header_of(state, direction(i, j), state.fee_ppm)

    def storage_writes(
        self, state: AlgebraIntegralState, delta: PoolDelta
    ) -> tuple[StorageWrite | BalanceChange, ...]:
        """Global state, liquidity with the neighbouring ticks, and for positions the tick list and its tree."""
        after = self.apply(state, delta)
        old, new = global_words(state), global_words(after)
        if isinstance(delta, LiquidityDelta) and delta.change:
            for words, of in ((old, state), (new, after)):
                for tick in (delta.lower, delta.upper):
                    for near in {tick, *_neighbours(state, tick), *_neighbours(after, tick)}:
                        words.update(_tick_words(of, near))
                    words.update(_tree_words(of, tick))
        return tuple(StorageWrite(state.address, slot, word) for slot, word in new.items() if word != old.get(slot))

    def places(self, state: AlgebraIntegralState) -> Iterable[Place]:
        """The pool's own words, whole ticks, the tree."""
        return [(state.address, slot) for slot in (*_OWN_SLOTS, *_map_slots(state, TICK_WORDS))]

    def places_from_logs(self, state: AlgebraIntegralState) -> Iterable[Place]:
        """The packed words, liquidity and links of the ticks, the tree."""
        return [(state.address, slot) for slot in (*global_words(state), *_map_slots(state, 2))]

    def known_words(self, state: AlgebraIntegralState) -> Mapping[Place, int]:
        """The packed words."""
        return {(state.address, slot): value for slot, value in global_words(state).items()}

    def drifting_places(self, state: AlgebraIntegralState) -> Iterable[Place]:
        """Its own book of reserves."""
        told = global_words(state)
        return [(state.address, slot) for slot in _OWN_SLOTS if slot not in told]

    def to_json(self, state: AlgebraIntegralState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        plain = ("address", "tick_spacing", "fee_ppm", "plugin", "plugin_config", "community_fee", "tick")
        return {
            "family": self.name,
            "tokens": list(state.tokens),
            **{name: getattr(state, name) for name in plain},
            "sqrt_price_x96": str(state.sqrt_price_x96),
            "liquidity": str(state.liquidity),
            "ticks": [[tick, str(gross), str(net)] for tick, (gross, net) in state.ticks.items()],
        }

    def from_json(self, value: dict[str, Any]) -> AlgebraIntegralState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, AlgebraIntegralState.__struct_fields__)

        def number(field: str, low: int, high: int) -> int:
            return jsonform.integer(found[field], field, low, high)

        state = AlgebraIntegralState(
            address=jsonform.address(found["address"], "address"),
            tokens=jsonform.token_pair(found["tokens"]),
            tick_spacing=number("tick_spacing", 1, MAX_TICK_SPACING),
            fee_ppm=number("fee_ppm", 0, _U16),
            plugin=jsonform.address(found["plugin"], "plugin"),
            plugin_config=number("plugin_config", 0, 255),
            community_fee=number("community_fee", 0, 1000),
            sqrt_price_x96=number("sqrt_price_x96", 0, MAX_SQRT_RATIO - 1),
            tick=number("tick", MIN_TICK - 1, MAX_TICK),
            liquidity=number("liquidity", 0, MAX_LIQUIDITY),
            # the spacing may have been changed: positions of an older one remain
            ticks=ticks_from_json(found["ticks"], 1),
        )
        check_state(state)
        return state


def _head(pool: NewPool, answers: Sequence[bytes | None]) -> tuple[AlgebraIntegralState, list[int]]:
    """The state without ticks, and which words of the tree's second layer have any."""
    token0, token1, spacing, head, liquidity, plugin, root = answers
    require_tokens((token0, token1), pool.tokens)
    tick_spacing = signed(answer_words(spacing, 1, "tickSpacing()")[0], 24, "tickSpacing")
    price, tick, fee, config, community, _ = answer_words(head, 6, "globalState()")
    state = AlgebraIntegralState(
        address=pool.address,
        tokens=(pool.tokens[0], pool.tokens[1]),
        tick_spacing=tick_spacing,
        fee_ppm=unsigned(fee, 16, "fee"),
        plugin=account(plugin, "plugin()"),
        plugin_config=unsigned(config, 8, "pluginConfig"),
        community_fee=unsigned(community, 16, "communityFee"),
        sqrt_price_x96=unsigned(price, 160, "price"),
        tick=signed(tick, 24, "tick"),
        liquidity=unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity"),
    )
    return state, set_bits(unsigned(answer_words(root, 1, "tickTreeRoot()")[0], 32, "tickTreeRoot"))


def _layer_reads(pool: Address, getter: bytes, places: Sequence[int]) -> list[Read]:
    return [Read(pool, getter + uint_word(place), _WORD_GAS) for place in places]


def _below(places: Sequence[int], answers: Sequence[bytes | None], name: str, offset: int) -> list[int]:
    """Where the bits of one layer's words lead."""
    return [
        (place << 8) + bit - offset
        for place, answer in zip(places, answers, strict=True)
        for bit in set_bits(answer_words(answer, 1, f"{name}({place})")[0])
    ]


def _map_slots(state: AlgebraIntegralState, tick_words: int) -> Iterator[int]:
    """The first words of each tick in the list, which ends in the lowest and highest tick there is; the tree."""
    yield from tick_slots((*state.ticks, MIN_TICK, MAX_TICK), TICKS_SLOT, range(tick_words))
    leaves = {tick >> 8 for tick in state.ticks}
    yield from (mapping_slot(leaf, LEAFS_SLOT) for leaf in sorted(leaves))
    nodes = {(leaf + SECOND_LAYER_OFFSET) >> 8 for leaf in leaves}
    yield from (mapping_slot(node, SECOND_LAYER_SLOT) for node in sorted(nodes))


def check_amounts(result: SwapResult) -> None:
    """The pool books its reserves in 128 bits. Raises ``QuoteError`` for amounts that can't fit."""
    if max(result.amount_in_wei, result.amount_out_wei) > _U128:
        raise QuoteError("the amounts do not fit the pool's reserves (uint128)")


def _quote(state: AlgebraIntegralState, zero_for_one: bool, amount: int, sign: int) -> Quote:
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if reason := refusal(state):
        raise QuoteError(reason)
    result = swap(state, zero_for_one, sign * amount, default_limit(zero_for_one))
    check_amounts(result)
    if result.remaining_wei:
        raise QuoteError("insufficient liquidity", result.amount_in_wei, result.amount_out_wei)
    after = msgspec.structs.replace(
        state, sqrt_price_x96=result.sqrt_price_x96, tick=result.tick, liquidity=result.liquidity
    )
    gas = BASE_GAS + GAS_PER_TICK * result.ticks_crossed
    return Quote(result.amount_in_wei, result.amount_out_wei, gas, after)


def _segments(state: AlgebraIntegralState, zero_for_one: bool) -> Segments:
    return np.empty((0, 4)) if refusal(state) else segments_of(state, zero_for_one, state.fee_ppm)


def _with_liquidity(state: AlgebraIntegralState, delta: LiquidityDelta) -> AlgebraIntegralState:
    if not delta.change:
        return state
    ticks = state.ticks.with_position(delta.lower, delta.upper, delta.change)
    liquidity = state.liquidity + (delta.change if delta.lower <= state.tick < delta.upper else 0)
    if not 0 <= liquidity <= MAX_LIQUIDITY:
        raise DecodeError(f"{delta.change:+} leaves {state.address} with liquidity {liquidity}")
    return msgspec.structs.replace(state, ticks=ticks, liquidity=liquidity)


def _neighbours(state: AlgebraIntegralState, tick: int) -> tuple[int, int]:
    """The ticks before and after ``tick`` in the list, which ends in the lowest and highest tick there is."""
    ticks = state.ticks.sorted_ticks
    before, after = bisect_left(ticks, tick) - 1, bisect_right(ticks, tick)
    return (ticks[before] if before >= 0 else MIN_TICK, ticks[after] if after < len(ticks) else MAX_TICK)


def global_words(state: AlgebraIntegralState) -> dict[int, int]:
    """The packed words that swaps change."""
    price = state.sqrt_price_x96
    packed = price | (state.tick & _U24) << 160 | state.fee_ppm << 184 | state.plugin_config << 200
    tree_root = 0
    for tick in state.ticks:
        tree_root |= 1 << (((tick >> 8) + SECOND_LAYER_OFFSET) >> 8)
    before, after = _neighbours(state, state.tick)
    before = state.tick if state.tick in state.ticks else before
    links = (after & _U24) | (before & _U24) << 24 if price else 0
    return {
        GLOBAL_STATE_SLOT: packed | state.community_fee << 208 | 1 << 224 if price else 0,
        PLUGIN_SLOT: int(state.plugin, 16),
        LIQUIDITY_SLOT: links | state.liquidity << 48 | state.tick_spacing << 176 | tree_root << 200,
    }


def _tick_words(state: AlgebraIntegralState, tick: int) -> dict[int, int]:
    base = mapping_slot(tick, TICKS_SLOT)
    if tick not in state.ticks and tick not in (MIN_TICK, MAX_TICK):
        return {base + word: 0 for word in range(TICK_WORDS)}
    gross, net = state.ticks.get(tick, (0, 0))
    before, after = _neighbours(state, tick)
    return {base: gross, base + 1: (net & _U128) | (before & _U24) << 128 | (after & _U24) << 152}


def _tree_words(state: AlgebraIntegralState, tick: int) -> dict[int, int]:
    leaf = tick >> 8
    node = (leaf + SECOND_LAYER_OFFSET) >> 8
    second = 0
    for one in state.ticks:
        place = (one >> 8) + SECOND_LAYER_OFFSET
        if place >> 8 == node:
            second |= 1 << (place & WORD_BITS - 1)
    return {
        mapping_slot(leaf, LEAFS_SLOT): state.ticks.bitmap_word(leaf, 1),
        mapping_slot(node, SECOND_LAYER_SLOT): second,
    }


def _first_price(log: Log) -> FieldsDelta:
    price, tick = price_and_tick(*data_words(log, 2, "Initialize"))
    return FieldsDelta((("sqrt_price_x96", price), ("tick", tick)))


def _swapped(log: Log) -> FieldsDelta:
    _, _, price_word, liquidity, tick_word = data_words(log, 5, "Swap")
    price, tick = price_and_tick(price_word, tick_word)
    return FieldsDelta(
        (("sqrt_price_x96", price), ("tick", tick), ("liquidity", uint(liquidity, 128, "liquidity")))
    )


def _position(log: Log, event: str, amount: int) -> LiquidityDelta:
    _, low_word, high_word = topic_words(log, 3, event)
    lower = in_range(sint(low_word, 24, "bottomTick"), MIN_TICK, MAX_TICK, "bottomTick")
    upper = in_range(sint(high_word, 24, "topTick"), MIN_TICK, MAX_TICK, "topTick")
    if lower >= upper:
        raise DecodeError(f"{event} of {log.address}: [{lower}, {upper}) is not a range")
    return LiquidityDelta(lower, upper, amount)


def _minted(log: Log) -> LiquidityDelta:
    return _position(log, "Mint", uint(data_words(log, 4, "Mint")[1], 128, "liquidityAmount"))


def _burnt(log: Log) -> LiquidityDelta:
    return _position(log, "Burn", -uint(data_words(log, 3, "Burn")[0], 128, "liquidityAmount"))


def _fee(log: Log) -> FieldsDelta:
    return FieldsDelta((("fee_ppm", in_range(data_words(log, 1, "Fee")[0], 0, min(_U16, PPM - 1), "fee")),))


def _plugin(log: Log) -> FieldsDelta:
    address = uint(data_words(log, 1, "Plugin")[0], 160, "newPluginAddress")
    return FieldsDelta((("plugin", "0x" + address.to_bytes(20).hex()),))


def _plugin_config(log: Log) -> FieldsDelta:
    return FieldsDelta((("plugin_config", uint(data_words(log, 1, "PluginConfig")[0], 8, "newPluginConfig")),))


def _community_fee(log: Log) -> FieldsDelta:
    return FieldsDelta(
        (("community_fee", in_range(data_words(log, 1, "CommunityFee")[0], 0, 1000, "communityFee")),)
    )


def _spacing(log: Log) -> FieldsDelta:
    spacing = in_range(data_words(log, 1, "TickSpacing")[0], 1, MAX_TICK_SPACING, "newTickSpacing")
    return FieldsDelta((("tick_spacing", spacing),))


_READERS = {
    v3_events.INITIALIZE_TOPIC: _first_price,
    v3_events.SWAP_TOPIC: _swapped,
    v3_events.MINT_TOPIC: _minted,
    v3_events.BURN_TOPIC: _burnt,
    FEE_TOPIC: _fee,
    PLUGIN_TOPIC: _plugin,
    PLUGIN_CONFIG_TOPIC: _plugin_config,
    COMMUNITY_FEE_TOPIC: _community_fee,
    TICK_SPACING_TOPIC: _spacing,
}
