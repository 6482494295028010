"""Tricrypto against its paper in exact fractions, its logs, its kernel, and what must hold of any pool."""

import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS
from tests.protocols.reference_crypto import decay
from tests.protocols.reference_tricrypto import at, coin, excess, fee_share, price, value

from ouro.protocols.base import DecodeError, QuoteError
from ouro.protocols.creation import Announcement, Factory, NewPool
from ouro.protocols.curve_crypto_family import RAMP, STOP_RAMP, TOKEN_EXCHANGE
from ouro.protocols.curve_crypto_state import Fees, Rebalancing
from ouro.protocols.curve_tricrypto import ADDED, DEPLOYED, REMOVED, Tricrypto
from ouro.protocols.curve_tricrypto_math import get_p, get_y, newton_d, newton_y
from ouro.protocols.curve_tricrypto_state import TricryptoState, bought, exchanged, packed, unpacked
from ouro.protocols.quotes import DONE, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.reads import Ask, Garbage, Read, play
from ouro.testnet.abi import call_bytes
from ouro.types import BlockContext, Log

FAMILY = Tricrypto()
DEX = SimpleNamespace(name="curve", family="tricrypto", factory=POOL, fee_ppm=None, fees_ppm=())
NOW = CONTEXT.timestamp
UNIT = 10**18
COINS = (*TOKENS, "0x" + "c" * 40)
curves = st.tuples(st.integers(10_000, 10**7), st.integers(10**11, 10**16))
ways = st.sampled_from([(i, j) for i in range(3) for j in range(3) if i != j])


@st.composite
def tricryptos(draw: st.DrawFn) -> TricryptoState:
    """Pools that have made some profit, around their price scales or off them, some on a ramp."""
    precisions = draw(st.sampled_from([(1, 1, 1), (10**12, 10**10, 1), (1, 10**10, 10**12)]))
    scales = draw(st.integers(10**16, 10**23)), draw(st.integers(10**16, 10**23))
    depth = draw(st.integers(10**3, 10**8)) * UNIT
    tilts = [draw(st.integers(30, 300)) for _ in range(3)]
    worths = (UNIT, *scales)
    balances = tuple(
        depth * UNIT // worth * tilt // 100 // unit + 1
        for worth, tilt, unit in zip(worths, tilts, precisions, strict=True)
    )
    parameters = draw(curves)
    later = draw(st.one_of(st.just(parameters), curves))
    state = TricryptoState(
        address=POOL,
        tokens=COINS,
        precisions=precisions,
        balances_wei=(balances[0], balances[1], balances[2]),
        initial=parameters,
        future=later,
        initial_time=NOW - 1000,
        future_time=NOW + draw(st.integers(-900, 10**6)),
        d=0,
        price_scale=scales,
        price_oracle=(scales[0] * draw(st.integers(90, 110)) // 100, scales[1] * draw(st.integers(90, 110)) // 100),
        last_price=(scales[0] * draw(st.integers(80, 120)) // 100, scales[1] * draw(st.integers(80, 250)) // 100),
        updated=NOW - draw(st.integers(0, 10_000)),
        xcp_profit=UNIT + draw(st.integers(0, UNIT // 10)),
        virtual_price=UNIT,
        supply=1,
        fees=Fees(draw(st.integers(1_000_000, 30_000_000)), draw(st.integers(30_000_000, 200_000_000)), 5 * 10**14),
        rebalancing=Rebalancing(draw(st.sampled_from([0, 2 * 10**12])), 146 * 10**12, 866),
        capped=draw(st.booleans()),
    )
    try:
        d = newton_d(*state.parameters(NOW), state.scaled(state.balances_wei))
    except QuoteError:
        return msgspec.structs.replace(state, balances_wei=(0, 0, 0))
    supply = max(int(value(d, scales)) * 100 // draw(st.integers(100, 110)), 1)
    virtual = UNIT * int(value(d, scales)) // supply
    return msgspec.structs.replace(state, d=d, supply=supply, virtual_price=virtual - virtual // 10**8)


def slack(state: TricryptoState, i: int) -> int:
    """What D, found to 10^-14 only, may give away of coin ``i``; the pool's own profit check guards the sum."""
    return 2 + state.d * UNIT // state.price_of(i) // state.precisions[i] // 10**11


@given(curves, st.integers(10**18, 10**27), st.integers(200, 4000), st.integers(200, 4000))
@settings(max_examples=40)
def test_solutions_lie_on_the_invariant(curve: tuple[int, int], x: int, share: int, other: int) -> None:
    ann, gamma = curve
    a27, g = Fraction(ann, 10_000), Fraction(gamma, UNIT)
    xp = (x, x * share // 1000 + 1, x * other // 1000 + 1)
    d = newton_d(ann, gamma, xp)
    near = max(d // 10**13, 10**4)
    whole = at(xp, 0, Fraction(x))
    below, above = (excess(a27, g, whole, Fraction(d + off)) for off in (-near, near))
    assert above < 0 < below
    for place in range(3):
        exact = coin(a27, g, xp, place, d)
        for found in (get_y(ann, gamma, xp, d, place)[0], newton_y(ann, gamma, xp, d, place)):
            assert abs(found - exact) <= max(exact // 10**12, 200)
    for place, ours in enumerate(get_p(xp, d, ann, gamma), start=1):
        assert abs(Fraction(ours, UNIT) / price(a27, g, xp, place, d) - 1) < Fraction(1, 10**6)


@given(tricryptos(), ways, st.integers(1, 10**9))
@settings(max_examples=40)
def test_exchanges_pay_what_the_paper_says(state: TricryptoState, way: tuple[int, int], share_ppb: int) -> None:
    i, j = way
    amount = state.balances_wei[i] * share_ppb // 10**9 + 1
    try:
        found = bought(state, i, j, amount, NOW)
    except QuoteError:
        return
    ann, gamma = state.parameters(NOW)
    held = list(state.balances_wei)
    held[i] += amount
    xp, after = state.scaled(state.balances_wei), state.scaled((held[0], held[1], held[2]))
    d = state.d if state.future_time <= NOW else newton_d(ann, gamma, xp)
    y = coin(Fraction(ann, 10_000), Fraction(gamma, UNIT), after, j, d)
    gained = Fraction(xp[j] - y) * UNIT / state.price_of(j) / state.precisions[j]
    there = tuple(y if k == j else one for k, one in enumerate(after))
    expected = gained * (1 - fee_share(*state.fees, there))
    # the closed form is exact to some 10^-12 of the balance, the fee is cut to 10^-10
    slack_wei = 3 + abs(gained) / 10**9 + Fraction(state.balances_wei[j], 10**10)
    slack_wei += Fraction(2 * UNIT, state.price_of(j) * state.precisions[j])
    assert abs(found.out - expected) <= slack_wei


@given(tricryptos(), ways, st.integers(1000, 3 * 10**8))
@settings(max_examples=40)
def test_the_price_tweak_follows_the_paper(state: TricryptoState, way: tuple[int, int], share_ppb: int) -> None:
    i, j = way
    amount = state.balances_wei[i] * share_ppb // 10**9 + 1
    try:
        _, after = exchanged(state, i, j, amount, NOW)
    except QuoteError:
        return
    weight = decay(max(NOW - state.updated, 0), state.rebalancing.ma_time)
    averages = []
    for k in (0, 1):
        last = min(state.last_price[k], 2 * state.price_scale[k]) if state.capped else state.last_price[k]
        average = last * (1 - weight) + state.price_oracle[k] * weight
        assert abs(after.price_oracle[k] - average) <= 2 + average / 10**15
        averages.append(average)
    found = bought(state, i, j, amount, NOW)
    ann, gamma = state.parameters(NOW)
    d = newton_d(ann, gamma, found.xp)
    for place in (1, 2):
        exact = price(Fraction(ann, 10_000), Fraction(gamma, UNIT), found.xp, place, d) * state.price_of(place)
        assert abs(after.last_price[place - 1] / exact - 1) < Fraction(1, 10**6)
    virtual = Decimal(UNIT) * value(d, state.price_scale) / state.supply
    profit = Decimal(state.xcp_profit) * virtual / state.virtual_price
    assert abs(after.xcp_profit / profit - 1) < Decimal(10) ** -10
    if after.price_scale == state.price_scale:
        assert abs(after.virtual_price / virtual - 1) < Decimal(10) ** -10
        return
    apart = [average / scale - 1 for average, scale in zip(averages, state.price_scale, strict=True)]
    distance = sum((one**2 for one in apart), Decimal(0)).sqrt()
    step = max(Decimal(state.rebalancing.step) / UNIT, distance / 5)
    for k in (0, 1):
        wanted = state.price_scale[k] * (1 + apart[k] * step / distance)
        assert abs(after.price_scale[k] / wanted - 1) < Decimal(10) ** -11
    # half of the profit stays, whatever the scales do
    assert 2 * after.virtual_price - UNIT > after.xcp_profit - 2


@given(tricryptos(), ways, st.integers(1, 10**8), st.integers(1, 10**8))
@settings(max_examples=60)
def test_parts_and_round_trips_gain_nothing(
    state: TricryptoState, way: tuple[int, int], one_ppb: int, two_ppb: int
) -> None:
    i, j = way
    held = state.balances_wei[i]
    one, two = held * one_ppb // 10**9 + 1, held * two_ppb // 10**9 + 1
    try:
        small, large = (bought(state, i, j, amount, NOW).out for amount in (one, one + two))
        first = FAMILY.quote_in(state, i, j, one, CONTEXT)
        back = FAMILY.quote_in(first.next_state, j, i, first.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    assert large >= small - slack(state, j)
    # a pool that moves its price scales pays for that out of its profit
    if first.next_state.price_scale == state.price_scale:
        assert back.amount_out_wei <= one + slack(state, i)


@given(tricryptos(), ways, st.integers(1, 10**8))
@settings(max_examples=40)
def test_the_value_of_the_pool_never_falls(state: TricryptoState, way: tuple[int, int], share_ppb: int) -> None:
    """But for what a step of the scales costs, which profit pays, and for a ramp, which bends the curve itself."""
    i, j = way
    try:
        after = FAMILY.quote_in(state, i, j, state.balances_wei[i] * share_ppb // 10**9 + 1, CONTEXT).next_state
    except QuoteError:
        return
    if after.price_scale == state.price_scale and state.future_time < NOW:
        assert after.virtual_price > state.virtual_price
        assert after.d >= state.d - state.d // 10**7


@given(tricryptos(), ways, st.integers(1, 3 * 10**8))
@settings(max_examples=25)
def test_exact_out_is_the_least_input(state: TricryptoState, way: tuple[int, int], share_ppb: int) -> None:
    i, j = way
    wanted = state.balances_wei[j] * share_ppb // 10**9 + 1
    try:
        quote = FAMILY.quote_out(state, i, j, wanted, CONTEXT)
    except QuoteError:
        return
    assert quote.amount_out_wei >= wanted
    for less in range(max(quote.amount_in_wei - 3, 1), quote.amount_in_wei):
        try:
            out = bought(state, i, j, less, NOW).out
        except QuoteError:
            continue
        assert out < wanted


@given(tricryptos(), ways, st.lists(st.integers(1, 10**10), min_size=4, max_size=4))
@settings(max_examples=80)
def test_compiled_exchanges_are_the_same_integers(
    state: TricryptoState, way: tuple[int, int], shares_ppb: list[int]
) -> None:
    i, j = way
    header = FAMILY.exact_header(FAMILY.at(state, NOW), i, j)
    if header is None:
        return
    book = QuoteBook(1)
    book.set(0, header)
    amounts = [state.balances_wei[i] * share // 10**9 + 1 for share in shares_ppb]
    outs, statuses = book.quote_many(np.zeros(4, dtype=np.int32), to_limb_rows(amounts))
    for amount, out, status in zip(amounts, from_limbs(outs), statuses.tolist(), strict=True):
        try:
            expected = bought(state, i, j, amount, NOW).out
        except QuoteError:
            expected = 0
        assert (out if status == DONE else 0) == expected


def sample(**changes: object) -> TricryptoState:
    """Dollars, a coin at 60,000 with 8 decimals and one at 2,500: ten millions each."""
    scales = (60_000 * UNIT, 2500 * UNIT)
    state = TricryptoState(
        POOL, COINS, (10**12, 10**10, 1), (10**13, 166 * 10**8, 4000 * UNIT), (1_707_629, 11_809_167_828_997),
        (1_707_629, 11_809_167_828_997), 0, 0, 0, scales, (scales[0] * 102 // 100, scales[1]), scales, NOW - 600,
        UNIT, UNIT, 1, Fees(3 * 10**6, 3 * 10**7, 5 * 10**14), Rebalancing(2 * 10**12, 49 * 10**13, 866),
    )  # fmt: skip
    d = newton_d(*state.future, state.scaled(state.balances_wei))
    fresh = msgspec.structs.replace(state, d=d, supply=int(value(d, scales)) * 9999 // 10_000, virtual_price=UNIT)
    return msgspec.structs.replace(fresh, **changes)


def _log(first: str, *words: int) -> Log:
    data = "0x" + b"".join(word.to_bytes(32) for word in words).hex()
    return Log(POOL, (first, "0x" + "00" * 32), data, 1, "0x", "0x", 0, 0)


def follow(state: TricryptoState, log: Log) -> TricryptoState:
    delta = FAMILY.decode(state, log, NOW)
    assert delta is not None
    return FAMILY.apply(state, delta)


def test_logs_are_followed() -> None:
    state = sample()
    quote = FAMILY.quote_in(state, 0, 2, 10**10, CONTEXT)
    after = quote.next_state
    log = _log(TOKEN_EXCHANGE, 0, 10**10, 2, quote.amount_out_wei, 5, packed(after.price_scale))
    assert follow(state, log) == after
    assert after.d != state.d
    # another history of the averages than ours: amounts and scales of the event count until the pool is read again
    scales = (60_001 * UNIT, 2501 * UNIT)
    other = follow(state, _log(TOKEN_EXCHANGE, 0, 10**10, 2, quote.amount_out_wei, 5, packed(scales)))
    assert (other.balances_wei, other.price_scale) == (after.balances_wei, scales)
    assert unpacked(packed(scales)) == scales
    more = follow(state, _log(ADDED, 10**6, 0, 7, 1, 2, packed(state.price_scale)))
    assert more.balances_wei == (10**13 + 10**6, 166 * 10**8, 4000 * UNIT + 7)
    assert follow(more, _log(REMOVED, 10**6, 0, 7, 1)).balances_wei == state.balances_wei
    ramped = follow(state, _log(RAMP, 400_000, 800_000, 145 * 10**12, 100 * 10**12, NOW, NOW + 1000))
    assert ramped.parameters(NOW + 500) == (600_000, 122_500_000_000_000)
    assert follow(ramped, _log(STOP_RAMP, 600_000, 10**14, NOW + 500)).future == (600_000, 10**14)
    for log in (
        _log(TOKEN_EXCHANGE, 0, 1, 0, 1, 0, 0),
        _log(TOKEN_EXCHANGE, 0, 1, 3, 1, 0, 0),
        _log(TOKEN_EXCHANGE, 0, 1, 1, 10**30, 0, packed(scales)),
        _log(REMOVED, 10**30, 0, 0, 1),
    ):
        with pytest.raises(DecodeError):
            follow(state, log)


def test_a_pool_is_announced_with_its_coins() -> None:
    words = [int(POOL, 16), *(int(token, 16) for token in COINS), *range(11)]
    log = Log(POOL, (DEPLOYED,), "0x" + b"".join(word.to_bytes(32) for word in words).hex(), 1, "0x", "0x", 0, 0)
    found = FAMILY.creations[DEPLOYED](Announcement(log, cast("Factory", DEX)))
    assert found is not None
    assert (found.address, found.tokens) == (POOL, COINS)


def _told(state: TricryptoState, kind: str) -> dict[bytes, tuple[int, ...]]:
    told: dict[bytes, tuple[int, ...]] = {}
    for name, values in (
        ("coins", tuple(int(token, 16) for token in COINS)),
        ("balances", state.balances_wei),
        ("price_scale", state.price_scale),
        ("price_oracle", state.price_oracle),
        ("last_prices", state.last_price),
    ):
        told |= {call_bytes(f"{name}(uint256)", k): (one,) for k, one in enumerate(values)}
    simple = {
        "D()": state.d, "xcp_profit()": state.xcp_profit, "virtual_price()": state.virtual_price,
        "totalSupply()": state.supply, kind: state.updated,
        "packed_fee_params()": state.fees.mid << 128 | state.fees.out << 64 | state.fees.gamma,
        "packed_rebalancing_params()": 2 * 10**12 << 128 | 49 * 10**13 << 64 | 866,
        "initial_A_gamma()": state.initial[0] << 128 | state.initial[1], "initial_A_gamma_time()": 0,
        "future_A_gamma()": state.future[0] << 128 | state.future[1], "future_A_gamma_time()": 0,
    }  # fmt: skip
    told |= {call_bytes(name): (word,) for name, word in simple.items()}
    told[call_bytes("precisions()")] = state.precisions
    return told


@pytest.mark.parametrize("capped", [False, True])
def test_reading_a_pool(capped: bool) -> None:
    state = sample(capped=capped)
    told = _told(state, "last_timestamp()" if capped else "last_prices_timestamp()")
    if capped:
        told[call_bytes("xcp_oracle()")] = (UNIT,)
    view = call_bytes("get_dy(uint256,uint256,uint256)", 0, 1, 1)[:4]

    def node(wrong: int, words: dict[bytes, tuple[int, ...]] = told) -> Callable[[Ask], bytes | None]:
        def answer(ask: Ask) -> bytes | None:
            assert isinstance(ask, Read)
            if ask.data[:4] == view:
                i, j, amount = (int.from_bytes(ask.data[k : k + 32]) for k in (4, 36, 68))
                return (bought(state, i, j, amount, NOW).out + wrong).to_bytes(32)
            found = words.get(ask.data)
            return None if found is None else b"".join(word.to_bytes(32) for word in found)

        return answer

    pool = NewPool("curve", "tricrypto", POOL, COINS, 0)
    assert play(FAMILY.read(pool), node(0)) == state
    with pytest.raises(Garbage, match="get_dy"):
        play(FAMILY.read(pool), node(1))
    assert play(FAMILY.refresh(msgspec.structs.replace(state, d=1), pool), node(0)) == state
    hostile = {
        "coin is there twice": {call_bytes("coins(uint256)", 1): (int(COINS[0], 16),)},
        "powers of ten": {call_bytes("precisions()"): (3, 1, 1)},
        "price scales": {call_bytes("price_scale(uint256)", 0): (0,)},
        "no averaging time": {call_bytes("packed_rebalancing_params()"): (0,)},
        "gamma|future": {call_bytes("future_A_gamma()"): (1 << 255 | 1,)},
        "announced": {call_bytes("coins(uint256)", 2): (7,)},
    }
    for reason, answer in hostile.items():
        pool = NewPool("curve", "tricrypto", POOL, () if "twice" in reason else COINS, 0)
        with pytest.raises(Garbage, match=reason):
            play(FAMILY.read(pool), node(0, told | answer))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("tokens", [COINS[0], COINS[0], COINS[1]]),
        ("tokens", [COINS[0]]),
        ("balances_wei", ["1", "2", str(1 << 128)]),
        ("price_scale", ["0", "1"]),
        ("fees", ["1", "2"]),
        ("rebalancing", ["0", "1", "0"]),
        ("future", ["1", str(10**18)]),
        ("capped", 1),
        ("supply", "0"),
        ("d", "-1"),
        ("address", "0x12"),
    ],
)
def test_hostile_states_are_refused_by_field(field: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=field):
        FAMILY.from_json({**FAMILY.to_json(sample()), field: wrong})


def test_price_scales_follow_the_averages_where_profit_allows() -> None:
    state = sample()
    moved = FAMILY.quote_in(sample(price_oracle=(61_500 * UNIT, 2450 * UNIT), supply=state.supply * 99 // 100,
                                   virtual_price=UNIT * 100 // 99), 0, 1, 10**9, CONTEXT).next_state  # fmt: skip
    assert 60_000 * UNIT < moved.price_scale[0] < 61_500 * UNIT
    assert 2450 * UNIT < moved.price_scale[1] < 2500 * UNIT
    still = FAMILY.quote_in(sample(xcp_profit=UNIT * 2), 0, 1, 10**9, CONTEXT).next_state
    assert still.price_scale == state.price_scale


def test_a_ramp_counts_by_the_block() -> None:
    ramped = sample(future=(3_400_000, 11_809_167_828_997), initial_time=NOW, future_time=NOW + 1000)
    outs = [
        FAMILY.quote_in(ramped, 0, 1, 10**12, BlockContext(1, NOW + t, 0)).amount_out_wei for t in (0, 500, 999)
    ]
    assert outs == sorted(outs)
    assert outs[0] < outs[2]


def test_amounts_and_directions_that_no_pool_has_are_refused() -> None:
    state, rng = sample(), random.Random(1)
    for i, j, amount in (
        (0, 0, 1),
        (0, 3, 1),
        (-1, 0, 1),
        (0, 1, 0),
        (0, 1, -5),
        (0, 1, 1 << 128),
        (0, 1, 1 << 200),
    ):
        with pytest.raises(QuoteError):
            FAMILY.quote_in(state, i, j, amount, CONTEXT)
    with pytest.raises(QuoteError, match="empty"):
        FAMILY.quote_in(sample(balances_wei=(0, 1, 1)), 0, 1, 10, CONTEXT)
    with pytest.raises(QuoteError):
        FAMILY.quote_out(state, 0, 1, state.balances_wei[1], CONTEXT)
    for _ in range(200):
        numbers = [rng.choice([0, 1, 10**9, 10**30, (1 << 128) - 1]) for _ in range(3)]
        odd = sample(balances_wei=tuple(numbers), d=rng.choice([0, 1, 10**25, (1 << 255) - 1]))
        assert FAMILY.spot_rate(odd, 0, 1) >= 0.0
        assert len(FAMILY.segments(odd, 1, 2, CONTEXT)) >= 0
        try:
            FAMILY.quote_in(odd, 0, 1, 10**9, CONTEXT)
        except QuoteError:
            continue
