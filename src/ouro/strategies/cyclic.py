"""Cyclic arbitrage: from the finder's candidates to exact opportunities that share no pool, best first.

A cycle of two hops is cross-DEX arbitrage, of three triangular, of more n-hop. Selection is greedy by exact profit
after gas, and lazy: rounding always goes against the trader, so the float profit is an upper bound of the exact
one, and a candidate is finished in integers only when its bound is the best that is left.
"""

import heapq
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Family
from ouro.strategies.exact import DEFAULT_QUOTES, Costs, ExactCycle, ExactHop, finish
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.strategies.queue import CandidateLike, CandidateQueue
from ouro.types import Address, BlockContext, Cycle, Edge, Hash, Opportunity

_NAMES = {2: "cross_dex", 3: "triangular"}


def strategy_name(n_hops: int) -> str:
    """What a cycle of this length is called in reports."""
    return _NAMES.get(n_hops, "n_hop")


class EdgeArrays(Protocol):
    """What is read of the market's arrays."""

    @property
    def edge_pool(self) -> npt.NDArray[np.int32]: ...
    @property
    def edge_i(self) -> npt.NDArray[np.int8]: ...
    @property
    def edge_j(self) -> npt.NDArray[np.int8]: ...
    @property
    def edge_token_in(self) -> npt.NDArray[np.int32]: ...
    @property
    def edge_token_out(self) -> npt.NDArray[np.int32]: ...
    @property
    def tokens(self) -> list[Address]: ...


class MarketView(Protocol):
    """What is read of a market: exact states by address, and names for the ids of the arrays."""

    @property
    def chain(self) -> str: ...
    @property
    def arrays(self) -> EdgeArrays: ...
    @property
    def addresses(self) -> list[Address]: ...
    @property
    def pool_index(self) -> Mapping[Address, int]: ...
    @property
    def states(self) -> dict[Address, Any]: ...
    def family_of(self, pool: Address) -> Family: ...
    def usable(self, pool: Address) -> bool: ...


@dataclass(slots=True)
class Selection:
    """What one block gave.

    ``carry``: one pool id per worthwhile candidate of this block; add them to the next block's touched pools, so
    that a cycle that wasn't taken, was refused or was lost is looked at again though no pool of it moves.
    """

    opportunities: list[Opportunity]
    carry: set[int]
    finished: int = 0
    unprofitable: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class CyclicStrategy:
    """Exact opportunities of one chain.

    ``unit_values``: native wei per smallest unit of each start token id, as the finder was told; missing ones count
    1. ``max_opportunities`` bounds the selection of a block, ``max_finished`` the candidates finished in integers.
    ``loan_ppm``: fee of the flash loan that pays a trade's input, 0 where the pools give credit. ``tax_ppm``: what
    a token keeps of each transfer.
    """

    def __init__(
        self,
        market: MarketView,
        *,
        max_opportunities: int = 8,
        max_finished: int = 64,
        max_quotes: int = DEFAULT_QUOTES,
        unit_values: Mapping[int, float] | None = None,
        loan_ppm: int = 0,
        tax_ppm: Mapping[Address, int] | None = None,
    ) -> None:
        self._loan_ppm = loan_ppm
        self._tax_ppm = dict(tax_ppm or {})
        self._market = market
        self._max_opportunities = max_opportunities
        self._max_finished = max_finished
        self._max_quotes = max_quotes
        self._unit_values = dict(unit_values or {})

    def set_unit_values(self, unit_values: Mapping[int, float]) -> None:
        """Replace the values of the start tokens' smallest units."""
        self._unit_values = dict(unit_values)

    def opportunities(
        self,
        candidates: Sequence[CandidateLike],
        context: BlockContext,
        block_number: int,
        block_hash: Hash,
        *,
        gas_price_wei: int = 0,
        data_fee_wei: int = 0,
        locked: Collection[Address] = (),
    ) -> Selection:
        """The best disjoint opportunities, by exact profit after all costs, which are part of what is maximised.

        ``gas_price_wei`` counts for the transaction and every hop, crossed ticks included; ``data_fee_wei`` is what
        a rollup takes for the transaction's bytes. Both in native wei.

        ``candidates`` best first, as the finder gives them. Pools in ``locked`` (by an attempt that is under way)
        are left alone. A pool whose quote fails takes only its own candidates out; it is counted in ``failed``.
        """
        selection = Selection([], set())
        arrays, market = self._market.arrays, self._market
        queue = CandidateQueue(candidates, arrays.edge_pool, len(market.addresses), gas_price_wei)
        self._take_names(queue, [pool.lower() for pool in locked])
        finished: list[tuple[float, int, int, CandidateLike, Opportunity]] = []
        while len(selection.opportunities) < self._max_opportunities:
            upcoming = queue.head() if selection.finished < self._max_finished else None
            if finished and (upcoming is None or finished[0][:3] <= upcoming):
                *_, index, _, opportunity = heapq.heappop(finished)
                pools = queue.pools_of(index)
                if not queue.is_taken(pools):
                    selection.opportunities.append(opportunity)
                    queue.take(pools)
                continue
            if upcoming is None:
                break
            candidate, index = queue.pop(), upcoming[2]
            unusable = [pool for pool in queue.pools_of(index) if not market.usable(market.addresses[pool])]
            if unusable:
                queue.take(unusable)
                continue
            selection.finished += 1
            costs = self._costs(candidate.start_token, gas_price_wei, data_fee_wei)
            exact = self._finished(candidate, context, costs, selection)
            if exact is None:
                continue
            opportunity = self._opportunity(candidate, exact, block_number, block_hash)
            net = exact.net_wei * self._unit_values.get(candidate.start_token, 1.0)
            if net > 0.0:
                heapq.heappush(finished, (-net, candidate.cycle_id, index, candidate, opportunity))
        selection.carry.update(queue.near())
        return selection

    def _take_names(self, queue: CandidateQueue, names: Sequence[Address]) -> None:
        index = self._market.pool_index
        queue.take([index[name] for name in names if name in index])

    def _pools(self, candidate: CandidateLike) -> list[Address]:
        edge_pool, addresses = self._market.arrays.edge_pool, self._market.addresses
        return [addresses[edge_pool[edge]] for edge in candidate.edges]

    def _costs(self, start_token: int, gas_price_wei: int, data_fee_wei: int) -> Costs:
        unit_value = self._unit_values.get(start_token, 1.0)
        return Costs(
            per_gas=gas_price_wei / unit_value,
            overhead_gas=TRANSACTION_GAS,
            fixed_wei=math.ceil(data_fee_wei / unit_value),
            loan_ppm=self._loan_ppm,
        )

    def _finished(
        self, candidate: CandidateLike, context: BlockContext, costs: Costs, selection: Selection
    ) -> ExactCycle | None:
        try:
            exact = self._exact(candidate, context, costs)
        except (ArithmeticError, ValueError, LookupError) as error:
            # one pool's broken state must not cost the other candidates their block
            reason = f"{type(error).__name__}: {error}"
            selection.failed[reason] = selection.failed.get(reason, 0) + 1
            return None
        if exact is None:
            selection.unprofitable += 1
        return exact

    def _opportunity(
        self, candidate: CandidateLike, exact: ExactCycle, block_number: int, block_hash: Hash
    ) -> Opportunity:
        return Opportunity(
            chain=self._market.chain,
            cycle=self._cycle(candidate),
            amounts_wei=exact.amounts_wei,
            gross_profit_wei=exact.profit_wei,
            gas_units=exact.gas_units,
            block_number=block_number,
            block_hash=block_hash,
        )

    def _exact(self, candidate: CandidateLike, context: BlockContext, costs: Costs) -> ExactCycle | None:
        arrays = self._market.arrays
        hops = [
            ExactHop(
                self._market.family_of(pool),
                self._market.states[pool],
                int(arrays.edge_i[edge]),
                int(arrays.edge_j[edge]),
                self._tax_ppm.get(arrays.tokens[arrays.edge_token_in[edge]], 0),
            )
            for pool, edge in zip(self._pools(candidate), candidate.edges, strict=True)
        ]
        return finish(
            hops,
            candidate.amount_in,
            context,
            expected_profit=candidate.profit,
            max_quotes=self._max_quotes,
            costs=costs,
        )

    def _cycle(self, candidate: CandidateLike) -> Cycle:
        arrays = self._market.arrays
        edges = tuple(
            Edge(pool, int(arrays.edge_i[edge]), int(arrays.edge_j[edge]))
            for pool, edge in zip(self._pools(candidate), candidate.edges, strict=True)
        )
        ids = [int(arrays.edge_token_in[candidate.edges[0]])]
        ids += [int(arrays.edge_token_out[edge]) for edge in candidate.edges]
        return Cycle(edges, tuple(arrays.tokens[token] for token in ids))
