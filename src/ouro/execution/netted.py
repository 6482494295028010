"""A netted batch → one program of the executor.

The executor keeps nothing but the profit token, while whole numbers leave specks of others. A pair may give less
than it could and takes more than it asks for, so a speck stays in the pair whose step it comes from.
"""

from collections import Counter
from dataclasses import replace

from ouro.execution.capital import Loan
from ouro.execution.encode_dag import Guards, Places, encode_dag
from ouro.strategies.netted_plan import NettedPlan
from ouro.types import Address, Hop

_PAIR = "uniswap_v2"


def hops_of_batch(plan: NettedPlan) -> tuple[Hop, ...]:
    """The batch's swaps, specks of other tokens than the profit token left in pairs where one is at hand."""
    hops = [
        Hop(
            trade.pool,
            trade.family,
            trade.token_in,
            trade.token_out,
            trade.i,
            trade.j,
            trade.amount_in_wei,
            trade.amount_out_wei,
        )
        for trade in plan.trades
    ]
    left: Counter[Address] = Counter()
    for hop in hops:
        left[hop.token_out] += hop.amount_out_wei
        left[hop.token_in] -= hop.amount_in_wei
    for token in sorted(left):
        if token != plan.profit_token and left[token] > 0:
            _leave_in_a_pair(hops, token, left[token])
    return tuple(hops)


def _leave_in_a_pair(hops: list[Hop], token: Address, speck_wei: int) -> None:
    for at, hop in enumerate(hops):
        if hop.family == _PAIR and hop.token_out == token and hop.amount_out_wei > speck_wei:
            hops[at] = replace(hop, amount_out_wei=hop.amount_out_wei - speck_wei)
            return
    for at, hop in enumerate(hops):
        if hop.family == _PAIR and hop.token_in == token:
            hops[at] = replace(hop, amount_in_wei=hop.amount_in_wei + speck_wei)
            return


def encode_netted(
    plan: NettedPlan,
    *,
    min_profit_wei: int | None = None,
    guards: Guards | None = None,
    places: Places | None = None,
    loan: Loan | None = None,
) -> bytes:
    """Calldata that runs the whole batch in one transaction; the floor is the plan's own profit if none is given.

    Raises EncodeError naming the field: too many hops, a family without an operation, or a speck of a token
    that no pair of the batch trades.
    """
    floor = plan.profit_wei if min_profit_wei is None else min_profit_wei
    return encode_dag(hops_of_batch(plan), plan.profit_token, floor, guards, places, loan)
