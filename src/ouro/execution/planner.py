"""From an exact opportunity to an exact plan: hops, calldata, gas, bid, floor of profit, deadline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ouro.config.model import BidConfig, ChainConfig
from ouro.execution.encode import encode_plan
from ouro.hashing import keccak
from ouro.types import Address, BlockContext, FeeBid, Hop, Opportunity, Plan

TRANSACTION_BASE_GAS = 21_000
CALLDATA_GAS_PER_BYTE = 16
EXECUTOR_OVERHEAD_GAS = 30_000
"""Entry guards, two balance reads, the payout transfer: measured on receipts, see docs/executor.md."""

GAS_LIMIT_MARGIN_PPM = 2_000_000
"""Unused gas is not paid for; a first trade writes words that later ones find written, which costs half again."""

FeeRule = Callable[[int, int], FeeBid]
"""(next base fee, priority fee) → what the transaction offers, by the chain's fee model."""


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan needs to know of the chain at the moment of decision.

    ``value_in_native(token, amount_wei)`` prices the profit token in the native coin.
    """

    families: Mapping[Address, str]
    execution_block: BlockContext
    value_in_native: Callable[[Address, int], int]
    fee_rule: FeeRule


def priority_fee_wei(bid: BidConfig, value_native_wei: int, gas: int) -> int:
    """The priority fee per gas that offers ``share_ppm`` of the value, within the configured bounds."""
    offered = value_native_wei * bid.share_ppm // (1_000_000 * gas)
    return max(bid.min_priority_fee_wei, min(offered, bid.max_priority_fee_wei))


def expected_gas(opportunity: Opportunity) -> int:
    """Gas of the whole transaction by the families' model, before pre-flight measures it."""
    calldata_bytes = 64 + 48 * len(opportunity.cycle.edges)
    return (
        TRANSACTION_BASE_GAS
        + CALLDATA_GAS_PER_BYTE * calldata_bytes
        + EXECUTOR_OVERHEAD_GAS
        + opportunity.gas_units
    )


def hops_of(opportunity: Opportunity, families: Mapping[Address, str]) -> tuple[Hop, ...]:
    """The swaps of an opportunity, in path order."""
    tokens, amounts = opportunity.cycle.tokens, opportunity.amounts_wei
    return tuple(
        Hop(edge.pool, families[edge.pool], tokens[k], tokens[k + 1], edge.i, edge.j, amounts[k], amounts[k + 1])
        for k, edge in enumerate(opportunity.cycle.edges)
    )


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
    hops = hops_of(opportunity, context.families)
    max_block = opportunity.block_number + config.inclusion_blocks
    return Plan(
        plan_id=plan_id_of(opportunity),
        chain=opportunity.chain,
        hops=hops,
        profit_token=profit_token,
        gross_profit_wei=opportunity.gross_profit_wei,
        min_profit_wei=floor,
        value_native_wei=value,
        gas_limit=gas * GAS_LIMIT_MARGIN_PPM // 1_000_000,
        expected_gas=gas,
        fee=fee,
        expected_net_native_wei=value - cost_native,
        found_at_number=opportunity.block_number,
        found_at_hash=opportunity.block_hash,
        max_block_number=max_block,
        lane=lane,
        calldata=encode_plan(hops, profit_token, floor, max_block),
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
