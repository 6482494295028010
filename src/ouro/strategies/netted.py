"""From the network optimum's float flows to one exact, self-funding batch of swaps.

Trades form a graph over tokens. A tree of them, rooted at the profit token, is settled from the leaves in exact
integers: each token's last trade is set to just cover what the token owes, or to spend just what is left of it, so
that every token ends at zero or a speck above it, never below, and all profit arrives in the profit token.

Funding: pools hand out before they are paid (flash swap, swap callback). A *deferred* trade's payment is made
when the rest of the batch has run; the others are paid from what is there. So no capital is needed.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ouro.protocols.base import Family, QuoteError
from ouro.strategies.netted_plan import NettedPlan, NettedTrade
from ouro.types import Address, BlockContext, Hash

_MAX_ROUNDS = 1_000
_PATIENCE = 12
_OPENINGS = 24


@dataclass(frozen=True, slots=True)
class Flow:
    """A trade of the float optimum: one direction through one pool at its exact state, and about how much.

    ``weight`` is what it moves in units of value; heavier trades are preferred for settling rounding.
    """

    family: Family
    state: Any
    i: int
    j: int
    amount_in: float
    weight: float = 0.0

    @property
    def pool(self) -> Address:
        """The pool's address."""
        return self.state.address

    @property
    def token_in(self) -> Address:
        """What the pool takes."""
        return self.state.tokens[self.i]

    @property
    def token_out(self) -> Address:
        """What the pool gives."""
        return self.state.tokens[self.j]


@dataclass(slots=True)
class _Leg:
    """A flow that is being settled: exact amounts, both zero until it is quoted."""

    flow: Flow
    amount_in: int
    amount_out: int = 0
    gas: int = 0

    def open(self, context: BlockContext) -> bool:
        """Quote the float amount; where that is a trace more than the pool has, what it has."""
        if self.quote(self.amount_in, context):
            return True
        flow = self.flow
        try:
            flow.family.quote_in(flow.state, flow.i, flow.j, max(self.amount_in, 1), context)
        except QuoteError as error:
            return self.quote(error.partial_in, context) or self.quote(error.partial_in - 1, context)
        return False

    def quote(self, amount_in: int, context: BlockContext) -> bool:
        """Set the exact amounts for this input; False where the pool can't, or gives nothing."""
        if amount_in <= 0:
            return False
        try:
            quote = self.flow.family.quote_in(self.flow.state, self.flow.i, self.flow.j, amount_in, context)
        except QuoteError:
            return False
        if quote.amount_in_wei != amount_in or quote.amount_out_wei <= 0:
            return False
        self.amount_in, self.amount_out, self.gas = amount_in, quote.amount_out_wei, quote.gas
        return True

    def quote_at_least(self, amount_out: int, context: BlockContext) -> bool:
        """Set the smallest input found that gives at least ``amount_out``."""
        flow = self.flow
        try:
            amount_in = flow.family.quote_out(flow.state, flow.i, flow.j, amount_out, context).amount_in_wei
        except QuoteError:
            return False
        # some contracts' exact-out rounds one unit short or one too far
        for extra in (-1, 0, 1, 2, 4, 1 + (amount_in >> 40)):
            if self.quote(amount_in + extra, context) and self.amount_out >= amount_out:
                return True
        return False


class _Batch:
    """Legs over the tokens they touch."""

    def __init__(self, legs: Sequence[_Leg], profit_token: Address) -> None:
        self.legs = list(legs)
        self.profit_token = profit_token

    def incident(self) -> dict[Address, list[_Leg]]:
        found: dict[Address, list[_Leg]] = {self.profit_token: []}
        for leg in self.legs:
            found.setdefault(leg.flow.token_in, []).append(leg)
            found.setdefault(leg.flow.token_out, []).append(leg)
        return found

    def net(self) -> dict[Address, int]:
        """What is left of each token."""
        left: dict[Address, int] = {self.profit_token: 0}
        for leg in self.legs:
            flow = leg.flow
            left[flow.token_out] = left.get(flow.token_out, 0) + leg.amount_out
            left[flow.token_in] = left.get(flow.token_in, 0) - leg.amount_in
        return left

    def tree(self) -> list[tuple[Address, _Leg]]:
        """Each token but the profit token with the leg that settles it, parents first: a heaviest spanning tree."""
        incident = self.incident()
        reached = {self.profit_token}
        order: list[tuple[Address, _Leg]] = []
        by_pool = {leg.flow.pool: leg for leg in self.legs}
        heap = [(-leg.flow.weight, leg.flow.pool) for leg in incident[self.profit_token]]
        heapq.heapify(heap)
        while heap:
            leg = by_pool[heapq.heappop(heap)[1]]
            ends = (leg.flow.token_in, leg.flow.token_out)
            token = next((end for end in ends if end not in reached), None)
            if token is None:
                continue
            reached.add(token)
            order.append((token, leg))
            for other in incident[token]:
                if other is not leg:
                    heapq.heappush(heap, (-other.flow.weight, other.flow.pool))
        self.legs = [leg for leg in self.legs if leg.flow.token_in in reached]
        return order

    def drop(self, leg: _Leg) -> None:
        self.legs = [other for other in self.legs if other is not leg]


def _give_way(batch: _Batch, token: Address, left: int, context: BlockContext) -> _Leg | None:
    """Let another trade of ``token`` do less, so that nothing is left of it; returns it, or None where none can."""
    for leg in sorted(batch.legs, key=lambda leg: (-leg.flow.weight, leg.flow.pool)):
        if left < 0:
            gives_way = leg.flow.token_in == token and leg.quote(leg.amount_in + left, context)
        else:
            rest = leg.amount_out - left
            gives_way = leg.flow.token_out == token and rest > 0 and leg.quote_at_least(rest, context)
        if gives_way:
            return leg
    return None


def _settle_once(batch: _Batch, context: BlockContext) -> _Leg | None:
    """Settle every token along the tree, leaves first; returns a leg to drop where that is impossible.

    Where the tree's leg can't (its liquidity ends), another trade of the token does less; that may leave a token
    short that was settled before, so another pass may be needed.
    """
    order = batch.tree()
    net = batch.net()
    for token, leg in reversed(order):
        left = net[token]
        if left == 0:
            continue
        before = {id(leg): (leg.amount_in, leg.amount_out, leg.gas) for leg in batch.legs}
        if leg.flow.token_out == token:
            done = leg.amount_out - left > 0 and leg.quote_at_least(leg.amount_out - left, context)
        else:
            done = leg.quote(leg.amount_in + left, context)
        moved = leg if done else _give_way(batch, token, left, context)
        if moved is None:
            if left < 0:
                return _weakest(batch, token, leg)
            continue
        before_in, before_out, _ = before[id(moved)]
        net[moved.flow.token_in] += before_in - moved.amount_in
        net[moved.flow.token_out] += moved.amount_out - before_out
    return None


def _weakest(batch: _Batch, token: Address, settling: _Leg | None = None) -> _Leg:
    """The lightest leg that spends ``token``; the one that failed to settle it where there is no other."""
    spending = [leg for leg in batch.legs if leg.flow.token_in == token]
    return min(spending, key=lambda leg: (leg.flow.weight, leg.flow.pool), default=settling or batch.legs[0])


def _settle(batch: _Batch, context: BlockContext) -> bool:
    """Pass over the batch until no token is short, dropping trades where it doesn't end; False where it fails."""
    passes = 0
    for _ in range(_MAX_ROUNDS):
        _drop_dead_ends(batch)
        unsettled = _settle_once(batch, context)
        passes += 1
        short = sorted(token for token, left in batch.net().items() if left < 0)
        if unsettled is None and not short:
            return True
        if unsettled is None and passes >= _PATIENCE:
            unsettled = _weakest(batch, short[0])
        if unsettled is not None:
            batch.drop(unsettled)
            passes = 0
    return False


def plan_netted(
    flows: Sequence[Flow],
    profit_token: Address,
    context: BlockContext,
    *,
    chain: str = "",
    block_number: int = 0,
    block_hash: Hash = "",
) -> NettedPlan | None:
    """The exact batch of ``flows``, or None where no profit is left after rounding.

    One flow per pool (the amounts were found on one state each); of several the heaviest is kept. Trades that a
    pool refuses, or that lead nowhere near the profit token, are left out.
    """
    heaviest: dict[Address, Flow] = {}
    for flow in flows:
        if flow.amount_in >= 1.0 and flow.amount_in < float("inf"):
            known = heaviest.get(flow.pool)
            if known is None or flow.weight > known.weight:
                heaviest[flow.pool] = flow
    legs = [_Leg(flow, int(flow.amount_in)) for flow in heaviest.values()]
    batch = _Batch([leg for leg in legs if leg.open(context)], profit_token)
    if not _settle(batch, context):
        return None
    _sweep(batch, context)
    net = batch.net()
    if net[profit_token] <= 0 or any(amount < 0 for amount in net.values()):
        return None
    return NettedPlan(
        chain=chain,
        profit_token=profit_token,
        trades=_ordered(batch, net),
        net_wei=tuple(sorted(net.items())),
        profit_wei=net[profit_token],
        gas_units=sum(leg.gas for leg in batch.legs),
        block_number=block_number,
        block_hash=block_hash,
    )


def _sweep(batch: _Batch, context: BlockContext) -> None:
    """Send what rounding left of other tokens on towards the profit token, the farthest first.

    An executor that nothing may rest in can run the batch then; what no pool takes stays in ``net_wei``.
    """
    distance = {batch.profit_token: 0}
    reached = [batch.profit_token]
    for token in reached:
        for leg in batch.legs:
            if leg.flow.token_out == token and leg.flow.token_in not in distance:
                distance[leg.flow.token_in] = distance[token] + 1
                reached.append(leg.flow.token_in)
    net = batch.net()
    for token in reversed(reached):
        if token == batch.profit_token or net[token] <= 0:
            continue
        onward = [
            leg
            for leg in batch.legs
            if leg.flow.token_in == token and distance.get(leg.flow.token_out, len(reached)) < distance[token]
        ]
        for leg in sorted(onward, key=lambda leg: (distance[leg.flow.token_out], -leg.flow.weight, leg.flow.pool)):
            before = leg.amount_out
            if leg.quote(leg.amount_in + net[token], context):
                net[leg.flow.token_out] += leg.amount_out - before
                net[token] = 0
                break


def _drop_dead_ends(batch: _Batch) -> None:
    """Take out trades into tokens that nobody spends, and out of tokens that nobody brings."""
    while True:
        brought = {leg.flow.token_out for leg in batch.legs} | {batch.profit_token}
        spent = {leg.flow.token_in for leg in batch.legs} | {batch.profit_token}
        kept = [leg for leg in batch.legs if leg.flow.token_in in brought and leg.flow.token_out in spent]
        if len(kept) == len(batch.legs):
            return
        batch.legs = kept


def _ordered(batch: _Batch, net: Mapping[Address, int]) -> tuple[NettedTrade, ...]:
    """Execution order with few callbacks: run what can be paid; else open the trade that lets most others run."""
    balance = dict.fromkeys(net, 0)
    waiting = sorted(batch.legs, key=lambda leg: (-leg.flow.weight, leg.flow.pool))
    trades: list[NettedTrade] = []
    while waiting:
        opened = _to_open(waiting, balance, batch.profit_token)
        waiting.remove(opened)
        balance[opened.flow.token_out] += opened.amount_out
        trades.append(_trade(opened, deferred=True))
        for leg in _run_ready(waiting, balance):
            waiting.remove(leg)
            trades.append(_trade(leg, deferred=False))
    return tuple(trades)


def _run_ready(waiting: Sequence[_Leg], balance: dict[Address, int]) -> list[_Leg]:
    """The trades that can be paid from ``balance`` and from what they bring, in order; moves the balance."""
    ran: list[_Leg] = []
    left = list(waiting)
    while True:
        blocked: list[_Leg] = []
        for leg in left:
            if balance[leg.flow.token_in] >= leg.amount_in:
                balance[leg.flow.token_in] -= leg.amount_in
                balance[leg.flow.token_out] += leg.amount_out
                ran.append(leg)
            else:
                blocked.append(leg)
        if len(blocked) == len(left):
            return ran
        left = blocked


def _to_open(waiting: Sequence[_Leg], balance: Mapping[Address, int], profit_token: Address) -> _Leg:
    """The trade after which most others can run; of equals one that brings the profit token, then the heaviest."""

    def merit(leg: _Leg) -> tuple[int, bool, float, Address]:
        there = dict(balance)
        there[leg.flow.token_out] += leg.amount_out
        runs = len(_run_ready([other for other in waiting if other is not leg], there))
        return runs, leg.flow.token_out == profit_token, leg.flow.weight, leg.flow.pool

    return max(waiting[:_OPENINGS], key=merit)


def _trade(leg: _Leg, *, deferred: bool) -> NettedTrade:
    flow = leg.flow
    return NettedTrade(
        flow.pool,
        flow.family.name,
        flow.token_in,
        flow.token_out,
        flow.i,
        flow.j,
        leg.amount_in,
        leg.amount_out,
        leg.gas,
        deferred,
    )
