"""The whole-network optimum as something that can be executed: exact hops in an order in which each can be paid.

The dual gives float trades per pool that net out in every token but the profit token. Here they become integers:
tokens are worked off in topological order from the profit token, so that what brings a token comes before what
takes it. A loop of trades beside the profit token has no such order; one token of it is then borrowed. What
rounding leaves short of a token is bought with the profit token along the batch's own pools, whose marginal rates
are those of the dual's prices, until every balance is repaid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ouro.protocols.base import Family, QuoteError
from ouro.search.arrays import Float64, PoolPieces, StaticArrays, build_arrays
from ouro.search.dual import DualSolution, solve_dual
from ouro.search.fixed_cost import choose_pools
from ouro.search.network import Network, network_of
from ouro.types import Address, BlockContext, Hop

_REPAY_ROUNDS = 25
_DUST_ROUNDS = 6
_DUST_SHARES = (0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class PoolTrade:
    """What one pool is to do, in floats, before it is made exact; ``room`` is how much more it could take."""

    state: Any
    i: int
    j: int
    amount_in: float
    amount_out: float
    room: float

    @property
    def token_in(self) -> Address:
        """Token that the pool takes."""
        return self.state.tokens[self.i]

    @property
    def token_out(self) -> Address:
        """Token that the pool gives."""
        return self.state.tokens[self.j]


@dataclass(frozen=True, slots=True)
class NettedPlan:
    """One batch over many pools, each used once. Executed in order it never needs more than ``loans``.

    ``loans``: (token, amount) to be had at the beginning and given back at the end; the profit token's is what the
    first hops take. ``profit_wei`` is what remains of the profit token after that, ``leftovers`` what remains of
    other tokens. ``bound_wei`` is the dual's upper bound on any plan over the same pools, before ``cost_wei``.
    """

    profit_token: Address
    hops: tuple[Hop, ...]
    loans: tuple[tuple[Address, int], ...]
    profit_wei: int
    leftovers: tuple[tuple[Address, int], ...]
    gas_units: int
    bound_wei: float
    cost_wei: float = 0.0

    @property
    def gap(self) -> float:
        """Relative gap between the bound and what the integers reach: the certificate."""
        return (self.bound_wei - self.profit_wei) / self.bound_wei if self.bound_wei > 0 else 0.0


@dataclass(frozen=True, slots=True)
class MarketNetwork:
    """Pools as a network of their tokens; ``states[p]`` is pool p, ``tokens[t]`` token t."""

    states: list
    tokens: list[Address]
    arrays: StaticArrays
    network: Network


def market_network(
    states: Sequence, families: Mapping[str, Family], keep: Sequence[Address], context: BlockContext
) -> MarketNetwork:
    """The network of ``states`` (two-token pools and larger), without what can't take part in any batch.

    A token that isn't in ``keep`` and has a single pool could only be bought, never sold: such pools are left out,
    again and again, and so is what isn't connected with ``keep``.
    """
    used = list(states)
    wanted = set(keep)
    while True:
        pools_of: dict[Address, int] = {}
        for state in used:
            for token in state.tokens:
                pools_of[token] = pools_of.get(token, 0) + 1
        rest = [s for s in used if all(t in wanted or pools_of[t] > 1 for t in s.tokens)]
        if len(rest) == len(used):
            break
        used = rest
    used = _connected(used, wanted)
    tokens = list(dict.fromkeys([*keep, *(token for state in used for token in state.tokens)]))
    ids = {token: number for number, token in enumerate(tokens)}
    pieces = []
    for state in used:
        family, count = families[state.family], len(state.tokens)
        ways = [(i, j) for i in range(count) for j in range(count) if i != j]
        segments = {way: family.segments(state, *way, context) for way in ways}
        pieces.append(PoolPieces(tuple(ids[token] for token in state.tokens), segments))
    arrays = build_arrays(pieces)
    return MarketNetwork(used, tokens, arrays, network_of(arrays, len(tokens)))


def _connected(states: list, wanted: set[Address]) -> list:
    reached, rest = set(wanted), states
    while True:
        near = [s for s in rest if not reached.isdisjoint(s.tokens)]
        grown = reached.union(*(s.tokens for s in near))
        if grown == reached:
            return near
        reached = grown


def optimum(market: MarketNetwork, profit_token: Address, *, tolerance: float = 1e-8) -> DualSolution:
    """The most that one batch over all pools can bring in the profit token, everything else netted to zero."""
    values = np.array([1.0 if token == profit_token else 0.0 for token in market.tokens])
    return solve_dual(market.network, values, tolerance=tolerance)


def net_plan(
    market: MarketNetwork,
    families: Mapping[str, Family],
    profit_token: Address,
    context: BlockContext,
    *,
    cost_per_pool_wei: float = 0.0,
    search_solves: int = 300,
) -> NettedPlan | None:
    """The optimum batch in exact integers; None where nothing pays. ``cost_per_pool_wei`` (gas) is part of it."""
    values = np.array([1.0 if token == profit_token else 0.0 for token in market.tokens])
    if cost_per_pool_wei > 0.0:
        chosen = choose_pools(market.network, values, cost_per_pool_wei, search_solves=search_solves)
        network, solution = market.network.only(chosen.kept), chosen.solution
        cost = cost_per_pool_wei * int(chosen.kept.sum())
        bound = chosen.bound + cost
    else:
        network, solution, cost = market.network, solve_dual(market.network, values, tolerance=1e-9), 0.0
        bound = solution.bound
    for share in _DUST_SHARES:
        network, solution = _without_dust(network, solution, values, share * bound)
        prices = dict(zip(market.tokens, solution.prices.tolist(), strict=True))
        trades = pool_trades(market, network, solution)
        plan = round_trades(trades, prices, families, profit_token, context, bound, cost)
        if plan is not None:
            return plan
    return None


def _without_dust(
    network: Network, solution: DualSolution, values: Float64, least: float
) -> tuple[Network, DualSolution]:
    """Leave out pools that trade less than ``least`` in value, and solve for the others, until there are none.

    A trade of a few units loses a good part of them to rounding, and what hangs on it can't be made to net out.
    """
    for _ in range(_DUST_ROUNDS):
        notional = np.bincount(network.pool, solution.prices[network.tail] * solution.paid, network.n_pools)
        dust = (notional > 0.0) & (notional < least)
        if not dust.any():
            break
        network = network.only(notional >= least)
        solution = solve_dual(network, values, start=solution.prices, tolerance=1e-9)
    return network, solution


def pool_trades(market: MarketNetwork, network: Network, solution: DualSolution) -> list[PoolTrade]:
    """The solution's trades, one per pool and direction, without those that are worth nothing."""
    arrays = market.arrays
    paid = np.bincount(network.edge, solution.paid, arrays.n_edges)
    got = np.bincount(network.edge, solution.got, arrays.n_edges)
    most = np.bincount(network.edge, network.cap, arrays.n_edges)
    return [
        PoolTrade(
            market.states[arrays.edge_pool[edge]],
            int(arrays.edge_i[edge]),
            int(arrays.edge_j[edge]),
            float(paid[edge]),
            float(got[edge]),
            float(most[edge] - paid[edge]),
        )
        for edge in np.flatnonzero((paid >= 1.0) & (got >= 1.0))
    ]


def round_trades(
    trades: Sequence[PoolTrade],
    prices: Mapping[Address, float],
    families: Mapping[str, Family],
    profit_token: Address,
    context: BlockContext,
    bound_wei: float,
    cost_wei: float = 0.0,
) -> NettedPlan | None:
    """Exact integers for ``trades`` at token ``prices``; None where they leave no profit or can't repay a loan."""
    order = _token_order(trades, profit_token)
    towards = _ways_to(profit_token, trades)
    amounts = [int(trade.amount_in) for trade in trades]
    for _ in range(_REPAY_ROUNDS):
        run = _Run(families, profit_token, context)
        for token in order:
            for number, trade in enumerate(trades):
                if trade.token_in == token:
                    amounts[number] = run.swap(trade, amounts[number])
        short = [(token, -amount) for token, amount in run.balances.items() if amount < 0 and token != profit_token]
        if not short:
            return run.plan(bound_wei, cost_wei)
        for token, missing in short:
            _buy(token, missing + 1, trades, amounts, towards, prices, profit_token)
    return None


def _buy(
    token: Address,
    missing: int,
    trades: Sequence[PoolTrade],
    amounts: list[int],
    towards: Mapping[Address, int],
    prices: Mapping[Address, float],
    profit_token: Address,
) -> None:
    """Shift the trades between ``token`` and the profit token so that ``missing`` more of the token is left."""
    while token != profit_token and token in towards:
        number = towards[token]
        trade = trades[number]
        if trade.token_out == token:
            missing = int(missing * (prices[token] / prices[trade.token_in]) * (1.0 + 1e-7)) + 1
            amounts[number] += missing
            token = trade.token_in
        else:
            amounts[number] = max(0, amounts[number] - missing)
            missing = int(missing * (prices[token] / prices[trade.token_out]) * (1.0 + 1e-7)) + 1
            token = trade.token_out


def _ways_to(profit_token: Address, trades: Sequence[PoolTrade]) -> dict[Address, int]:
    """For each token the trade that leads one step nearer to the profit token; breadth first, roomy pools first."""
    towards: dict[Address, int] = {}
    reached = {profit_token}
    by_depth = sorted(range(len(trades)), key=lambda k: -min(trades[k].room, trades[k].amount_in * 1e6))
    layer = [profit_token]
    while layer:
        fresh = []
        for here in layer:
            for number in by_depth:
                trade = trades[number]
                more = trade.token_in == here and trade.room > 1e-6 * trade.amount_in
                there = trade.token_out if more else trade.token_in if trade.token_out == here else None
                if there is not None and there not in reached:
                    reached.add(there)
                    towards[there] = number
                    fresh.append(there)
        layer = fresh
    return towards


def _token_order(trades: Sequence[PoolTrade], profit_token: Address) -> list[Address]:
    """Tokens so that what brings a token comes before what takes it; a token of a loop comes too early: a loan."""
    tokens = dict.fromkeys(token for trade in trades for token in (trade.token_in, trade.token_out))
    waiting = {token: sum(t.token_out == token for t in trades) for token in tokens}
    waiting[profit_token] = 0
    order: list[Address] = []
    left = set(tokens)
    while left:
        ready = [token for token in tokens if token in left and waiting[token] <= 0]
        if not ready:
            # borrow where least is outstanding
            token = min((t for t in tokens if t in left), key=lambda t: waiting[t])
            ready = [token]
        for token in ready:
            left.discard(token)
            order.append(token)
            for trade in trades:
                if trade.token_in == token:
                    waiting[trade.token_out] -= 1
    return order


class _Run:
    """One pass over the tokens with exact quotes."""

    def __init__(self, families: Mapping[str, Family], profit_token: Address, context: BlockContext) -> None:
        self._families = families
        self._profit_token = profit_token
        self._context = context
        self.balances: dict[Address, int] = {}
        self._lowest: dict[Address, int] = {}
        self._hops: list[Hop] = []
        self._gas = 0

    def swap(self, trade: PoolTrade, amount: int) -> int:
        """Make one hop; returns what the pool could take of ``amount``, 0 where it gives nothing."""
        if amount <= 0:
            return 0
        family = self._families[trade.state.family]
        try:
            quote = family.quote_in(trade.state, trade.i, trade.j, amount, self._context)
        except QuoteError as error:
            if not 0 < error.partial_in < amount:
                return 0
            return self.swap(trade, error.partial_in)
        if quote.amount_out_wei <= 0:
            return 0
        self._gas += quote.gas
        left = self.balances.get(trade.token_in, 0) - quote.amount_in_wei
        self.balances[trade.token_in] = left
        self._lowest[trade.token_in] = min(self._lowest.get(trade.token_in, 0), left)
        self.balances[trade.token_out] = self.balances.get(trade.token_out, 0) + quote.amount_out_wei
        self._hops.append(
            Hop(
                trade.state.address,
                family.name,
                trade.token_in,
                trade.token_out,
                trade.i,
                trade.j,
                quote.amount_in_wei,
                quote.amount_out_wei,
            )
        )
        return amount

    def plan(self, bound_wei: float, cost_wei: float) -> NettedPlan | None:
        profit = self.balances.get(self._profit_token, 0)
        if profit <= 0:
            return None
        return NettedPlan(
            self._profit_token,
            tuple(self._hops),
            tuple((token, -low) for token, low in sorted(self._lowest.items()) if low < 0),
            profit,
            tuple((t, b) for t, b in sorted(self.balances.items()) if b > 0 and t != self._profit_token),
            self._gas,
            bound_wei,
            cost_wei,
        )


def replay(plan: NettedPlan, quote: Callable[[Hop], int]) -> dict[Address, int]:
    """Balances after the plan, loans repaid, with ``quote`` giving each hop's output. Raises ``ValueError`` where a
    hop isn't funded, a pool is used twice or an output differs: what an executor would refuse."""
    balances = dict(plan.loans)
    pools: set[Address] = set()
    for number, hop in enumerate(plan.hops):
        if hop.pool in pools:
            raise ValueError(f"hop {number}: pool {hop.pool} is used twice")
        pools.add(hop.pool)
        if balances.get(hop.token_in, 0) < hop.amount_in_wei:
            raise ValueError(f"hop {number}: {hop.amount_in_wei} of {hop.token_in} aren't there")
        if quote(hop) != hop.amount_out_wei:
            raise ValueError(f"hop {number}: pool {hop.pool} gives another amount")
        balances[hop.token_in] -= hop.amount_in_wei
        balances[hop.token_out] = balances.get(hop.token_out, 0) + hop.amount_out_wei
    for token, amount in plan.loans:
        balances[token] = balances.get(token, 0) - amount
        if balances[token] < 0:
            raise ValueError(f"the loan of {token} isn't repaid: {-balances[token]} missing")
    return balances
