"""From an exact opportunity to an exact plan: hops, calldata, gas, bid, floor of profit, deadline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ouro.config.model import BidConfig, ChainConfig
from ouro.execution.encode import EncodeError, encode_plan
from ouro.execution.encode_dag import Guards, Places, encode_dag
from ouro.execution.program import PoolKey
from ouro.execution.shapes import shape_of
from ouro.hashing import keccak
from ouro.protocols.registry import FAMILIES
from ouro.protocols.steps import ManagedSwap, Shape
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.types import Address, BlockContext, FeeBid, Hop, Opportunity, Plan, PoolId

GAS_LIMIT_MARGIN_PPM = 2_000_000
"""Unused gas is not paid for."""

FIRST_WRITES_GAS = 40_000
"""Allowed per hop on top: the estimates are of pools whose words have all been written before, and a first trade
through one writes up to two words of fees and an oracle entry."""

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

    The path has the wrapped coin where a Uniswap V4 pool trades the native one; its hop has what the pool has.
    """
    tokens, amounts = opportunity.cycle.tokens, opportunity.amounts_wei
    hops = []
    for k, edge in enumerate(opportunity.cycle.edges):
        family = families[edge.pool]
        token_in, token_out = tokens[k], tokens[k + 1]
        if family in FAMILIES and FAMILIES[family].managed:
            own = states[edge.pool].tokens
            token_in, token_out = own[edge.i], own[edge.j]
        hops.append(Hop(edge.pool, family, token_in, token_out, edge.i, edge.j, amounts[k], amounts[k + 1]))
    return tuple(hops)


def guards_of(config: ChainConfig, found_at_number: int, next_block: BlockContext) -> Guards:
    """The last block, or by ``late_by`` the last second, that the executor runs in.

    ``next_block`` is the first that can include the plan; a second that a block shares is never cut off.
    """
    if config.late_by == "block":
        return Guards(max_block_number=found_at_number + config.inclusion_blocks)
    seconds = -(-(config.inclusion_blocks - 1) * config.block_time_ms // 1_000)
    return Guards(deadline=next_block.timestamp + seconds)


def calldata_of(
    hops: Sequence[Hop],
    profit_token: Address,
    min_profit_wei: int,
    guards: Guards,
    wrapped_native: Address,
    states: Mapping[PoolId, Any],
) -> bytes:
    """A cycle as calldata of the executor, in the manager's books where it goes through Uniswap V4.

    Raises ``EncodeError``.
    """
    steps = [
        FAMILIES[hop.family].encode_swap(states[hop.pool], hop.i, hop.j)
        for hop in hops
        if shape_of(hop) is Shape.MANAGED
    ]
    if not steps and guards.deadline is None:
        return encode_plan(hops, profit_token, min_profit_wei, guards.max_block_number)
    managed = [step for step in steps if isinstance(step, ManagedSwap)]
    keys = {
        step.pool: PoolKey(step.currency0, step.currency1, step.fee_ppm, step.tick_spacing, step.hooks)
        for step in managed
    }
    managers = {step.manager for step in managed}
    if not managers:
        return encode_dag(hops, profit_token, min_profit_wei, guards)
    if len(managers) > 1:
        raise EncodeError("hops", f"pools of {len(managers)} managers; the executor opens the books of one")
    places = Places(managers.pop(), keys, wrapped_native)
    return encode_dag(hops, profit_token, min_profit_wei, guards, places)


def plan_of(opportunity: Opportunity, config: ChainConfig, context: PlanContext, lane: str) -> Plan:
    """Price ``opportunity`` and encode it.

    The executor's floor is break-even: below the cost of landing, reverting is cheaper. Raises
    ``ouro.execution.encode.EncodeError`` where the executor can't express the path.
    """
    profit_token = opportunity.cycle.tokens[0]
    value = context.value_in_native(profit_token, opportunity.gross_profit_wei)
    gas = expected_gas(opportunity)
    tip = priority_fee_wei(config.bid, value, gas)
    base_fee = context.execution_block.base_fee_wei
    fee = context.fee_rule(base_fee, tip)
    cost_native = gas * (fee.max_fee_per_gas_wei if fee.legacy else base_fee + tip)
    floor = _break_even(opportunity.gross_profit_wei, value, cost_native)
    hops = hops_of(opportunity, context.families, context.states)
    max_block = opportunity.block_number + config.inclusion_blocks
    guards = guards_of(config, opportunity.block_number, context.execution_block)
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
        expected_net_native_wei=value - cost_native,
        found_at_number=opportunity.block_number,
        found_at_hash=opportunity.block_hash,
        max_block_number=max_block,
        lane=lane,
        calldata=calldata_of(hops, profit_token, floor, guards, config.wrapped_native, context.states),
    )


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
