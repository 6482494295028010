"""Twocrypto's later maths and rules: v2.1 beside v2.0, StableSwap's invariant, fee and profit as of 2025."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS
from tests.protocols.reference_crypto import value
from tests.protocols.test_curve_crypto import FAMILY, NOW, UNIT, cryptos, sample

from ouro.protocols.base import QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.curve_crypto_math import get_y, newton_d, stable_d, stable_p, stable_y
from ouro.protocols.curve_crypto_state import (
    CLASSIC,
    LATER,
    MATHS,
    STABLE,
    TwocryptoState,
    bought,
    fee_at,
    half_value,
)
from ouro.protocols.quotes import DONE, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.reads import Ask, Garbage, Read, play
from ouro.testnet.abi import call_bytes


@st.composite
def later_pools(draw: st.DrawFn) -> TwocryptoState:
    """Pools of any maths under the later rules, with a D and shares that belong to them."""
    state, maths = draw(cryptos()), draw(st.sampled_from(MATHS))
    if not all(state.balances_wei):
        return state
    if maths == STABLE:
        curve = draw(st.integers(10_000, 10**7)), 1
        state = msgspec.structs.replace(state, initial=curve, future=curve)
    elif maths == LATER:
        curve = draw(st.integers(4_000, 10**7)), draw(st.integers(10**11, 10**17))
        state = msgspec.structs.replace(state, initial=curve, future=curve)
    state = msgspec.structs.replace(state, maths=maths, rules=LATER)
    try:
        d = state.solved_d(NOW, state.scaled(state.balances_wei))
    except QuoteError:
        return msgspec.structs.replace(state, balances_wei=(0, 0))
    supply = max(half_value(d, state.price_scale, LATER) * 100 // draw(st.integers(100, 110)), 1)
    virtual = UNIT * half_value(d, state.price_scale, LATER) // supply
    return msgspec.structs.replace(state, d=d, supply=supply, virtual_price=virtual - virtual // 10**9)


@given(
    st.integers(4_000, 10**7), st.integers(10**11, 2 * 10**15), st.integers(10**18, 10**27), st.integers(200, 4000)
)
@settings(max_examples=40)
def test_later_maths_are_the_classic_ones_where_both_work(ann: int, gamma: int, x: int, share: int) -> None:
    xp = (x, x * share // 1000 + 1)
    d = newton_d(ann, gamma, xp)
    assert newton_d(ann, gamma, xp, 0, True) == d
    assert get_y(ann, gamma, x, d) == get_y(ann, gamma, x, d, True)


@given(st.integers(10_000, 10**7), st.integers(10**18, 10**27), st.integers(30, 4000))
@settings(max_examples=60)
def test_stable_solutions_lie_on_stableswaps_invariant(ann: int, x: int, share: int) -> None:
    y, a = x * share // 1000 + 1, Fraction(2 * ann, 10_000)
    d = stable_d(ann, (x, y))

    def left(level: int, coin: int = y) -> Fraction:
        return a * (x + coin) + level - a * level - Fraction(level) ** 3 / (4 * x * coin)

    # it falls with D
    assert left(d - 3) > 0 > left(d + 3)
    found = stable_y(ann, x, d)
    # and rises with a coin
    assert left(d, found - 3) < 0 < left(d, found + 3)
    step = Fraction(1, 10**9)

    def fall(first: Fraction, other: Fraction) -> Fraction:
        return a * (first + other) + d - a * d - Fraction(d) ** 3 / (4 * first * other)

    by_x = fall(x * (1 + step), Fraction(y)) - fall(x * (1 - step), Fraction(y))
    by_y = fall(Fraction(x), y * (1 + step)) - fall(Fraction(x), y * (1 - step))
    exact = by_y / y / (by_x / x)
    assert abs(Fraction(stable_p((x, y), d, ann), UNIT) / exact - 1) < Fraction(1, 10**8)


@given(later_pools())
def test_the_later_fee_fades_by_its_own_balance(state: TwocryptoState) -> None:
    if not all(state.balances_wei):
        return
    x, y = state.scaled(state.balances_wei)
    balance, g = Fraction(4 * x * y, (x + y) ** 2), Fraction(state.fees.gamma, UNIT)
    weight = g * balance / (g * balance + 1 - balance)
    exact = state.fees.mid * weight + state.fees.out * (1 - weight)
    # the balance is cut to 10^-18 where gamma is some 10^-4
    assert abs(fee_at(state.fees, (x, y), LATER) - exact) <= 2


@given(later_pools(), st.booleans(), st.lists(st.integers(1, 10**10), min_size=4, max_size=4))
@settings(max_examples=100)
def test_compiled_exchanges_are_the_same_integers(
    state: TwocryptoState, forward: bool, shares_ppb: list[int]
) -> None:
    i, j = (0, 1) if forward else (1, 0)
    header = FAMILY.exact_header(FAMILY.at(state, NOW), i, j)
    if header is None:
        return
    book = QuoteBook(1)
    book.set(0, header)
    amounts = [state.balances_wei[i] * share // 10**9 + 1 for share in shares_ppb]
    outs, statuses = book.quote_many(np.zeros(4, dtype=np.int32), to_limb_rows(amounts))
    for amount, out, status in zip(amounts, from_limbs(outs), statuses.tolist(), strict=True):
        try:
            expected = bought(state, i, amount, NOW).out
        except QuoteError:
            expected = 0
        assert (out if status == DONE else 0) == expected


@given(later_pools(), st.booleans(), st.integers(1000, 3 * 10**8))
@settings(max_examples=60)
def test_the_later_rules_of_profit(state: TwocryptoState, forward: bool, share_ppb: int) -> None:
    i = 0 if forward else 1
    try:
        found = bought(state, i, state.balances_wei[i] * share_ppb // 10**9 + 1, NOW)
        _, after = FAMILY.exchanged(state, i, 1 - i, state.balances_wei[i] * share_ppb // 10**9 + 1, NOW)
    except QuoteError:
        return
    d = state.solved_d(NOW, found.xp)
    virtual = Decimal(UNIT) * value(d, state.price_scale) / state.supply
    profit = Decimal(state.xcp_profit) * virtual / state.virtual_price
    assert abs(after.xcp_profit / profit - 1) < Decimal(10) ** -8
    if after.price_scale == state.price_scale:
        assert abs(after.virtual_price / virtual - 1) < Decimal(10) ** -8
        assert after.virtual_price > state.virtual_price or state.future_time > NOW
    else:
        # more than the root of all profit stays
        assert after.virtual_price**2 > after.xcp_profit * UNIT


def _text(words: str) -> bytes:
    return (32).to_bytes(32) + len(words).to_bytes(32) + words.encode().ljust(32, b"\0")


@pytest.mark.parametrize(
    ("rules", "maths", "refused"),
    [
        ("v2.0.0", "v2.0.0", ""),
        ("v2.1.0", "v2.1.0", ""),
        ("v2.1.0", "v0.1.0", ""),
        ("v2.1.0", "donations", "donations"),
        ("v9", "v2.0.0", "version v9"),
        ("v2.0.0", "v7", "maths of version v7"),
    ],
)
def test_versions_are_read(rules: str, maths: str, refused: str) -> None:
    library, kinds = "0x" + "77" * 20, {"v0.1.0": STABLE, "v2.1.0": LATER}
    state = msgspec.structs.replace(sample(), maths=kinds.get(maths, CLASSIC), rules=rules)
    told: dict[tuple[str, bytes], bytes] = {
        (POOL, call_bytes("version()")): _text(rules),
        (POOL, call_bytes("MATH()")): int(library, 16).to_bytes(32),
        (library, call_bytes("version()")): _text("v2.0.0" if maths == "donations" else maths),
        (POOL, call_bytes("precisions()")): b"".join(one.to_bytes(32) for one in state.precisions),
    }
    if maths == "donations":
        told[POOL, call_bytes("donation_shares()")] = (5).to_bytes(32)
    words = {
        "D()": state.d, "price_scale()": state.price_scale, "price_oracle()": state.price_oracle,
        "last_prices()": state.last_price, "last_timestamp()": state.updated, "xcp_profit()": state.xcp_profit,
        "virtual_price()": state.virtual_price, "totalSupply()": state.supply,
        "packed_fee_params()": state.fees.mid << 128 | state.fees.out << 64 | state.fees.gamma,
        "packed_rebalancing_params()": 2 * 10**12 << 128 | 146 * 10**12 << 64 | 866,
        "initial_A_gamma()": state.initial[0] << 128 | state.initial[1], "initial_A_gamma_time()": 0,
        "future_A_gamma()": state.future[0] << 128 | state.future[1], "future_A_gamma_time()": 0,
    }  # fmt: skip
    told |= {(POOL, call_bytes(name)): word.to_bytes(32) for name, word in words.items()}
    for k, (token, held) in enumerate(zip(TOKENS, state.balances_wei, strict=True)):
        told[POOL, call_bytes("coins(uint256)", k)] = int(token, 16).to_bytes(32)
        told[POOL, call_bytes("balances(uint256)", k)] = held.to_bytes(32)
    view = call_bytes("get_dy(uint256,uint256,uint256)", 0, 1, 1)[:4]

    def node(ask: Ask) -> bytes | None:
        assert isinstance(ask, Read)
        if ask.data[:4] == view:
            return bought(state, 0, int.from_bytes(ask.data[68:]), NOW).out.to_bytes(32)
        return told.get((ask.target, ask.data))

    read: Callable[[], TwocryptoState] = lambda: play(FAMILY.read(NewPool("c", "twocrypto", POOL, TOKENS, 0)), node)  # noqa: E731
    if refused:
        with pytest.raises(Garbage, match=refused):
            read()
        return
    assert read() == state
    assert FAMILY.from_json(FAMILY.to_json(state)) == state
    assert FAMILY.quote_in(state, 0, 1, 10**20, CONTEXT).amount_out_wei > 0


@pytest.mark.parametrize("field", ["maths", "rules"])
def test_unknown_versions_are_refused_by_field(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        FAMILY.from_json({**FAMILY.to_json(sample()), field: "v3"})
