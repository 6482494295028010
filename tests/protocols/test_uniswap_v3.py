import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS, pools

from ouro.protocols.base import QuoteError
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_math import (
    MAX_TICK,
    MIN_TICK,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)
from ouro.protocols.v3_state import UniswapV3State, check_state
from ouro.protocols.v3_swap import swap
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable

FAMILY = UniswapV3()
sides = st.sampled_from([(0, 1), (1, 0)])
amounts = st.integers(1, 10**6) | st.integers(10**9, 10**30)


@given(st.integers(MIN_TICK, MAX_TICK - 1), st.integers(0, 1 << 160))
def test_tick_and_price_are_inverse(tick: int, offset: int) -> None:
    low, high = sqrt_ratio_at_tick(tick), sqrt_ratio_at_tick(tick + 1)
    assert tick_at_sqrt_ratio(low) == tick
    assert tick_at_sqrt_ratio(high - 1) == tick
    assert tick_at_sqrt_ratio(low + offset % (high - low)) == tick


@given(pools(), sides, amounts)
def test_there_and_back_never_profits(state: UniswapV3State, side: tuple[int, int], amount: int) -> None:
    try:
        there = FAMILY.quote_in(state, *side, amount, CONTEXT)
        back = FAMILY.quote_in(there.next_state, side[1], side[0], there.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    assert back.amount_out_wei <= amount


@given(pools(), sides, amounts, amounts)
def test_more_in_gives_no_less_out(state: UniswapV3State, side: tuple[int, int], amount: int, more: int) -> None:
    try:
        less = FAMILY.quote_in(state, *side, amount, CONTEXT)
        greater = FAMILY.quote_in(state, *side, amount + more, CONTEXT)
    except QuoteError:
        return
    assert greater.amount_out_wei >= less.amount_out_wei


@given(pools(), sides, amounts)
def test_exact_out_of_what_an_input_bought(state: UniswapV3State, side: tuple[int, int], amount: int) -> None:
    """Asking for what an input buys never costs more than that input, and selling it back gives no gain."""
    try:
        bought = FAMILY.quote_in(state, *side, amount, CONTEXT)
    except QuoteError:
        return
    if not bought.amount_out_wei:
        return
    cost = FAMILY.quote_out(state, *side, bought.amount_out_wei, CONTEXT)
    assert cost.amount_out_wei == bought.amount_out_wei
    assert cost.amount_in_wei <= amount
    again = FAMILY.quote_in(cost.next_state, side[1], side[0], bought.amount_out_wei, CONTEXT)
    assert again.amount_out_wei <= cost.amount_in_wei


@given(pools(), sides, amounts)
def test_next_state_continues_where_the_first_swap_stopped(
    state: UniswapV3State, side: tuple[int, int], amount: int
) -> None:
    """The next state is a possible state: its liquidity is the sum of its ticks, its tick belongs to its price."""
    try:
        after = FAMILY.quote_in(state, *side, amount, CONTEXT).next_state
    except QuoteError:
        return
    check_state(after)
    change = after.sqrt_price_x96 - state.sqrt_price_x96
    assert change <= 0 if side[0] == 0 else change >= 0


@given(pools(), sides)
@settings(max_examples=60)
def test_shortage_is_the_whole_book(state: UniswapV3State, side: tuple[int, int]) -> None:
    with pytest.raises(QuoteError, match="insufficient liquidity") as caught:
        FAMILY.quote_in(state, *side, 1 << 200, CONTEXT)
    everything = caught.value
    rows = FAMILY.segments(state, *side, CONTEXT)
    assert float(np.sum(rows[:, 3])) == pytest.approx(everything.partial_in, rel=1e-9, abs=3000)
    if everything.partial_out > 1:
        quote = FAMILY.quote_out(state, *side, everything.partial_out, CONTEXT)
        assert quote.amount_in_wei <= everything.partial_in
        with pytest.raises(QuoteError) as more:
            FAMILY.quote_out(state, *side, everything.partial_out + 1, CONTEXT)
        assert more.value.partial_out == everything.partial_out


def walk(rows: np.ndarray, amount: float) -> float:
    """The output that segments promise."""
    total = 0.0
    for r_in, r_out, gamma, cap in rows:
        step = min(amount, cap)
        total += gamma * step * r_out / (r_in + gamma * step)
        amount -= step
        if amount <= 0:
            break
    return total


@given(pools(), sides, st.integers(10**15, 10**30))
def test_segments_follow_the_exact_quote(state: UniswapV3State, side: tuple[int, int], amount: int) -> None:
    try:
        exact = FAMILY.quote_in(state, *side, amount, CONTEXT).amount_out_wei
    except QuoteError:
        return
    assume(exact > 10**12)
    assert walk(FAMILY.segments(state, *side, CONTEXT), float(amount)) == pytest.approx(exact, rel=1e-9)


@given(pools(), sides, amounts)
def test_segments_after_a_swap_equal_those_of_a_fresh_state(
    state: UniswapV3State, side: tuple[int, int], amount: int
) -> None:
    """The rows cached per tick table serve every state that shares it."""
    try:
        after = FAMILY.quote_in(state, *side, amount, CONTEXT).next_state
    except QuoteError:
        return
    fresh = FAMILY.from_json(FAMILY.to_json(after))
    for i, j in ((0, 1), (1, 0)):
        np.testing.assert_array_equal(FAMILY.segments(after, i, j, CONTEXT), FAMILY.segments(fresh, i, j, CONTEXT))


@given(pools())
def test_spot_rate_is_the_first_segments(state: UniswapV3State) -> None:
    for i, j in ((0, 1), (1, 0)):
        rows = FAMILY.segments(state, i, j, CONTEXT)
        rate = FAMILY.spot_rate(state, i, j)
        assert rate == (pytest.approx(rows[0, 1] / rows[0, 0] * rows[0, 2], rel=1e-9) if len(rows) else 0.0)


@given(pools())
def test_json_round_trip(state: UniswapV3State) -> None:
    assert FAMILY.from_json(FAMILY.to_json(state)) == state


def test_uninitialised_and_wrong_requests_are_typed() -> None:
    state = UniswapV3State(POOL, TOKENS, 3000, 60)
    assert FAMILY.segments(state, 0, 1, CONTEXT).shape == (0, 4)
    assert FAMILY.spot_rate(state, 0, 1) == 0.0
    with pytest.raises(QuoteError, match="not initialised"):
        FAMILY.quote_in(state, 0, 1, 5, CONTEXT)
    live = UniswapV3State(POOL, TOKENS, 3000, 60, sqrt_price_x96=1 << 96)
    for amount, reason in ((0, "positive"), (1 << 255, "int256"), (5, "insufficient")):
        with pytest.raises(QuoteError, match=reason):
            FAMILY.quote_in(live, 0, 1, amount, CONTEXT)
    with pytest.raises(QuoteError, match="tokens 0 and 1"):
        FAMILY.quote_out(live, 1, 1, 5, CONTEXT)
    with pytest.raises(QuoteError, match="price limit"):
        swap(live, True, 5, 1 << 96)


def good_json() -> dict[str, object]:
    ticks = EMPTY_TICKS.with_position(-60, 60, 1000)
    return FAMILY.to_json(UniswapV3State(POOL, TOKENS, 3000, 60, 1 << 96, 0, 1000, ticks))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokens", [1, 2]),
        ("tick_spacing", 0),
        ("tick", 5),
        ("sqrt_price_x96", 12),
        ("sqrt_price_x96", 0),
        ("liquidity", 999),
        ("liquidity", str(1 << 128)),
        ("ticks", [[-60, 1000, 1000]]),
        ("ticks", [[-60, 1000, 1000], [61, 1000, -1000]]),
        ("ticks", [[-60, 1000, 1000], [-60, 1000, -1000]]),
        ("ticks", [[-60, 1000, 2000], [60, 1000, -2000]]),
        ("ticks", [[-60, 0, 0]]),
        ("ticks", [[-60]]),
        ("ticks", {}),
        ("fee_protocol", 256),
        ("observation", [1]),
        ("observation", [1, "x", 2]),
    ],
)
def test_hostile_json_names_the_field(field: str, value: object) -> None:
    FAMILY.from_json(good_json())
    with pytest.raises(ValueError, match=field):
        FAMILY.from_json({**good_json(), field: value})


def test_tick_table_is_a_value() -> None:
    table = EMPTY_TICKS.with_position(-120, 60, 7).with_position(60, 180, 5)
    assert dict(table) == {-120: (7, 7), 60: (12, -2), 180: (5, -5)}
    assert table == TickTable(dict(table))
    assert hash(table) == hash(TickTable(dict(table)))
    assert table.with_position(60, 180, -5).with_position(-120, 60, -7) == EMPTY_TICKS
    assert len(EMPTY_TICKS) == 0
    assert table.next_within_word(59, 60, lte=True) == (0, False)  # the word's edge comes first
    assert table.next_within_word(-1, 60, lte=True) == (-120, True)
    assert table.next_within_word(60, 60, lte=True) == (60, True)
    assert table.next_within_word(60, 60, lte=False) == (180, True)
    assert table.next_within_word(180, 60, lte=False) == (255 * 60, False)
    assert table.active_liquidity(59) == 7
