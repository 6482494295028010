"""Netted batches as values, and the check that one holds: exact amounts, each pool once, every payment covered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ouro.protocols.base import Family, QuoteError
from ouro.types import Address, BlockContext, Hash


class PlanError(ValueError):
    """A netted plan that doesn't hold: the message says which trade or token and why."""


@dataclass(frozen=True, slots=True)
class NettedTrade:
    """One exact swap of a batch. ``deferred``: the pool gives first and is paid after all trades that follow."""

    pool: Address
    family: str
    token_in: Address
    token_out: Address
    i: int
    j: int
    amount_in_wei: int
    amount_out_wei: int
    gas_units: int
    deferred: bool


@dataclass(frozen=True, slots=True)
class NettedPlan:
    """A batch that pays for itself.

    ``trades`` in execution order, one per pool: run them in order, paying each at once unless it is ``deferred``;
    then pay the deferred ones. No balance is ever negative on the way. ``net_wei`` has what is left per token, the
    profit token included, nothing negative; all but the profit token's is dust. ``gas_units`` is the sum of the
    quotes' gas, without the transaction's base cost.
    """

    chain: str
    profit_token: Address
    trades: tuple[NettedTrade, ...]
    net_wei: tuple[tuple[Address, int], ...]
    profit_wei: int
    gas_units: int
    block_number: int
    block_hash: Hash

    @property
    def pools(self) -> tuple[Address, ...]:
        """Pool addresses in execution order."""
        return tuple(trade.pool for trade in self.trades)

    @property
    def n_deferred(self) -> int:
        """How many callbacks are nested."""
        return sum(trade.deferred for trade in self.trades)


def verify_plan(
    plan: NettedPlan,
    state_of: Callable[[Address], Any],
    family_of: Callable[[Address], Family],
    context: BlockContext,
) -> dict[Address, int]:
    """Replay the batch with exact quotes and the rules of payment; returns what is left per token.

    Raises PlanError where an amount differs, a pool is used twice, a payment isn't covered, or the books don't
    agree.
    """
    balance: dict[Address, int] = {plan.profit_token: 0}
    owed: list[NettedTrade] = []
    seen: set[Address] = set()
    for at, trade in enumerate(plan.trades):
        if trade.pool in seen:
            raise PlanError(f"trade {at}: pool {trade.pool} is used twice")
        seen.add(trade.pool)
        state = state_of(trade.pool)
        if (state.tokens[trade.i], state.tokens[trade.j]) != (trade.token_in, trade.token_out):
            raise PlanError(f"trade {at}: pool {trade.pool} doesn't trade {trade.token_in} for {trade.token_out}")
        try:
            quote = family_of(trade.pool).quote_in(state, trade.i, trade.j, trade.amount_in_wei, context)
        except QuoteError as error:
            raise PlanError(f"trade {at}: pool {trade.pool} refuses: {error}") from error
        if quote.amount_out_wei != trade.amount_out_wei:
            raise PlanError(
                f"trade {at}: pool {trade.pool} gives {quote.amount_out_wei}, not {trade.amount_out_wei}"
            )
        balance[trade.token_out] = balance.get(trade.token_out, 0) + trade.amount_out_wei
        if trade.deferred:
            owed.append(trade)
        else:
            _pay(balance, trade)
    for trade in reversed(owed):
        _pay(balance, trade)
    if tuple(sorted(balance.items())) != plan.net_wei or balance[plan.profit_token] != plan.profit_wei:
        raise PlanError(f"what is left is {balance}, the plan says {dict(plan.net_wei)}")
    return balance


def _pay(balance: dict[Address, int], trade: NettedTrade) -> None:
    left = balance.get(trade.token_in, 0) - trade.amount_in_wei
    if left < 0:
        raise PlanError(f"pool {trade.pool} can't be paid: {-left} wei of {trade.token_in} are missing")
    balance[trade.token_in] = left
