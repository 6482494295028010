"""The whole-network optimum, measured: ``OURO_DATA=<data folder> python -m benchmarks.convex [--json FILE]
[--quick]``.

One process, one thread (``OPENBLAS_NUM_THREADS=1`` is set here). Every time is given twice: by the wall, and as
time of the processor, which doesn't count what else runs on the machine. Gaps are those of the certificate, a
feasible flow.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  (after the thread limits)

from benchmarks.convex_market import SNAPSHOTS, greedy_cycles, load_states, market_of, most_connected  # noqa: E402
from benchmarks.graphs import data_folder, machine  # noqa: E402
from ouro.search.convex import certify, network_of_arrays, solve  # noqa: E402
from ouro.search.convex.fixed_cost import choose_pools  # noqa: E402
from ouro.search.convex.instances import mixed, random_network, triangle  # noqa: E402
from ouro.search.convex.warm import warm_convex  # noqa: E402
from ouro.strategies.network import NetworkStrategy  # noqa: E402

JOINT = "ethereum 2023-05-17"
NATIVE = {
    "ethereum": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    "fantom": "0x21be370d5312f44cb42ce377bc9b8a0cef1a4c83",
    "bsc": "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
}
SIX_CASES = ((100, 0.7), (100, 7.0), (100, 21.0), (1_000, 0.795), (1_000, 7.95), (1_000, 23.9))

Row = dict[str, Any]


def timed(action: Callable[[], object], repeats: int) -> Row:
    """Median and 99th percentile in ms, by the wall and of the processor."""
    wall, cpu = np.empty(repeats), np.empty(repeats)
    for at in range(repeats):
        started, started_cpu = time.perf_counter_ns(), time.thread_time_ns()
        action()
        cpu[at] = (time.thread_time_ns() - started_cpu) / 1e6
        wall[at] = (time.perf_counter_ns() - started) / 1e6
    return {
        "least_ms": float(wall.min()),
        "median_ms": float(np.median(wall)),
        "p99_ms": float(np.percentile(wall, 99)),
        "cpu_median_ms": float(np.median(cpu)),
        "cpu_p99_ms": float(np.percentile(cpu, 99)),
    }


def say(label: str, figure: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"{label:<46} {figure}\n")
    sys.stdout.flush()


def times(row: Row) -> str:
    """The times of a row for people."""
    return (
        f"median {row['median_ms']:.2f} ms, p99 {row['p99_ms']:.2f}, "
        f"least {row['least_ms']:.2f} (processor {row['cpu_median_ms']:.2f}, {row['cpu_p99_ms']:.2f})"
    )


def golden() -> list[Row]:
    """The two small instances of the literature."""
    rows = []
    for name, (network, prices), known in (("triangle", triangle(), 206.147), ("mixed", mixed(), 21.4998)):
        certificate = certify(solve(network, prices))
        rows.append({"what": name, "value": certificate.value, "known": known, "gap": certificate.gap})
        say(f"golden {name}", f"{certificate.value:.6f} (known {known}), gap {certificate.gap:.1e}")
    return rows


def scaling(sizes: tuple[int, ...], repeats: int) -> list[Row]:
    """The generator at several sizes: everything from the network to the certified optimum."""
    rows = []
    for n_pools in sizes:
        for factor in (1, 2, 4):
            network, prices = random_network(n_pools, factor)
            found = solve(network, prices)
            certificate = certify(found)
            row = timed(lambda n=network, p=prices: certify(solve(n, p)), repeats)
            warm = timed(lambda n=network, p=prices, s=found.prices * 1.001: certify(solve(n, p, start=s)), repeats)
            row |= {
                "m": n_pools,
                "f": factor,
                "optimum": certificate.value,
                "gap": certificate.gap,
                "evaluations": found.evaluations,
                "newton_steps": found.newton_steps,
                "warm_median_ms": warm["median_ms"],
                "warm_cpu_median_ms": warm["cpu_median_ms"],
            }
            rows.append(row)
            say(
                f"dual m={n_pools:,} f={factor}: {certificate.value:,.2f}",
                f"{times(row)}, gap {certificate.gap:.1e}; warm {warm['median_ms']:.2f} ms",
            )
    for factor in (1, 2, 4):
        points = [(row["m"], row["cpu_median_ms"]) for row in rows if row["f"] == factor]
        if len(points) > 1:
            size, cost = np.log(np.array(points)).T
            slope = float(np.polyfit(size, cost, 1)[0])
            say(f"exponent of time in m, f={factor}", f"{slope:.2f}")
    return rows


def fixed_cost() -> list[Row]:
    """The six cases: value over Lagrangian bound."""
    rows = []
    for n_pools, cost in SIX_CASES:
        network, prices = random_network(n_pools, 2)
        started = time.perf_counter()
        choice = choose_pools(network, prices, cost)
        seconds = time.perf_counter() - started
        row = {
            "m": n_pools,
            "q": cost,
            "value": choice.value,
            "bound": choice.bound,
            "ratio": choice.ratio,
            "pools": len(choice.pools),
            "solves": choice.solves,
            "seconds": seconds,
        }
        rows.append(row)
        say(
            f"fixed cost m={n_pools:,} q={cost}",
            f"{choice.value:,.2f} / {choice.bound:,.2f} = {choice.ratio:.5f}, {len(choice.pools)} pools, "
            f"{choice.solves} solves, {seconds:.2f} s",
        )
    return rows


def joint(folder: Path, repeats: int) -> list[Row]:
    """The most connected tokens of the 2023-05-17 snapshot: optimum, exact batch, greedy cycles."""
    states, skipped = load_states(folder / SNAPSHOTS[JOINT])
    say(f"{JOINT}", f"{len(states):,} pools, left out {dict(skipped)}")
    rows = []
    for count in (6, 12, 16, 24, 48):
        tokens = most_connected(states, count)
        chosen = [state for state in states if set(state.tokens) <= set(tokens)]
        rows.append(compare(f"joint {count} tokens", chosen, tokens[0], repeats))
    return rows


def compare(name: str, states: list[Any], native: str, repeats: int) -> Row:
    """Optimum, its exact batch, and sequential single cycles on one set of states."""
    market = market_of(states)
    network = network_of_arrays(market.arrays, len(market.arrays.tokens))
    prices = np.zeros(network.n_tokens)
    prices[market.arrays.token_index[native]] = 1.0
    found = solve(network, prices)
    certificate = certify(found)
    row = timed(lambda: certify(solve(network, prices)), repeats)
    batch = NetworkStrategy(market, native).batch(market.context)
    profit = batch.plan.profit_wei if batch.plan else 0
    greedy = {hops: greedy_cycles(market_of(states), native, hops, 1e-6 * found.bound) for hops in (3, 4)}
    row |= {
        "what": name,
        "pools": len(states),
        "tokens": found.problem.n_tokens,
        "bound_wei": certificate.bound,
        "gap": certificate.gap,
        "converged": bool(found.converged and certificate.gap <= 1e-8),
        "evaluations": found.evaluations,
        "newton_steps": found.newton_steps,
        "plan_wei": profit,
        "plan_share": profit / certificate.bound if certificate.bound > 0 else 1.0,
        "plan_trades": len(batch.plan.trades) if batch.plan else 0,
        "plan_deferred": batch.plan.n_deferred if batch.plan else 0,
    }
    for hops, result in greedy.items():
        row[f"greedy_{hops}_share"] = result.profit_wei / certificate.bound if certificate.bound > 0 else 1.0
        row[f"greedy_{hops}_cycles"] = result.cycles
        row[f"best_{hops}_share"] = result.best_wei / certificate.bound if certificate.bound > 0 else 1.0
    say(
        f"{name}: {len(states):,} pools, {row['tokens']} tokens",
        f"{certificate.bound / 1e18:.6g} native, gap {certificate.gap:.1e}, {times(row)}; exact batch "
        f"{row['plan_share']:.6f} in {row['plan_trades']} trades; cycles one after another: <= 3 hops "
        f"{row['greedy_3_share']:.4f} ({row['greedy_3_cycles']}), <= 4 hops {row['greedy_4_share']:.4f} "
        f"({row['greedy_4_cycles']}); best single {row['best_4_share']:.4f}",
    )
    return row


def snapshots(folder: Path, repeats: int) -> list[Row]:
    """Every recorded market as a whole."""
    rows = []
    for name, path in SNAPSHOTS.items():
        if not (folder / path).is_file():
            say(name, "left out: no such file")
            continue
        states, _ = load_states(folder / path)
        rows.append(compare(name, states, NATIVE[name.split()[0]], repeats))
    return rows


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--part", choices=("scaling", "fixed", "joint", "snapshots"), action="append", default=None)
    options = parser.parse_args()
    say("machine", machine())
    started = time.perf_counter()
    warm_convex()
    say("compile or load the kernels", f"{time.perf_counter() - started:.2f} s")
    parts = options.part or ["scaling", "fixed", "joint", *([] if options.quick else ["snapshots"])]
    result: dict[str, Any] = {"machine": machine(), "golden": golden()}
    if "scaling" in parts:
        sizes = (100, 1_000) if options.quick else (100, 1_000, 3_000, 10_000, 30_000, 100_000)
        result["scaling"] = scaling(sizes, 5 if options.quick else 41)
    if "fixed" in parts:
        result["fixed_cost"] = fixed_cost()
    folder = data_folder()
    if folder is None:
        say("recorded markets", "left out: no recorded data (set OURO_DATA)")
    else:
        if "joint" in parts:
            result["joint"] = joint(folder, 3 if options.quick else 21)
        if "snapshots" in parts:
            result["snapshots"] = snapshots(folder, 3)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
