"""The compiled tables give what the plain walk gives, everywhere."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import pools

from ouro.protocols.base import QuoteError
from ouro.protocols.v3_math import MAX_TICK, MIN_TICK, sqrt_ratio_at_tick, tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State, check_state
from ouro.protocols.v3_swap import MAX_LIMIT, MIN_LIMIT, default_limit, swap, walk
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable

MOST = (1 << 255) - 1
amounts = st.integers(1, 10**6) | st.integers(1, 10**30) | st.integers(1, MOST)


class Unworded(UniswapV3State, frozen=True):
    """As pools that keep their ticks in a list: no stops at bitmap words."""

    word_edges = False


def unworded(state: UniswapV3State) -> UniswapV3State:
    return Unworded(**{name: getattr(state, name) for name in state.__struct_fields__})


def test_a_limit_on_a_word_edge_with_input_left_that_would_move_nothing() -> None:
    """The contract stops at the limit and keeps the last unit; without a limit that unit is spent on the spot."""
    entries = {
        -887270: (34882669716, 34882669716),
        887175: (142647, 142647),
        887265: (2, 2),
        887270: (34882812365, -34882812365),
    }
    tokens = ("0x" + "1" * 40, "0x" + "2" * 40)
    state = UniswapV3State("0x" + "a" * 40, tokens, 25, 5, MAX_LIMIT, 887271, 0, TickTable(entries))
    limit = 1271037908439654754236649003556131621631256255178
    result = swap(state, True, 11, limit)
    assert (result.amount_in_wei, result.amount_out_wei) == (10, 83769085123192732534674389185)
    both(state, True, 11, limit)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except QuoteError as error:
        return error.reason


def both(state: UniswapV3State, zero_for_one: bool, amount: int, limit: int) -> None:
    fast = outcome(swap, state, zero_for_one, amount, limit)
    assert fast == outcome(walk, state, zero_for_one, amount, limit, state.fee_ppm)


@settings(max_examples=300)
@given(pools(), st.booleans(), amounts, st.sampled_from([1, -1]), st.booleans())
def test_any_amount(state: UniswapV3State, zero_for_one: bool, amount: int, sign: int, words: bool) -> None:
    both(state if words else unworded(state), zero_for_one, sign * amount, default_limit(zero_for_one))


@settings(max_examples=300)
@given(pools(), st.booleans(), amounts, st.sampled_from([1, -1]), st.data())
def test_any_limit(state: UniswapV3State, zero_for_one: bool, amount: int, sign: int, data: st.DataObject) -> None:
    span = state.tick_spacing * 256
    candidates = [*state.ticks, *(word * span for word in range(-2, 3)), state.tick, state.tick + 1]
    tick = data.draw(st.sampled_from(candidates)) + data.draw(st.integers(-1, 1))
    price = sqrt_ratio_at_tick(min(max(tick, MIN_TICK), MAX_TICK)) + data.draw(st.integers(-1, 1))
    both(state, zero_for_one, sign * amount, min(max(price, MIN_LIMIT), MAX_LIMIT))


@settings(max_examples=200)
@given(pools(), st.booleans(), st.data())
def test_amounts_exactly_to_an_edge_and_beside_it(
    state: UniswapV3State, zero_for_one: bool, data: st.DataObject
) -> None:
    """Where rounding decides whether an edge is crossed, also for outputs that land on it short of the full one."""
    ahead = [t for t in state.ticks if (t <= state.tick if zero_for_one else t > state.tick)]
    if not ahead:
        return
    limit = sqrt_ratio_at_tick(data.draw(st.sampled_from(ahead)))
    for amount in (MOST, -MOST):
        reached = outcome(walk, state, zero_for_one, amount, limit, state.fee_ppm)
        if isinstance(reached, str):
            return
        exact = reached.amount_in_wei if amount > 0 else reached.amount_out_wei
        for beside in range(-2, 3):
            if exact + beside > 0:
                signed = exact + beside if amount > 0 else -(exact + beside)
                both(state, zero_for_one, signed, default_limit(zero_for_one))


@settings(max_examples=100)
@given(pools(), st.lists(st.tuples(st.booleans(), st.integers(1, 10**27)), min_size=1, max_size=6))
def test_the_state_after_a_swap_is_as_good_as_the_first(
    state: UniswapV3State, swaps: list[tuple[bool, int]]
) -> None:
    """Tables outlive swaps: only the header changes."""
    for zero_for_one, amount in swaps:
        limit = default_limit(zero_for_one)
        if isinstance(outcome(swap, state, zero_for_one, amount, limit), str):
            return
        result = swap(state, zero_for_one, amount, limit)
        assert result == walk(state, zero_for_one, amount, limit, state.fee_ppm)
        state = msgspec.structs.replace(
            state, sqrt_price_x96=result.sqrt_price_x96, tick=result.tick, liquidity=result.liquidity
        )
        if not result.remaining_wei:
            check_state(state)


@pytest.mark.parametrize("spacing", [1, 10, 200])
@pytest.mark.parametrize("zero_for_one", [True, False])
def test_liquidity_to_the_last_tick(spacing: int, zero_for_one: bool) -> None:
    """A full-range position: with spacing 1 the price limit lies before the last tick."""
    top = MAX_TICK // spacing * spacing
    liquidity = 10**18
    ticks = EMPTY_TICKS.with_position(-top, top, liquidity)
    tokens = ("0x" + "1" * 40, "0x" + "2" * 40)
    price = sqrt_ratio_at_tick(12_345) + 7
    state = UniswapV3State(
        "0x" + "a" * 40, tokens, 500, spacing, price, tick_at_sqrt_ratio(price), liquidity, ticks
    )
    everything = walk(state, zero_for_one, MOST, default_limit(zero_for_one), 500)
    for amount in (1, everything.amount_in_wei - 1, everything.amount_in_wei, everything.amount_in_wei + 1, MOST):
        both(state, zero_for_one, amount, default_limit(zero_for_one))
    for amount in (1, everything.amount_out_wei - 1, everything.amount_out_wei, everything.amount_out_wei + 1):
        both(state, zero_for_one, -amount, default_limit(zero_for_one))
