"""Uniswap V3: concentrated liquidity with a fixed fee, exact to the wei.

Dialects (``pancakeswap_v3``, ``slipstream``) differ in a few events and in the storage layout.

``v3_math`` has the contract's integer formulas, ``v3_ticks`` the initialised ticks, ``v3_swap`` the swap itself,
``v3_events`` and ``v3_state`` the state and its logs, ``v3_storage`` the storage layout.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ouro.hashing import topic
from ouro.protocols import v3_events, v3_fold, v3_reading, v3_storage
from ouro.protocols.base import (
    BalanceChange,
    DecodeError,
    ExactHeader,
    Folded,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.concentrated import Concentrated
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of, tick_spacing_of
from ouro.protocols.listings import AskedByTokens, Listing, bounded
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.protocols.storage import Place
from ouro.protocols.v3_events import PoolDelta
from ouro.protocols.v3_math import PPM, Q96
from ouro.protocols.v3_state import UniswapV3State, moved, state_from_json, state_to_json
from ouro.protocols.v3_swap import ConcentratedState, SwapResult, default_limit, swap
from ouro.types import Address, BlockContext, Log

# Estimates for ranking, without the transaction's base cost; docs/protocols.md says how they were measured. A tick
# whose words are still zero costs 48,000 when it is first crossed, one that was crossed before 17,000 or more.
BASE_GAS = 52_500
GAS_PER_TICK = 30_000
GAS_PER_WORD = 7_200

_FIXED_FIELDS = ("address", "tokens", "fee_ppm", "tick_spacing")
MAX_AMOUNT = (1 << 255) - 1


KNOWN_FEES = (100, 200, 250, 300, 400, 500, 1_000, 2_500, 3_000, 5_000, 10_000, 20_000)
"""Fee tiers that factories are known to have; each is asked for its spacing first."""
POOL_CREATED = topic("PoolCreated(address,address,uint24,int24,address)")


def announced(event: Announcement) -> NewPool:
    """Fee and tick spacing are the pool's for good."""
    fee_ppm = int(event.topics[3], 16)
    if not 0 <= fee_ppm < PPM:
        raise DecodeError(f"fee {fee_ppm} is out of range")
    pool, spacing = address_of(event.words[1], "pool"), tick_spacing_of(event.words[0])
    return event.pool(pool, event.indexed_pair(), fee_ppm=fee_ppm, tick_spacing=spacing)


class UniswapV3(Concentrated):
    """The family; stateless. Dialects inherit from it."""

    name: ClassVar[str] = "uniswap_v3"
    proof: ClassVar[Proof] = Proof(100_000)
    creations: ClassVar[Mapping[str, CreationReader]] = {POOL_CREATED: announced}
    getters: ClassVar[v3_reading.Getters] = v3_reading.Getters()
    folds: ClassVar[bool] = True
    least_gas: ClassVar[int] = BASE_GAS
    kind: ClassVar[type[UniswapV3State]] = UniswapV3State
    readers: ClassVar[Mapping[str, v3_events.Reader]] = v3_events.READERS
    topics: ClassVar[tuple[str, ...]] = tuple(v3_events.READERS)
    sources: ClassVar[Mapping[str, Source]] = {
        name: Source.FIXED if name in _FIXED_FIELDS else Source.FROM_LOGS
        for name in UniswapV3State.__struct_fields__
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Asked for every two tokens with the known fees and the configured ones."""
        fees = tuple(dict.fromkeys((*KNOWN_FEES, *dex.fees_ppm)))
        return AskedByTokens(dex, bounded(dex, tokens, len(fees)), fees)

    def read(self, pool: NewPool) -> Script[UniswapV3State]:
        """Head values, the tick map, the last observation."""
        found = yield from v3_reading.fields(pool, self.getters)
        return self.kind(address=pool.address, tokens=(pool.tokens[0], pool.tokens[1]), **found)

    def decode(self, state: UniswapV3State, log: Log, timestamp: int) -> PoolDelta | None:
        """The delta of ``log``; None for events that are none of a pool's."""
        return v3_events.decode(state, log, timestamp, self.readers)

    def apply(self, state: UniswapV3State, delta: PoolDelta) -> UniswapV3State:
        """The state after ``delta``."""
        return v3_events.apply(state, delta)

    def fold(self, state: UniswapV3State, logs: Sequence[Log], timestamp: int) -> Folded | None:
        """Runs of swaps at once."""
        return v3_fold.fold(state, logs, timestamp, self.readers)

    def quote_in(self, state: UniswapV3State, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """Exact input. Input that buys nothing is accepted, as the contract does."""
        zero_for_one = direction(i, j)
        if amount_in_wei <= 0:
            raise QuoteError(f"amount in must be positive, got {amount_in_wei}")
        return _quote(state, swap(state, zero_for_one, amount_in_wei, default_limit(zero_for_one)), context)

    def quote_out(self, state: UniswapV3State, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """Exact output, paid in token ``i``."""
        zero_for_one = direction(i, j)
        if amount_out_wei <= 0:
            raise QuoteError(f"amount out must be positive, got {amount_out_wei}")
        return _quote(state, swap(state, zero_for_one, -amount_out_wei, default_limit(zero_for_one)), context)

    def spot_rate(self, state: UniswapV3State, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; beyond a gap in the liquidity, the rate behind it."""
        rows = segments_of(state, direction(i, j), state.fee_ppm)
        return float(rows[0, 1] / rows[0, 0] * rows[0, 2]) if len(rows) else 0.0

    def limits(self, state: UniswapV3State, i: int, j: int, context: BlockContext) -> Limits:
        """Everything up to the last liquidity."""
        return limits_of(state, direction(i, j))

    def segments(self, state: UniswapV3State, i: int, j: int, context: BlockContext) -> Segments:
        """Every range with liquidity in the direction of travel, the current partial one first."""
        return segments_of(state, direction(i, j), state.fee_ppm)

    def exact_header(self, state: UniswapV3State, i: int, j: int) -> ExactHeader | None:
        """Price, liquidity and the table of the direction."""
        return header_of(state, direction(i, j), state.fee_ppm)

    def storage_writes(self, state: UniswapV3State, delta: PoolDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Slot0, liquidity, the observation, tick and bitmap words, token balances."""
        return v3_storage.storage_writes(state, delta)

    def places(self, state: UniswapV3State) -> Iterable[Place]:
        """By the layout of the dialect."""
        return [(state.address, slot) for slot in v3_storage.slots(state)]

    def places_from_logs(self, state: UniswapV3State) -> Iterable[Place]:
        """Without fee growth and a tick's outside values: they change no amount."""
        return [(state.address, slot) for slot in v3_storage.slots_from_logs(state)]

    def known_words(self, state: UniswapV3State) -> Mapping[Place, int]:
        """Slot0 and the liquidity in range."""
        words = {**v3_storage.slot0_words(state), state.layout.liquidity: v3_storage.liquidity_word(state)}
        return {(state.address, slot): value for slot, value in words.items()}

    def ring_places(self, state: UniswapV3State, words: Mapping[Place, int]) -> Iterable[Place]:
        """The oracle's current entry and those that follow it."""
        slot0 = words.get((state.address, state.layout.slot0), 0)
        return [(state.address, slot) for slot in v3_storage.ring_slots(slot0, state.layout.observations)]

    def paid_fee_place(self, state: UniswapV3State, delta: PoolDelta) -> Place | None:
        """The fee growth of the token that came in: its value is not in the event."""
        if not isinstance(delta, v3_events.SwapDelta):
            return None
        return state.address, v3_storage.fee_growth_slot(state, delta.amount0 > 0)

    def swap_places(self, state: UniswapV3State, i: int, j: int) -> Iterable[Place]:
        """Price, liquidity, fee growth, the first word of the bitmap."""
        return [(state.address, slot) for slot in v3_storage.swap_slots(state, i == 0)]

    def to_json(self, state: UniswapV3State) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return state_to_json(state)

    def from_json(self, value: dict[str, Any]) -> UniswapV3State:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return state_from_json(value, self.kind)


def limits_of(state: ConcentratedState, zero_for_one: bool, fee_ppm: int | None = None) -> Limits:
    """What a swap without end takes and gives."""
    if not state.sqrt_price_x96:
        return Limits(0, 0)
    limit = default_limit(zero_for_one)
    if state.sqrt_price_x96 <= limit if zero_for_one else state.sqrt_price_x96 >= limit:
        return Limits(0, 0)
    result = swap(state, zero_for_one, MAX_AMOUNT, limit, fee_ppm)
    return Limits(result.amount_in_wei, result.amount_out_wei)


def header_of(state: ConcentratedState, zero_for_one: bool, fee_ppm: int) -> ExactHeader | None:
    """A concentrated pool for the compiled batch quotes."""
    if not state.sqrt_price_x96 or fee_ppm >= PPM:
        return None
    tables, spacing = state.ticks.exact, state.tick_spacing
    price, tick, liquidity = state.sqrt_price_x96, state.tick, state.liquidity
    header = tables.header(zero_for_one, price, tick, liquidity, spacing, fee_ppm, state.word_edges)
    return None if header is None else ExactHeader(header.limbs, header.table)


def direction(i: int, j: int) -> bool:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a pool has tokens 0 and 1, not {i} and {j}")
    return i == 0


def _quote(state: UniswapV3State, result: SwapResult, context: BlockContext) -> Quote:
    if result.remaining_wei:
        raise QuoteError("insufficient liquidity", result.amount_in_wei, result.amount_out_wei)
    after = moved(state, result.sqrt_price_x96, result.tick, result.liquidity, context.timestamp)
    gas = BASE_GAS + GAS_PER_TICK * result.ticks_crossed + GAS_PER_WORD * result.words_passed
    return Quote(result.amount_in_wei, result.amount_out_wei, gas, after)


def segments_of(state: ConcentratedState, zero_for_one: bool, fee_ppm: int) -> Segments:
    """The ranges with liquidity in one direction, the current partial one first."""
    if not state.sqrt_price_x96:
        return np.empty((0, 4))
    directed = state.ticks.directed(zero_for_one, fee_ppm)
    k = bisect_right(state.ticks.sorted_ticks, state.tick) - (1 if zero_for_one else 0)
    if not 0 <= k < len(directed.start):
        return np.empty((0, 4))
    rest = directed.rows[directed.start[k] :]
    here, there = state.sqrt_price_x96 / Q96, float(directed.sqrt_floats[k])
    distance = here - there if zero_for_one else there - here
    if not state.liquidity or distance <= 0:
        return rest.copy()
    gamma = (PPM - fee_ppm) / PPM
    token0, token1 = state.liquidity / here, state.liquidity * here
    rows = np.empty((len(rest) + 1, 4))
    rows[1:] = rest
    if zero_for_one:
        rows[0] = (token0, token1, gamma, state.liquidity * distance / (here * there * gamma))
    else:
        rows[0] = (token1, token0, gamma, state.liquidity * distance / gamma)
    return rows
