"""Time of finding the optimal integer size of a path, fresh state each time."""

import numpy as np

from benchmarks.record import Record
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.search.arrays import build_arrays, constant_product
from ouro.search.pairs import book_row, finish_pairs, pair_scratch
from ouro.search.sizing import scratch, size_cycles
from ouro.strategies.exact import ExactHop, finish
from ouro.types import BlockContext

_CONTEXT = BlockContext(0, 0, 0)
_FAMILY = UniswapV2()


def pairs(count: int) -> list[tuple[int, int, int, int]]:
    """Reserves of two pairs each, 18 decimals against 8, a few per cent apart."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        a, b = (int(10**18 * value) for value in rng.uniform(2, 200, 2))
        price = 1e8 / 15e18
        found.append((a, int(a * price), b, int(b * price * rng.uniform(0.94, 0.98))))
    return found


def two_pairs(record: Record, count: int = 1_000) -> None:
    """V2 + V2 with an 8-decimal middle: in Python by quotes, and compiled from float sizing to exact integers."""
    states = pairs(count)
    arrays = build_arrays(
        [
            pool
            for k, (a, b, c, d) in enumerate(states)
            for pool in (
                constant_product(0, k + 1, float(a), float(b)),
                constant_product(0, k + 1, float(c), float(d)),
            )
        ]
    )
    book = np.array([book_row(*way, 3000) for a, b, c, d in states for way in ((a, b), (b, a), (c, d), (d, c))])
    edges = np.array([[4 * k, 4 * k + 3] for k in range(count)], dtype=np.int32)
    hops = np.full(count, 2, dtype=np.int8)
    selected = np.arange(count, dtype=np.int64)
    work, position = scratch()
    tops, profits = np.empty(count), np.empty(count)
    result_in, result_out = np.zeros((count, 4), dtype=np.uint64), np.zeros((count, 4), dtype=np.uint64)
    paying = np.zeros(count, dtype=np.bool_)
    space = pair_scratch()

    def resolve() -> None:
        size_cycles(
            edges,
            hops,
            selected,
            count,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            0.0,
            work,
            position,
            tops,
            profits,
        )

    def exact() -> None:
        resolve()
        finish_pairs(edges, hops, tops, profits, book, 24, *space, result_in, result_out, paying)

    record.time(
        f"re-solve {count:,} two-pool V2 paths (float)", resolve, 200, target="<= 0.2 ms", best_known="17.9 ms"
    )
    record.time(
        "optimal size V2+V2, exact integers, compiled",
        exact,
        50,
        unit="us",
        per_call=count,
        target="<= 2 us",
        best_known="25 us",
    )
    assert paying.all()

    def quoted() -> None:
        for k in range(100):
            a, b, c, d = states[k]
            tokens = ("0x" + "0" * 40, "0x" + "1" * 40)
            first, second = (UniswapV2State(tokens[0], tokens, *r, 3000) for r in ((a, b), (c, d)))
            path = [ExactHop(_FAMILY, first, 0, 1), ExactHop(_FAMILY, second, 1, 0)]
            finish(path, float(tops[k]), _CONTEXT, expected_profit=float(profits[k]))

    record.time(
        "optimal size V2+V2, exact, by Python quotes", quoted, 10, unit="us", per_call=100, best_known="25 us"
    )
