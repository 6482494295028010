"""One block's decision: which plans, at what price. Synchronous, no I/O; the same input gives the same plans."""

import time
from dataclasses import dataclass, field

from ouro.engine.chain_state import ChainState
from ouro.execution.encode import EncodeError
from ouro.execution.planner import NotWorthSending, PlanContext, plan_id_of, plan_of
from ouro.strategies.queue import least_value
from ouro.types import Address, BlockUpdate, Opportunity, Plan, Refused


@dataclass(slots=True)
class Decision:
    """What a block gave: plans best first, and what could not become one."""

    opportunities: tuple[Opportunity, ...] = ()
    plans: list[Plan] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    candidates: int = 0
    found_ns: int = 0
    """``time.monotonic_ns`` when the search was done; the rest does not depend on it."""


def decide(state: ChainState, update: BlockUpdate, locked: frozenset[Address], lane: str) -> Decision:
    """Search what the blocks since the last decision touched, size exactly, plan.

    Pools in ``locked`` are under way in an earlier attempt and are left alone.
    """
    context = state.market.context
    gas_price = context.base_fee_wei + state.config.bid.min_priority_fee_wei
    candidates = state.finder.evaluate_within_budget(state.take_touched(), least_value(gas_price))
    found_ns = time.monotonic_ns()
    selection = state.strategy.opportunities(
        candidates, context, update.number, update.hash, gas_price_wei=gas_price, locked=locked
    )
    state.carry(selection.carry)
    decision = Decision(tuple(selection.opportunities), candidates=len(candidates), found_ns=found_ns)
    chosen = {
        pool: state.market.states[pool]
        for opportunity in selection.opportunities
        for pool in opportunity.cycle.pools
    }
    plan_context = PlanContext(
        families={pool: chosen[pool].family for pool in chosen},
        execution_block=context,
        value_in_native=state.prices.value_in_native,
        fee_rule=lambda base, tip: state.fees.bid_fee(base, tip, state.config.inclusion_blocks),
        states=chosen,
        loans=state.loans,
        bidder=state.bidder,
    )
    for opportunity in selection.opportunities:
        try:
            decision.plans.append(plan_of(opportunity, state.config, plan_context, lane))
        except NotWorthSending as no:
            decision.refused.append(Refused(plan_id_of(opportunity), "send_rule", str(no)))
        except EncodeError as error:
            decision.refused.append(Refused(plan_id_of(opportunity), "not_encodable", str(error)))
    for reason, count in selection.failed.items():
        detail = f"{count} candidates: {reason}"
        decision.refused.append(Refused(f"{state.name}-{update.number}", "quote_failed", detail))
    return decision
