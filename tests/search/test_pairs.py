"""The compiled finish of constant-product paths against exhaustive searches and the pair's own formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.pairs import (
    MAX_RESERVE_BITS,
    book_row,
    finish_path,
    pair_input,
    pair_output,
    pair_scratch,
    path_amounts,
)
from ouro.search.wide import from_limbs, to_limbs

RESERVES = st.integers(1, (1 << MAX_RESERVE_BITS) - 1)
FEES = st.sampled_from([0, 100, 500, 2_500, 3_000, 10_000, 999_999])


def amount_out(pool: tuple[int, int, int], amount_in: int) -> int:
    r_in, r_out, fee_ppm = pool
    kept = amount_in * (1_000_000 - fee_ppm)
    return kept * r_out // (r_in * 1_000_000 + kept)


@settings(max_examples=300, deadline=None)
@given(r_in=RESERVES, r_out=RESERVES, fee_ppm=FEES, amount=RESERVES)
def test_quotes_are_the_pairs_own(r_in: int, r_out: int, fee_ppm: int, amount: int) -> None:
    row, out = book_row(r_in, r_out, fee_ppm), np.zeros(4, dtype=np.uint64)
    work = pair_scratch()[0]
    fits = r_in + amount < 1 << MAX_RESERVE_BITS
    wanted = amount_out((r_in, r_out, fee_ppm), amount)
    assert pair_output(row, to_limbs(amount, 4), out, work) == (fits and wanted > 0)
    if fits and wanted > 0:
        assert from_limbs(out) == wanted
        assert pair_input(row, out.copy(), out, work)
        smallest = from_limbs(out)
        assert smallest <= amount
        assert amount_out((r_in, r_out, fee_ppm), smallest) >= wanted
        assert smallest == 1 or amount_out((r_in, r_out, fee_ppm), smallest - 1) < wanted


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    n_hops=st.integers(2, 4),
    size=st.integers(10, 1_000),
    fee_ppm=st.sampled_from([0, 500, 3_000]),
)
def test_small_markets_reach_the_best_of_every_input(seed: int, n_hops: int, size: int, fee_ppm: int) -> None:
    rng = np.random.default_rng(seed)
    scales = rng.integers(1, 50, n_hops + 1)
    scales[-1] = scales[0]
    pools = [
        (int(size * scales[k]), int(size * scales[k + 1] * rng.uniform(0.9, 1.3)) + 1, fee_ppm)
        for k in range(n_hops)
    ]

    def path(amount: int) -> list[int]:
        amounts = [amount]
        for pool in pools:
            amounts.append(amount_out(pool, amounts[-1]))
        return amounts

    every = np.arange(1, 3 * int(scales[0]) * size)
    outputs = every
    for r_in, r_out, fee in pools:
        kept = outputs * (1_000_000 - fee)
        outputs = kept * r_out // (r_in * 1_000_000 + kept)
    best = int((outputs - every).max())
    a, b, c = 1.0, 1.0, 0.0
    for r_in, r_out, fee in pools:
        g = 1 - fee / 1e6
        a, b, c = g * r_out * a, r_in * b, r_in * c + g * a
    top = (np.sqrt(a * b) - b) / c if a > b else 1.0
    profit = (np.sqrt(a) - np.sqrt(b)) ** 2 / c if a > b else 0.0
    book = np.array([book_row(*pool) for pool in pools])
    work, amounts, found = pair_scratch()
    paid = finish_path(
        np.arange(n_hops, dtype=np.int32), n_hops, float(top), float(profit), book, 4_000, work, amounts, found
    )
    result = path_amounts(found, n_hops)
    if n_hops == 2:
        assert (result[-1] - result[0] if paid else 0) == max(best, 0)
    else:
        # two coarse tokens on the way: their rounding together can hide a better input, by few units at most
        assert (result[-1] - result[0] if paid else 0) >= max(best, 0) - 3 * n_hops - 0.02 * best
    if paid:
        assert list(result) == path(result[0])


def test_hostile_rows_are_refused() -> None:
    with pytest.raises(OverflowError, match="2\\^112"):
        book_row(1 << 112, 1, 0)
    with pytest.raises(ValueError, match="fee_ppm"):
        book_row(1, 1, 1_000_000)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0, 1e40])
def test_senseless_optima_give_nothing(amount: float) -> None:
    book = np.array([book_row(10**20, 10**20, 3000), book_row(10**20, 10**20, 3000)])
    work, amounts, found = pair_scratch()
    assert not finish_path(np.arange(2, dtype=np.int32), 2, amount, 1.0, book, 50, work, amounts, found)
