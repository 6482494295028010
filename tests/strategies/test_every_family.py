"""Random mixes of all families: the exact optimum falls short of a search by brute force by no more than 1e-9."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from tests.protocols.pools import CONTEXT
from tests.protocols.test_algebra_adaptive import adaptive
from tests.protocols.test_families import as_algebra, as_kind, as_v4
from tests.strategies.test_exact import address, pair, ticked_pool

from ouro.protocols.base import QuoteError
from ouro.protocols.pancakeswap_v3 import PancakeV3State
from ouro.protocols.registry import FAMILIES
from ouro.protocols.slipstream import SlipstreamState
from ouro.protocols.solidly import SolidlyState
from ouro.protocols.swapr import SwaprState
from ouro.search.arrays import PoolPieces, build_arrays
from ouro.search.finder import Finder
from ouro.strategies.exact import ExactHop, finish

UNIT = 10**18
WEIGHED = ("uniswap_v2", "swapr", "volatile")
RANGED = ("uniswap_v3", "pancakeswap_v3", "slipstream", "uniswap_v4", "algebra_integral", "algebra_adaptive")
KINDS = (*WEIGHED, *RANGED, "stable")


def random_pool(kind: str, number: int, tokens: tuple[int, int], rng: np.random.Generator) -> Any:
    """A pool within a few per cent of one to one."""
    deep, price = int(UNIT * 10 ** rng.uniform(2, 5)), rng.uniform(0.96, 1.04)
    named = (address(tokens[0]), address(tokens[1]))
    if kind in ("volatile", "stable"):
        return SolidlyState(address(number), named, kind == "stable", UNIT, UNIT, deep, int(deep * price), 5)
    if kind in WEIGHED:
        pool = pair(number, tokens, deep, int(deep * price))
        return as_kind(pool, SwaprState) if kind == "swapr" else pool
    pool = ticked_pool(number, tokens, price, deep, rng)
    if kind == "uniswap_v4":
        return as_v4(pool)
    if kind == "algebra_integral":
        return as_algebra(pool)
    if kind == "algebra_adaptive":
        return msgspec.structs.replace(adaptive(pool), address=pool.address, tokens=pool.tokens)
    dialects = {"pancakeswap_v3": PancakeV3State, "slipstream": SlipstreamState}
    return as_kind(pool, dialects[kind]) if kind in dialects else pool


def profit(hops: list[ExactHop], amount_in_wei: int) -> int:
    amount = amount_in_wei
    for hop in hops:
        try:
            amount = hop.family.quote_in(hop.state, hop.i, hop.j, amount, CONTEXT).amount_out_wei
        except QuoteError:
            return -amount_in_wei
    return amount - amount_in_wei


def best_by_force(hops: list[ExactHop], around_wei: int) -> int:
    """The best profit on ever finer grids, the first from a thousandth to a thousandfold of ``around_wei``."""
    low, high, best = max(around_wei // 1_000, 1), around_wei * 1_000, 0
    for _ in range(12):
        ratio = (high / low) ** (1 / 40)
        grid = [min(max(int(low * ratio**k), low), high) for k in range(41)]
        profits = [profit(hops, amount) for amount in grid]
        k = int(np.argmax([float(p) for p in profits]))
        best = max(best, profits[k])
        low, high = grid[max(k - 1, 0)], grid[min(k + 1, 40)]
    return best


def arrays_of(states: Sequence[Any], around: Sequence[tuple[int, int]]) -> Any:
    """The search's arrays of pools between the tokens ``around``, both ways."""
    return build_arrays(
        [
            PoolPieces(ids, {way: FAMILIES[s.family].segments(s, *way, CONTEXT) for way in ((0, 1), (1, 0))})
            for s, ids in zip(states, around, strict=True)
        ]
    )


def hops_of(edges: Sequence[int], states: Sequence[Any], arrays: Any) -> list[ExactHop]:
    """What a cycle of the search is in exact terms."""
    return [
        ExactHop(FAMILIES[s.family], s, int(arrays.edge_i[e]), int(arrays.edge_j[e]))
        for e in edges
        for s in [states[arrays.edge_pool[e]]]
    ]


def test_random_mixes_of_all_families() -> None:
    rng = np.random.default_rng(11)
    seen: Counter[str] = Counter()
    mixes = [*itertools.combinations_with_replacement(KINDS, 2), *(tuple(rng.choice(KINDS, 3)) for _ in range(30))]
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
            if forced <= 0:
                continue
            assert found is not None, mix
            assert profit(hops, found.amounts_wei[0]) == found.profit_wei
            assert found.profit_wei >= forced * (1 - 1e-9), (mix, found.profit_wei, forced)
            seen.update(mix)
    assert set(seen) == set(KINDS), seen
    assert sum(seen.values()) >= 60
