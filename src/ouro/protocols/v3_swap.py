"""``UniswapV3Pool.swap`` in integers: from tick to tick, stopping at bitmap-word edges as the contract does."""

import msgspec

from ouro.protocols.base import QuoteError
from ouro.protocols.v3_math import (
    MAX_LIQUIDITY,
    MAX_SQRT_RATIO,
    MIN_SQRT_RATIO,
    sqrt_ratio_at_tick,
    swap_step,
    tick_at_sqrt_ratio,
)
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import WORD_BITS, Step

MIN_LIMIT = MIN_SQRT_RATIO + 1
MAX_LIMIT = MAX_SQRT_RATIO - 1
_INT256_END = 1 << 255


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


def check_swap(state: UniswapV3State, zero_for_one: bool, amount_specified: int, limit: int) -> None:
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


def swap(state: UniswapV3State, zero_for_one: bool, amount_specified: int, limit: int) -> SwapResult:
    """Swap as the contract: positive ``amount_specified`` is exact input, negative exact output.

    Like the contract it stops at ``limit`` without an error. Raises ``QuoteError`` where the contract reverts.
    """
    check_swap(state, zero_for_one, amount_specified, limit)
    price, tick, liquidity = state.sqrt_price_x96, state.tick, state.liquidity
    exact_in = amount_specified > 0
    remaining, total_in, total_out, crossed = amount_specified, 0, 0, 0
    known = state.ticks.full_steps(zero_for_one, state.tick_spacing, state.fee_ppm)
    at_edge = False  # of a whole step just made: only there the tick determines the price
    while remaining and price != limit:
        step = known.get(tick) if at_edge and exact_in else None
        if step is None or not _usable(step, liquidity, remaining, limit, zero_for_one):
            step = _step(state, zero_for_one, price, tick, liquidity, remaining, limit)
            if at_edge and exact_in and step.price == step.edge:
                known[tick] = step
        start, price = price, step.price
        remaining += -step.gross_in if exact_in else step.amount_out
        total_in += step.gross_in
        total_out += step.amount_out
        at_edge = price == step.edge
        if at_edge:
            tick = step.next_tick - 1 if zero_for_one else step.next_tick
            if step.initialised:
                net = state.ticks[step.next_tick][1]
                liquidity += -net if zero_for_one else net
                crossed += 1
                if not 0 <= liquidity <= MAX_LIQUIDITY:
                    raise QuoteError(f"tick {step.next_tick} leaves liquidity {liquidity}", total_in, total_out)
        elif price != start:
            tick = tick_at_sqrt_ratio(price) if liquidity else _tick_at_empty_limit(limit, state, zero_for_one)
    words = abs(tick - state.tick) // (WORD_BITS * state.tick_spacing)
    return SwapResult(total_in, total_out, abs(remaining), price, tick, liquidity, crossed, words)


def _usable(step: Step, liquidity: int, remaining: int, limit: int, zero_for_one: bool) -> bool:
    return (
        step.gross_in <= remaining and step.liquidity == liquidity and not _beyond(step.edge, limit, zero_for_one)
    )


def _step(
    state: UniswapV3State, zero_for_one: bool, price: int, tick: int, liquidity: int, remaining: int, limit: int
) -> Step:
    """Towards the next edge. Without liquidity nothing is traded before the next tick: no stop at word edges."""
    found = None if liquidity else state.ticks.next_initialised(tick, zero_for_one)
    if liquidity:
        next_tick, initialised = state.ticks.next_within_word(tick, state.tick_spacing, zero_for_one)
    elif found is None or _beyond(sqrt_ratio_at_tick(found), limit, zero_for_one):
        return Step(0, 0, 0, limit, 0, tick, False)
    else:
        next_tick, initialised = found, True
    edge = sqrt_ratio_at_tick(next_tick)
    target = limit if _beyond(edge, limit, zero_for_one) else edge
    after, amount_in, amount_out, fee = swap_step(price, target, liquidity, remaining, state.fee_ppm)
    return Step(liquidity, amount_in + fee, amount_out, after, edge, next_tick, initialised)


def _beyond(edge: int, limit: int, zero_for_one: bool) -> bool:
    return edge < limit if zero_for_one else edge > limit


def _tick_at_empty_limit(limit: int, state: UniswapV3State, zero_for_one: bool) -> int:
    """The tick after passing words without liquidity up to ``limit``.

    Only a limit exactly on a word edge needs care: the contract "crosses" it and, on the way down, stores the tick
    below.
    """
    tick = tick_at_sqrt_ratio(limit)
    on_edge = tick % (state.tick_spacing * WORD_BITS) == 0 and sqrt_ratio_at_tick(tick) == limit
    return tick - 1 if zero_for_one and on_edge else tick
