"""Recorded markets as exact states, and the greedy baseline on them."""

import csv
import gzip
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.uniswap_v2 import MAX_RESERVE, UniswapV2, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_math import sqrt_ratio_at_tick
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.search.finder import Candidate, Candidates, Finder
from ouro.strategies.exact import ExactHop, finish
from ouro.types import Address

SNAPSHOTS = {
    "ethereum 2023-05-17": "open/pools/pools_v2v3_ethereum_2023-05-17_b17282k.csv.gz",
    "ethereum 2023-07-12": "open/pools/pools_v2v3_ethereum_2023-07-12_b17676k.csv.gz",
    "ethereum 2023-07-18": "open/pools/pools_v2v3_ethereum_2023-07-18_b17721k.csv.gz",
    "fantom 2022-07-09": "open/pools/pools_v2_fantom_2022-07-09.csv.gz",
    "bsc 2022-05-28": "open/pools/pools_v2_bsc_2022-05-28.csv.gz",
    "ethereum 2020-10-03": "local_only/pools/pools_v2_ethereum_2020-10-03.csv.gz",
}
FANTOM_DATE = "2022-07-09"
DEFAULT_FEE_PPM = 3000
_SPACING = {100: 1, 500: 10, 3000: 60, 10_000: 200}


def load_states(path: Path) -> tuple[list[Any], Counter[str]]:
    """Exact states of a snapshot's rows and what was left out. A V3 row is good inside its tick bucket only."""
    states: list[Any] = []
    skipped: Counter[str] = Counter()
    seen: set[Address] = set()
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if "fantom" in path.name and row.get("snapshot_date") != FANTOM_DATE:
                skipped["other date"] += 1
                continue
            try:
                state = _state(row)
            except (ValueError, KeyError, ArithmeticError) as error:
                skipped[str(error)[:60]] += 1
                continue
            if state.address in seen:
                skipped["duplicate pool"] += 1
                continue
            seen.add(state.address)
            states.append(state)
    return states, skipped


def _state(row: dict[str, str]) -> Any:
    tokens = (row["token0"].lower(), row["token1"].lower())
    if tokens[0] >= tokens[1]:
        raise ValueError("tokens in wrong order")
    fee = int(float(row["fee_ppm"] or DEFAULT_FEE_PPM))
    if row["kind"] == "v2":
        reserve0, reserve1 = int(row["reserve0"]), int(row["reserve1"])
        if not (0 < reserve0 <= MAX_RESERVE and 0 < reserve1 <= MAX_RESERVE):
            raise ValueError("a reserve is zero or too large")
        return UniswapV2State(row["pool"].lower(), tokens, reserve0, reserve1, fee)
    liquidity, tick = int(row["liquidity"]), int(row["tick"])
    spacing, price = int(row["tick_spacing"] or _SPACING[fee]), int(row["sqrt_price_x96"])
    if liquidity <= 0:
        raise ValueError("no liquidity in range")
    lower = tick // spacing * spacing
    if not sqrt_ratio_at_tick(lower) <= price <= sqrt_ratio_at_tick(lower + spacing):
        raise ValueError("price and tick don't agree")
    ticks = TickTable({lower: (liquidity, liquidity), lower + spacing: (liquidity, -liquidity)})
    return UniswapV3State(row["pool"].lower(), tokens, fee, spacing, price, tick, liquidity, ticks)


def market_of(states: Sequence[Any]) -> Market:
    """A market that stands at these states."""
    market = Market("recorded", {"uniswap_v2": UniswapV2(), "uniswap_v3": UniswapV3()})
    market.start(Head(1, "0x" + "11" * 32, 1_700_000_000, 10**9), states)
    return market


def most_connected(states: Sequence[Any], count: int) -> list[Address]:
    """Tokens by number of pools, ties by address."""
    degree: Counter[Address] = Counter(token for state in states for token in state.tokens)
    return [token for token, _ in sorted(degree.items(), key=lambda item: (-item[1], item[0]))[:count]]


@dataclass(frozen=True, slots=True)
class GreedyResult:
    """Exact profit of the sequence of single cycles, how many, the first one's; ``finished``: no limit ended it."""

    profit_wei: int
    cycles: int
    best_wei: int
    finished: bool


class _Queue:
    """Candidates of many evaluations, best first; those whose pools have moved since are passed over.

    Kept as the columns they come in: an object is made only of what is taken.
    """

    def __init__(self, edge_pool: npt.NDArray[np.int32], n_pools: int) -> None:
        self._edge_pool = edge_pool
        self._moved = np.zeros(n_pools, dtype=np.int64)
        self._parts: list[Candidates] = []
        self._heap: list[tuple[float, int, int]] = []

    def add(self, candidates: Candidates) -> None:
        """Take in what was found after the last ``move``."""
        if len(candidates):
            heapq.heappush(self._heap, (-float(candidates.values[0]), len(self._parts), 0))
        self._parts.append(candidates)

    def move(self, pools: Sequence[int]) -> None:
        """What goes through ``pools`` no longer counts."""
        self._moved[list(pools)] = len(self._parts)

    def pop(self) -> Candidate | None:
        """The best that still counts."""
        while self._heap:
            _, part, at = heapq.heappop(self._heap)
            candidates = self._parts[part]
            if at + 1 < len(candidates):
                heapq.heappush(self._heap, (-float(candidates.values[at + 1]), part, at + 1))
            pools = self._edge_pool[candidates.edges[at, : candidates.hops[at]]]
            if (self._moved[pools] <= part).all():
                return candidates[at]
        return None


def greedy_cycles(
    market: Market,
    start_token: Address,
    max_hops: int,
    stop_below: float,
    max_cycles: int = 3_000,
    progress: Callable[[str], None] = lambda _: None,
) -> GreedyResult:
    """Take the best cycle with exact sizing, move the pools, look again, until a gain is below ``stop_below``."""
    arrays = market.arrays
    states = dict(market.states)
    finder = Finder(arrays, [arrays.token_index[start_token]], max_hops)
    queue = _Queue(arrays.edge_pool, len(market.addresses))
    queue.add(finder.evaluate_all(stop_below))
    total, count, best = 0, 0, 0
    context = market.context
    while count < max_cycles:
        candidate = queue.pop()
        if candidate is None:
            return GreedyResult(total, count, best, True)
        pools = arrays.edge_pool[list(candidate.edges)].tolist()
        addresses = [market.addresses[pool] for pool in pools]
        directions = [(int(arrays.edge_i[e]), int(arrays.edge_j[e])) for e in candidate.edges]
        hops = [
            ExactHop(market.family_of(address), states[address], i, j)
            for address, (i, j) in zip(addresses, directions, strict=True)
        ]
        exact = finish(hops, candidate.amount_in, context, expected_profit=candidate.profit)
        if exact is None or exact.profit_wei < stop_below:
            continue
        total, count = total + exact.profit_wei, count + 1
        best = max(best, exact.profit_wei)
        progress(f"cycle {count}, {total / 1e18:.6g}")
        for pool, hop, amount in zip(pools, hops, exact.amounts_wei, strict=False):
            quote = hop.family.quote_in(hop.state, hop.i, hop.j, amount, context)
            states[market.addresses[pool]] = quote.next_state
            pairs = [(int(arrays.edge_i[e]), int(arrays.edge_j[e])) for e in arrays.edges_of(pool)]
            arrays.update(pool, [hop.family.segments(quote.next_state, i, j, context) for i, j in pairs])
        queue.move(pools)
        queue.add(finder.evaluate(np.array(pools, dtype=np.int32), stop_below))
    return GreedyResult(total, count, best, False)
