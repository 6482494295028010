"""Measures the search by hand: ``OURO_SHARED_DATA=<data folder> python -m benchmarks.search``.

Figures are medians and 99th percentiles over blocks, one process, one thread; the time of the processor is given
beside the wall, which counts whatever else runs on the machine.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.graphs import (
    busiest_tokens,
    complete_market,
    deepest_pairs,
    machine,
    random_market,
    registry_market,
)
from ouro.search.arrays import PoolPieces, StaticArrays, build_arrays, constant_product
from ouro.search.cycles import CycleBudgetError, CycleIndex, count_cycles
from ouro.search.finder import Finder, Method
from ouro.search.graph import build_graph
from ouro.search.sizing import scratch, size_cycles
from ouro.strategies.warm import warm


def say(label: str, figure: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"{label:<72} {figure}\n")
    sys.stdout.flush()


def microseconds(action: Callable[[], object], repeats: int) -> np.ndarray:
    """Duration of each of ``repeats`` calls in µs."""
    durations = np.empty(repeats)
    for at in range(repeats):
        started = time.perf_counter_ns()
        action()
        durations[at] = (time.perf_counter_ns() - started) / 1e3
    return durations


def enumeration() -> None:
    """The complete graph of 20 tokens with 380 pools."""
    arrays = complete_market(20, 2)
    graph = build_graph(arrays, [0], 4)
    index = CycleIndex.of_graph(graph, arrays.n_pools)
    durations = microseconds(lambda: count_cycles(graph), 30)
    say(f"count {len(index):,} simple cycles, 20 tokens, depth 4", f"{np.median(durations) / 1e3:.2f} ms")
    durations = microseconds(lambda: CycleIndex.of_graph(graph, arrays.n_pools), 30)
    say(
        f"count, enumerate and index {len(index):,} simple cycles, 20 tokens, depth 4",
        f"{np.median(durations) / 1e3:.2f} ms",
    )
    finder = Finder(arrays, [0], 4, method=Method.INDEX)
    every = np.arange(arrays.n_pools, dtype=np.int32)
    median = float(np.median(microseconds(lambda: finder.evaluate(every), 30)))
    say("screen all of them (index, none pays)", f"{len(index) / median:.0f} M cycles/s")


def resolve_pairs() -> None:
    """Size 1,000 two-pool paths again."""
    rng = np.random.default_rng(1)
    pools = []
    for k in range(1_000):
        depth = rng.lognormal(20, 1)
        pools += [constant_product(k, 5_000, depth, depth), constant_product(5_000, k, depth, depth * 1.05)]
    arrays = build_arrays(pools)
    edges = np.array([[4 * k, 4 * k + 2] for k in range(1_000)], dtype=np.int32)
    hops = np.full(1_000, 2, dtype=np.int8)
    size_all(arrays, edges, hops, "size 1,000 paths of two constant-product pools")


def size_all(arrays: StaticArrays, edges: np.ndarray, hops: np.ndarray, label: str) -> None:
    """Time the sizing kernel over all rows."""
    work, position = scratch()
    n = len(hops)
    amounts, profits = np.empty(n), np.empty(n)
    selected = np.arange(n, dtype=np.int64)

    def action() -> None:
        size_cycles(
            edges,
            hops,
            selected,
            n,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            0.0,
            work,
            position,
            amounts,
            profits,
        )

    durations = microseconds(action, 200)
    assert (profits > 0).all()
    median = np.median(durations)
    say(label, f"{median / 1e3:.3f} ms, {median / n:.3f} µs each")


def ticked_pairs(crossings: int) -> None:
    """Paths of two pools with many ranges."""
    rng = np.random.default_rng(2)
    pools = []
    for k in range(200):
        for tokens in ((k, 5_000), (5_000, k)):
            root, rows = 1.0 if tokens[0] == k else 1.0 + 0.0005 * crossings, []
            for _ in range(80):
                liquidity, target = rng.lognormal(20, 0.6), root * 0.9995
                cap = liquidity * (1 / target - 1 / root) / 0.9995
                rows.append([liquidity / root, liquidity * root, 0.9995, cap])
                root = target
            pools.append(PoolPieces(tokens, {(0, 1): np.array(rows)}))
    edges = np.array([[2 * k, 2 * k + 1] for k in range(200)], dtype=np.int32)
    size_all(build_arrays(pools), edges, np.full(200, 2, dtype=np.int8), "size 200 paths of two ticked pools")


def stream(
    name: str,
    arrays: StaticArrays,
    starts: list[int],
    max_hops: int,
    weights: np.ndarray | None,
    min_profit: float = 0.0,
) -> None:
    """Blocks that touch 25 pools each, drawn by ``weights``; every method on the same blocks."""
    for method in Method:
        rng = np.random.default_rng(7)
        saved = arrays.segs.copy()
        try:
            finder = Finder(arrays, starts, max_hops, method=method)
        except CycleBudgetError as error:
            say(f"{name}: {method}", f"left out: {error}")
            continue
        if method is Method.WALK:
            counted = finder.count_cycles(1_000_000_000)
            size = f"{arrays.n_pools:,} pools, {len(starts)} start tokens, <= {max_hops} hops"
            say(f"{name}: {size}", f"{counted:,} cycles")
        share = None if weights is None else weights / weights.sum()
        durations, cpu, found, looked = [], [], [], []
        for block in range(320):
            touched = rng.choice(arrays.n_pools, 25, replace=False, p=share)
            move(arrays, saved, touched, rng)
            started, started_cpu = time.perf_counter_ns(), time.thread_time_ns()
            candidates = finder.evaluate(touched, min_profit)
            if block >= 20:
                cpu.append((time.thread_time_ns() - started_cpu) / 1e6)
                durations.append((time.perf_counter_ns() - started) / 1e6)
                found.append(len(candidates))
                looked.append(finder.stats.looked)
        p50, p99 = np.percentile(durations, [50, 99])
        say(
            f"{name}: {method}, 25 touched",
            f"p50 {p50:.3f} ms, p99 {p99:.3f} ms (of the processor {np.percentile(cpu, 99):.3f}), "
            f"max {max(durations):.3f} ms; looked {np.median(looked):,.0f}, "
            f"found {np.median(found):.0f}",
        )
        arrays.segs[:] = saved


def move(arrays: StaticArrays, base: np.ndarray, touched: np.ndarray, rng: np.random.Generator) -> None:
    """Set each touched pool's price about 0.2 % beside that in ``base``; no random walk."""
    for pool in touched:
        first = int(arrays.seg_start[arrays.pool_edge_start[pool]])
        second = int(arrays.seg_start[arrays.pool_edge_start[pool] + 1])
        factor = rng.lognormal(0, 0.001)
        r0, r1 = base[first, 0] * factor, base[first, 1] / factor
        arrays.segs[first, :2] = r0, r1
        arrays.segs[second, :2] = r1, r0


def main() -> None:
    """Print the table."""
    say("machine", machine())
    say("compile or load the kernels", f"{warm():.2f} s")
    enumeration()
    resolve_pairs()
    ticked_pairs(20)
    market = random_market(400, 1_000, 3)
    stream("random market", market, busiest_tokens(market, 1), 4, None)
    for balanced in (True, False):
        loaded = deepest_pairs(balanced=balanced)
        if loaded is None:
            say("G10k", "left out: no recorded data (set OURO_SHARED_DATA)")
            break
        arrays, depth = loaded
        name = "G10k" if balanced else "G10k as recorded"
        stream(name, arrays, busiest_tokens(arrays, 5), 4, np.sqrt(depth))
    registry = registry_market()
    if registry is not None:
        stream("registry", registry, busiest_tokens(registry, 1), 3, None)


if __name__ == "__main__":
    main()
