import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS, event, pairs

from ouro.protocols.base import BalanceChange, DecodeError, QuoteError, StorageWrite
from ouro.protocols.uniswap_v2 import MAX_RESERVE, SyncDelta, UniswapV2, UniswapV2State

FAMILY = UniswapV2()
SYNC = "Sync(uint112,uint112)"
sides = st.sampled_from([(0, 1), (1, 0)])
amounts = st.integers(1, 1 << 112)


def test_the_routers_own_example_integers() -> None:
    """30 bps: 997 and 1000 in the router, parts per million here, the same floor."""
    state = UniswapV2State(POOL, TOKENS, 5_000_000_000, 10_000_000_000, 3000)
    quote = FAMILY.quote_in(state, 0, 1, 1_000_003, CONTEXT)
    assert quote.amount_out_wei == 1_000_003 * 997 * 10**10 // (5 * 10**9 * 1000 + 1_000_003 * 997)
    assert (quote.next_state.reserve0, quote.next_state.reserve1) == (
        5_000_000_000 + 1_000_003,
        10_000_000_000 - quote.amount_out_wei,
    )


@given(pairs, sides, amounts, st.sampled_from([(3, 1000), (2, 1000), (25, 10_000)]))
def test_the_quote_is_the_most_that_k_allows(
    state: UniswapV2State, side: tuple[int, int], amount: int, fee: tuple[int, int]
) -> None:
    numerator, denominator = fee
    state = UniswapV2State(POOL, TOKENS, state.reserve0, state.reserve1, numerator * 1_000_000 // denominator)
    i, j = side
    before = (state.reserve0, state.reserve1)
    try:
        out = FAMILY.quote_in(state, i, j, amount, CONTEXT).amount_out_wei
    except QuoteError:
        return

    def accepted(taken: int) -> bool:
        kept_in = (before[i] + amount) * denominator - amount * numerator
        return kept_in * (before[j] - taken) * denominator >= before[0] * before[1] * denominator**2

    assert accepted(out)
    assert not accepted(out + 1)


@given(pairs, sides, amounts)
def test_there_and_back_never_profits(state: UniswapV2State, side: tuple[int, int], amount: int) -> None:
    try:
        there = FAMILY.quote_in(state, *side, amount, CONTEXT)
        back = FAMILY.quote_in(there.next_state, side[1], side[0], there.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    assert back.amount_out_wei <= amount


@given(pairs, sides, amounts, st.integers(1, 1 << 90))
def test_more_in_gives_no_less_out(state: UniswapV2State, side: tuple[int, int], amount: int, more: int) -> None:
    try:
        less = FAMILY.quote_in(state, *side, amount, CONTEXT)
        greater = FAMILY.quote_in(state, *side, amount + more, CONTEXT)
    except QuoteError:
        return
    assert greater.amount_out_wei >= less.amount_out_wei


@given(pairs, sides, amounts)
def test_exact_out_pays_for_itself(state: UniswapV2State, side: tuple[int, int], amount_out: int) -> None:
    """What exact-out asks for buys at least the output; two units less would not (one is the router's)."""
    try:
        quote = FAMILY.quote_out(state, *side, amount_out, CONTEXT)
    except QuoteError:
        return
    assert FAMILY.quote_in(state, *side, quote.amount_in_wei, CONTEXT).amount_out_wei >= amount_out
    if quote.amount_in_wei > 2:
        try:
            less = FAMILY.quote_in(state, *side, quote.amount_in_wei - 2, CONTEXT).amount_out_wei
        except QuoteError:
            less = 0
        assert less < amount_out


@given(pairs, sides, st.integers(10**12, 10**30))
def test_segments_follow_the_exact_quote(state: UniswapV2State, side: tuple[int, int], amount: int) -> None:
    (r_in, r_out, gamma, cap) = FAMILY.segments(state, *side, CONTEXT)[0]
    try:
        exact = FAMILY.quote_in(state, *side, amount, CONTEXT).amount_out_wei
    except QuoteError:
        return
    assert amount <= cap
    assert gamma * amount * r_out / (r_in + gamma * amount) == pytest.approx(exact, rel=1e-9, abs=1.001)
    assert FAMILY.spot_rate(state, *side) == pytest.approx(gamma * r_out / r_in)


@given(pairs)
def test_json_round_trip(state: UniswapV2State) -> None:
    assert FAMILY.from_json(FAMILY.to_json(state)) == state


@pytest.mark.parametrize(
    ("reserves", "amount", "reason"),
    [
        ((0, 0), 1, "empty"),
        ((10**6, 10**6), 0, "positive"),
        ((10**6, 10**6), -5, "positive"),
        ((10**6, 10**6), 1, "insufficient output"),
        ((MAX_RESERVE, 10**6), 1, "overflow"),
        ((10**6, 10**6), 1 << 256, "overflow"),
    ],
)
def test_refused_inputs(reserves: tuple[int, int], amount: int, reason: str) -> None:
    state = UniswapV2State(POOL, TOKENS, *reserves, 3000)
    with pytest.raises(QuoteError, match=reason):
        FAMILY.quote_in(state, 0, 1, amount, CONTEXT)


def test_shortage_carries_the_partial_result() -> None:
    state = UniswapV2State(POOL, TOKENS, 10**6, 10**6, 3000)
    with pytest.raises(QuoteError) as caught:
        FAMILY.quote_out(state, 0, 1, 10**6, CONTEXT)
    assert caught.value.partial_in == MAX_RESERVE - 10**6
    assert caught.value.partial_out == 10**6 - 1
    with pytest.raises(QuoteError, match="tokens 0 and 1"):
        FAMILY.quote_in(state, 0, 0, 5, CONTEXT)


def test_sync_moves_reserves_words_and_balances() -> None:
    state = UniswapV2State(POOL, TOKENS, 100, 300, 3000, block_timestamp_last=1000)
    delta = FAMILY.decode(state, event(SYNC, [], ["uint112", "uint112"], [150, 200]), timestamp=1010)
    assert delta == SyncDelta(150, 200, 1010)
    assert delta is not None
    after = FAMILY.apply(state, delta)
    assert (after.reserve0, after.reserve1, after.block_timestamp_last) == (150, 200, 1010)
    assert FAMILY.storage_writes(state, delta) == (
        StorageWrite(POOL, 8, 150 | 200 << 112 | 1010 << 224),
        StorageWrite(POOL, 9, (300 << 112) // 100 * 10),
        StorageWrite(POOL, 10, (100 << 112) // 300 * 10),
        BalanceChange(TOKENS[0], POOL, 50),
        BalanceChange(TOKENS[1], POOL, -100),
    )


def test_other_events_change_nothing_and_broken_ones_are_typed() -> None:
    state = UniswapV2State(POOL, TOKENS, 100, 300, 3000)
    assert FAMILY.decode(state, event("Skim(uint256)", [], ["uint256"], [1]), 5) is None
    with pytest.raises(DecodeError, match="64 data bytes"):
        FAMILY.decode(state, event(SYNC, [], ["uint112"], [1]), 5)
    with pytest.raises(DecodeError, match="reserve1"):
        FAMILY.decode(state, event(SYNC, [], ["uint112", "uint256"], [1, 1 << 112]), 5)
    other = UniswapV2State("0x" + "b" * 40, TOKENS, 100, 300, 3000)
    with pytest.raises(DecodeError, match="was given to the pool"):
        FAMILY.decode(other, event(SYNC, [], ["uint112", "uint112"], [1, 1]), 5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", "uniswap_v3"),
        ("address", "0xABC"),
        ("tokens", [TOKENS[1], TOKENS[0]]),
        ("tokens", "0x"),
        ("reserve0", str(1 << 112)),
        ("reserve1", -1),
        ("reserve1", True),
        ("reserve1", 1.0),
        ("fee_ppm", 1_000_000),
        ("block_timestamp_last", "0x10"),
        ("price0_cumulative", "9" * 200),
    ],
)
def test_hostile_json_names_the_field(field: str, value: object) -> None:
    good = FAMILY.to_json(UniswapV2State(POOL, TOKENS, 100, 300, 3000))
    with pytest.raises(ValueError, match=field):
        FAMILY.from_json({**good, field: value})
    with pytest.raises(ValueError, match=field):
        FAMILY.from_json({k: v for k, v in good.items() if k != field})
    with pytest.raises(ValueError, match="extra"):
        FAMILY.from_json({**good, "extra": 1})
