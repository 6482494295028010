"""Liquidity Book against a second implementation, its compiled tables, its logs, and what holds of any pool."""

import random
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS
from tests.protocols.reference_book import Book, exact_price

from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.kernels.concentrated import DONE, EXHAUSTED
from ouro.protocols.liquidity_book import SWAP_HOOKS, LiquidityBook
from ouro.protocols.liquidity_book_math import CENTRE, FeeParameters, Volatility, price_of
from ouro.protocols.liquidity_book_state import SWAP, WITHDRAWN, Bins, LiquidityBookState
from ouro.protocols.quotes import QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.reads import Ask, Read, play
from ouro.testnet.abi import call_bytes
from ouro.types import BlockContext, Log

FAMILY = LiquidityBook()
NOW = CONTEXT.timestamp


@st.composite
def books(draw: st.DrawFn) -> LiquidityBookState:
    """Pairs with gaps, tiny and huge bins, any volatility, at different times since the last swap."""
    step = draw(st.sampled_from([1, 5, 10, 25, 100]))
    active = CENTRE + draw(st.integers(-40_000 // step, 40_000 // step))
    amount = st.integers(1, 10**4) | st.integers(10**9, 10**27)
    entries: dict[int, tuple[int, int]] = {}
    for offset in draw(st.sets(st.integers(1, 60), max_size=12)):
        entries[active - offset] = (0, draw(amount))
    for offset in draw(st.sets(st.integers(1, 60), max_size=12)):
        entries[active + offset] = (draw(amount), 0)
    entries[active] = (draw(amount | st.just(0)), draw(amount | st.just(0)))
    filter_period = draw(st.integers(0, 60))
    fees = FeeParameters(
        draw(st.integers(0, 20_000)) // step,
        filter_period,
        filter_period + draw(st.integers(0, 600)),
        draw(st.integers(0, 10_000)),
        draw(st.sampled_from([0, 1, 7_500, 40_000])),
        draw(st.integers(0, 2_500)),
        draw(st.integers(0, 350_000)),
    )
    accumulator = draw(st.integers(0, fees.max_volatility))
    volatility = Volatility(
        accumulator,
        draw(st.integers(0, accumulator)),
        active + draw(st.integers(-20, 20)),
        NOW - draw(st.integers(0, 700)),
    )
    return LiquidityBookState(POOL, TOKENS, step, active, Bins(entries), fees, volatility)


def reference(state: LiquidityBookState) -> Book:
    names = ("base", "filter", "decay", "reduction", "control", "protocol", "most")
    fees: dict[str, int] = dict(zip(names, state.fees, strict=True))
    book = Book(state.bin_step, state.active_id, {k: list(v) for k, v in state.bins.items()}, fees)
    book.accumulator, book.reference, book.home, book.last = state.volatility
    return book


def prices(state: LiquidityBookState) -> dict[int, int]:
    return {k: price_of(k, state.bin_step) for k in (*state.bins, state.active_id)}


@given(st.integers(1, 100), st.integers(-200_000, 200_000))
@settings(max_examples=60)
def test_prices_are_the_powers_up_to_the_fixed_point(step: int, offset: int) -> None:
    offset = offset // (8 * step)
    ours, exact = price_of(CENTRE + offset, step), exact_price(CENTRE + offset, step)
    # 2^-128 of the base, raised; each squaring and product cuts once more
    assert abs(Fraction(ours, 2**128) / exact - 1) < Fraction(abs(offset) * 4 + 64, 2**100)


@given(books(), st.booleans(), st.integers(1, 10**10) | st.integers(1, 10**28))
@settings(max_examples=200)
def test_swaps_equal_the_second_implementation(state: LiquidityBookState, x_in: bool, amount: int) -> None:
    i, j = (0, 1) if x_in else (1, 0)
    other = reference(state)
    theirs = other.swap(amount, x_in, NOW, prices(state))
    if not theirs:
        with pytest.raises(QuoteError):
            FAMILY.quote_in(state, i, j, amount, CONTEXT)
        return
    quote = FAMILY.quote_in(state, i, j, amount, CONTEXT)
    assert quote.amount_out_wei == theirs
    after = quote.next_state
    assert {k: tuple(v) for k, v in other.bins.items() if any(v)} == dict(after.bins)
    assert after.active_id == other.active
    assert after.volatility == (other.accumulator, other.reference, other.home, other.last)


@given(books(), st.booleans(), st.integers(1, 10**28))
@settings(max_examples=120)
def test_exact_out_is_the_least_input(state: LiquidityBookState, x_in: bool, wanted: int) -> None:
    i, j = (0, 1) if x_in else (1, 0)
    most = FAMILY.limits(state, i, j, CONTEXT).max_out_wei
    if not most:
        return
    wanted = wanted % most + 1
    quote = FAMILY.quote_out(state, i, j, wanted, CONTEXT)
    assert quote.amount_out_wei >= wanted
    assert quote == FAMILY.quote_in(state, i, j, quote.amount_in_wei, CONTEXT)
    less = quote.amount_in_wei - 1
    assert less == 0 or (reference(state).swap(less, x_in, NOW, prices(state)) or 0) < wanted


@given(books(), st.lists(st.tuples(st.booleans(), st.integers(1, 10**28)), min_size=1, max_size=20))
@settings(max_examples=80)
def test_compiled_quotes_are_the_same(state: LiquidityBookState, asked: list[tuple[bool, int]]) -> None:
    book = QuoteBook(2)
    book.set_pool(FAMILY, FAMILY.at(state, NOW), [(0, 0, 1), (1, 1, 0)])
    edges = np.array([0 if x_in else 1 for x_in, _ in asked], dtype=np.int32)
    outs, statuses = book.quote_many(edges, to_limb_rows([amount for _, amount in asked]))
    for (x_in, amount), out, status in zip(asked, from_limbs(outs), statuses, strict=True):
        i, j = (0, 1) if x_in else (1, 0)
        refusal = quote = None
        try:
            quote = FAMILY.quote_in(state, i, j, amount, CONTEXT)
        except QuoteError as error:
            refusal = error
        if quote is not None:
            assert (status, out) == (DONE, quote.amount_out_wei)
        elif refusal is not None:
            assert status != DONE
            assert status != EXHAUSTED or out == refusal.partial_out


@given(books(), st.booleans(), st.integers(1, 10**27), st.integers(1, 10**27))
@settings(max_examples=100)
def test_value_never_leaves_and_parts_get_no_more(
    state: LiquidityBookState, x_in: bool, one: int, two: int
) -> None:
    i, j = (0, 1) if x_in else (1, 0)
    try:
        whole = FAMILY.quote_in(state, i, j, one + two, CONTEXT)
        first = FAMILY.quote_in(state, i, j, one, CONTEXT)
        second = FAMILY.quote_in(first.next_state, i, j, two, CONTEXT)
    except QuoteError:
        return
    # the same block keeps the references when the filter period is not zero: parts pay the same fees, rounded
    # once more in one bin
    if state.fees.filter_period:
        assert first.amount_out_wei + second.amount_out_wei <= whole.amount_out_wei + 1
    for bin_id in {*state.bins, *whole.next_state.bins}:
        price = price_of(bin_id, state.bin_step)
        (x0, y0), (x1, y1) = (book.get(bin_id, (0, 0)) for book in (state.bins, whole.next_state.bins))
        assert price * x1 + (y1 << 128) >= price * x0 + (y0 << 128)
    try:
        back = FAMILY.quote_in(whole.next_state, j, i, whole.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    assert back.amount_out_wei <= one + two


def follow(state: LiquidityBookState, log: Log) -> LiquidityBookState:
    delta = FAMILY.decode(state, log, NOW)
    assert delta is not None
    return FAMILY.apply(state, delta)


def _swap_log(bin_id: int, paid: tuple[int, int], got: tuple[int, int], accumulator: int) -> Log:
    words = (bin_id, paid[0] | paid[1] << 128, got[0] | got[1] << 128, accumulator, 0, 0)
    data = "0x" + b"".join(word.to_bytes(32) for word in words).hex()
    who = "0x" + "00" * 32
    return Log(POOL, (SWAP, who, who), data, 1, "0x", "0x", 0, 0)


@given(books(), st.booleans(), st.integers(1, 10**27))
@settings(max_examples=80)
def test_following_the_logs_of_a_swap_ends_where_the_quote_does(
    state: LiquidityBookState, x_in: bool, amount: int
) -> None:
    i, j = (0, 1) if x_in else (1, 0)
    try:
        after = FAMILY.quote_in(state, i, j, amount, CONTEXT).next_state
    except QuoteError:
        return
    followed, book = state, reference(state)
    book.begin(NOW)
    touched = [k for k in {*state.bins, *after.bins} if state.bins.get(k) != after.bins.get(k)]
    for bin_id in sorted(touched, reverse=x_in):
        before, now = state.bins.get(bin_id, (0, 0)), after.bins.get(bin_id, (0, 0))
        book.fee_in(bin_id)
        paid = (now[0] - before[0], 0) if x_in else (0, now[1] - before[1])
        got = (0, before[1] - now[1]) if x_in else (before[0] - now[0], 0)
        followed = follow(followed, _swap_log(bin_id, paid, got, book.accumulator))
    # with no filter period each bin's event looks like the beginning of a swap where both fit
    if state.fees.filter_period or len(touched) == 1:
        assert followed == after
    assert followed.bins == after.bins


def sample() -> LiquidityBookState:
    rng = random.Random(5)
    bins = {CENTRE + k: (10**18 + rng.randrange(10**18), 0) for k in range(1, 80)}
    bins.update({CENTRE - k: (0, 10**18 + rng.randrange(10**18)) for k in range(1, 80)})
    bins[CENTRE] = (10**18, 10**18)
    fees = FeeParameters(8000, 30, 600, 5000, 40_000, 1000, 350_000)
    return LiquidityBookState(POOL, TOKENS, 20, CENTRE, Bins(bins), fees, Volatility(0, 0, CENTRE, NOW - 10_000))


def test_segments_are_the_bins() -> None:
    state = sample()
    for i, j in ((0, 1), (1, 0)):
        rows = FAMILY.segments(state, i, j, CONTEXT).tolist()
        for share in (0.01, 0.3, 0.77, 0.999):
            amount = int(FAMILY.limits(state, i, j, CONTEXT).max_in_wei * share)
            left, out = float(amount), 0.0
            for r_in, r_out, gamma, cap in rows:
                taken = min(left, cap)
                out += gamma * taken * r_out / (r_in + gamma * taken)
                left -= taken
            assert out == pytest.approx(FAMILY.quote_in(state, i, j, amount, CONTEXT).amount_out_wei, rel=1e-11)


def test_fee_falls_with_time_and_rises_with_bins() -> None:
    state = sample()
    moved = FAMILY.quote_in(state, 0, 1, 20 * 10**18, CONTEXT).next_state
    outs = []
    for later in (1, 60, 1000):
        context = BlockContext(8, NOW + later, 0)
        outs.append(FAMILY.quote_in(moved, 0, 1, 10**18, context).amount_out_wei)
    assert outs == sorted(outs)
    assert outs[0] < outs[2]


def test_hooks_on_swaps_and_wrong_logs_are_refused() -> None:
    state = msgspec.structs.replace(sample(), hooks=1 << 160 | 7)
    assert state.hooks & SWAP_HOOKS
    with pytest.raises(QuoteError, match="hooks"):
        FAMILY.quote_in(state, 0, 1, 100, CONTEXT)
    assert not len(FAMILY.segments(state, 0, 1, CONTEXT))
    plain = sample()
    with pytest.raises(DecodeError, match="volatility"):
        follow(plain, _swap_log(CENTRE, (5, 0), (0, 4), 123))
    with pytest.raises(DecodeError, match="arrays"):
        FAMILY.decode(plain, Log(POOL, (WITHDRAWN,), "0x" + "00" * 32 * 4, 1, "0x", "0x", 0, 0), NOW)


def test_reading_a_pair() -> None:
    state = sample()

    def words(*values: int) -> bytes:
        return b"".join(value.to_bytes(32) for value in values)

    sums = tuple(sum(held[k] for held in state.bins.values()) for k in (0, 1))
    told = {
        "getActiveId()": words(state.active_id),
        "getBinStep()": words(state.bin_step),
        "getTokenX()": words(int(TOKENS[0], 16)),
        "getTokenY()": words(int(TOKENS[1], 16)),
        "getStaticFeeParameters()": words(*state.fees),
        "getVariableFeeParameters()": words(*state.volatility),
        "getReserves()": words(sums[0] + 5, sums[1] + 7),
        "getProtocolFees()": words(5, 7),
    }
    answers = {call_bytes(name): answer for name, answer in told.items()}

    def answer(ask: Ask) -> bytes | None:
        assert isinstance(ask, Read)
        if ask.data[:4] == call_bytes("getBin(uint24)", 0)[:4]:
            return words(*state.bins.get(int.from_bytes(ask.data[4:]), (0, 0)))
        return answers.get(ask.data)

    pool = NewPool("lfj", "liquidity_book", POOL, TOKENS, 0)
    assert play(FAMILY.read(pool), answer) == state
