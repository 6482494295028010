"""From an exact opportunity to an exact plan: hops, calldata, gas, bid, floor of profit, deadline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ouro.config.model import BidConfig, ChainConfig
from ouro.execution.capital import LOAN_GAS, Loan, LoanKind, LoanSource, cheapest_loan, needs_capital
from ouro.execution.encode import EncodeError, encode_plan
from ouro.execution.encode_dag import Guards, Places, encode_dag
from ouro.execution.program import NATIVE, PoolKey
from ouro.execution.shapes import shape_of
from ouro.execution.terms import bribe_of, bribe_wei, guards_of, is_plain, probe_of
from ouro.hashing import keccak
from ouro.protocols.registry import FAMILIES
from ouro.protocols.steps import ManagedSwap, Shape, VaultSwap
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.types import Address, BlockContext, FeeBid, Hop, Opportunity, Plan, PoolId

GAS_LIMIT_MARGIN_PPM = 2_000_000
"""Unused gas is not paid for."""

PLAIN_SHAPES = frozenset((Shape.PAIR, Shape.CONCENTRATED))
"""Swaps that need no more than their pool's address."""

FIRST_WRITES_GAS = 40_000
"""Allowed per hop on top: the estimates are of pools whose words have all been written before, and a first trade
through one writes up to two words of fees and an oracle entry."""

BRIBE_GAS = 45_000
"""Unwrapping, and paying an account that may not have existed before; measured by pre-flight like all else."""

FeeRule = Callable[[int, int], FeeBid]
"""(next base fee, priority fee) → what the transaction offers, by the chain's fee model."""


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan needs to know of the chain at the moment of decision.

    ``value_in_native(token, amount_wei)`` prices the profit token in the native coin. ``states`` are needed of
    Uniswap V4's pools: key and manager are in them.
    """

    families: Mapping[PoolId, str]
    execution_block: BlockContext
    value_in_native: Callable[[Address, int], int]
    fee_rule: FeeRule
    states: Mapping[PoolId, Any] = field(default_factory=dict)
    loans: Sequence[LoanSource] = ()
    bidder: "Bidding | None" = None
    """Chooses the tip where ``send.bids`` is not fixed."""


class NotWorthSending(Exception):  # noqa: N818 - an answer, not an error
    """No bid is expected to bring anything; the text says what was looked at."""


class Bidding(Protocol):
    """The send rule (`ouro.risk.send_rule.Bidder`)."""

    def choose_tip(self, value_wei: int, gas: int, base_fee_wei: int) -> int | None:
        """The tip per gas of the best bid; None where nothing should be sent."""
        ...


def priority_fee_wei(bid: BidConfig, value_native_wei: int, gas: int) -> int:
    """The priority fee per gas that offers ``share_ppm`` of the value, within the configured bounds."""
    offered = value_native_wei * bid.share_ppm // (1_000_000 * gas)
    return max(bid.min_priority_fee_wei, min(offered, bid.max_priority_fee_wei))


def expected_gas(opportunity: Opportunity) -> int:
    """Gas of the whole transaction by the families' model, before pre-flight measures it."""
    return TRANSACTION_GAS + opportunity.gas_units


def hops_of(
    opportunity: Opportunity, families: Mapping[PoolId, str], states: Mapping[PoolId, Any]
) -> tuple[Hop, ...]:
    """The swaps of an opportunity, in path order.

    The path has the wrapped coin where a pool trades the native one; its hop has what the pool has.
    """
    tokens, amounts = opportunity.cycle.tokens, opportunity.amounts_wei
    hops = []
    for k, edge in enumerate(opportunity.cycle.edges):
        family = families[edge.pool]
        token_in, token_out = tokens[k], tokens[k + 1]
        own = states[edge.pool].tokens if edge.pool in states else ()
        if NATIVE in own:
            token_in, token_out = own[edge.i], own[edge.j]
        hops.append(Hop(edge.pool, family, token_in, token_out, edge.i, edge.j, amounts[k], amounts[k + 1]))
    return tuple(hops)


def calldata_of(
    hops: Sequence[Hop],
    profit_token: Address,
    min_profit_wei: int,
    guards: Guards,
    wrapped_native: Address,
    states: Mapping[PoolId, Any],
    loan: Loan | None = None,
) -> bytes:
    """Hops as calldata of the executor, in the shortest form that says it.

    Raises ``EncodeError``; ``CapitalError`` where nobody gives the first input on credit and there is no loan.
    """
    plain = all(shape_of(hop) in PLAIN_SHAPES for hop in hops)
    if plain and loan is None and is_plain(guards):
        return encode_plan(hops, profit_token, min_profit_wei, guards.max_block_number)
    places = places_of(hops, wrapped_native, states)
    if loan is not None and loan.kind is LoanKind.V4 and places.v4_manager is None:
        places = replace(places, v4_manager=loan.lender)
    return encode_dag(hops, profit_token, min_profit_wei, guards, places, loan)


def places_of(hops: Sequence[Hop], wrapped_native: Address, states: Mapping[PoolId, Any]) -> Places:
    """What the hops' pools say of their swaps. Raises ``EncodeError``."""
    steps = {
        hop.pool: FAMILIES[hop.family].encode_swap(states[hop.pool], hop.i, hop.j)
        for hop in hops
        if hop.family in FAMILIES and shape_of(hop) not in PLAIN_SHAPES
    }
    managed = [step for step in steps.values() if isinstance(step, ManagedSwap)]
    keys = {
        step.pool: PoolKey(step.currency0, step.currency1, step.fee_ppm, step.tick_spacing, step.hooks)
        for step in managed
    }
    managers = {step.manager for step in managed}
    if len(managers) > 1:
        raise EncodeError("hops", f"pools of {len(managers)} managers; the executor opens the books of one")
    return Places(next(iter(managers), None), keys, wrapped_native, steps)


def plan_of(opportunity: Opportunity, config: ChainConfig, context: PlanContext, lane: str) -> Plan:
    """Price ``opportunity`` and encode it.

    The executor's floor is break-even: below the cost of landing, reverting is cheaper. What is paid to whoever
    includes it comes off first, so that the tip is never bid out of what the bribe has given away. Raises
    ``ouro.execution.encode.EncodeError`` where the executor can't express the path, ``NotWorthSending`` where the
    send rule says no.
    """
    profit_token, gross = opportunity.cycle.tokens[0], opportunity.gross_profit_wei
    value = context.value_in_native(profit_token, gross)
    hops = hops_of(opportunity, context.families, context.states)
    base_fee = context.execution_block.base_fee_wei
    loan = loan_of(hops, context, Rate(gross, value), base_fee + config.bid.min_priority_fee_wei)
    loan_fee = loan.fee_wei if loan else 0
    bribe = bribe_of(config, profit_token)
    paid = bribe_wei(bribe, gross - loan_fee)
    kept = gross - loan_fee - paid
    if kept <= 0:
        share = f"a bribe of {paid} and a loan's fee of {loan_fee}"
        raise EncodeError("min_profit_wei", f"{share} leave nothing of a profit of {gross}")
    kept_value = value * kept // gross
    gas = expected_gas(opportunity) + (BRIBE_GAS if bribe else 0) + (LOAN_GAS[loan.kind] if loan else 0)
    tip = _tip(config, context, kept_value, gas)
    fee = context.fee_rule(base_fee, tip)
    cost_native = gas * (fee.max_fee_per_gas_wei if fee.legacy else base_fee + tip)
    floor = min(_break_even(gross, value, cost_native), kept)
    max_block = opportunity.block_number + config.inclusion_blocks
    probe = probe_of(hops, context.states) if config.guards.probe == "on" else None
    guards = guards_of(
        config, opportunity.block_number, context.execution_block, opportunity.block_hash, bribe, probe
    )
    return Plan(
        plan_id=plan_id_of(opportunity),
        chain=opportunity.chain,
        hops=hops,
        profit_token=profit_token,
        gross_profit_wei=opportunity.gross_profit_wei,
        min_profit_wei=floor,
        value_native_wei=value,
        gas_limit=gas * GAS_LIMIT_MARGIN_PPM // 1_000_000 + FIRST_WRITES_GAS * len(hops),
        expected_gas=gas,
        fee=fee,
        expected_net_native_wei=kept_value - cost_native,
        found_at_number=opportunity.block_number,
        found_at_hash=opportunity.block_hash,
        max_block_number=max_block,
        lane=lane,
        calldata=calldata_of(hops, profit_token, floor, guards, config.wrapped_native, context.states, loan),
        bribe_wei=paid,
        loan_fee_wei=loan_fee,
    )


def _tip(config: ChainConfig, context: PlanContext, value_native_wei: int, gas: int) -> int:
    if config.send.bids == "fixed" or context.bidder is None:
        return priority_fee_wei(config.bid, value_native_wei, gas)
    tip = context.bidder.choose_tip(value_native_wei, gas, context.execution_block.base_fee_wei)
    if tip is None:
        raise NotWorthSending(f"no bid for {value_native_wei} wei with {gas} gas is expected to bring anything")
    return tip


@dataclass(frozen=True, slots=True)
class Rate:
    """So much of a token is worth so much of the native coin."""

    token_wei: int
    native_wei: int


def loan_of(hops: Sequence[Hop], context: PlanContext, rate: Rate, gas_price_wei: int) -> Loan | None:
    """The cheapest lender of a cycle's first input, its gas included; None where one of its pools gives credit.

    Raises ``EncodeError`` where nobody lends it.
    """
    if not needs_capital(hops):
        return None
    steps = places_of(hops, "", context.states).steps.values()
    if any(isinstance(step, VaultSwap) and step.version == 3 for step in steps):
        return None  # its books give credit as a manager's do
    token, amount = hops[0].token_in, hops[0].amount_in_wei
    busy = [hop.pool for hop in hops] + [step.vault for step in steps if isinstance(step, VaultSwap)]
    per_gas_ppm = gas_price_wei * rate.token_wei * 1_000_000 // rate.native_wei if rate.native_wei > 0 else 0
    loan = cheapest_loan(context.loans, token, amount, per_gas_ppm, busy)
    if loan is None:
        raise EncodeError("loan", f"no pool of the path gives credit, and nobody lends {amount} of {token}")
    return loan


def plan_id_of(opportunity: Opportunity) -> str:
    """A name that is the same for the same path at the same block: replays give the same journal."""
    path = "|".join(f"{edge.pool}:{edge.i}:{edge.j}" for edge in opportunity.cycle.edges)
    digest = keccak(f"{opportunity.block_hash}|{path}".encode()).hex()[:16]
    return f"{opportunity.chain}-{opportunity.block_number}-{digest}"


def _break_even(gross_profit_wei: int, value_native_wei: int, cost_native_wei: int) -> int:
    """The cost expressed in the profit token, rounded up, at least one unit and at most the whole profit."""
    if value_native_wei <= 0:
        return gross_profit_wei
    cost = -(-gross_profit_wei * cost_native_wei // value_native_wei)
    return max(1, min(cost, gross_profit_wei))
