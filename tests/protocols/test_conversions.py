"""Vaults and wrappers: batches, round trips, and a second ledger of a rebasing token in plain integers."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT

from ouro.protocols.base import QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.erc4626 import Erc4626, Erc4626State
from ouro.protocols.quotes import DONE, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.reads import Garbage, Read, play, uint_word
from ouro.protocols.registry import FAMILIES
from ouro.protocols.wrapped_staked import WrappedStaked, WrappedStakedState
from ouro.types import Hop, Log

SHARE, ASSET = "0x" + "5" * 40, "0x" + "1" * 40
VAULT, WRAPPER = Erc4626(), WrappedStaked()
amounts = st.integers(1, 10**9) | st.integers(1, 10**24)
totals = st.integers(0, 1000) | st.integers(10**6, 10**27)


@st.composite
def vaults(draw: st.DrawFn) -> Erc4626State:
    """Any totals and ways of rounding; at times a limit, or assets that are lent out."""
    assets, supply = draw(totals), draw(totals)
    limit = draw(st.sampled_from([(1 << 256) - 1, 10**20, 0]))
    idle = draw(st.sampled_from([assets, assets // 3]))
    return Erc4626State(SHARE, (ASSET, SHARE), draw(st.sampled_from([-1, 0, 6, 18])), assets, supply, limit, idle)


@st.composite
def wrappers(draw: st.DrawFn) -> WrappedStakedState:
    """Rates from a half to two; a part of all shares wrapped."""
    shares = draw(st.integers(10**6, 10**27))
    pooled = draw(st.integers(shares // 2 + 1, 2 * shares))
    wrapped = shares // draw(st.integers(1, 5))
    return WrappedStakedState(SHARE, (ASSET, SHARE), pooled, shares, wrapped, wrapped)


conversions = st.one_of(vaults(), wrappers())


@settings(max_examples=200)
@given(conversions, st.booleans(), st.lists(amounts, min_size=1, max_size=6))
def test_batches_are_the_single_quotes(state: Any, forward: bool, wanted: list[int]) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    book = QuoteBook(1)
    book.set_pool(family, state, [(0, i, j)])
    outs, statuses = book.quote_many(np.zeros(len(wanted), dtype=np.int32), to_limb_rows(wanted))
    for amount, out, status in zip(wanted, from_limbs(outs), statuses, strict=True):
        try:
            quote = family.quote_in(state, i, j, amount, CONTEXT)
        except QuoteError:
            assert status != DONE
            continue
        assert (status, out) == (DONE, quote.amount_out_wei) or family.exact_header(state, i, j) is None


@settings(max_examples=200)
@given(conversions, st.booleans(), amounts)
def test_exact_out_is_the_least_that_buys_it(state: Any, forward: bool, amount: int) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    try:
        asked = family.quote_out(state, i, j, amount, CONTEXT)
        bought = family.quote_in(state, i, j, asked.amount_in_wei, CONTEXT)
    except QuoteError:
        return
    assert asked.amount_out_wei >= amount
    assert bought.amount_out_wei >= amount
    if asked.amount_in_wei > 1:
        try:
            less = family.quote_in(state, i, j, asked.amount_in_wei - 1, CONTEXT)
        except QuoteError:
            return
        assert less.amount_out_wei < amount


@settings(max_examples=200)
@given(conversions, st.booleans(), amounts, amounts)
def test_parts_give_no_more_than_the_whole(state: Any, forward: bool, one: int, other: int) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    try:
        whole = family.quote_in(state, i, j, one + other, CONTEXT)
        first = family.quote_in(state, i, j, one, CONTEXT)
        second = family.quote_in(first.next_state, i, j, other, CONTEXT)
    except QuoteError:
        return
    slack = 0 if isinstance(state, Erc4626State) else 2  # each unwrapping rounds by itself
    assert first.amount_out_wei + second.amount_out_wei <= whole.amount_out_wei + slack


class Ledger:
    """A rebasing token with its wrapper, as its documentation describes them: balances are shares of a pool."""

    def __init__(self, state: WrappedStakedState, holder_shares: int) -> None:
        self.pooled, self.shares = state.pooled, state.shares
        self.of = {"wrapper": state.held, "trader": holder_shares}
        self.wrapped = {"trader": state.wrapped}

    def balance(self, who: str) -> int:
        return self.of[who] * self.pooled // self.shares

    def transfer(self, sender: str, to: str, amount: int) -> None:
        moved = amount * self.shares // self.pooled
        assert self.of[sender] >= moved
        self.of[sender] -= moved
        self.of[to] += moved

    def wrap(self, amount: int) -> int:
        minted = amount * self.shares // self.pooled
        self.transfer("trader", "wrapper", amount)
        self.wrapped["trader"] += minted
        return minted

    def unwrap(self, amount: int) -> int:
        self.wrapped["trader"] -= amount
        before = self.balance("trader")
        self.transfer("wrapper", "trader", amount * self.pooled // self.shares)
        return self.balance("trader") - before


@settings(max_examples=300)
@given(wrappers(), st.integers(1, 10**27), st.booleans())
def test_a_wrapper_does_what_a_second_ledger_does(state: WrappedStakedState, amount: int, wrap: bool) -> None:
    outside = state.shares - state.held
    try:
        quote = WRAPPER.quote_in(state, *((0, 1) if wrap else (1, 0)), amount, CONTEXT)
    except QuoteError:
        return
    ledger = Ledger(state, outside if wrap else 0)
    if wrap and ledger.balance("trader") < amount:
        return
    assert (ledger.wrap(amount) if wrap else ledger.unwrap(amount)) == quote.amount_out_wei
    after: WrappedStakedState = quote.next_state
    assert (after.wrapped, after.held) == (ledger.wrapped["trader"], ledger.of["wrapper"])


def _answers(told: dict[bytes, int]) -> Any:
    def answer(ask: Any) -> bytes | None:
        assert isinstance(ask, Read)
        value = told.get(ask.data[:4])
        return None if value is None else uint_word(value)

    return answer


def test_reading_a_wrapper_and_a_vault_with_fees() -> None:
    from ouro.hashing import selector

    told = {
        selector("stETH()"): int(ASSET, 16),
        selector("getTotalPooledEther()"): 120,
        selector("getTotalShares()"): 100,
        selector("totalSupply()"): 40,
        selector("sharesOf(address)"): 41,
    }
    pool = NewPool("dex", "wrapped_staked", SHARE, (), 0)
    expected = WrappedStakedState(SHARE, (ASSET, SHARE), 120, 100, 40, 41)
    assert play(WRAPPER.read(pool), _answers(told)) == expected
    assert play(WRAPPER.refresh(msgspec.structs.replace(expected, pooled=1), pool), _answers(told)) == expected
    vault = {
        selector("asset()"): int(ASSET, 16),
        selector("totalAssets()"): 120,
        selector("totalSupply()"): 100,
        selector("maxDeposit(address)"): 7,
        selector("balanceOf(address)"): 9,
        selector("previewDeposit(uint256)"): 1,
        selector("previewRedeem(uint256)"): 1,
    }
    with pytest.raises(Garbage, match="previews"):
        play(VAULT.read(NewPool("dex", "erc4626", SHARE, (), 0)), _answers(vault))


def test_limits_are_said() -> None:
    state = Erc4626State(SHARE, (ASSET, SHARE), 0, 1000, 1000, 10, 100)
    with pytest.raises(QuoteError, match="takes 10 at most"):
        VAULT.quote_in(state, 0, 1, 11, CONTEXT)
    with pytest.raises(QuoteError, match="idle"):
        VAULT.quote_in(state, 1, 0, 102, CONTEXT)
    assert VAULT.limits(state, 1, 0, CONTEXT).max_out_wei == 100
    lost = Erc4626State(SHARE, (ASSET, SHARE), -1, 0, 1000, 10, 0)
    with pytest.raises(QuoteError, match="shares and no assets"):
        VAULT.quote_in(lost, 0, 1, 5, CONTEXT)


def test_executed_amounts_come_from_the_vaults_events() -> None:
    from ouro.protocols.erc4626 import DEPOSIT_TOPIC, WITHDRAW_TOPIC

    data = "0x" + (uint_word(110) + uint_word(100)).hex()
    hop = Hop(SHARE, "erc4626", ASSET, SHARE, 0, 1, 110, 100)
    back = Hop(SHARE, "erc4626", SHARE, ASSET, 1, 0, 100, 110)
    deposit = Log(SHARE, (DEPOSIT_TOPIC, "0x", "0x"), data, 1, "0x", "0x", 0, 0)
    withdrawal = Log(SHARE, (WITHDRAW_TOPIC, "0x", "0x", "0x"), data, 1, "0x", "0x", 0, 0)
    assert VAULT.swapped(hop, deposit) == (110, 100)
    assert VAULT.swapped(back, withdrawal) == (100, 110)
    assert VAULT.swapped(hop, withdrawal) is None
