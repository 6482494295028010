"""The whole-network strategy: one netted batch that takes the optimum over all pools at once.

Every block: the dual over all usable pools in units of the profit token, gas per touched pool inside the choice of
pools, then exact integers. The result is replayed with exact quotes before it is handed out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ouro.search.arrays import MarketArraysLike
from ouro.search.convex.certificate import certify
from ouro.search.convex.dual import DualSolution, solve, solve_scaled
from ouro.search.convex.fixed_cost import choose_pools
from ouro.search.convex.network import network_of_arrays, restricted
from ouro.search.convex.scale import with_edges
from ouro.strategies.cyclic import MarketView
from ouro.strategies.gas import LEAST_HOP_GAS, TRANSACTION_GAS
from ouro.strategies.netted import Flow, plan_netted
from ouro.strategies.netted_plan import NettedPlan, verify_plan
from ouro.types import Address, BlockContext, Hash

_GOOD_ENOUGH = 0.9995
_MAX_SOLVES = 300


class NetworkArrays(MarketArraysLike, Protocol):
    """The market's arrays and the tokens' addresses by id."""

    @property
    def tokens(self) -> list[Address]: ...
    @property
    def token_index(self) -> dict[Address, int]: ...


class NetworkView(MarketView, Protocol):
    """``MarketView`` with what the optimum needs of the arrays."""

    @property
    def arrays(self) -> NetworkArrays: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """The block's batch: ``plan`` is None where nothing pays.

    ``bound_wei`` is what no trades over these pools can exceed, after gas, in the profit token; ``gap`` the
    relative duality gap of the float optimum over the chosen pools; ``excluded`` why pools were left out.
    """

    plan: NettedPlan | None
    bound_wei: float
    gap: float
    excluded: Mapping[Address, str]

    def __str__(self) -> str:
        profit = self.plan.profit_wei if self.plan else 0
        trades = len(self.plan.trades) if self.plan else 0
        return f"{trades} trades bring {profit}, bound after gas {self.bound_wei:.6g}, duality gap {self.gap:.2e}"


class NetworkStrategy:
    """Netted batches of one chain for one profit token; remembers the prices of the block before to start from."""

    def __init__(self, market: NetworkView, profit_token: Address) -> None:
        self._market = market
        self._profit_token = profit_token
        self._prices: npt.NDArray[np.float64] | None = None

    def batch(
        self,
        context: BlockContext,
        block_number: int = 0,
        block_hash: Hash = "",
        *,
        gas_price_wei: float = 0.0,
        unit_value: float = 1.0,
        locked: Collection[Address] = (),
        max_trades: int | None = None,
    ) -> Batch:
        """The best batch found. ``unit_value``: native wei per unit of the profit token; ``locked`` pools are left.

        ``max_trades``: what one transaction can hold; the trades that are worth least are left out until it fits.

        Raises LookupError where the profit token is in no pool of the market.
        """
        arrays = self._market.arrays
        profit_id = arrays.token_index.get(self._profit_token)
        if profit_id is None:
            raise LookupError(f"profit token {self._profit_token} is in no known pool")
        network = network_of_arrays(arrays, len(arrays.tokens))
        addresses = self._market.addresses
        excluded = {addresses[pool]: reason for pool, reason in network.excluded.items()}
        taken = {pool.lower() for pool in locked}
        keep = np.array([pool not in taken and self._market.usable(pool) for pool in addresses], dtype=np.bool_)
        if not keep.all():
            network = restricted(network, keep)
        prices = np.zeros(network.n_tokens)
        prices[profit_id] = 1.0
        start = self._prices if self._prices is not None and len(self._prices) == len(prices) else None
        if gas_price_wei > 0.0:
            choice = choose_pools(
                network,
                prices,
                self._gas_per_pool() * (gas_price_wei / unit_value),
                start=start,
                good_enough=_GOOD_ENOUGH,
                max_solves=_MAX_SOLVES,
            )
            solution, bound = choice.solution, choice.bound
        else:
            solution = solve(network, prices, start=start)
            bound = solution.bound
        self._prices = solution.prices
        solution = one_direction_per_pool(solution)
        if max_trades is not None:
            solution = at_most(solution, max_trades)
        plan = plan_netted(
            self._flows(solution),
            self._profit_token,
            context,
            chain=self._market.chain,
            block_number=block_number,
            block_hash=block_hash,
        )
        if plan is not None:
            verify_plan(plan, self._market.states.__getitem__, self._market.family_of, context)
            if plan.profit_wei * unit_value <= gas_price_wei * (TRANSACTION_GAS + plan.gas_units):
                plan = None
        return Batch(plan, bound - gas_price_wei * TRANSACTION_GAS / unit_value, certify(solution).gap, excluded)

    def _gas_per_pool(self) -> npt.NDArray[np.float64]:
        family_of = self._market.family_of
        gas = [family_of(pool).least_gas or LEAST_HOP_GAS for pool in self._market.addresses]
        return np.array(gas, dtype=np.float64)

    def _flows(self, solution: DualSolution) -> list[Flow]:
        problem, arrays = solution.problem, self._market.arrays
        trading = np.flatnonzero(solution.taken > 0.0)
        flows = []
        for at in trading.tolist():
            edge = int(problem.network.source_edge[problem.edge_ids[at]])
            pool = self._market.addresses[arrays.edge_pool[edge]]
            moved = float(solution.taken[at])
            flows.append(
                Flow(
                    self._market.family_of(pool),
                    self._market.states[pool],
                    int(arrays.edge_i[edge]),
                    int(arrays.edge_j[edge]),
                    moved / float(problem.reference[problem.edge_in[at]]),
                    # what can't take more is of no use for settling
                    moved if solution.stiffness[at] > 0.0 else 1e-9 * moved,
                )
            )
        return flows


def one_direction_per_pool(solution: DualSolution) -> DualSolution:
    """Solve again with one direction of each pool of many tokens, until none trades in two.

    The directions of such a pool draw on the same reserves, so flows found as if they were apart don't add up.
    """
    while True:
        problem = solution.problem
        trading = np.flatnonzero(solution.taken > 0.0)
        pools = problem.network.edge_pool[problem.edge_ids[trading]]
        order = np.lexsort((trading, -solution.worth[trading], pools))
        repeated = np.zeros(len(order), dtype=np.bool_)
        repeated[1:] = pools[order][1:] == pools[order][:-1]
        if not np.any(repeated):
            return solution
        keep = np.ones(len(problem.edge_ids), dtype=np.bool_)
        keep[trading[order[repeated]]] = False
        solution = solve_scaled(with_edges(problem, keep), solution.w)


def at_most(solution: DualSolution, count: int) -> DualSolution:
    """Leave out the trades that are worth least, a fifth at a time, and solve again until ``count`` are left."""
    while True:
        trading = np.flatnonzero(solution.taken > 0.0)
        if len(trading) <= count:
            return solution
        left = max(count, len(trading) - max(1, len(trading) // 5))
        order = np.lexsort((trading, -solution.worth[trading]))
        keep = np.zeros(len(solution.problem.edge_ids), dtype=np.bool_)
        keep[trading[order[:left]]] = True
        solution = solve_scaled(with_edges(solution.problem, keep), solution.w)
