"""How far limits were used, from what was sent and what became of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ouro.ledger.books import net_native_wei
from ouro.ledger.records import AttemptRecord

_DAY_MS = 86_400_000
_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class LimitUse:
    """The most that was used of one limit. ``unit`` is native_wei or attempts."""

    chain: str
    limit: str
    used: int
    maximum: int
    used_ppm: int
    unit: str


def limits_used(
    chain: str,
    records: Sequence[AttemptRecord],
    *,
    max_notional_wei: int,
    max_gas_cost_wei: int,
    max_daily_loss_wei: int,
    max_open_attempts: int,
) -> list[LimitUse]:
    """Largest trade, dearest gas, worst day and most attempts at once, each against its limit."""
    plans = [record.plan for record in records if record.plan is not None and record.is_trade]
    notionals = [
        -(-p.notional_wei * p.value_native_wei // p.gross_profit_wei) for p in plans if p.gross_profit_wei > 0
    ]
    gas = [plan.gas_limit * plan.fee.max_fee_per_gas_wei for plan in plans]
    days: dict[int, int] = defaultdict(int)
    for record in records:
        days[(record.outcome_at_ms or 0) // _DAY_MS] += net_native_wei(record)
    loss = max(0, -min(days.values(), default=0))
    found = (
        ("max_notional_wei", max(notionals, default=0), max_notional_wei, "native_wei"),
        ("max_gas_cost_wei", max(gas, default=0), max_gas_cost_wei, "native_wei"),
        ("max_daily_loss_wei", loss, max_daily_loss_wei, "native_wei"),
        ("max_open_attempts", _most_at_once(records), max_open_attempts, "attempts"),
    )
    return [
        LimitUse(chain, name, used, maximum, used * _PPM // maximum if maximum else 0, unit)
        for name, used, maximum, unit in found
    ]


def _most_at_once(records: Sequence[AttemptRecord]) -> int:
    """Trades between journal and the booking of their outcome."""
    changes: list[tuple[int, int]] = []
    for record in records:
        if record.is_trade and record.outcome_at_ms is not None:
            changes += [(record.journaled_at_ms, 1), (max(record.outcome_at_ms, record.journaled_at_ms + 1), -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
