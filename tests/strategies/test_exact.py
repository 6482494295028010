"""Exact integers against exhaustive searches, with the real families' quotes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.protocols.base import Family, QuoteError
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.search.arrays import PoolPieces, build_arrays
from ouro.search.finder import Finder
from ouro.strategies.exact import Costs, ExactCycle, ExactHop, finish
from ouro.types import BlockContext

CONTEXT = BlockContext(1, 1_700_000_000, 10**9)
FAMILIES: dict[str, Family] = {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()}


def address(number: int) -> str:
    return f"0x{number:040x}"


def pair(number: int, tokens: tuple[int, int], reserve0: int, reserve1: int, fee_ppm: int = 3000) -> UniswapV2State:
    return UniswapV2State(address(number), (address(tokens[0]), address(tokens[1])), reserve0, reserve1, fee_ppm)


def ticked_pool(
    number: int, tokens: tuple[int, int], price: float, liquidity: int, rng: np.random.Generator
) -> UniswapV3State:
    """A concentrated pool around ``price`` (token1 per token0, smallest units) with random nested positions."""
    sqrt_price = int(math.sqrt(price) * 2**96)
    tick = tick_at_sqrt_ratio(sqrt_price)
    table = TickTable({})
    base = tick // 60 * 60
    for _ in range(8):
        lower = base - 60 * int(rng.integers(0, 12))
        upper = base + 60 * int(rng.integers(1, 12))
        table = table.with_position(lower, upper, int(liquidity * rng.uniform(0.2, 1.0)))
    table = table.with_position(base - 60_000, base + 60_000, liquidity)
    assert sqrt_ratio_at_tick(tick) <= sqrt_price
    return UniswapV3State(
        address(number),
        (address(tokens[0]), address(tokens[1])),
        3000,
        60,
        sqrt_price,
        tick,
        table.active_liquidity(tick),
        table,
    )


def solve(
    states: list, token_ids: list[tuple[int, int]], max_quotes: int = 40
) -> tuple[list[ExactHop], ExactCycle]:
    """The best candidate from token 0 over all pools, finished."""
    pools = []
    for state, tokens in zip(states, token_ids, strict=True):
        family = FAMILIES[state.family]
        pieces = {way: family.segments(state, *way, CONTEXT) for way in ((0, 1), (1, 0))}
        pools.append(PoolPieces(tokens, pieces))
    arrays = build_arrays(pools)
    best = Finder(arrays, [0], len(states)).evaluate_all()[0]
    hops = []
    for edge in best.edges:
        state = states[arrays.edge_pool[edge]]
        hops.append(ExactHop(FAMILIES[state.family], state, int(arrays.edge_i[edge]), int(arrays.edge_j[edge])))
    result = finish(hops, best.amount_in, CONTEXT, expected_profit=best.profit, max_quotes=max_quotes)
    assert result is not None
    # every step through a tick range rounds its output down by up to one unit of the token
    step_wei = max(result.amounts_wei[0] / amount for amount in result.amounts_wei)
    assert result.profit_wei == pytest.approx(best.profit, rel=1e-9, abs=30 * step_wei + 10)
    return hops, result


def output(hop: ExactHop, amount: int) -> int:
    return hop.family.quote_in(hop.state, hop.i, hop.j, amount, CONTEXT).amount_out_wei


def smallest_input(hop: ExactHop, amount_out: int) -> int:
    """By bisection, independent of ``quote_out``."""
    low, high = 0, 1
    while True:
        try:
            enough = output(hop, high) >= amount_out
        except QuoteError as error:
            if "liquidity" in error.reason:
                raise
            enough = False
        if enough:
            break
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        try:
            enough = output(hop, middle) >= amount_out
        except QuoteError:
            enough = False
        low, high = (low, middle) if enough else (middle, high)
    return high


def best_over_middle(hops: list[ExactHop], centre: int, width: int) -> int:
    """The best profit over every middle amount around ``centre``, each with its smallest input."""
    best = 0
    for middle in range(max(1, centre - width), centre + width + 1):
        best = max(best, output(hops[1], middle) - smallest_input(hops[0], middle))
    return best


def middle_pools(kinds: str, seed: int) -> list:
    """Two pools, 18-decimal token 0 against 8-decimal token 1 at about 15 to 1, a few per cent apart."""
    rng = np.random.default_rng(seed)
    states = []
    gap = 1.02 + 0.04 * rng.random()
    for number, kind in enumerate(kinds):
        wei = int(10**18 * rng.uniform(2, 200))
        price = 1e8 / 15e18 * (gap if number else 1.0)
        if kind == "2":
            states.append(pair(number + 10, (0, 1), wei, int(wei * price)))
        else:
            liquidity = int(wei * math.sqrt(price)) * 3
            states.append(ticked_pool(number + 10, (0, 1), price, liquidity, rng))
    return states


@pytest.mark.parametrize("kinds", ["22", "32", "23", "33"])
@pytest.mark.parametrize("seed", range(4))
def test_eight_decimal_middle_is_never_below_exhaustive_search(kinds: str, seed: int) -> None:
    hops, result = solve(middle_pools(kinds, seed), [(0, 1), (0, 1)], max_quotes=40 if kinds == "22" else 400)
    assert result.profit_wei >= best_over_middle(hops, result.amounts_wei[1], 400)
    assert smallest_input(hops[0], result.amounts_wei[1]) == result.amounts_wei[0]


def test_whole_lattice_of_a_small_market() -> None:
    """Every middle amount there is, not only the neighbours."""
    states = [pair(10, (0, 1), 3 * 10**15, 20_000), pair(11, (0, 1), 3 * 10**15, 22_000)]
    hops, result = solve(states, [(0, 1), (0, 1)])
    assert result.profit_wei == best_over_middle(hops, 3_000, 2_999)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    decimals=st.lists(st.integers(2, 18), min_size=3, max_size=3),
    n_hops=st.integers(2, 4),
)
def test_random_cycles_are_exact_and_within_budget(seed: int, decimals: list[int], n_hops: int) -> None:
    rng = np.random.default_rng(seed)
    units = [10**18, *(10**places for places in decimals)]
    states, ids = [], []
    for hop in range(n_hops):
        a, b = hop, (hop + 1) % n_hops
        depth = rng.uniform(1e3, 1e6)
        gap = 1.08 if hop == 0 else 1.0
        states.append(pair(hop + 10, (a, b), int(depth * units[a]), int(depth * gap * units[b])))
        ids.append((a, b))
    hops, result = solve(states, ids)
    assert result.quotes <= 40
    amount = result.amounts_wei[0]
    gas = 0
    for hop, expected in zip(hops, result.amounts_wei[1:], strict=True):
        quote = hop.family.quote_in(hop.state, hop.i, hop.j, amount, CONTEXT)
        assert quote.amount_out_wei == expected
        amount, gas = expected, gas + quote.gas
    assert result.profit_wei == amount - result.amounts_wei[0] > 0
    assert result.gas_units == gas


def test_float_optimum_below_one_unit_of_the_middle_token() -> None:
    states = [pair(10, (0, 1), 10**20, 10), pair(11, (0, 1), 4 * 10**20, 10)]
    hops = [ExactHop(FAMILIES["uniswap_v2"], states[0], 0, 1), ExactHop(FAMILIES["uniswap_v2"], states[1], 1, 0)]
    result = finish(hops, 3e18, CONTEXT, expected_profit=1e19)
    assert result is not None
    assert result.profit_wei == max(
        output(hops[1], middle) - smallest_input(hops[0], middle) for middle in range(1, 9)
    )


@pytest.mark.parametrize("amount_in", [math.nan, math.inf, -1.0, 0.0, 1e40])
def test_senseless_float_optima_give_nothing_or_a_real_profit(amount_in: float) -> None:
    states = [pair(10, (0, 1), 10**20, 10**20), pair(11, (0, 1), 10**20, 10**20)]
    hops = [ExactHop(FAMILIES["uniswap_v2"], states[0], 0, 1), ExactHop(FAMILIES["uniswap_v2"], states[1], 1, 0)]
    assert finish(hops, amount_in, CONTEXT) is None


def test_never_a_plan_without_profit() -> None:
    """Fees eat the gap, whatever the float says."""
    states = [pair(10, (0, 1), 10**20, 10**20), pair(11, (0, 1), 1_003 * 10**17, 10**20)]
    hops = [ExactHop(FAMILIES["uniswap_v2"], states[0], 0, 1), ExactHop(FAMILIES["uniswap_v2"], states[1], 1, 0)]
    assert finish(hops, 1e17, CONTEXT, expected_profit=1e10) is None
    assert finish([], 1e17, CONTEXT) is None


def test_budget_is_kept_and_the_best_so_far_returned() -> None:
    states = middle_pools("22", 1)
    for budget in range(12):
        hops = [ExactHop(FAMILIES["uniswap_v2"], s, i, 1 - i) for s, i in zip(states, (0, 1), strict=True)]
        result = finish(hops, 1e17, CONTEXT, expected_profit=1e15, max_quotes=budget)
        hops_back = [
            ExactHop(FAMILIES["uniswap_v2"], s, i, 1 - i) for s, i in zip(states[::-1], (0, 1), strict=True)
        ]
        back = finish(hops_back, 1e17, CONTEXT, expected_profit=1e15, max_quotes=budget)
        best = result or back
        assert (best is None) == (budget < 6)
        assert best is None or best.quotes <= budget


def test_costs_are_inside_the_optimum() -> None:
    """A loan's fee makes the best input smaller; what is left is the best of every neighbour, and gas can take
    all."""
    states = [pair(10, (0, 1), 10**21, 10**21), pair(11, (0, 1), 10**21, 12 * 10**20)]
    hops = [
        ExactHop(FAMILIES["uniswap_v2"], states[0], 0, 1),
        ExactHop(FAMILIES["uniswap_v2"], states[1], 1, 0),
    ]
    back = [
        ExactHop(FAMILIES["uniswap_v2"], states[1], 0, 1),
        ExactHop(FAMILIES["uniswap_v2"], states[0], 1, 0),
    ]
    path = max((hops, back), key=lambda way: output(way[1], output(way[0], 10**19)))
    costs = Costs(per_gas=1e9, overhead_gas=21_000, fixed_wei=10**14, loan_ppm=900)
    free = finish(path, 4e19, CONTEXT, expected_profit=4e18)
    paying = finish(path, 4e19, CONTEXT, expected_profit=4e18, costs=costs)
    assert free is not None
    assert paying is not None
    assert paying.amounts_wei[0] < free.amounts_wei[0]
    assert paying.net_wei == paying.profit_wei - costs.total_wei(paying.amounts_wei[0], paying.gas_units)
    for change in (-(10**15), 10**15):
        amount = paying.amounts_wei[0] + change
        gross = output(path[1], output(path[0], amount)) - amount
        assert gross - costs.total_wei(amount, paying.gas_units) <= paying.net_wei * (1 + 1e-9)
    assert finish(path, 4e19, CONTEXT, expected_profit=4e18, costs=Costs(fixed_wei=10**20)) is None


def test_a_transfer_tax_is_paid_on_the_way_in() -> None:
    states = [pair(10, (0, 1), 10**21, 12 * 10**20), pair(11, (0, 1), 10**21, 10**21)]
    taxed = [
        ExactHop(FAMILIES["uniswap_v2"], states[0], 0, 1),
        ExactHop(FAMILIES["uniswap_v2"], states[1], 1, 0, tax_in_ppm=20_000),
    ]
    result = finish(taxed, 3e19, CONTEXT, expected_profit=3e18)
    assert result is not None
    first, middle, last = result.amounts_wei
    assert output(taxed[0], first) == middle
    assert output(taxed[1], middle - -(-middle * 20_000 // 10**6)) == last
