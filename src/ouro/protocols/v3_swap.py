"""``UniswapV3Pool.swap`` in integers: a search in compiled tables (``v3_exact``), or edge by edge (``walk``)."""

from typing import ClassVar, NamedTuple, Protocol

import msgspec

from ouro.protocols.base import QuoteError
from ouro.protocols.v3_exact import Reached, run
from ouro.protocols.v3_math import (
    MAX_LIQUIDITY,
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    PPM,
    sqrt_ratio_at_tick,
    swap_step,
    tick_at_sqrt_ratio,
)
from ouro.protocols.v3_ticks import WORD_BITS, TickTable

MIN_LIMIT = MIN_SQRT_RATIO + 1
MAX_LIMIT = MAX_SQRT_RATIO - 1
_INT256_END = 1 << 255


class ConcentratedState(Protocol):
    """What a swap needs to know of a pool. ``word_edges``: whether steps end at the edges of bitmap words."""

    @property
    def sqrt_price_x96(self) -> int: ...
    @property
    def tick(self) -> int: ...
    @property
    def liquidity(self) -> int: ...
    @property
    def ticks(self) -> TickTable: ...
    @property
    def tick_spacing(self) -> int: ...
    @property
    def fee_ppm(self) -> int: ...

    word_edges: ClassVar[bool]


class SwapResult(msgspec.Struct, frozen=True):
    """What a swap did. ``amount_in_wei`` includes the fee; ``remaining_wei`` is what the limit left undone."""

    amount_in_wei: int
    amount_out_wei: int
    remaining_wei: int
    sqrt_price_x96: int
    tick: int
    liquidity: int
    ticks_crossed: int
    words_passed: int


def default_limit(zero_for_one: bool) -> int:
    """The price limit that routers and quoters use for "none"."""
    return MIN_LIMIT if zero_for_one else MAX_LIMIT


def check_swap(state: ConcentratedState, zero_for_one: bool, amount_specified: int, limit: int) -> None:
    """The contract's own requirements. Raises ``QuoteError``."""
    if not state.sqrt_price_x96:
        raise QuoteError("the pool is not initialised")
    if not amount_specified:
        raise QuoteError("the amount is zero")
    if not -_INT256_END <= amount_specified < _INT256_END:
        raise QuoteError("the amount does not fit int256")
    low, high = (MIN_LIMIT, state.sqrt_price_x96 - 1) if zero_for_one else (state.sqrt_price_x96 + 1, MAX_LIMIT)
    if not low <= limit <= high:
        raise QuoteError(f"price limit {limit} is outside [{low}, {high}]")


def swap(
    state: ConcentratedState, zero_for_one: bool, amount_specified: int, limit: int, fee_ppm: int | None = None
) -> SwapResult:
    """Swap as the contract: positive ``amount_specified`` is exact input, negative exact output.

    ``fee_ppm`` takes the place of the state's fee where it is another at the time of the swap. Like the contract it
    stops at ``limit`` without an error. Raises ``QuoteError`` where the contract reverts.
    """
    check_swap(state, zero_for_one, amount_specified, limit)
    fee_ppm = state.fee_ppm if fee_ppm is None else fee_ppm
    if fee_ppm >= PPM:
        raise QuoteError("the fee takes the whole input")
    header = state.ticks.exact.header(
        zero_for_one,
        state.sqrt_price_x96,
        state.tick,
        state.liquidity,
        state.tick_spacing,
        fee_ppm,
        state.word_edges,
    )
    if header is None:
        return walk(state, zero_for_one, amount_specified, limit, fee_ppm)
    exact_in = amount_specified > 0
    amount = amount_specified if exact_in else -amount_specified
    found = run(header.limbs, amount, exact_in)
    if limit != default_limit(zero_for_one):
        reached = header.table.up_to(header.limbs, zero_for_one, limit)
        left = amount - (reached.total_in if exact_in else reached.total_out)
        if found.passed > reached.passed or (found.passed == reached.passed and left > 0):
            return _to_limit(state, reached, zero_for_one, amount_specified, limit, fee_ppm)
    status, left, other, _, crossed, price, tick, liquidity = found
    if status:  # the liquidity ended, or the last step did exactly at the last price there is
        price = default_limit(zero_for_one)
        tick = MIN_TICK if zero_for_one else MAX_TICK - 1
    words = abs(tick - state.tick) // (WORD_BITS * state.tick_spacing) if state.word_edges else 0
    if exact_in:
        return SwapResult(amount - left, other, left, price, tick, liquidity, crossed, words)
    return SwapResult(other, amount - left, left, price, tick, liquidity, crossed, words)


def _to_limit(
    state: ConcentratedState, reached: Reached, zero_for_one: bool, amount_specified: int, limit: int, fee_ppm: int
) -> SwapResult:
    """The last step of a swap whose next target is the limit: by the formulas, from the last edge within it."""
    total_in, total_out = reached.total_in, reached.total_out
    price, tick, liquidity = reached.sqrt_price_x96, reached.tick, reached.liquidity
    remaining = amount_specified - total_in if amount_specified > 0 else amount_specified + total_out
    if price != limit:
        if not liquidity:
            return walk(state, zero_for_one, amount_specified, limit, fee_ppm)
        after, net_in, step_out, fee = swap_step(price, limit, liquidity, remaining, fee_ppm)
        total_in += net_in + fee
        total_out += step_out
        remaining += -(net_in + fee) if amount_specified > 0 else step_out
        if after != price:
            price, tick = after, tick_at_sqrt_ratio(after)
    words = abs(tick - state.tick) // (WORD_BITS * state.tick_spacing) if state.word_edges else 0
    return SwapResult(total_in, total_out, abs(remaining), price, tick, liquidity, reached.crossed, words)


def walk(
    state: ConcentratedState, zero_for_one: bool, amount_specified: int, limit: int, fee_ppm: int
) -> SwapResult:
    """``swap`` in plain integers from edge to edge: the reference that ``swap`` is compared with."""
    check_swap(state, zero_for_one, amount_specified, limit)
    price, tick, liquidity = state.sqrt_price_x96, state.tick, state.liquidity
    exact_in = amount_specified > 0
    remaining, total_in, total_out, crossed = amount_specified, 0, 0, 0
    while remaining and price != limit:
        step = _step(state, zero_for_one, price, tick, liquidity, remaining, limit, fee_ppm)
        start, price = price, step.price
        remaining += -step.gross_in if exact_in else step.amount_out
        total_in += step.gross_in
        total_out += step.amount_out
        if price == step.edge:
            tick = step.next_tick - 1 if zero_for_one else step.next_tick
            if step.initialised:
                net = state.ticks[step.next_tick][1]
                liquidity += -net if zero_for_one else net
                crossed += 1
                if not 0 <= liquidity <= MAX_LIQUIDITY:
                    raise QuoteError(f"tick {step.next_tick} leaves liquidity {liquidity}", total_in, total_out)
        elif price != start:
            tick = tick_at_sqrt_ratio(price) if liquidity else _tick_at_empty_limit(limit, state, zero_for_one)
    words = abs(tick - state.tick) // (WORD_BITS * state.tick_spacing) if state.word_edges else 0
    return SwapResult(total_in, total_out, abs(remaining), price, tick, liquidity, crossed, words)


class Step(NamedTuple):
    """One iteration of a swap: from a price towards ``edge``, the next tick or bitmap-word edge, reached or not."""

    gross_in: int
    amount_out: int
    price: int
    edge: int
    next_tick: int
    initialised: bool


def _step(
    state: ConcentratedState,
    zero_for_one: bool,
    price: int,
    tick: int,
    liquidity: int,
    remaining: int,
    limit: int,
    fee_ppm: int,
) -> Step:
    """Towards the next edge. Without liquidity nothing is traded before the next tick: no stop at word edges."""
    if liquidity and state.word_edges:
        next_tick, initialised = state.ticks.next_within_word(tick, state.tick_spacing, zero_for_one)
    else:
        found = state.ticks.next_initialised(tick, zero_for_one)
        if found is None or _beyond(sqrt_ratio_at_tick(found), limit, zero_for_one):
            if not liquidity:
                return Step(0, 0, limit, 0, tick, False)
            found = MIN_TICK if zero_for_one else MAX_TICK
        next_tick, initialised = found, found in state.ticks
    edge = sqrt_ratio_at_tick(next_tick)
    target = limit if _beyond(edge, limit, zero_for_one) else edge
    after, amount_in, amount_out, fee = swap_step(price, target, liquidity, remaining, fee_ppm)
    return Step(amount_in + fee, amount_out, after, edge, next_tick, initialised)


def _beyond(edge: int, limit: int, zero_for_one: bool) -> bool:
    return edge < limit if zero_for_one else edge > limit


def _tick_at_empty_limit(limit: int, state: ConcentratedState, zero_for_one: bool) -> int:
    """The tick after passing words without liquidity up to ``limit``.

    Only a limit exactly on a word edge needs care: the contract "crosses" it and, on the way down, stores the tick
    below.
    """
    tick = tick_at_sqrt_ratio(limit)
    on_edge = tick % (state.tick_spacing * WORD_BITS) == 0 and sqrt_ratio_at_tick(tick) == limit
    return tick - 1 if zero_for_one and on_edge and state.word_edges else tick
