"""Stable, bins and moving-price pools mixed with pairs: the exact size against brute force, dynamic fees inside."""

import itertools
from collections import Counter
from typing import Any

import msgspec
import numpy as np
from tests.protocols.pools import CONTEXT
from tests.protocols.test_curve_crypto import sample
from tests.strategies.test_every_family import arrays_of, best_by_force, hops_of, profit
from tests.strategies.test_exact import address, pair

from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.curve_stable_state import CurveStableNGState, CurveStableState, SaddleState
from ouro.protocols.liquidity_book_math import CENTRE, FeeParameters, Volatility
from ouro.protocols.liquidity_book_state import Bins, LiquidityBookState
from ouro.search.finder import Finder
from ouro.strategies.exact import finish

UNIT = 10**18
STABLE = {"curve_stable": CurveStableState, "curve_stable_ng": CurveStableNGState, "saddle": SaddleState}
KINDS = (*STABLE, "twocrypto", "liquidity_book", "uniswap_v2")


def random_pool(kind: str, number: int, tokens: tuple[int, int], rng: np.random.Generator) -> Any:
    """A pool within a few per cent of one to one, hundreds to a hundred thousand tokens deep."""
    deep, price = int(UNIT * 10 ** rng.uniform(3, 5)), rng.uniform(0.96, 1.04)
    named = (address(tokens[0]), address(tokens[1]))
    if kind in STABLE:
        a = int(rng.integers(10_000, 200_000))
        held = (deep, int(deep * 10 ** rng.uniform(-0.6, 0.6)))
        off_peg = 5 * 10**10 if kind == "curve_stable_ng" else 0
        return STABLE[kind](
            address(number), named, (UNIT, UNIT), held, a, a, 0, 0, 4 * 10**6, 5 * 10**9, off_peg, 10**24
        )
    if kind == "twocrypto":
        scale = int(2500 * price * UNIT)
        made = sample(address=address(number), tokens=named)
        return msgspec.structs.replace(
            made,
            balances_wei=(made.balances_wei[0], made.balances_wei[0]),
            **_around_one(made.balances_wei[0], int(UNIT * price), scale),
        )
    if kind == "liquidity_book":
        step, fees = 20, FeeParameters(5_000, 30, 600, 5_000, 7_500, 1_000, 350_000)
        active = CENTRE + int(rng.integers(-18, 18))
        bins = {active + k: (int(deep * rng.uniform(1, 2)) // 20, 0) for k in range(1, 40)}
        bins.update({active - k: (0, int(deep * rng.uniform(1, 2)) // 20) for k in range(1, 40)})
        bins[active] = (deep // 20, deep // 20)
        volatility = Volatility(20_000, 10_000, active - 1, CONTEXT.timestamp - 40)
        return LiquidityBookState(address(number), named, step, active, Bins(bins), fees, volatility)
    return pair(number, tokens, deep, int(deep * price))


def _around_one(held: int, price: int, _: int) -> dict[str, Any]:
    """What belongs to a price scale near one."""
    from tests.protocols.reference_crypto import value

    from ouro.protocols.curve_crypto_math import newton_d

    xp = (held, held * price // UNIT)
    d = newton_d(400_000, 145 * 10**12, xp)
    supply = int(value(d, price))
    return {"d": d, "price_scale": price, "price_oracle": price, "last_price": price, "supply": supply}


def test_random_mixes_with_curved_pools() -> None:
    rng = np.random.default_rng(5)
    seen: Counter[str] = Counter()
    mixes = [*itertools.combinations_with_replacement(KINDS, 2), *(tuple(rng.choice(KINDS, 3)) for _ in range(5))]
    for mix in mixes:
        around = [(0, 1), (0, 1)] if len(mix) == 2 else [(0, 1), (1, 2), (0, 2)]
        states = [
            random_pool(kind, 100 + k, (ids[0] + 1, ids[1] + 1), rng)
            for k, (kind, ids) in enumerate(zip(mix, around, strict=True))
        ]
        arrays = arrays_of(states, around)
        for best in Finder(arrays, [0], 3).evaluate_all()[:1]:
            hops = hops_of(best.edges, states, arrays)
            found = finish(hops, best.amount_in, CONTEXT, expected_profit=best.profit)
            forced = best_by_force(hops, int(best.amount_in))
            if forced <= UNIT // 10**6:
                continue
            assert found is not None, mix
            assert profit(hops, found.amounts_wei[0]) == found.profit_wei
            # a fee of 10^10ths makes steps of 10^-10 of what flows: no search by slopes stands on the best of them
            steps = 2 * found.amounts_wei[-1] // 10**10 if {"curve_stable_ng", "twocrypto"} & set(mix) else 0
            assert found.profit_wei >= forced * (1 - 1e-9) - steps, (mix, found.profit_wei, forced)
            seen.update(mix)
    assert set(seen) == set(KINDS), seen
    assert sum(seen.values()) >= 20


def test_paths_through_vault_pools_with_coarse_tokens_end() -> None:
    """Fees of such pools round by other rules than teeth of a saw: the search must not look for their period."""
    rng = np.random.default_rng(8)
    found_any = 0
    for number in range(40):
        deep = int(10 ** rng.uniform(20, 24))
        dollars = int(deep * rng.uniform(900, 2_500)) // 10**12
        weight = int(rng.choice([20, 50, 80])) * UNIT // 100
        pool = BalancerV2WeightedState(
            address=address(100),
            manager=address(99),
            pool_id=address(100) + "0002" + "0" * 20,
            tokens=(address(1), address(2)),
            scaling=(1, 10**12),
            weights=(weight, UNIT - weight),
            cash=(deep * weight // UNIT, dollars * (UNIT - weight) // UNIT),
            managed=(0, 0),
            changed_at=(0, 0),
            swap_fee=int(rng.choice([4 * 10**14, 3 * 10**15, 25 * 10**14])),
            exact_powers=bool(number % 2),
        )
        other = pair(101, (1, 2), deep, int(dollars * rng.uniform(0.9, 1.1)))
        states, around = [pool, other], [(0, 1), (0, 1)]
        arrays = arrays_of(states, around)
        for best in Finder(arrays, [0], 2).evaluate_all()[:1]:
            hops = hops_of(best.edges, states, arrays)
            forced = best_by_force(hops, int(best.amount_in))
            if forced <= 0:
                continue
            found = finish(hops, best.amount_in, CONTEXT, expected_profit=best.profit)
            assert found is not None
            unit = found.amounts_wei[0] // found.amounts_wei[1]  # what the coarse token's smallest step is worth
            assert found.profit_wei >= forced * (1 - 1e-9) - unit
            found_any += 1
    assert found_any >= 20
