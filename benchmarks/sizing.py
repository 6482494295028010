"""Time of finding the optimal integer size of a path, fresh state each time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.record import Record
from ouro.protocols.base import Family
from ouro.protocols.quotes import QuoteBook
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_math import tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import EMPTY_TICKS
from ouro.search.arrays import PoolPieces, build_arrays
from ouro.search.sizing import scratch, size_cycles
from ouro.strategies.exact import ExactHop, finish
from ouro.strategies.kernels.finish import FOUND, finish_paths, finish_scratch
from ouro.types import BlockContext

_CONTEXT = BlockContext(0, 0, 0)
_FAMILIES: dict[str, Family] = {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()}
_MIDDLE_UNITS_PER_WEI = 1e8 / 15e18
_STEPS = 400
_TARGETS = {"22": ("<= 2 us", "25 us"), "32": ("<= 20 us", "273 us"), "33": ("<= 40 us", "505 us")}


def address(number: int) -> str:
    """A made-up address."""
    return f"0x{number:040x}"


def pool_of(kind: str, number: int, token: int, price: float, rng: np.random.Generator) -> Any:
    """A pair or a concentrated pool of token 0 (18 decimals) and ``token`` (8 decimals)."""
    wei = int(10**18 * rng.uniform(2, 200))
    tokens = (address(1), address(token + 2))
    if kind == "2":
        return UniswapV2State(address(10**6 + number), tokens, wei, int(wei * price), 3000)
    sqrt_price = int(price**0.5 * 2**96)
    tick = tick_at_sqrt_ratio(sqrt_price)
    base, table = tick // 60 * 60, EMPTY_TICKS
    liquidity = int(wei * price**0.5) * 3
    for _ in range(8):
        lower, upper = base - 60 * int(rng.integers(0, 12)), base + 60 * int(rng.integers(1, 12))
        table = table.with_position(lower, upper, int(liquidity * rng.uniform(0.2, 1.0)))
    table = table.with_position(base - 60_000, base + 60_000, liquidity)
    active = table.active_liquidity(tick)
    return UniswapV3State(address(10**6 + number), tokens, 3000, 60, sqrt_price, tick, active, table)


@dataclass(slots=True)
class Paths:
    """Two-pool cycles, one per row, each with its own pools; ready for the kernels."""

    states: list[Any]
    arrays: Any
    book: QuoteBook
    edges: npt.NDArray[np.int32]
    tops: npt.NDArray[np.float64]
    profits: npt.NDArray[np.float64]

    def resolve(self) -> None:
        """The float optimum of every path."""
        count = len(self.edges)
        hops, every = np.full(count, 2, dtype=np.int8), np.arange(count, dtype=np.int64)
        arrays, work = self.arrays, scratch()
        size_cycles(
            self.edges,
            hops,
            every,
            count,
            arrays.seg_start,
            arrays.seg_count,
            arrays.segs,
            0.0,
            *work,
            self.tops,
            self.profits,
        )


def paths(kinds: str, count: int) -> Paths:
    """``count`` profitable pairs of pools of these kinds, a few per cent apart in price."""
    rng = np.random.default_rng(1)
    states = []
    for k in range(count):
        gap = 1.02 + 0.04 * float(rng.random())
        # bought dear in the first, sold back in the second
        states.append(pool_of(kinds[0], 2 * k, k, _MIDDLE_UNITS_PER_WEI * gap, rng))
        states.append(pool_of(kinds[1], 2 * k + 1, k, _MIDDLE_UNITS_PER_WEI, rng))
    pieces, book = [], QuoteBook(4 * count)
    for number, state in enumerate(states):
        family = _FAMILIES[state.family]
        ways = {way: family.segments(state, *way, _CONTEXT) for way in ((0, 1), (1, 0))}
        pieces.append(PoolPieces((0, number // 2 + 1), ways))
        book.set_pool(family, state, [(2 * number, 0, 1), (2 * number + 1, 1, 0)])
    edges = np.array([[4 * k, 4 * k + 3] for k in range(count)], dtype=np.int32)
    return Paths(states, build_arrays(pieces), book, edges, np.empty(count), np.empty(count))


def sizes(record: Record, count: int = 1_000) -> None:
    """Float sizing and exact integers, compiled; and the same from Python's states, one path at a time."""
    for kinds, (target, best_known) in _TARGETS.items():
        found = paths(kinds, count)
        if kinds == "22":
            record.time(
                f"re-solve {count:,} two-pool V2 paths (float)",
                found.resolve,
                200,
                target="<= 0.2 ms" if count == 1_000 else "",
                best_known="17.9 ms" if count == 1_000 else "",
            )
        found.resolve()
        name = f"V{kinds[0]}+V{kinds[1]}"
        _exact(record, found, f"optimal size {name}, fresh state in the arrays, exact", target, best_known)
        _from_states(record, found, f"optimal size {name}, from new state objects, exact", best_known)


def _exact(record: Record, found: Paths, name: str, target: str, best_known: str) -> None:
    count = len(found.edges)
    hops, verdicts = np.full(count, 2, dtype=np.int8), np.zeros(count, dtype=np.int8)
    result_in, result_out = np.zeros((count, 4), dtype=np.uint64), np.zeros((count, 4), dtype=np.uint64)
    space = finish_scratch()

    def exact() -> None:
        found.resolve()
        finish_paths(
            found.edges,
            hops,
            found.tops,
            found.profits,
            found.book.headers,
            0,
            0.0,
            _STEPS,
            space,
            result_in,
            result_out,
            verdicts,
        )

    record.time(name, exact, 30, unit="us", per_call=count, target=target, best_known=best_known)
    assert (verdicts == FOUND).all()


def _from_states(record: Record, found: Paths, name: str, best_known: str) -> None:
    """Headers made, compiled search, and the families' own quotes of the result, gas included."""
    some = min(100, len(found.edges))
    tops, profits = found.tops.tolist(), found.profits.tolist()

    def quoted() -> None:
        for k in range(some):
            first, second = found.states[2 * k], found.states[2 * k + 1]
            path = [
                ExactHop(_FAMILIES[first.family], first, 0, 1),
                ExactHop(_FAMILIES[second.family], second, 1, 0),
            ]
            assert finish(path, tops[k], _CONTEXT, expected_profit=profits[k], max_quotes=2 * _STEPS) is not None

    record.time(name, quoted, 10, unit="us", per_call=some, best_known=best_known)
