"""The limits, each a pure check of one plan against what is known at this moment.

All amounts are the chain's native wei, and all limits hold per chain: a stuck chain does not stop the others. A
check returns None to pass, or the reason (a stable code) and the detail for people.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, Protocol

from ouro.config.model import RiskConfig
from ouro.types import Address, Hash, Hop, Mode, Plan

_NATIVE = "0x" + "00" * 20
MAX_NETTED_HOPS = 32
DUST_UNITS, DUST_PPM = 1_000, 100
"""What rounding may leave of a token."""


class Reason(StrEnum):
    """Why a plan is refused."""

    KILL_FILE = "kill_file"
    MODE = "mode"
    UNKNOWN_CHAIN = "unknown_chain"
    HALTED = "chain_halted"
    BOOKS = "books_unhealthy"
    STALE = "stale"
    ORPHANED = "orphaned"
    EXPIRED = "expired"
    BAD_PLAN = "bad_plan"
    DUPLICATE = "duplicate"
    NOT_PROFITABLE = "not_profitable"
    NOTIONAL = "max_notional"
    GAS = "max_gas_cost"
    OPEN_ATTEMPTS = "max_open_attempts"
    DAILY_LOSS = "max_daily_loss"
    REVERTS = "max_reverts"
    WASTED_GAS = "max_wasted_gas"
    CONFIG = "risk_config"
    REDUCE_ONLY = "reduce_only"
    DRAWDOWN = "drawdown_room"
    SCREENED = "screened"
    COLLAR = "price_collar"
    NO_REFERENCE = "no_reference_price"
    NO_PRICE = "no_usd_price"
    TANK = "gas_tank"
    BUDGET = "global_budget"
    RULE_NOTIONAL = "limit_notional"
    RULE_GAS = "limit_gas"
    RULE_BID = "limit_bid"
    RULE_LOSS = "limit_loss"
    RULE_OPEN = "limit_open"
    RULE_MESSAGES = "limit_messages"
    RULE_INVENTORY = "limit_inventory"
    RULE_CONCENTRATION = "limit_concentration"


class References(Protocol):
    """Prices that do not come from the pool that is asked about."""

    def rate(self, hop: Hop) -> float | None:
        """Units of ``hop.token_out`` for one of ``hop.token_in``; None where nobody else says."""
        ...


@dataclass(frozen=True, slots=True)
class ChainCondition:
    """What the engine knows of a chain when it asks.

    ``freshness`` is the market's level of the plan's pools (ready, delayed, stale); ``halted`` says why, or is
    empty; ``books_problem`` is the ledger's, or empty. ``wrapped_native`` is what the native coin of Uniswap V4's
    pools is worth one to one; without it the two are different tokens. ``references`` gives the prices of the
    collar, ``native_usd`` what the native coin is worth for limits over all chains.
    """

    head_number: int
    head_hash: Hash
    freshness: str
    halted: str = ""
    books_problem: str = ""
    wrapped_native: Address | None = None
    references: "References | None" = None
    native_usd: float | None = None

    def one_token(self, one: Address, other: Address) -> bool:
        """Whether they are the same, or the native coin and its wrapped form, which the executor exchanges."""
        return one == other or {one, other} == {_NATIVE, self.wrapped_native}


class Exposure(NamedTuple):
    """What is at stake on the plan's chain already: approvals in flight and today's net result."""

    open_attempts: int
    in_flight_loss_wei: int
    net_today_wei: int
    reverts_last_hour: int = 0
    wasted_gas_last_hour_wei: int = 0


class Intent(NamedTuple):
    """One question to the gate."""

    plan: Plan
    condition: ChainCondition
    exposure: Exposure
    limits: RiskConfig
    mode: Mode


Verdict = tuple[Reason, str] | None
Check = Callable[[Intent], Verdict]


def worst_loss_wei(plan: Plan) -> int:
    """The most that the plan can cost: all its gas at the highest price, for nothing in return."""
    return plan.gas_limit * plan.fee.max_fee_per_gas_wei


def notional_native_wei(plan: Plan) -> int:
    """What the plan spends of its profit token, in native wei at the price of its own profit, rounded up.

    Of a cycle that is its first input. A netted batch may turn over more in other tokens: see ``turnover``.
    """
    spent = plan.notional_wei if plan.shape == "cycle" else turnover_in_profit_token(plan)
    return -(-spent * plan.value_native_wei // plan.gross_profit_wei)


def turnover_in_profit_token(plan: Plan) -> int:
    """The inputs of a netted batch in its profit token, rounded up: the largest sum that any token sees.

    Other tokens are valued by the batch's own trades, from the profit token outwards; what they do not reach
    can't be valued, and the plan is refused for it before (see ``netted_problem``).
    """
    rate: dict[Address, Fraction] = {plan.profit_token: Fraction(1)}
    left = list(plan.hops)
    while left:
        waiting: list[Hop] = []
        for hop in left:
            if hop.token_in in rate:
                rate.setdefault(hop.token_out, rate[hop.token_in] * hop.amount_in_wei / hop.amount_out_wei)
            elif hop.token_out in rate:
                rate[hop.token_in] = rate[hop.token_out] * hop.amount_out_wei / hop.amount_in_wei
            else:
                waiting.append(hop)
        if len(waiting) == len(left):
            break
        left = waiting
    spent: dict[Address, Fraction] = {}
    for hop in plan.hops:
        if hop.token_in in rate:
            spent[hop.token_in] = spent.get(hop.token_in, Fraction(0)) + rate[hop.token_in] * hop.amount_in_wei
    largest = max(spent.values(), default=Fraction(0))
    return -(-largest.numerator // largest.denominator)


def check_mode(intent: Intent) -> Verdict:
    """Observing means looking only."""
    if intent.mode is Mode.OBSERVE:
        return Reason.MODE, "mode is observe: plans are found and counted, never sent"
    return None


def check_chain(intent: Intent) -> Verdict:
    """Halts, books that can't be written, and sources that are not current."""
    condition = intent.condition
    if condition.halted:
        return Reason.HALTED, f"{intent.plan.chain} is halted: {condition.halted}"
    if condition.books_problem:
        return Reason.BOOKS, condition.books_problem
    # Anything but the two known good levels is stale, also a level that this code does not know.
    if condition.freshness not in ("ready", "delayed"):
        return Reason.STALE, f"{intent.plan.chain}: its source is {condition.freshness or 'of unknown age'}"
    return None


def check_block(intent: Intent) -> Verdict:
    """The plan's block is on the chain we see, and the block it must land in is still to come."""
    plan, head = intent.plan, intent.condition
    if plan.found_at_number > head.head_number:
        return Reason.ORPHANED, f"found at block {plan.found_at_number}, but the head is {head.head_number}"
    if plan.found_at_number == head.head_number and plan.found_at_hash != head.head_hash:
        return Reason.ORPHANED, f"found at a block {plan.found_at_number} that is no longer the head"
    if plan.max_block_number <= head.head_number:
        return Reason.EXPIRED, f"last possible block {plan.max_block_number}, the head is {head.head_number}"
    return None


def check_sanity(intent: Intent) -> Verdict:
    """The plan means what it says: hops chain up into a cycle, amounts and gas add up."""
    plan = intent.plan
    if plan.shape == "cycle":
        wrong = _wrong_path(plan, intent.condition)
        gross = 0 if wrong else plan.hops[-1].amount_out_wei - plan.hops[0].amount_in_wei
    else:
        wrong, gross = netted_problem(plan, intent.condition)
    wrong = wrong or _wrong_amounts(plan, gross)
    return (Reason.BAD_PLAN, wrong) if wrong else None


def check_profit(intent: Intent) -> Verdict:
    """At least the configured net, and never nothing."""
    floor = max(1, intent.limits.min_net_profit_wei)
    net = intent.plan.expected_net_native_wei
    if net < floor:
        return Reason.NOT_PROFITABLE, f"expected net {net} wei, at least {floor} is asked"
    return None


def check_notional(intent: Intent) -> Verdict:
    """Size of the trade."""
    notional, limit = notional_native_wei(intent.plan), intent.limits.max_notional_wei
    if notional > limit:
        return Reason.NOTIONAL, f"notional {notional} wei, the limit is {limit}"
    return None


def check_gas(intent: Intent) -> Verdict:
    """What the transaction may cost in gas."""
    cost, limit = worst_loss_wei(intent.plan), intent.limits.max_gas_cost_wei
    if cost > limit:
        return Reason.GAS, f"gas may cost {cost} wei, the limit is {limit}"
    return None


def check_open_attempts(intent: Intent) -> Verdict:
    """Approvals without a final outcome, this one included."""
    count, limit = intent.exposure.open_attempts + 1, intent.limits.max_open_attempts
    if count > limit:
        return Reason.OPEN_ATTEMPTS, f"{count - 1} attempts are open, the limit is {limit}"
    return None


def check_daily_loss(intent: Intent) -> Verdict:
    """Even if everything in flight and this plan lost all its gas, the day's loss stays within the limit.

    Today's profit is no allowance: what is in flight over midnight is lost on a day that has no profit yet.
    """
    exposure, limit = intent.exposure, intent.limits.max_daily_loss_wei
    worst = exposure.in_flight_loss_wei + worst_loss_wei(intent.plan) + max(0, -exposure.net_today_wei)
    if worst > limit:
        return Reason.DAILY_LOSS, (
            f"today's net is {exposure.net_today_wei} wei and {exposure.in_flight_loss_wei} wei are in flight: "
            f"the day's loss could reach {worst} wei, the limit is {limit}"
        )
    return None


def check_failures(intent: Intent) -> Verdict:
    """Failing must stop by itself: profit of the day is no licence to burn gas on what doesn't work."""
    exposure, limits = intent.exposure, intent.limits
    if exposure.reverts_last_hour >= limits.max_reverts_per_hour:
        return Reason.REVERTS, (
            f"{exposure.reverts_last_hour} trades reverted within the hour though nobody moved their pools, the "
            f"limit is {limits.max_reverts_per_hour}: look at `ouro ledger` before trading on"
        )
    wasted, limit = exposure.wasted_gas_last_hour_wei, limits.max_wasted_gas_per_hour_wei
    if wasted >= limit:
        return Reason.WASTED_GAS, f"failed trades paid {wasted} wei for gas within the hour, the limit is {limit}"
    return None


# Sanity comes before everything that computes with the plan's amounts.
CHECKS: tuple[Check, ...] = (
    check_mode,
    check_chain,
    check_sanity,
    check_block,
    check_profit,
    check_notional,
    check_gas,
    check_open_attempts,
    check_daily_loss,
    check_failures,
)


def _wrong_path(plan: Plan, condition: ChainCondition) -> str:
    hops = plan.hops
    if len(hops) < 2:
        return "a cycle has at least two hops"
    ends = (hops[0].token_in, hops[-1].token_out)
    if not all(condition.one_token(token, plan.profit_token) for token in ends):
        return "the path does not begin and end with the profit token"
    if len({hop.pool for hop in hops}) != len(hops):
        return "a pool is used twice"
    for position, hop in enumerate(hops):
        wrong = _wrong_hop(hop) or (_wrong_joint(hops[position - 1], hop, condition) if position else "")
        if wrong:
            return f"hop {position}: {wrong}"
    return ""


def _wrong_hop(hop: Hop) -> str:
    if hop.amount_in_wei <= 0 or hop.amount_out_wei <= 0:
        return "an amount is not positive"
    if hop.token_in == hop.token_out or hop.i == hop.j:
        return "it swaps a token for itself"
    return ""


def _wrong_joint(before: Hop, hop: Hop, condition: ChainCondition) -> str:
    if not condition.one_token(before.token_out, hop.token_in):
        return "its token is not what the hop before brings"
    if before.amount_out_wei != hop.amount_in_wei:
        return "its amount is not what the hop before brings"
    return ""


def netted_problem(plan: Plan, condition: ChainCondition) -> tuple[str, int]:
    """Why a netted plan's trades don't conserve its tokens (empty: they do), and its gross profit.

    Exact: summed over the trades, no token may be short by a single unit, and no other than the profit token may be
    left over but for rounding (``DUST_UNITS``, or ``DUST_PPM`` of what is traded of it), because nothing may rest
    in the executor. All trades have to hang together with the profit token.
    """
    if plan.shape != "netted":
        return f"its shape {plan.shape!r} is not known", 0
    hops = plan.hops
    if not 2 <= len(hops) <= MAX_NETTED_HOPS:
        return f"a netted plan has 2 to {MAX_NETTED_HOPS} trades, this one {len(hops)}", 0
    if len({hop.pool for hop in hops}) != len(hops):
        return "a pool is used twice", 0
    profit, brought, spent = _one_name(plan.profit_token, condition), Counter[Address](), Counter[Address]()
    joined: dict[Address, Address] = {}

    def root(token: Address) -> Address:
        while joined.get(token, token) != token:
            token = joined[token]
        return token

    for position, hop in enumerate(hops):
        wrong = _wrong_hop(hop)
        if wrong:
            return f"hop {position}: {wrong}", 0
        ends = [_one_name(token, condition) for token in (hop.token_in, hop.token_out)]
        spent[ends[0]] += hop.amount_in_wei
        brought[ends[1]] += hop.amount_out_wei
        joined[root(ends[0])] = root(ends[1])
    for token in brought.keys() | spent.keys():
        if root(token) != root(profit):
            return f"what it trades of {token} has nothing to do with the profit token", 0
        left = brought[token] - spent[token]
        if left < 0:
            return f"{-left} of {token} are missing", 0
        if token != profit and left > max(DUST_UNITS, brought[token] * DUST_PPM // 1_000_000):
            return f"{left} of {token} would be left in the executor", 0
    return "", brought[profit] - spent[profit]


def _one_name(token: Address, condition: ChainCondition) -> Address:
    """The wrapped coin's address for the native one, which the executor exchanges."""
    return condition.wrapped_native if token == _NATIVE and condition.wrapped_native else token


def _wrong_amounts(plan: Plan, gross: int) -> str:
    if gross <= 0 or gross != plan.gross_profit_wei:
        return f"the hops bring {gross}, the plan says {plan.gross_profit_wei}"
    if plan.bribe_wei < 0 or plan.loan_fee_wei < 0:
        return f"a bribe of {plan.bribe_wei} and a loan's fee of {plan.loan_fee_wei} can't be negative"
    if not 0 < plan.min_profit_wei <= plan.predicted_profit_wei:
        return f"the contract's floor {plan.min_profit_wei} is not within the profit {plan.predicted_profit_wei}"
    if plan.value_native_wei <= 0:
        return "its profit has no price in the native coin"
    if plan.expected_net_native_wei > plan.predicted_value_native_wei:
        return "its net is more than its gross"
    if not 0 < plan.expected_gas <= plan.gas_limit:
        return f"expected gas {plan.expected_gas} is not within the limit {plan.gas_limit}"
    fee = plan.fee
    if fee.max_fee_per_gas_wei <= 0 or not 0 <= fee.max_priority_fee_per_gas_wei <= fee.max_fee_per_gas_wei:
        return "its fees contradict each other"
    return "" if plan.calldata else "it has no calldata"
