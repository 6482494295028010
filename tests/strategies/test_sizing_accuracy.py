"""How near sizing comes to the optimum, per family: by the search's pieces alone, and after the exact finish.

The other pool of the cycle is a pair whose curve is known; the optimum is found by golden section on integers.
Fees of 10^10ths step by 10^-10 of what flows, which no search by slopes can stand on: that much is allowed besides.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.protocols.balancer_pools import VAULT
from tests.protocols.pools import CONTEXT
from tests.protocols.test_curve_crypto import sample as two_coins
from tests.protocols.test_curve_tricrypto import sample as three_coins
from tests.strategies.test_every_family import arrays_of, hops_of
from tests.strategies.test_exact import address, pair

from ouro.protocols.balancer_v2_stable_state import NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.base import QuoteError
from ouro.protocols.curve_stable_state import CurveStableNGState, CurveStableState
from ouro.protocols.curve_tricrypto_math import newton_d
from ouro.protocols.liquidity_book_math import CENTRE, FeeParameters, Volatility
from ouro.protocols.liquidity_book_state import Bins, LiquidityBookState
from ouro.protocols.registry import FAMILIES
from ouro.search.finder import Finder
from ouro.strategies.exact import ExactHop, finish

UNIT = 10**18
RATIO = (5**0.5 - 1) / 2
STEPS = {"curve_stable_ng": 4e-10, "curve_stable": 2e-10, "twocrypto": 4e-10, "tricrypto": 4e-10}


def _tokens(n: int) -> tuple[str, ...]:
    return tuple(address(k) for k in range(1, n + 1))


def weighted(rng: random.Random, scaling: tuple[int, int] = (1, 1)) -> BalancerV2WeightedState:
    """Any weights; ``scaling``: how coarse the tokens are."""
    weight = rng.choice([5, 20, 50, 65, 80]) * UNIT // 100
    deep = 10 ** rng.uniform(20, 24)
    held = tuple(int(deep * rng.uniform(0.5, 2)) // unit for unit in scaling)
    fee = rng.choice([10**15, 3 * 10**15, 25 * 10**14, 123_456 * 10**10])
    zeros = (0, 0)
    return BalancerV2WeightedState(
        address(100), VAULT, address(100) + "0002" + "0" * 20, _pair_of_tokens(), scaling,
        (weight, UNIT - weight), (held[0], held[1]), zeros, zeros, fee, True,
    )  # fmt: skip


def _pair_of_tokens() -> tuple[str, str]:
    return address(1), address(2)


def balancer_stable(rng: random.Random) -> BalancerV2StableState:
    """Two or three tokens, A from 5 to 5,000, up to four times as much of one as of another."""
    n = rng.choice([2, 3])
    deep, amp, zeros = 10 ** rng.uniform(21, 25), rng.choice([5, 50, 500, 5000]) * 1000, (0,) * n
    return BalancerV2StableState(
        address=address(100), manager=VAULT, pool_id=address(100) + "0000" + "0" * 20, tokens=_tokens(n),
        scaling=(1,) * n, cash=tuple(int(deep * rng.uniform(0.5, 2)) for _ in range(n)), managed=zeros,
        changed_at=zeros, swap_fee=4 * 10**14, amp_start=amp, amp_end=amp, amp_start_time=0, amp_end_time=0,
        rounds_up=False, own_token=-1, rate_providers=(NO_PROVIDER,) * n, rates=(UNIT,) * n, rate_durations=zeros,
        rate_expires=zeros, provider_rates=zeros,
    )  # fmt: skip


def curve_stable(rng: random.Random, ng: bool = False) -> Any:
    """Three coins of 18 decimals, with an off-peg fee for NG."""
    kind = CurveStableNGState if ng else CurveStableState
    deep, a = 10 ** rng.uniform(21, 25), rng.choice([5, 50, 500, 2000]) * (100 if ng else 1)
    held = tuple(int(deep * rng.uniform(0.5, 2)) for _ in range(3))
    return kind(
        address(100), _tokens(3), (UNIT,) * 3, held, a, a, 0, 0, 4_000_000, 5 * 10**9, 5 * 10**10 if ng else 0,
        10**26, 100 if ng else 1, 2 if ng else 0,
    )  # fmt: skip


def curve_stable_ng(rng: random.Random) -> Any:
    """The same with the fee that rises off the peg."""
    return curve_stable(rng, ng=True)


def twocrypto(rng: random.Random) -> Any:
    """In balance and off it."""
    state = two_coins()
    held = state.balances_wei[0], int(state.balances_wei[1] * rng.uniform(0.7, 1.4))
    return _solved(state, held)


def tricrypto(rng: random.Random) -> Any:
    """In balance and off it."""
    state = three_coins()
    first, *rest = state.balances_wei
    return _solved(state, (first, *(int(one * rng.uniform(0.7, 1.4)) for one in rest)))


def _solved(state: Any, held: tuple[int, ...]) -> Any:
    """The pool with these balances and the D that belongs to them."""
    moved = msgspec.structs.replace(state, balances_wei=held)
    if state.family == "twocrypto":
        d = moved.solved_d(CONTEXT.timestamp, moved.scaled(held))
        return msgspec.structs.replace(moved, d=d, virtual_price=1)
    return msgspec.structs.replace(moved, d=newton_d(*moved.future, moved.scaled(held)), virtual_price=1)


def liquidity_book(rng: random.Random) -> LiquidityBookState:
    """A fee that rises with each bin."""
    deep = int(10 ** rng.uniform(19, 22))
    bins = {CENTRE + k: (int(deep * rng.uniform(1, 2)), 0) for k in range(1, 60)}
    bins |= {CENTRE - k: (0, int(deep * rng.uniform(1, 2))) for k in range(1, 60)} | {CENTRE: (deep, deep)}
    fees = FeeParameters(5_000, 30, 600, 5_000, 40_000, 1_000, 350_000)
    volatility = Volatility(20_000, 10_000, CENTRE - 1, CONTEXT.timestamp - 40)
    return LiquidityBookState(address(100), _pair_of_tokens(), 20, CENTRE, Bins(bins), fees, volatility)


def _golden(profit: Callable[[int], int], low: int, high: int) -> tuple[int, int]:
    """(best profit, amount) by golden section on integers."""
    a, b = float(low), float(high)
    best = (profit(low), low)
    for _ in range(120):
        c, d = b - RATIO * (b - a), a + RATIO * (b - a)
        at_c, at_d = profit(int(c)), profit(int(d))
        best = max(best, (at_c, int(c)), (at_d, int(d)))
        if at_c > at_d:
            b = d
        else:
            a = c
        if b - a <= 2:
            break
    return best


def _by_pieces(rows: list[list[float]], back: tuple[float, float, float]) -> float:
    """The input where the pieces' and the pair's slopes meet, in floats: walk the pieces, then solve within one."""
    r_in, r_out, gamma = back
    total, out = 0.0, 0.0
    for a, b, g, cap in rows:

        def slope(t: float, a: float = a, b: float = b, g: float = g, out: float = out) -> float:
            here = out + g * t * b / (a + g * t)
            return g * a * b / (a + g * t) ** 2 * gamma * r_in * r_out / (r_in + gamma * here) ** 2

        end = min(cap, 1e40)
        if slope(end) < 1.0:
            low, high = 0.0, end
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if slope(middle) > 1.0 else (low, middle)
            return total + low
        total, out = total + end, out + g * end * b / (a + g * end)
    return total


MAKERS = (weighted, balancer_stable, curve_stable, curve_stable_ng, twocrypto, tricrypto, liquidity_book)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_sizing_reaches_the_optimum(maker: Callable[[random.Random], Any]) -> None:
    rng, measured = random.Random(7), 0
    for _ in range(8):
        state = maker(rng)
        family = FAMILIES[state.family]
        rate = family.spot_rate(state, 0, 1)
        held = getattr(state, "cash", None) or getattr(state, "balances_wei", None) or (10**22, 10**22)
        deep = int(held[1] * 10 ** rng.uniform(-1, 1))
        gap = 1 + 10 ** rng.uniform(-2.3, -1)
        other = pair(101, (2, 1), deep, int(deep / rate * gap))
        hops = [ExactHop(family, state, 0, 1), ExactHop(FAMILIES["uniswap_v2"], other, 0, 1)]

        def profit(amount: int, hops: list[ExactHop] = hops) -> int:
            if amount <= 0:
                return -(10**60)
            flows = amount
            try:
                for hop in hops:
                    flows = hop.family.quote_in(hop.state, hop.i, hop.j, flows, CONTEXT).amount_out_wei
            except QuoteError:
                return -amount
            return flows - amount

        rows = family.segments(state, 0, 1, CONTEXT).tolist()
        sized = _by_pieces(rows, (float(other.reserve0), float(other.reserve1), 0.997))
        most = family.limits(state, 0, 1, CONTEXT).max_in_wei
        best, at = _golden(profit, max(min(int(sized) // 3, most), 1), max(min(int(sized) * 3, most), 2))
        if best <= 10**6:
            continue
        slack = STEPS.get(state.family, 0.0) * (at + best) + 4.0
        by_pieces = profit(min(int(sized), most))
        # pieces know no units: one of the token in the middle may be worth many of the first
        middle = family.quote_in(state, 0, 1, min(int(sized), most), CONTEXT).amount_out_wei
        assert by_pieces >= best * (1 - 1e-9) - slack - 2 * at / middle, (state, by_pieces / best - 1)
        found = finish(hops, float(min(int(sized), most)), CONTEXT, expected_profit=float(best))
        assert found is not None
        assert found.profit_wei >= best * (1 - 1e-9) - slack, (state, found.profit_wei / best - 1)
        measured += 1
    assert measured >= 4


def _least_input(state: Any, wanted: int) -> int:
    """By bisection on exact inputs."""
    family = FAMILIES[state.family]
    low, high = 0, 2 * family.quote_out(state, 0, 1, wanted, CONTEXT).amount_in_wei

    def buys(amount: int) -> bool:
        try:
            return family.quote_in(state, 0, 1, amount, CONTEXT).amount_out_wei >= wanted
        except QuoteError:
            return False

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if buys(middle) else (middle, high)
    return high


@pytest.mark.parametrize("weighted_first", [True, False])
def test_the_best_whole_unit_of_a_coarse_token_is_found(weighted_first: bool) -> None:
    """Between a weighted pool and a pair whose token in common has few units: all of them are tried by force."""
    rng, measured = random.Random(3), 0
    for _ in range(5):
        made = weighted(rng, (1, 10**15))
        family = FAMILIES[made.family]
        units, gap = int(rng.uniform(1_000, 5_000)), rng.uniform(1.1, 1.5)
        fine = units / family.spot_rate(made, 0, 1) * (gap if weighted_first else 1 / gap)
        other = pair(101, (1, 2), int(fine), units)
        first, second = (made, other) if weighted_first else (other, made)
        told: list[tuple[int, int, int]] = []
        for amount in range(1, units):
            try:
                needed = FAMILIES[first.family].quote_out(first, 0, 1, amount, CONTEXT).amount_in_wei
                gained = FAMILIES[second.family].quote_in(second, 1, 0, amount, CONTEXT).amount_out_wei
            except QuoteError:
                continue
            told.append((gained - needed, amount, gained))
        # what given-out asks for may fall a hair short of the unit: the least input that buys it counts
        best = max(gained - _least_input(first, amount) for _, amount, gained in sorted(told)[-6:])
        if best <= 10**6:
            continue
        arrays = arrays_of([made, other], [(0, 1), (0, 1)])
        sized = Finder(arrays, [0], 2).evaluate_all()[0]
        hops = hops_of(sized.edges, [made, other], arrays)
        found = finish(hops, sized.amount_in, CONTEXT, expected_profit=sized.profit)
        assert found is not None
        assert found.profit_wei >= best * (1 - 1e-9), (made, found.profit_wei / best - 1)
        measured += 1
    assert measured >= 3
