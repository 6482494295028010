"""The whole-network optimum: the published generator, real snapshots, and what greedy single cycles capture of
it."""

from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.record import Record
from ouro.cli.scan import WRAPPED_NATIVE
from ouro.search.arrays import build_arrays, constant_product
from ouro.search.dual import solve_dual
from ouro.search.finder import Finder
from ouro.search.fixed_cost import choose_pools
from ouro.search.network import Network, network_of
from ouro.search.selection import best_choice
from ouro.strategies.netting import MarketNetwork, market_network, net_plan, optimum
from ouro.strategies.scan import FAMILIES
from ouro.strategies.snapshot import read_snapshot
from ouro.types import BlockContext

CONTEXT = BlockContext(0, 0, 0)
OPTIMA = {100: 6_999.31, 1_000: 79_531.37, 10_000: 770_695.39}
JOINT = "open/pools/pools_v2v3_ethereum_2023-05-17_b17282k.csv.gz"
GREEDY_STEPS = 150


def generated(n_pools: int, factor: float) -> tuple[Network, np.ndarray]:
    """The router benchmark's generator, seed 1234."""
    n_tokens = round(factor * np.sqrt(n_pools))
    rng = np.random.default_rng(1234)
    pairs = [rng.choice(n_tokens, 2, replace=False) for _ in range(n_pools)]
    reserves = 1000 * rng.random((n_pools, 2))
    gammas = rng.choice([0.997, 1.0], n_pools)
    pools = [
        constant_product(int(a), int(b), *row, gamma)
        for (a, b), row, gamma in zip(pairs, reserves.tolist(), gammas.tolist(), strict=True)
    ]
    return network_of(build_arrays(pools), n_tokens), rng.random(n_tokens)


def dual_times(record: Record, quick: bool) -> None:
    """m = 10,000 with f = 1, 2, 4."""
    n_pools = 1_000 if quick else 10_000
    for factor in (1, 2, 4):
        network, values = generated(n_pools, factor)
        start = np.ones(len(values))
        solution = solve_dual(network, values, start=start, tolerance=1e-9)
        assert solution.converged
        assert abs(solution.gap) <= 1e-8
        if factor == 2:
            assert abs(solution.bound - OPTIMA[n_pools]) < 0.01
        record.time(
            f"convex dual, m = {n_pools:,}, f = {factor}",
            lambda network=network, values=values, start=start: solve_dual(
                network, values, start=start, tolerance=1e-9
            ),
            5 if quick else 40,
            target="<= 10 ms",
            best_known="200-500 ms",
            note=f"gap {abs(solution.gap):.0e}, {solution.evaluations} evaluations",
        )


def fixed_cost(record: Record, quick: bool) -> None:
    """The six published cases."""
    for n_pools, costs in ((100, (0.7, 7.0, 21.0)), (1_000, (0.795, 7.95, 23.9))):
        network, values = generated(n_pools, 2)
        for cost in costs:
            chosen = choose_pools(network, values, cost, search_solves=100 if quick else 1_500)
            assert chosen.ratio >= 0.999
            record.value(
                f"fixed cost {cost} per pool, m = {n_pools:,}: value / bound",
                chosen.ratio,
                "",
                ">= 0.999",
                "0.9952-1.0000",
                f"{chosen.net_value:,.2f} of {chosen.bound:,.2f}, {int(chosen.kept.sum())} pools",
            )


def joint(record: Record, folder: Path) -> None:
    """All pools between the most connected tokens of one snapshot."""
    snapshot = read_snapshot(folder / JOINT)
    native = WRAPPED_NATIVE[1]
    degree = Counter(token for state in snapshot.states for token in state.tokens)
    for count in (6, 12, 16, 24, 48):
        top = {token for token, _ in degree.most_common(count)}
        states = [state for state in snapshot.states if top.issuperset(state.tokens)]
        market = market_network(states, FAMILIES, [native], CONTEXT)
        solution = optimum(market, native)
        assert solution.converged
        plan = net_plan(market, FAMILIES, native, CONTEXT)
        hops = len(plan.hops) if plan else 0
        record.time(
            f"joint optimum, {count} tokens, {len(market.states)} pools",
            lambda market=market: optimum(market, native),
            10,
            target="converges",
            best_known="22.6 ms at 6; fails >= 12",
            note=f"{solution.bound / 1e18:.6f} ETH, gap {solution.gap:.0e}; exact plan of {hops} hops, "
            f"{(plan.profit_wei if plan else 0) / 1e18:.6f}",
        )


def greedy_value(market: MarketNetwork, native: str, max_hops: int = 4) -> tuple[float, float, float]:
    """Values of: the best cycle again and again on the moved pools; disjoint cycles, greedy; and by integer
    program."""
    arrays = market.arrays
    start = market.tokens.index(native)
    saved = arrays.segs.copy(), arrays.enabled.copy()
    finder = Finder(arrays, [start], max_hops)
    found = finder.evaluate_all()
    top = found[: min(len(found), 3_000)]
    pools = [{int(p) for p in arrays.edge_pool[list(c.edges)]} for c in top]
    choice = best_choice([c.profit for c in top], pools, node_limit=50)
    total = 0.0
    for _ in range(GREEDY_STEPS):
        if not len(found):
            break
        best = found[0]
        total += best.profit
        _trade(market, best.edges, best.amount_in)
        found = finder.evaluate_all()
        if len(found) and found[0].profit < 1e-6 * total:
            break
    arrays.segs[:], arrays.enabled[:] = saved
    return total, choice.greedy_value, choice.value


def _trade(market: MarketNetwork, edges: tuple[int, ...], amount: float) -> None:
    """Move one-piece pools along a cycle; the fee stays in the pool as on the chain."""
    arrays = market.arrays
    for edge in edges:
        pool = arrays.edge_pool[edge]
        first = arrays.pool_edge_start[pool]
        other = first + 1 if edge == first else first
        row, back = arrays.segs[arrays.seg_start[edge]], arrays.segs[arrays.seg_start[other]]
        r_in, r_out, gamma, cap = row
        amount = min(amount, cap)
        out = gamma * amount * r_out / (r_in + gamma * amount)
        # a concentrated range keeps its fee outside the curve
        kept = amount if cap == np.inf else gamma * amount
        row[0], row[1] = r_in + kept, r_out - out
        row[3] = cap - amount
        back[0], back[1] = r_out - out, r_in + kept
        back[3] = back[3] + out / gamma
        amount = out


def greedy(record: Record, folder: Path) -> None:
    """What greedy single cycles capture of the whole-network optimum on the recorded snapshots."""
    for name, date in (
        (JOINT, None),
        ("open/pools/pools_v2v3_ethereum_2023-07-12_b17676k.csv.gz", None),
        ("open/pools/pools_v2v3_ethereum_2023-07-18_b17721k.csv.gz", None),
        ("open/pools/pools_v2_fantom_2022-07-09.csv.gz", "2022-07-09"),
        ("local_only/pools/pools_v2_ethereum_2020-10-03.csv.gz", None),
    ):
        if not (folder / name).is_file():
            continue
        snapshot = read_snapshot(folder / name, date=date)
        native = WRAPPED_NATIVE[snapshot.chain_id]
        market = market_network(snapshot.states, FAMILIES, [native], CONTEXT)
        solution = optimum(market, native)
        again, disjoint, exact = greedy_value(market, native)
        record.value(
            f"{Path(name).name.removesuffix('.csv.gz')}: greedy / optimum",
            again / solution.bound,
            "",
            note=f"optimum {solution.bound / 1e18:.4f} (gap {solution.gap:.0e}); disjoint cycles: greedy "
            f"{disjoint / solution.bound:.4f}, integer program {exact / solution.bound:.4f}",
        )
