"""Algebra's adaptive fee: what depends on time, what is refused, and tables that share their entries."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS, pools

from ouro.protocols.algebra_adaptive import BASE_GAS, YOUNG_GAS, AlgebraAdaptive
from ouro.protocols.algebra_oracle import (
    U32,
    WINDOW_S,
    FeeConfig,
    Timepoint,
    Timepoints,
    fee_ppm,
    sigmoid,
    volume_per_liquidity,
    written,
)
from ouro.protocols.algebra_state import AlgebraAdaptiveState, timepoint_of, timepoint_words
from ouro.protocols.base import QuoteError, Source
from ouro.protocols.quotes import QuoteBook
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.types import BlockContext

FAMILY = AlgebraAdaptive()
OPERATOR = "0x" + "7" * 40
HOUR_S = 3600


def adaptive(
    state: UniswapV3State, *, ago_s: int = 0, moves: tuple[int, ...] = (0, 50, -80, 3)
) -> AlgebraAdaptiveState:
    """The pool with a short history that ended ``ago_s`` before ``CONTEXT``."""
    now = CONTEXT.timestamp - ago_s
    points = Timepoints([Timepoint(now - HOUR_S * len(moves), average_tick=state.tick)])
    for k, move in enumerate(moves):
        points = written(points, now - HOUR_S * (len(moves) - 1 - k), state.tick + move, state.liquidity, 5 << 57)
    config = FeeConfig()
    return AlgebraAdaptiveState(
        POOL,
        TOKENS,
        OPERATOR,
        OPERATOR,
        state.tick_spacing,
        config,
        fee_ppm(points, config),
        len(points) - 1,
        0,
        (0, 100),
        state.sqrt_price_x96,
        state.tick,
        state.liquidity,
        state.ticks,
        points,
    )


def later(seconds: int) -> BlockContext:
    return BlockContext(CONTEXT.number + 1, CONTEXT.timestamp + seconds, CONTEXT.base_fee_wei)


def test_sources() -> None:
    assert set(FAMILY.sources) == set(AlgebraAdaptiveState.__struct_fields__)
    assert FAMILY.sources["fee_config"] is Source.MUST_REFRESH
    assert FAMILY.sources["as_of"] is Source.FROM_TIME


@settings(max_examples=60)
@given(pools(), st.integers(0, 3 * WINDOW_S))
def test_json_round_trip(pool: UniswapV3State, seconds: int) -> None:
    for state in (adaptive(pool), FAMILY.at(adaptive(pool), CONTEXT.timestamp + seconds)):
        assert FAMILY.from_json(json.loads(json.dumps(FAMILY.to_json(state)))) == state


@settings(max_examples=60)
@given(pools(), st.integers(1, 10**20), st.integers(1, 2 * WINDOW_S))
def test_the_first_swap_of_a_block_time_sets_the_fee_for_all_others(
    pool: UniswapV3State, amount: int, seconds: int
) -> None:
    state = adaptive(pool)
    try:
        first = FAMILY.quote_in(state, 0, 1, amount, later(seconds))
        second = FAMILY.quote_in(first.next_state, 0, 1, amount, later(seconds))
    except QuoteError:
        return
    assert (
        first.next_state.fee_ppm == second.next_state.fee_ppm == FAMILY.at(state, later(seconds).timestamp).fee_ppm
    )
    assert first.next_state.timepoints is second.next_state.timepoints
    assert len(first.next_state.timepoints) == len(state.timepoints) + 1
    assert first.next_state.volume_in_block <= second.next_state.volume_in_block


def test_the_fee_follows_volatility_and_time() -> None:
    pool = UniswapV3State(POOL, TOKENS, 500, 60, 1 << 96, 0, 0)
    calm, wild = adaptive(pool, moves=(0,) * 6), adaptive(pool, moves=(0, 900, -900, 900, -900, 0))
    assert calm.fee_ppm < wild.fee_ppm
    # the window moves on: what happened a week ago costs nothing
    assert FAMILY.at(wild, CONTEXT.timestamp + HOUR_S).fee_ppm != wild.fee_ppm
    quiet = FAMILY.at(FAMILY.at(wild, CONTEXT.timestamp + 7 * 86400), CONTEXT.timestamp + 14 * 86400)
    assert quiet.fee_ppm < wild.fee_ppm
    assert FAMILY.at(wild, CONTEXT.timestamp).fee_ppm == wild.fee_ppm


@settings(max_examples=30)
@given(pools())
def test_no_fee_no_quote_for_a_time_gone_by(pool: UniswapV3State) -> None:
    state = adaptive(pool)
    with pytest.raises(QuoteError, match="before the pool's last entry"):
        FAMILY.quote_in(state, 0, 1, 1000, later(-1))
    assert FAMILY.limits(state, 0, 1, later(-1)).max_in_wei == 0
    assert not len(FAMILY.segments(state, 0, 1, later(-1)))
    bare = AlgebraAdaptiveState(POOL, TOKENS, OPERATOR)
    with pytest.raises(QuoteError, match="not initialised"):
        FAMILY.quote_out(bare, 0, 1, 1, CONTEXT)


@settings(max_examples=40)
@given(pools(), st.integers(1, 10**22), st.booleans(), st.integers(0, WINDOW_S))
def test_batches_quote_a_state_of_a_time_and_no_other(
    pool: UniswapV3State, amount: int, forward: bool, seconds: int
) -> None:
    i, j = (0, 1) if forward else (1, 0)
    state = adaptive(pool)
    assert FAMILY.exact_header(state, i, j) is None
    book = QuoteBook(1)
    book.set_pool(FAMILY, FAMILY.at(state, later(seconds).timestamp), [(0, i, j)])
    try:
        wanted: int | None = FAMILY.quote_in(state, i, j, amount, later(seconds)).amount_out_wei
    except QuoteError:
        wanted = None
    found = book.quote_path(np.zeros(1, dtype=np.int32), amount)
    assert found == ([amount] if wanted is None else [amount, wanted])


def test_words_round_trip() -> None:
    pool = UniswapV3State(POOL, TOKENS, 500, 60, 1 << 96, 0, 0)
    state = adaptive(pool, moves=(-887_272, 887_272, -5))
    assert timepoint_of(*timepoint_words(state).values()) == state.timepoints[-1]
    assert timepoint_of(0, 0) is None


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 900), st.integers(-2000, 2000)), min_size=400, max_size=900),
)
def test_dropping_old_entries_changes_nothing(start: int, steps: list[tuple[int, int]]) -> None:
    now = (U32 - start) & U32  # overflows on the way
    kept = Timepoints([Timepoint(now)])
    whole = [kept[0]]
    for seconds, tick in steps:
        now = (now + seconds) & U32
        kept = written(kept, now, tick, 10**9, seconds << 57)
        whole.append(kept[-1])
    assert fee_ppm(kept, FeeConfig()) == fee_ppm(Timepoints(whole), FeeConfig())
    again = written(Timepoints(whole), (now + 12) & U32, 7, 10**9, 1)
    assert written(kept, (now + 12) & U32, 7, 10**9, 1)[-1] == again[-1]
    assert kept[len(kept) - 1] == kept[-1] == whole[-1]


def test_a_table_is_a_value() -> None:
    first = Timepoints([Timepoint(5)])
    one, other = first.appended(Timepoint(6)), first.appended(Timepoint(7))
    assert (len(first), len(one), len(other)) == (1, 2, 2)
    assert one != other
    assert one == first.appended(Timepoint(6))
    assert [entry.timestamp for entry in other] == [5, 7]


@settings(max_examples=200)
@given(st.integers(0, 1 << 90), st.integers(1, 65_535), st.integers(0, 65_535), st.integers(0, U32))
def test_a_sigmoid_stays_below_its_height(x: int, gamma: int, alpha: int, beta: int) -> None:
    assert 0 <= sigmoid(x, gamma, alpha, beta) <= sigmoid(x + gamma, gamma, alpha, beta) + 1 <= alpha + 1


def test_volume_is_capped_and_needs_both_amounts() -> None:
    assert volume_per_liquidity(10**18, 10**18, 0) == 0
    assert volume_per_liquidity(1 << 64, 1 << 40, -(1 << 40)) == 1 << 40
    assert volume_per_liquidity(0, 1 << 200, -(1 << 200)) == 100_000 << 64


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fee_config", [0] * 9, r"fee_config\[4\]"),
        ("fee_config", [60_000, 6000, 1, 1, 1, 1, 1, 1, 1], "more than 65,535"),
        ("timepoints", [], "entries"),
        ("timepoints", [[1, 0, 0, 0, 0, 0]] * 2, "same time"),
        ("timepoints", [[1, 0]], "list of 6"),
        ("community_fee", [251, 0], r"community_fee\[0\]"),
        ("volume_in_block", str(1 << 128), "volume_in_block"),
    ],
)
def test_hostile_json(field: str, value: object, message: str) -> None:
    pool = UniswapV3State(POOL, TOKENS, 500, 60, 1 << 96, 0, 0)
    good = FAMILY.to_json(adaptive(pool))
    with pytest.raises(ValueError, match=message):
        FAMILY.from_json({**good, field: value})
    assert msgspec.structs.replace(adaptive(pool)) == FAMILY.from_json(good)


def test_a_pool_with_a_day_of_entries_is_dearer_to_swap_in() -> None:
    ticks = TickTable({-6_000: (10**20, 10**20), 6_000: (10**20, -(10**20))})
    plain = UniswapV3State(POOL, TOKENS, 0, 60, 1 << 96, 0, 10**20, ticks)
    young, old = adaptive(plain), adaptive(plain, moves=(0,) * 30)
    gas = [FAMILY.quote_in(state, 0, 1, 10**9, CONTEXT).gas for state in (young, old)]
    assert gas == [YOUNG_GAS, BASE_GAS]
    assert FAMILY.least_gas == YOUNG_GAS
