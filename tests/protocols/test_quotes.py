"""Batched compiled quotes are the families' own, to the wei."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT, POOL, TOKENS, pairs, pools

from ouro.protocols.base import QuoteError
from ouro.protocols.quotes import DONE, EXHAUSTED, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.registry import FAMILIES
from ouro.protocols.solidly import SolidlyState

MOST = (1 << 256) - 1
amounts = st.lists(st.integers(1, 10**9) | st.integers(1, 10**30) | st.integers(1, MOST), min_size=1, max_size=12)
units = st.sampled_from([1, 10**2, 10**6, 10**8, 10**18])


@st.composite
def solidly_pools(draw: st.DrawFn) -> SolidlyState:
    unit0, unit1 = draw(units), draw(units)
    whole = draw(st.integers(1, 10**9))
    other = draw(st.integers(max(whole // 3, 1), 3 * whole) | st.integers(1, 10**9))
    fee = draw(st.sampled_from([0, 1, 5, 30, 300]))
    reserves = (whole * unit0 + draw(st.integers(0, unit0)), other * unit1 + draw(st.integers(0, unit1)))
    return SolidlyState(POOL, TOKENS, draw(st.booleans()), unit0, unit1, *reserves, fee)


@settings(max_examples=250)
@given(st.one_of(pairs, pools(), solidly_pools()), amounts, st.booleans())
def test_every_family_in_batches(state: object, wanted: list[int], forward: bool) -> None:
    family = FAMILIES[state.family]  # type: ignore[attr-defined]
    i, j = (0, 1) if forward else (1, 0)
    book = QuoteBook(1)
    book.set_pool(family, state, [(0, i, j)])
    edges = np.zeros(len(wanted), dtype=np.int32)
    outs, statuses = book.quote_many(edges, to_limb_rows(wanted))
    for amount, out, status in zip(wanted, from_limbs(outs), statuses, strict=True):
        quote, refusal = None, None
        try:
            quote = family.quote_in(state, i, j, amount, CONTEXT)
        except QuoteError as error:
            refusal = error
        if refusal is not None:
            assert status != DONE
            assert status != EXHAUSTED or out == refusal.partial_out
        elif status == DONE:
            assert quote is not None
            assert out == quote.amount_out_wei
        else:  # only what the compiled range leaves to Python
            assert isinstance(state, SolidlyState)
            assert amount * 10**18 > 1 << 92


def test_paths_and_empty_edges() -> None:
    state = SolidlyState(POOL, TOKENS, True, 10**6, 10**18, 10**12, 10**24, 5)
    family = FAMILIES["solidly"]
    book = QuoteBook(3)
    book.set_pool(family, state, [(0, 0, 1), (1, 1, 0)])
    there = family.quote_in(state, 0, 1, 10**9, CONTEXT).amount_out_wei
    back = family.quote_in(state, 1, 0, there, CONTEXT).amount_out_wei
    assert book.quote_path(np.array([0, 1], dtype=np.int32), 10**9) == [10**9, there, back]
    assert book.quote_path(np.array([0, 2], dtype=np.int32), 10**9) == [10**9, there]
    book.set(0, None)
    assert book.quote_path(np.array([0], dtype=np.int32), 10**9) == [10**9]
    with pytest.raises(IndexError):
        book.quote_many(np.array([3], dtype=np.int32), to_limb_rows([1]))
