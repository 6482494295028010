"""Twocrypto against its paper in exact fractions, its logs, its pieces, and what must hold of any pool."""

import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS
from tests.protocols.reference_crypto import coin, decay, excess, fee_share, price, value

from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.curve_crypto import RAMP, STOP_RAMP, TOKEN_EXCHANGE, Twocrypto
from ouro.protocols.curve_crypto_math import cbrt, get_p, get_y, newton_d, newton_y, wad_exp
from ouro.protocols.curve_crypto_state import Fees, Rebalancing, TwocryptoState, bought, exchanged
from ouro.protocols.reads import Ask, Garbage, Read, play
from ouro.testnet.abi import call_bytes
from ouro.types import BlockContext, Log

FAMILY = Twocrypto()
NOW = CONTEXT.timestamp
UNIT = 10**18
curves = st.tuples(st.integers(4_000, 10**7), st.integers(10**11, 10**15))


@st.composite
def cryptos(draw: st.DrawFn) -> TwocryptoState:
    """Pools that have made some profit, around a price scale or off it, some on a ramp."""
    precisions = draw(st.sampled_from([(1, 1), (10**12, 1), (1, 10**10)]))
    scale = draw(st.integers(10**15, 10**23))
    depth = draw(st.integers(10**3, 10**8)) * UNIT
    tilt = draw(st.integers(30, 300))
    balances = depth // precisions[0], depth * UNIT // scale * tilt // 100 // precisions[1] + 1
    parameters = draw(curves)
    later = draw(st.one_of(st.just(parameters), curves))
    state = TwocryptoState(
        address=POOL,
        tokens=TOKENS,
        precisions=precisions,
        balances_wei=balances,
        initial=parameters,
        future=later,
        initial_time=NOW - 1000,
        future_time=NOW + draw(st.integers(-900, 10**6)),
        d=0,
        price_scale=scale,
        price_oracle=scale * draw(st.integers(90, 110)) // 100,
        last_price=scale * draw(st.integers(80, 120)) // 100,
        updated=NOW - draw(st.integers(0, 10_000)),
        xcp_profit=UNIT + draw(st.integers(0, UNIT // 10)),
        virtual_price=UNIT,
        supply=1,
        fees=Fees(draw(st.integers(1_000_000, 30_000_000)), draw(st.integers(30_000_000, 200_000_000)), 2 * 10**14),
        rebalancing=Rebalancing(draw(st.sampled_from([0, 2 * 10**12])), 146 * 10**12, 866),
    )
    try:
        d = newton_d(*state.parameters(NOW), state.scaled(balances))
    except QuoteError:
        return msgspec.structs.replace(state, balances_wei=(0, 0))
    supply = max(int(value(d, scale)) * 100 // draw(st.integers(100, 110)), 1)
    virtual = UNIT * int(value(d, scale)) // supply
    return msgspec.structs.replace(state, d=d, supply=supply, virtual_price=virtual - virtual // 10**9)


@given(curves, st.integers(10**18, 10**27), st.integers(200, 4000))
@settings(max_examples=60)
def test_solutions_lie_on_the_invariant(curve: tuple[int, int], x: int, share: int) -> None:
    ann, gamma = curve
    a4, g = Fraction(ann, 10_000), Fraction(gamma, UNIT)
    y = x * share // 1000 + 1
    d = newton_d(ann, gamma, (x, y))
    near = max(d // 10**13, 10**4)
    below, above = (excess(a4, g, Fraction(x), Fraction(y), Fraction(d + off)) for off in (-near, near))
    assert above < 0 < below
    for solve, share_of in ((get_y, 10**13), (newton_y, 10**12)):
        found = solve(ann, gamma, x, d)
        ours = found if isinstance(found, int) else found[0]
        assert abs(ours - coin(a4, g, x, d)) <= max(ours // share_of, 200)
    exact = price(a4, g, x, y, d)
    assert abs(Fraction(get_p((x, y), d, ann, gamma), UNIT) / exact - 1) < Fraction(1, 10**6)


@given(st.integers(0, 10**6), st.integers(60, 10**5))
def test_the_average_forgets_by_the_exponential(seconds: int, ma_time: int) -> None:
    ours = Decimal(wad_exp(-(seconds * UNIT // ma_time))) / UNIT
    assert abs(ours - decay(seconds, ma_time)) < Decimal(10) ** -16


@given(st.integers(1, 10**70))
def test_cube_roots(x: int) -> None:
    root = cbrt(x)
    assert abs(Fraction(root**3, x * 10**36) - 1) < Fraction(1, 10**8)


@given(cryptos(), st.booleans(), st.integers(1, 10**9))
@settings(max_examples=50)
def test_exchanges_pay_what_the_paper_says(state: TwocryptoState, forward: bool, share_ppb: int) -> None:
    i = 0 if forward else 1
    amount = state.balances_wei[i] * share_ppb // 10**9 + 1
    try:
        found = bought(state, i, amount, NOW)
    except QuoteError:
        return
    ann, gamma = state.parameters(NOW)
    xp = list(state.scaled(state.balances_wei))
    held = list(state.balances_wei)
    held[i] += amount
    after = list(state.scaled((held[0], held[1])))
    d = state.d if state.future_time <= NOW else newton_d(ann, gamma, (xp[0], xp[1]))
    y = coin(Fraction(ann, 10_000), Fraction(gamma, UNIT), after[i], d)
    gained = Fraction(xp[1 - i] - y) / state.precisions[1 - i]
    if i == 0:
        gained = gained * UNIT / state.price_scale
    there = (after[0], y) if i == 0 else (y, after[1])
    expected = gained * (1 - fee_share(*state.fees, *there))
    # the closed form is exact to some 10^-13 of the balance, the fee is cut to 10^-10
    slack = 3 + gained / 10**9 + Fraction(state.balances_wei[1 - i], 10**12)
    slack += Fraction(2 * UNIT, state.price_scale * state.precisions[1 - i])
    assert abs(found.out - expected) <= slack


@given(cryptos(), st.booleans(), st.integers(1000, 3 * 10**8))
@settings(max_examples=50)
def test_the_price_tweak_follows_the_paper(state: TwocryptoState, forward: bool, share_ppb: int) -> None:
    i = 0 if forward else 1
    amount = state.balances_wei[i] * share_ppb // 10**9 + 1
    try:
        out, after = exchanged(state, i, amount, NOW)
    except QuoteError:
        return
    weight = decay(max(NOW - state.updated, 0), state.rebalancing.ma_time)
    average = min(state.last_price, 2 * state.price_scale) * (1 - weight) + state.price_oracle * weight
    assert abs(after.price_oracle - average) <= 2 + average / 10**15
    assert after.updated == NOW
    found = bought(state, i, amount, NOW)
    ann, gamma = state.parameters(NOW)
    d = newton_d(ann, gamma, found.xp)
    exact = price(Fraction(ann, 10_000), Fraction(gamma, UNIT), *found.xp, d) * state.price_scale
    assert abs(after.last_price / exact - 1) < Fraction(1, 10**6)
    virtual = Decimal(UNIT) * value(d, state.price_scale) / state.supply
    profit = Decimal(state.xcp_profit) * virtual / state.virtual_price
    assert abs(after.xcp_profit / profit - 1) < Decimal(10) ** -11
    if after.price_scale == state.price_scale:
        assert abs(after.virtual_price / virtual - 1) < Decimal(10) ** -11
        return
    distance = abs(average / state.price_scale - 1)
    step = max(Decimal(state.rebalancing.step) / UNIT, distance / 5)
    assert 2 * virtual - UNIT > profit + 2 * state.rebalancing.extra_profit - 10
    wanted = state.price_scale + (average - state.price_scale) * step / distance
    assert abs(after.price_scale / wanted - 1) < Decimal(10) ** -11
    # half of the profit stays, whatever the scale does
    assert 2 * after.virtual_price - UNIT > after.xcp_profit - 2
    assert out > 0 or amount < 10**6


@given(cryptos(), st.booleans(), st.integers(1, 10**8), st.integers(1, 10**8))
@settings(max_examples=80)
def test_parts_and_round_trips_gain_nothing(
    state: TwocryptoState, forward: bool, one_ppb: int, two_ppb: int
) -> None:
    i, j = (0, 1) if forward else (1, 0)
    held = state.balances_wei[i]
    one, two = held * one_ppb // 10**9 + 1, held * two_ppb // 10**9 + 1
    try:
        small, large = (bought(state, i, amount, NOW).out for amount in (one, one + two))
        first = FAMILY.quote_in(state, i, j, one, CONTEXT)
        back = FAMILY.quote_in(first.next_state, j, i, first.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    unit = max(2 * UNIT // state.price_scale, 2) if j else 2
    assert large >= small - unit
    # a pool that moves its price scale pays for that out of its profit
    if first.next_state.price_scale == state.price_scale:
        assert back.amount_out_wei <= one + slack(state, i)


@given(cryptos(), st.booleans(), st.integers(1, 5 * 10**8))
@settings(max_examples=30)
def test_exact_out_is_the_least_input(state: TwocryptoState, forward: bool, share_ppb: int) -> None:
    i, j = (0, 1) if forward else (1, 0)
    wanted = state.balances_wei[j] * share_ppb // 10**9 + 1
    try:
        quote = FAMILY.quote_out(state, i, j, wanted, CONTEXT)
    except QuoteError:
        return
    assert quote.amount_out_wei >= wanted
    for less in range(max(quote.amount_in_wei - 3, 1), quote.amount_in_wei):
        try:
            out = bought(state, i, less, NOW).out
        except QuoteError:
            continue
        assert out < wanted


def slack(state: TwocryptoState, i: int) -> int:
    """What D, found to 10^-14 only, may give away of coin ``i``; the pool's own profit check guards the sum."""
    price_of = UNIT if i == 0 else state.price_scale
    return 2 + state.d * UNIT // price_of // state.precisions[i] // 10**12


def sample(**changes: object) -> TwocryptoState:
    """ETH at 2,500, a million each."""
    scale = 2500 * UNIT
    state = TwocryptoState(
        POOL, TOKENS, (1, 1), (10**24, 4 * 10**20), (400_000, 145 * 10**12), (400_000, 145 * 10**12), 0, 0, 0,
        scale, scale * 102 // 100, scale, NOW - 600, UNIT, UNIT, 1, Fees(26 * 10**6, 45 * 10**6, 23 * 10**13),
        Rebalancing(2 * 10**12, 146 * 10**12, 866),
    )  # fmt: skip
    d = newton_d(*state.future, state.scaled(state.balances_wei))
    supply = int(value(d, scale))
    fresh = msgspec.structs.replace(state, d=d, supply=supply, virtual_price=UNIT)
    return msgspec.structs.replace(fresh, **changes)


def _best(profit: Callable[[float], float], low: float, high: float) -> float:
    ratio = (5**0.5 - 1) / 2
    a, b = low, high
    for _ in range(90):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        if profit(c) > profit(d):
            b = d
        else:
            a = c
    return (a + b) / 2


@pytest.mark.parametrize("seed", range(3))
def test_sizing_by_the_pieces_reaches_the_optimum(seed: int) -> None:
    rng, state = random.Random(seed), sample()
    i, j = (0, 1) if seed % 2 else (1, 0)
    rate = FAMILY.spot_rate(state, i, j)
    r_in = state.balances_wei[j] * 10 ** rng.uniform(-1, 1)
    r_out = r_in / rate * (1 + 10 ** rng.uniform(-2, -1))
    rows = FAMILY.segments(state, i, j, CONTEXT).tolist()

    def through(amount: float) -> float:
        out = 0.0
        for a, b, gamma, cap in rows:
            taken = min(amount, cap)
            out += gamma * taken * b / (a + gamma * taken)
            amount -= taken
            if amount <= 0:
                break
        return out

    def exact(amount: float) -> float:
        out = bought(state, i, int(amount), NOW).out
        return out * r_out / (r_in + out) - amount

    top = state.balances_wei[i] / 2
    best = exact(_best(exact, 1e9, top))
    by_pieces = exact(_best(lambda x: (out := through(x)) * r_out / (r_in + out) - x, 1e9, top))
    # the fee is cut to 10^-10 of the output: steps that no smooth curve follows
    assert by_pieces >= best * (1 - 1e-9) - 2e-10 * r_out


def _log(first: str, *words: int) -> Log:
    data = "0x" + b"".join(word.to_bytes(32) for word in words).hex()
    return Log(POOL, (first, "0x" + "00" * 32), data, 1, "0x", "0x", 0, 0)


def follow(state: TwocryptoState, log: Log, now: int = NOW) -> TwocryptoState:
    delta = FAMILY.decode(state, log, now)
    assert delta is not None
    return FAMILY.apply(state, delta)


def test_logs_are_followed() -> None:
    state = sample()
    quote = FAMILY.quote_in(state, 0, 1, 10**21, CONTEXT)
    log = _log(TOKEN_EXCHANGE, 0, 10**21, 1, quote.amount_out_wei, 5, quote.next_state.price_scale)
    assert follow(state, log) == quote.next_state
    assert quote.next_state.d != state.d
    # another history of the average than ours: amounts and scale of the event count until the pool is read again
    other = follow(state, _log(TOKEN_EXCHANGE, 0, 10**21, 1, quote.amount_out_wei, 5, 2501 * UNIT))
    assert other.balances_wei == quote.next_state.balances_wei
    assert other.price_scale == 2501 * UNIT
    ramped = follow(state, _log(RAMP, 400_000, 800_000, 145 * 10**12, 100 * 10**12, NOW, NOW + 1000))
    assert ramped.parameters(NOW + 500) == (600_000, 122_500_000_000_000)
    assert follow(ramped, _log(STOP_RAMP, 600_000, 10**14, NOW + 500)).future == (600_000, 10**14)
    with pytest.raises(DecodeError, match="for 0"):
        follow(state, _log(TOKEN_EXCHANGE, 0, 1, 0, 1, 0, 0))


def test_price_scale_follows_the_average_where_profit_allows() -> None:
    poor = FAMILY.quote_in(sample(), 0, 1, 10**18, CONTEXT).next_state
    assert poor.price_scale == sample().price_scale
    rich = sample(supply=sample().supply * 99 // 100, virtual_price=UNIT * 100 // 99 - 1)
    moved = FAMILY.quote_in(rich, 0, 1, 10**18, CONTEXT).next_state
    assert rich.price_scale < moved.price_scale < moved.price_oracle


def test_reading_a_pool() -> None:
    state = sample()
    packed = {
        "packed_fee_params()": state.fees.mid << 128 | state.fees.out << 64 | state.fees.gamma,
        "packed_rebalancing_params()": 2 * 10**12 << 128 | 146 * 10**12 << 64 | 866,
    }
    told: dict[bytes, tuple[int, ...]] = {
        call_bytes("coins(uint256)", k): (int(token, 16),) for k, token in enumerate(TOKENS)
    }
    told |= {call_bytes("balances(uint256)", k): (held,) for k, held in enumerate(state.balances_wei)}
    simple = {
        "D()": state.d, "price_scale()": state.price_scale, "price_oracle()": state.price_oracle,
        "last_prices()": state.last_price, "last_timestamp()": state.updated, "xcp_profit()": state.xcp_profit,
        "virtual_price()": state.virtual_price, "totalSupply()": state.supply, **packed,
        "initial_A_gamma()": state.initial[0] << 128 | state.initial[1], "initial_A_gamma_time()": 0,
        "future_A_gamma()": state.future[0] << 128 | state.future[1], "future_A_gamma_time()": 0,
    }  # fmt: skip
    told |= {call_bytes(name): (word,) for name, word in simple.items()}
    told[call_bytes("precisions()")] = state.precisions

    def node(wrong: int) -> Callable[[Ask], bytes | None]:
        def answer(ask: Ask) -> bytes | None:
            assert isinstance(ask, Read)
            if ask.data[:4] == call_bytes("get_dy(uint256,uint256,uint256)", 0, 1, 1)[:4]:
                return (bought(state, 0, int.from_bytes(ask.data[68:]), NOW).out + wrong).to_bytes(32)
            words = told.get(ask.data)
            return None if words is None else b"".join(word.to_bytes(32) for word in words)

        return answer

    pool = NewPool("curve", "twocrypto", POOL, TOKENS, 0)
    assert play(FAMILY.read(pool), node(0)) == state
    with pytest.raises(Garbage, match=r"v2\.0"):
        play(FAMILY.read(pool), node(1))
    assert play(FAMILY.refresh(msgspec.structs.replace(state, d=1), pool), node(0)) == state


def test_a_ramp_counts_by_the_block() -> None:
    ramped = sample(future=(800_000, 145 * 10**12), initial_time=NOW, future_time=NOW + 1000)
    outs = [
        FAMILY.quote_in(ramped, 0, 1, 10**23, BlockContext(1, NOW + t, 0)).amount_out_wei for t in (0, 500, 999)
    ]
    assert outs == sorted(outs)
    assert outs[0] < outs[2]
