"""From what was found to figures: amounts hop by hop, the way from the gross value to the net result, times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ouro.ledger.records import AttemptRecord, native_value_wei
from ouro.monitoring.story.find import Found
from ouro.monitoring.story.reasons import OUTCOMES, meaning
from ouro.types import AttemptKind, Outcome, OutcomeKind, Plan

REDACTED = "redacted while it may still land (--show-open shows it)"
_MS_PER_US = 1_000


@dataclass(frozen=True, slots=True)
class Names:
    """What tokens of a chain are called, and their decimals; by lower-case address."""

    symbols: Mapping[str, str]
    decimals: Mapping[str, int]


NO_NAMES = Names({}, {})


def is_open(found: Found) -> bool:
    """Whether an attempt of it may still land."""
    return any(record.outcome is None for record in found.records)


def story(found: Found, names: Names = NO_NAMES, *, show_open: bool = False) -> dict[str, Any]:
    """JSON-safe; amounts are exact integers in the unit that their key names. What may still land is redacted
    unless ``show_open``."""
    hidden = is_open(found) and not show_open
    trades = [record for record in found.records if record.attempt.kind is AttemptKind.TRADE]
    told: dict[str, Any] = {
        "id": found.plan_id,
        "chain": found.chain,
        "verdict": _verdict(found, trades),
        "seen": _seen(found, trades),
        "worth": REDACTED if hidden else _worth(found, names),
        "hops": REDACTED if hidden else _hops(found, trades, names),
        "refused": [
            {"reason": item.reason, "meaning": meaning(item.reason), "detail": item.detail, "at_ms": item.at_ms}
            for item in found.refusals
        ],
        "attempts": [_attempt(record, found, hidden=hidden) for record in found.records],
        "waterfall_native_wei": REDACTED if hidden else waterfall(found, trades),
    }
    return told


def _verdict(found: Found, trades: list[AttemptRecord]) -> str:
    if trades:
        last = trades[-1]
        return last.outcome.kind.value if last.outcome is not None else "open"
    if found.refusals:
        return "refused"
    return "approved" if found.approved else "found"


def _seen(found: Found, trades: list[AttemptRecord]) -> dict[str, Any]:
    plan = found.plan
    at_ms = None
    for record in trades:
        if record.signed_us is not None:
            at_ms = record.journaled_at_ms - record.signed_us // _MS_PER_US
            break
    if at_ms is None:
        at_ms = found.decided_at_ms or next((item.at_ms for item in found.refusals if item.at_ms), None)
    block = plan.found_at_number if plan is not None else _block_in(found.plan_id)
    return {"at_ms": at_ms, "block": block, "block_hash": plan.found_at_hash if plan is not None else None}


def _block_in(plan_id: str) -> int | None:
    parts = plan_id.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None


def _worth(found: Found, names: Names) -> dict[str, Any] | None:
    plan = found.plan
    if plan is None:
        if found.opportunity is None:
            return None
        return {
            "gross_profit_wei": int(found.opportunity.get("gross_wei", 0)),
            "expected_net_native_wei": found.expected_net_wei,
        }
    return {
        "gross_profit_wei": plan.gross_profit_wei,
        "profit_token": plan.profit_token,
        "profit_symbol": names.symbols.get(plan.profit_token, ""),
        "profit_decimals": names.decimals.get(plan.profit_token),
        "value_native_wei": plan.value_native_wei,
        "min_profit_wei": plan.min_profit_wei,
        "expected_gas": plan.expected_gas,
        "max_fee_per_gas_wei": plan.fee.max_fee_per_gas_wei,
        "expected_net_native_wei": plan.expected_net_native_wei,
        "max_block": plan.max_block_number,
    }


def _hops(found: Found, trades: list[AttemptRecord], names: Names) -> list[dict[str, Any]]:
    plan = found.plan
    if plan is None:
        return _hops_of_trail(found)
    realised = _realised(plan, trades)
    result = []
    for place, hop in enumerate(plan.hops):
        row: dict[str, Any] = {
            "pool": hop.pool,
            "family": hop.family,
            "token_in": hop.token_in,
            "token_out": hop.token_out,
            "symbol_in": names.symbols.get(hop.token_in, ""),
            "symbol_out": names.symbols.get(hop.token_out, ""),
            "decimals_in": names.decimals.get(hop.token_in),
            "decimals_out": names.decimals.get(hop.token_out),
            "planned_in_wei": hop.amount_in_wei,
            "planned_out_wei": hop.amount_out_wei,
        }
        if realised:
            row |= {"realised_in_wei": realised[place], "realised_out_wei": realised[place + 1]}
        result.append(row)
    return result


def _hops_of_trail(found: Found) -> list[dict[str, Any]]:
    known = found.opportunity
    if known is None:
        return []
    amounts = [int(amount) for amount in known.get("amounts_wei", ())]
    pools = known.get("pools", ())
    if len(amounts) != len(pools) + 1:
        return [{"pool": pool} for pool in pools]
    pairs = zip(pools, amounts, amounts[1:], strict=False)
    return [{"pool": pool, "planned_in_wei": into, "planned_out_wei": out} for pool, into, out in pairs]


def _realised(plan: Plan, trades: list[AttemptRecord]) -> tuple[int, ...]:
    """The amounts of the receipt where there is one for each hop and the end; a split has others."""
    for record in trades:
        outcome = record.outcome
        if outcome is not None and outcome.kind is OutcomeKind.LANDED:
            amounts = outcome.realised_amounts_wei
            return amounts if len(amounts) == len(plan.hops) + 1 else ()
    return ()


def waterfall(found: Found, trades: list[AttemptRecord]) -> list[dict[str, Any]]:
    """From the worth of what was found to the net result; the steps sum to the last line exactly. Native wei.

    Of what did not land only what it cost is left; cancels count.
    """
    plan = found.plan
    outcomes = [record.outcome for record in found.records if record.outcome is not None]
    gas_wei = sum(outcome.gas_cost_wei for outcome in outcomes)
    landed = next(
        (item.outcome for item in trades if item.outcome and item.outcome.kind is OutcomeKind.LANDED), None
    )
    if plan is None or not outcomes:
        return []
    steps: list[tuple[str, int]] = []
    realised = 0
    if landed is not None:
        realised = native_value_wei(plan, landed.realised_profit_wei)
        loan, bribe = native_value_wei(plan, plan.loan_fee_wei), native_value_wei(plan, plan.bribe_wei)
        kept = plan.value_native_wei - loan - bribe
        steps += [("worth as found", plan.value_native_wei), ("loan fee", -loan), ("bribe", -bribe)]
        steps += [("moved before inclusion", realised - kept)]
    steps.append(("gas", -gas_wei))
    shown = [{"step": name, "wei": wei} for name, wei in steps if wei or name in ("worth as found", "gas")]
    return [*shown, {"step": "net", "wei": realised - gas_wei}]


def _attempt(record: AttemptRecord, found: Found, *, hidden: bool) -> dict[str, Any]:
    attempt, outcome = record.attempt, record.outcome
    times = {"decided": record.decided_us, "signed": record.signed_us, "sent": record.sent_us}
    told: dict[str, Any] = {
        "attempt_id": attempt.attempt_id,
        "kind": attempt.kind.value,
        "state": record.state,
        "lane": attempt.lane,
        "max_block": attempt.max_block_number,
        "journaled_at_ms": record.journaled_at_ms,
        "sent_at_ms": record.sent_at_ms,
        "since_socket_us": times,
        "replaces": attempt.replaces,
        "operator": REDACTED if hidden else attempt.operator,
        "nonce": REDACTED if hidden else attempt.nonce,
        "tx_hash": REDACTED if hidden else attempt.tx_hash,
        "outcome": None if outcome is None else _outcome(outcome, record),
    }
    if hidden:
        told["attempt_id"] = REDACTED
    withdrawn = [item for item, is_withdrawal in found.histories.get(attempt.attempt_id, ()) if is_withdrawal]
    told["withdrawn"] = [{"outcome": item.kind.value, "reason": item.reason} for item in withdrawn]
    return told


def _outcome(outcome: Outcome, record: AttemptRecord) -> dict[str, Any]:
    plan = record.plan
    expected = plan.expected_gas if plan is not None and record.is_trade else None
    return {
        "kind": outcome.kind.value,
        "meaning": OUTCOMES[outcome.kind.value],
        "reason": outcome.reason,
        "block": outcome.block_number,
        "block_hash": outcome.block_hash,
        "at_ms": record.outcome_at_ms,
        "gas_used": outcome.gas_used,
        "gas_expected": expected,
        "gas_cost_wei": outcome.gas_cost_wei,
        "realised_profit_wei": outcome.realised_profit_wei,
        "as_predicted": None
        if plan is None or outcome.kind is not OutcomeKind.LANDED
        else outcome.realised_profit_wei == plan.predicted_profit_wei,
    }
