"""Every figure of the search in one run; ``quick`` is the short form that CI runs: it asserts results, never
times."""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import convex, risk, sizing
from benchmarks.graphs import (
    busiest_tokens,
    complete_market,
    data_folder,
    deepest_pairs,
    machine,
    random_market,
    registry_market,
)
from benchmarks.quick import methods_agree
from benchmarks.record import Record, loads
from benchmarks.search import move
from ouro.search.arrays import StaticArrays
from ouro.search.cycles import CycleIndex, count_cycles, enumerate_rows
from ouro.search.finder import Finder, Method
from ouro.search.graph import build_graph
from ouro.strategies.warm import warm

TOUCHED = 25
_COUNTED = 20_000_000
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


def enumeration(record: Record) -> None:
    """The complete graph of 20 tokens with 380 pools, depth 4."""
    arrays = complete_market(20, 2)
    graph = build_graph(arrays, [0], 4)
    index = CycleIndex.of_graph(graph, arrays.n_pools)
    assert len(index) == 95_798
    note = f"{len(index):,} simple cycles; the peer's 98,534 count a token twice"
    record.time("count cycles, 20 tokens, 380 pools, depth 4", lambda: count_cycles(graph), 30, note=note)
    record.time(
        "enumerate cycles, 20 tokens, 380 pools, depth 4",
        lambda: enumerate_rows(graph),
        30,
        target="<= 3 ms",
        best_known="6.3 ms",
        note="counted first, so that memory is known before it is taken, then filled",
    )
    record.time("the same, and indexed by pool", lambda: CycleIndex.of_graph(graph, arrays.n_pools), 30)


def stream(
    record: Record,
    name: str,
    arrays: StaticArrays,
    starts: list[int],
    max_hops: int,
    weights: np.ndarray | None,
    blocks: int,
    target: str = "",
    best_known: str = "",
    in_line: bool = False,
) -> float:
    """Blocks that touch 25 pools each: update and every cycle through them. Returns the median in ms.

    Pools stay where they were moved to, so gaps pile up; ``in_line`` puts them back after each block, untimed.
    """
    rng = np.random.default_rng(7)
    saved = arrays.segs.copy()
    finder = Finder(arrays, starts, max_hops, method=Method.WALK)
    cycles = finder.count_cycles(_COUNTED)
    share = None if weights is None else weights / weights.sum()
    walls, cpus, found = [], [], []
    for block in range(blocks + 20):
        touched = rng.choice(arrays.n_pools, TOUCHED, replace=False, p=share)
        move(arrays, saved, touched, rng)
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        candidates = finder.evaluate(touched)
        if block >= 20:
            cpus.append((time.thread_time_ns() - cpu) / 1e6)
            walls.append((time.perf_counter_ns() - wall) / 1e6)
            found.append(len(candidates))
        if in_line:
            arrays.segs[:] = saved
            finder.evaluate(touched)
    arrays.segs[:] = saved
    size = f"{'over ' if cycles > _COUNTED else ''}{min(cycles, _COUNTED):,} cycles"
    note = f"{size}, {np.median(found):.0f} found a block"
    return record.add(name, walls, cpus, "ms", target, best_known, note).cpu


def scaling(record: Record, sizes: tuple[int, ...], blocks: int) -> None:
    """The same search in seeded markets of growing size, and the exponent of its time."""
    medians = []
    for n_pools in sizes:
        arrays = random_market(n_pools // 3, n_pools, 5)
        starts = busiest_tokens(arrays, 5)
        medians.append(
            stream(
                record,
                f"{n_pools:,} pools, <= 4 hops, {TOUCHED} touched",
                arrays,
                starts,
                4,
                None,
                min(blocks, 60),
                in_line=True,
            )
        )
    exponent = float(np.polyfit(np.log(sizes), np.log(medians), 1)[0])
    record.value("exponent of the time over the number of pools", exponent, "")


def main(quick: bool = False, output: Path | None = None) -> None:
    """Run everything; prints the table and writes JSON to ``output``."""
    record = Record()
    warm()
    sys.stdout.write(f"{machine()}, {loads()}\n")
    record.head()
    methods_agree()
    folder = data_folder()
    blocks = 40 if quick else 300
    loaded = None if quick else deepest_pairs()
    if loaded is not None:
        arrays, depth = loaded
        stream(
            record,
            "G10k: update + all cycles <= 4 hops, 25 touched",
            arrays,
            busiest_tokens(arrays, 5),
            4,
            np.sqrt(depth),
            blocks,
            "p99 <= 5 ms",
            "2.3 ms at 657 pools",
        )
    registry = None if quick else registry_market()
    if registry is not None:
        stream(
            record,
            "registry, 35,410 pairs, <= 3 hops, 25 touched",
            registry,
            busiest_tokens(registry, 1),
            3,
            None,
            blocks,
            "p99 <= 20 ms",
        )
    enumeration(record)
    sizing.sizes(record, 100 if quick else 1_000)
    parts = ("golden", "dual", "fixed") if folder is None or quick else tuple(convex.PARTS)
    for part in parts:
        convex.PARTS[part](record, folder or Path(), quick)
    scaling(record, SIZES[:2] if quick else SIZES, blocks)
    times = [us / 1_000 for us in risk.measure(500 if quick else 20_000)[0]]
    record.add("risk: the check of an order, 13 rules, 11 breakers", times, times, "ms", "0.02 ms")
    if output is not None:
        record.save(output, machine())
        sys.stdout.write(f"written to {output}\n")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(prog="python -m benchmarks.full")
    parser.add_argument("--quick", action="store_true", help="the short form: results are asserted, times are few")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/search.json"), help="where JSON goes"
    )
    arguments = parser.parse_args()
    main(arguments.quick, arguments.output)
