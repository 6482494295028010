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
from ouro.protocols.v3_ticks import WORD_BITS

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
    table, spacing, fee_ppm = state.ticks, state.tick_spacing, state.fee_ppm
    price, tick, liquidity = state.sqrt_price_x96, state.tick, state.liquidity
    remaining, total_in, total_out, crossed, words = amount_specified, 0, 0, 0, 0
    while remaining and price != limit:
        if liquidity:
            next_tick, initialised = table.next_within_word(tick, spacing, zero_for_one)
        else:
            found = table.next_initialised(tick, zero_for_one)
            if found is None or _beyond(sqrt_ratio_at_tick(found), limit, zero_for_one):
                words += abs(tick_at_sqrt_ratio(limit) - tick) // (WORD_BITS * spacing)
                price, tick = limit, _tick_at_empty_limit(limit, spacing, zero_for_one)
                break
            next_tick, initialised = found, True
            words += abs(found - tick) // (WORD_BITS * spacing)
        edge = sqrt_ratio_at_tick(next_tick)
        target = limit if _beyond(edge, limit, zero_for_one) else edge
        start = price
        price, amount_in, amount_out, fee = swap_step(price, target, liquidity, remaining, fee_ppm)
        remaining += amount_out if amount_specified < 0 else -(amount_in + fee)
        total_in += amount_in + fee
        total_out += amount_out
        if price == edge:
            if initialised:
                net = table[next_tick][1]
                liquidity += -net if zero_for_one else net
                crossed += 1
                if not 0 <= liquidity <= MAX_LIQUIDITY:
                    raise QuoteError(f"liquidity would be {liquidity} after tick {next_tick}", total_in, total_out)
            else:
                words += 1
            tick = next_tick - 1 if zero_for_one else next_tick
        elif price != start:
            tick = tick_at_sqrt_ratio(price)
    return SwapResult(total_in, total_out, abs(remaining), price, tick, liquidity, crossed, words)


def _beyond(edge: int, limit: int, zero_for_one: bool) -> bool:
    return edge < limit if zero_for_one else edge > limit


def _tick_at_empty_limit(limit: int, spacing: int, zero_for_one: bool) -> int:
    """The tick after crossing empty words without liquidity up to ``limit``.

    Nothing is traded there, so the words need no steps; only a limit exactly on a word edge differs: the contract
    "crosses" it and stores the tick below on the way down.
    """
    tick = tick_at_sqrt_ratio(limit)
    if zero_for_one and tick % (spacing * WORD_BITS) == 0 and sqrt_ratio_at_tick(tick) == limit:
        return tick - 1
    return tick
