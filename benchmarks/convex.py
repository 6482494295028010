"""The whole-network optimum, measured: ``OURO_SHARED_DATA=<data folder> python -m benchmarks.convex [--json FILE]
[--quick]``; the same rows are part of ``make bench``.

One process, one thread. Times are from the network to the certified optimum, cold start. Gaps are those of the
certificate, a feasible flow.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convex_market import SNAPSHOTS, greedy_cycles, load_states, market_of, most_connected
from benchmarks.graphs import data_folder, machine
from benchmarks.record import Record, loads
from ouro.search.convex import certify, network_of_arrays, solve
from ouro.search.convex.fixed_cost import choose_pools
from ouro.search.convex.instances import mixed, random_network, triangle
from ouro.search.convex.warm import warm_convex
from ouro.search.finder import Finder
from ouro.strategies.network import NetworkStrategy
from ouro.strategies.selection import select

JOINT = "ethereum 2023-05-17"
JOINT_SIZES = (6, 12, 16, 24, 48)
NATIVE = {
    "ethereum": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    "fantom": "0x21be370d5312f44cb42ce377bc9b8a0cef1a4c83",
    "bsc": "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
}
SIX_CASES = ((100, 0.7), (100, 7.0), (100, 21.0), (1_000, 0.795), (1_000, 7.95), (1_000, 23.9))
_KNOWN_RATIOS = ("1.0000", "0.9997", "0.9952", "0.9999", "0.9999", "0.9994")
_KNOWN_OPTIMA = {(100, 2): 6_999.31, (1_000, 2): 79_531.37, (10_000, 2): 770_695.39}
GAP = 1e-8
_SELECTED = 1_000
_NODES = 200


def golden(record: Record) -> None:
    """The two small instances of the literature."""
    for name, (network, prices), known in (("triangle", triangle(), 206.147), ("mixed", mixed(), 21.4998)):
        certificate = certify(solve(network, prices))
        assert abs(certificate.value - known) < 1e-5 * known
        assert certificate.gap <= GAP
        record.value(
            f"golden {name}", certificate.value, "", best_known=str(known), note=f"gap {certificate.gap:.0e}"
        )


def dual(record: Record, sizes: tuple[int, ...], repeats: int) -> None:
    """The generator at several sizes: everything from the network to the certified optimum."""
    cpus: dict[int, list[float]] = {1: [], 2: [], 4: []}
    for n_pools in sizes:
        for factor, medians in cpus.items():
            network, prices = random_network(n_pools, factor)
            certificate = certify(solve(network, prices))
            assert certificate.gap <= GAP
            known = _KNOWN_OPTIMA.get((n_pools, factor))
            assert known is None or abs(certificate.value - known) < 1e-5 * known
            at_target = n_pools == 10_000
            figure = record.time(
                f"convex dual m={n_pools:,} f={factor}",
                lambda n=network, p=prices: certify(solve(n, p)),
                repeats if n_pools <= 10_000 else max(3, repeats // 4),
                target="<= 10 ms" if at_target else "",
                best_known="200-500 ms" if at_target else "",
                note=f"optimum {certificate.value:,.2f}, gap {certificate.gap:.0e}",
            )
            medians.append(figure.cpu)
    for factor, medians in cpus.items():
        if len(medians) > 2:
            slope = float(np.polyfit(np.log(sizes[-3:]), np.log(medians[-3:]), 1)[0])
            record.value(f"exponent of the dual's time in m >= {sizes[-3]:,}, f={factor}", slope, "")


def fixed_cost(record: Record, cases: int = len(SIX_CASES)) -> None:
    """The six cases: value over Lagrangian bound."""
    for (n_pools, cost), known in list(zip(SIX_CASES, _KNOWN_RATIOS, strict=True))[:cases]:
        network, prices = random_network(n_pools, 2)
        started = time.thread_time()
        choice = choose_pools(network, prices, cost)
        seconds = time.thread_time() - started
        assert 0.999 <= choice.ratio <= 1.0 + 1e-9
        record.value(
            f"fixed cost m={n_pools:,} q={cost}: value / bound",
            choice.ratio,
            "",
            ">= 0.999",
            known,
            f"{choice.value:,.2f} / {choice.bound:,.2f}, {len(choice.pools)} pools, {choice.solves} solves, "
            f"processor {seconds:.2f} s",
        )


def joint(record: Record, folder: Path, repeats: int) -> None:
    """The most connected tokens of the 2023-05-17 snapshot: optimum, exact batch, greedy cycles."""
    path = folder / SNAPSHOTS[JOINT]
    if not path.is_file():
        return
    states, _ = load_states(path)
    for count in JOINT_SIZES:
        tokens = most_connected(states, count)
        chosen = [state for state in states if set(state.tokens) <= set(tokens)]
        known = "22.6 ms" if count == JOINT_SIZES[0] else "fails"
        compare(record, f"joint optimum, {count} tokens of 2023-05-17", chosen, tokens[0], repeats, known)


def compare(
    record: Record,
    name: str,
    states: list[Any],
    native: str,
    repeats: int,
    best_known: str = "",
) -> float:
    """Optimum, its exact batch, and sequential single cycles on one set of states; returns the bound."""
    market = market_of(states)
    network = network_of_arrays(market.arrays, len(market.arrays.tokens))
    prices = np.zeros(network.n_tokens)
    prices[market.arrays.token_index[native]] = 1.0
    found = solve(network, prices)
    certificate = certify(found)
    converged = bool(found.converged and certificate.gap <= GAP)
    assert converged or not best_known
    record.time(
        f"{name}: certified optimum",
        lambda: certify(solve(network, prices)),
        repeats,
        target="converges" if best_known else "",
        best_known=best_known,
        note=f"{certificate.bound / 1e18:.6g} native, gap {certificate.gap:.0e}, {len(states):,} pools, "
        f"{found.problem.n_tokens:,} tokens{'' if converged else ', NOT CERTIFIED'}",
    )
    batch = NetworkStrategy(market, native).batch(market.context)
    if batch.plan is not None:
        trades = f"{len(batch.plan.trades)} trades, {batch.plan.n_deferred} nested"
        record.value(f"{name}: exact batch / optimum", batch.plan.profit_wei / certificate.bound, "", note=trades)
    for hops in (3, 4):
        result = greedy_cycles(
            market_of(states), native, hops, 1e-6 * found.bound, progress=lambda text: _say(f"{name}: {text}")
        )
        record.value(
            f"{name}: single cycles <= {hops} hops, one after another / optimum",
            result.profit_wei / certificate.bound,
            "",
            note=f"{result.cycles} cycles, best single {result.best_wei / certificate.bound:.4f}"
            + ("" if result.finished else ", stopped at the limit of cycles"),
        )
    return certificate.bound


def disjoint(record: Record, name: str, states: list[Any], native: str, bound: float) -> None:
    """Of the best single cycles those that share no pool: by the integer program, beside greedy."""
    market = market_of(states)
    found = Finder(market.arrays, [market.arrays.token_index[native]], 4).evaluate_all(1e-6 * bound)[:_SELECTED]
    pools = [[market.addresses[pool] for pool in market.arrays.edge_pool[list(c.edges)].tolist()] for c in found]
    chosen = select([candidate.value for candidate in found], pools, node_limit=_NODES)
    record.value(
        f"{name}: disjoint cycles, integer program / optimum",
        chosen.value / bound,
        "",
        note=f"greedy {chosen.greedy_value / bound:.4f}, {len(chosen.indices)} of the {len(found)} best cycles, "
        f"{'proven' if chosen.proven else f'stopped at {_NODES} nodes'}",
    )


def _say(text: str) -> None:
    """Progress, beside the table."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text:<110}")
        sys.stderr.flush()


def snapshots(record: Record, folder: Path, repeats: int, names: tuple[str, ...] = tuple(SNAPSHOTS)) -> None:
    """Every recorded market as a whole."""
    for name in names:
        if (folder / SNAPSHOTS[name]).is_file():
            states, _ = load_states(folder / SNAPSHOTS[name])
            native = NATIVE[name.split()[0]]
            disjoint(record, name, states, native, compare(record, name, states, native, repeats))


PARTS: dict[str, Callable[[Record, Path, bool], None]] = {
    "golden": lambda record, _, __: golden(record),
    "dual": lambda record, _, quick: dual(
        record, (100, 1_000) if quick else (100, 1_000, 3_000, 10_000, 30_000, 100_000), 5 if quick else 41
    ),
    "fixed": lambda record, _, quick: fixed_cost(record, 3 if quick else len(SIX_CASES)),
    "joint": lambda record, folder, quick: joint(record, folder, 3 if quick else 21),
    "snapshots": lambda record, folder, _: snapshots(record, folder, 3),
}


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--part", choices=PARTS, action="append", default=None)
    parser.add_argument("--snapshot", choices=SNAPSHOTS, action="append", default=None)
    options = parser.parse_args()
    sys.stdout.write(f"{machine()}, {loads()}\n")
    warm_convex()
    record = Record()
    record.head()
    folder = data_folder() or Path("no recorded data")
    for part in options.part or ([] if options.snapshot else list(PARTS)):
        PARTS[part](record, folder, options.quick)
    snapshots(record, folder, 3, tuple(options.snapshot or ()))
    if options.json:
        record.save(options.json, machine())


if __name__ == "__main__":
    main()
