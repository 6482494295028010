"""From a real market to disjoint exact opportunities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.search.finder import Candidates, Finder
from ouro.strategies.cyclic import CyclicStrategy, MarketView, Selection, strategy_name
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.types import Opportunity

HASH = "0x" + "11" * 32


def address(number: int) -> str:
    return f"0x{number:040x}"


def market_of(pools: list[tuple[int, int, int, int]]) -> Market:
    """A market of pairs (token0, token1, reserve0, reserve1); pool k has address 100 + k."""
    market = Market("test", {"uniswap_v2": UniswapV2()})
    states = [
        UniswapV2State(address(100 + k), (address(a + 1), address(b + 1)), reserve0, reserve1, 3000)
        for k, (a, b, reserve0, reserve1) in enumerate(pools)
    ]
    market.start(Head(1, HASH, 1_700_000_000, 10**9), states)
    return market


def search(market: Market, max_hops: int = 4) -> Candidates:
    start = market.arrays.token_index[address(1)]
    return Finder(market.arrays, [start], max_hops).evaluate_all()


def select(
    market: Market, candidates: Candidates, *, gas_price_wei: int = 0, locked: tuple[str, ...] = (), most: int = 8
) -> Selection:
    view: MarketView = market
    strategy = CyclicStrategy(view, max_opportunities=most)
    return strategy.opportunities(candidates, market.context, 1, HASH, gas_price_wei=gas_price_wei, locked=locked)


def random_pools(seed: int, n_tokens: int, n_pools: int) -> list[tuple[int, int, int, int]]:
    """The first pool has token 0, the start token: a market without it has nothing to search."""
    rng = np.random.default_rng(seed)
    pools = []
    for k in range(n_pools):
        a, b = (int(token) for token in rng.choice(n_tokens, 2, replace=False))
        if k == 0:
            a, b = 0, max(a, b)
        pools.append((a, b, int(10**20 * rng.lognormal()), int(10**20 * rng.lognormal())))
    return pools


def replay(market: Market, opportunity: Opportunity) -> int:
    """Profit of the amounts, quoted anew."""
    amount = opportunity.amount_in_wei
    for edge, expected in zip(opportunity.cycle.edges, opportunity.amounts_wei[1:], strict=True):
        state = market.states[edge.pool]
        amount = market.family_of(edge.pool).quote_in(state, edge.i, edge.j, amount, market.context).amount_out_wei
        assert amount == expected
    return amount - opportunity.amount_in_wei


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), gas_price=st.sampled_from([0, 10**9, 10**12]))
def test_disjoint_exact_and_sorted(seed: int, gas_price: int) -> None:
    market = market_of(random_pools(seed, 5, 10))
    candidates = search(market)
    chosen = select(market, candidates, gas_price_wei=gas_price).opportunities
    used = [pool for opportunity in chosen for pool in opportunity.cycle.pools]
    assert len(used) == len(set(used))
    for opportunity in chosen:
        assert replay(market, opportunity) == opportunity.gross_profit_wei > 0
        tokens = opportunity.cycle.tokens
        assert tokens[0] == tokens[-1] == address(1)
        assert len(set(tokens)) == len(tokens) - 1
        for edge, (token_in, token_out) in zip(opportunity.cycle.edges, itertools.pairwise(tokens), strict=True):
            pair = market.states[edge.pool].tokens
            assert (pair[edge.i], pair[edge.j]) == (token_in, token_out)
    net = [o.gross_profit_wei - gas_price * (21_000 + o.gas_units) for o in chosen]
    assert net == sorted(net, reverse=True)
    assert all(value > 0 for value in net)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_lazy_greedy_equals_finishing_everything(seed: int) -> None:
    market = market_of(random_pools(seed, 4, 8))
    candidates = search(market, 3)
    lazy = select(market, candidates).opportunities
    alone = [
        opportunity
        for k in range(len(candidates))
        for opportunity in CyclicStrategy(market)
        .opportunities(candidates[k : k + 1], market.context, 1, HASH)
        .opportunities
    ]
    expected: list[Opportunity] = []
    for opportunity in sorted(alone, key=lambda found: -found.gross_profit_wei):
        if not {pool for taken in expected for pool in taken.cycle.pools} & set(opportunity.cycle.pools):
            expected.append(opportunity)
    assert [o.gross_profit_wei for o in lazy] == [o.gross_profit_wei for o in expected[:8]]


TWO_GAPS = [
    (0, 1, 10**20, 10**20),
    (0, 1, 10**20, 11 * 10**19),
    (0, 2, 10**20, 10**20),
    (0, 2, 10**20, 12 * 10**19),
]


def test_best_first_and_the_rest_is_carried() -> None:
    market = market_of(TWO_GAPS)
    selection = select(market, search(market), most=1)
    assert [set(o.cycle.pools) for o in selection.opportunities] == [{address(102), address(103)}]
    assert selection.carry & {0, 1}
    assert selection.finished == 1
    both = select(market, search(market))
    assert len(both.opportunities) == 2


def test_locked_pools_are_left_alone_and_carried() -> None:
    market = market_of(TWO_GAPS)
    selection = select(market, search(market), locked=(address(103),))
    assert [set(o.cycle.pools) for o in selection.opportunities] == [{address(100), address(101)}]
    assert selection.carry & {2, 3}


def test_quarantined_pools_are_left_alone() -> None:
    market = market_of(TWO_GAPS)
    candidates = search(market)
    market.set_quarantine(address(103), "test")
    selection = select(market, candidates)
    assert [set(o.cycle.pools) for o in selection.opportunities] == [{address(100), address(101)}]


def test_gas_decides_and_what_is_near_is_carried() -> None:
    market = market_of(TWO_GAPS)
    candidates = search(market)
    best = select(market, candidates).opportunities[0]
    break_even = best.gross_profit_wei // (TRANSACTION_GAS + best.gas_units)
    assert len(select(market, candidates, gas_price_wei=break_even - 1).opportunities) == 1
    assert select(market, candidates, gas_price_wei=break_even + 1).opportunities == []
    near = int(candidates[0].profit / (0.8 * (21_000 + 120_000)))
    assert select(market, candidates, gas_price_wei=near * 9 // 10).carry
    assert not select(market, candidates, gas_price_wei=near * 10).carry


def test_a_broken_state_costs_only_its_own_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    market = market_of(TWO_GAPS)
    candidates = search(market)
    del market.states[address(103)]
    monkeypatch.setattr(market, "usable", lambda pool: True)
    selection = select(market, candidates)
    assert [set(o.cycle.pools) for o in selection.opportunities] == [{address(100), address(101)}]
    assert sum(selection.failed.values()) == 1
    assert address(103) in next(iter(selection.failed))


@pytest.mark.parametrize(("hops", "name"), [(2, "cross_dex"), (3, "triangular"), (4, "n_hop"), (5, "n_hop")])
def test_names(hops: int, name: str) -> None:
    assert strategy_name(hops) == name
