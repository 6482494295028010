"""The compiled finish against exhaustive searches, the pair's own formula, and the search by quotes."""

from contextlib import suppress

import numpy as np
import pytest
from benchmarks.sizing import pool_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies.needs import smallest_input

from ouro.protocols.kernels.concentrated import DONE, HEADER
from ouro.protocols.quotes import QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.uniswap_v2 import MAX_RESERVE, UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.search.arrays import PoolPieces, build_arrays
from ouro.search.finder import Finder
from ouro.strategies.exact import Costs, ExactCycle, ExactHop, OutOfQuotesError, Quotes, finish
from ouro.strategies.kernels.finish import FOUND, NOTHING, finish_one, finish_paths, finish_scratch
from ouro.strategies.staircase import search
from ouro.types import BlockContext

CONTEXT = BlockContext(1, 1_700_000_000, 10**9)
FAMILIES = {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()}
RESERVES = st.integers(1, MAX_RESERVE)
FEES = st.sampled_from([0, 100, 500, 2_500, 3_000, 10_000, 999_999])


def address(number: int) -> str:
    return f"0x{number:040x}"


def amount_out(pool: tuple[int, int, int], amount_in: int) -> int:
    r_in, r_out, fee_ppm = pool
    kept = amount_in * (1_000_000 - fee_ppm)
    return kept * r_out // (r_in * 1_000_000 + kept)


def book_of(pools: list[tuple[int, int, int]]) -> QuoteBook:
    book = QuoteBook(len(pools))
    for edge, (r_in, r_out, fee_ppm) in enumerate(pools):
        state = UniswapV2State(address(9), (address(1), address(2)), r_in, r_out, fee_ppm)
        book.set(edge, FAMILIES["uniswap_v2"].exact_header(state, 0, 1))
    return book


@settings(max_examples=300, deadline=None)
@given(r_in=RESERVES, r_out=RESERVES, fee_ppm=FEES, amount=RESERVES)
def test_the_smallest_input_is_the_smallest(r_in: int, r_out: int, fee_ppm: int, amount: int) -> None:
    pool = (r_in, r_out, fee_ppm)
    wanted = amount_out(pool, amount)
    status, smallest = smallest_input(book_of([pool]).headers, wanted)
    if wanted == 0:
        assert status != DONE
        return
    if r_in + amount <= MAX_RESERVE:
        assert status == DONE
    if status == DONE:
        assert smallest <= amount
        assert amount_out(pool, smallest) >= wanted
        assert smallest == 1 or amount_out(pool, smallest - 1) < wanted


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
    scratch = finish_scratch()
    verdict, _ = finish_one(
        book_of(pools).headers,
        n_hops,
        float(top),
        float(profit),
        0,
        0.0,
        4_000,
        np.arange(n_hops, dtype=np.int32),
        scratch,
    )
    assert verdict in (NOTHING, FOUND)
    result = from_limbs(scratch[1, : n_hops + 1])
    found = result[-1] - result[0] if verdict == FOUND else 0
    if n_hops == 2:
        assert found == max(best, 0)
    else:
        # two coarse tokens on the way: their rounding together can hide a better input, by few units at most
        assert found >= max(best, 0) - 3 * n_hops - 0.02 * best
    if verdict == FOUND:
        assert result == path(result[0])


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0, 1e40])
def test_senseless_optima_give_nothing(amount: float) -> None:
    book = book_of([(10**20, 10**20, 3000)] * 2)
    path = np.arange(2, dtype=np.int32)
    assert finish_one(book.headers, 2, amount, 1.0, 0, 0.0, 50, path, finish_scratch())[0] == NOTHING


@pytest.mark.parametrize("amount", [1.0, 5.0, 1e6])
@pytest.mark.parametrize("kinds", ["33", "32", "23"])
def test_an_input_that_buys_nothing_is_no_end(kinds: str, amount: float) -> None:
    """The float optimum may lie below one unit of the middle token; one unit is tried then."""
    rng = np.random.default_rng(2)
    states = [pool_of(kind, k, 0, 1e8 / 15e18 * (1 - 0.05 * k), rng) for k, kind in enumerate(kinds)]
    hops = [ExactHop(FAMILIES[s.family], s, k, 1 - k) for k, s in enumerate(states)]
    found = finish(hops, amount, CONTEXT, expected_profit=1.0)
    assert found is not None
    assert found.profit_wei > 0
    assert found.amounts_wei[1] >= 1


def by_quotes(hops: list[ExactHop], amount_in: float, profit: float, costs: Costs) -> ExactCycle | None:
    quotes = Quotes(hops, CONTEXT, 4_000, costs)
    with suppress(OutOfQuotesError):
        search(quotes, int(amount_in), profit)
    quotes.settle()
    return quotes.result()


@pytest.mark.parametrize("kinds", ["22", "23", "32", "33", "232", "333"])
@pytest.mark.parametrize("costs", [Costs(), Costs(per_gas=3e8, overhead_gas=21_000, loan_ppm=500)], ids=str)
def test_as_good_as_the_search_by_quotes(kinds: str, costs: Costs) -> None:
    rng = np.random.default_rng(5)
    compared = 0
    for seed in range(12):
        states = [pool_of(kind, k, 0, 1e8 / 15e18 * (1 - 0.03 * k), rng) for k, kind in enumerate(kinds[:2])]
        ids = [(0, 1), (0, 1)]
        if len(kinds) == 3:
            states.append(pool_of(kinds[2], 7, 1, 1e8 / 15e18, rng))
            states[1] = UniswapV2State(address(77), (address(2), address(3)), 10**12, 10**12 + seed * 10**10, 500)
            ids = [(0, 1), (1, 2), (0, 2)]
        pieces = [
            PoolPieces(tokens, {way: FAMILIES[s.family].segments(s, *way, CONTEXT) for way in ((0, 1), (1, 0))})
            for s, tokens in zip(states, ids, strict=True)
        ]
        arrays = build_arrays(pieces)
        for best in Finder(arrays, [0], 3, cost_ppm=costs.loan_ppm).evaluate_all()[:1]:
            hops = [
                ExactHop(FAMILIES[s.family], s, int(arrays.edge_i[e]), int(arrays.edge_j[e]))
                for e in best.edges
                for s in [states[arrays.edge_pool[e]]]
            ]
            quoted = by_quotes(hops, best.amount_in, best.profit, costs)
            compiled = finish(
                hops, best.amount_in, CONTEXT, expected_profit=best.profit, max_quotes=4_000, costs=costs
            )
            assert (quoted is None) == (compiled is None)
            if quoted is None or compiled is None:
                continue
            compared += 1
            # gas may make the profit jump where a tick is crossed: two climbs may stop at different sides
            slack = 1e-9 * quoted.net_wei if costs.per_gas else 0
            assert compiled.net_wei >= quoted.net_wei - slack
            amount = compiled.amounts_wei[0]
            for hop, expected in zip(hops, compiled.amounts_wei[1:], strict=True):
                amount = hop.family.quote_in(hop.state, hop.i, hop.j, amount, CONTEXT).amount_out_wei
                assert amount == expected
    assert compared >= 6


def test_many_paths_are_finished_as_one_is() -> None:
    pools = [(10**20 + k * 10**18, 10**20 - k * 10**18, 3000) for k in range(4)]
    book = book_of(pools)
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 3]], dtype=np.int32)
    hops = np.array([2, 2, 2, 2], dtype=np.int8)
    tops, profits = np.full(4, 1e17), np.full(4, 1e15)
    limbs, verdicts = to_limb_rows([0] * 4), np.zeros(4, dtype=np.int8)
    outs = limbs.copy()
    finish_paths(edges, hops, tops, profits, book.headers, 0, 0.0, 60, finish_scratch(), limbs, outs, verdicts)
    for row in range(4):
        scratch = finish_scratch()
        verdict, _ = finish_one(
            np.ascontiguousarray(book.headers[edges[row]]), 2, 1e17, 1e15, 0, 0.0, 60, edges[0], scratch
        )
        assert verdict == verdicts[row]
        if verdict == FOUND:
            assert from_limbs(scratch[1, :3])[::2] == [from_limbs(limbs)[row], from_limbs(outs)[row]]
    assert book.headers.shape == (4, HEADER)
