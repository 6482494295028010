"""What a day or a month brought: figures from the books, the bills of the configuration, and the targets."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ouro.config.costs import CostsConfig, PhaseTarget
from ouro.ledger.books import Books, net_native_wei
from ouro.ledger.errors import LedgerError
from ouro.ledger.marks import inventory_marks
from ouro.ledger.pnl import Attribution, Transaction, book_transaction, total
from ouro.ledger.records import AttemptRecord
from ouro.ledger.report import percentiles_ms
from ouro.ledger.stats import wilson_lower
from ouro.ledger.uptime import Span, covered_ms
from ouro.ledger.usage import LimitUse, limits_used
from ouro.types import PAPER_LANE, OutcomeKind

_COIN = 10**18
_PPM = 1_000_000
_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Period:
    """A UTC day or month: ``from_ms`` up to, not including, ``to_ms``; ``until_ms`` is how far it has come."""

    name: str
    from_ms: int
    to_ms: int
    until_ms: int
    month_days: int

    @property
    def elapsed_ms(self) -> int:
        """How long it has lasted."""
        return max(0, self.until_ms - self.from_ms)

    def __contains__(self, at_ms: object) -> bool:
        return isinstance(at_ms, int) and self.from_ms <= at_ms < self.to_ms


def period_of(kind: str, date: str | None, now_ms: int) -> Period:
    """``kind`` day or month; ``date`` YYYY-MM-DD (a month: YYYY-MM, too), by default the running one. UTC.

    Raises `LedgerError` naming what is wrong with the date.
    """
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    begin = now if date is None else _date(kind, date)
    if kind == "day":
        begin = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        end, name = begin + timedelta(days=1), f"{begin:%Y-%m-%d}"
    else:
        begin = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end, name = _next_month(begin), f"{begin:%Y-%m}"
    first = begin.replace(day=1)
    from_ms, to_ms = int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000
    if from_ms > now_ms:
        raise LedgerError(
            f"--{kind} {name}: it has not begun (it is {now:%Y-%m-%d %H:%M} UTC); name an earlier one"
        )
    return Period(name, from_ms, to_ms, min(to_ms, now_ms), (_next_month(first) - first).days)


def _date(kind: str, text: str) -> datetime:
    for form in ("%Y-%m-%d",) if kind == "day" else ("%Y-%m", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    example = "2026-11-23" if kind == "day" else "2026-11"
    raise LedgerError(f"--{kind} {text!r}: it is no date; write it like {example}")


def _next_month(first: datetime) -> datetime:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1)


@dataclass(frozen=True, slots=True)
class ChainLimits:
    """What is needed of a chain's limits: the risk capital that drawdown is measured on, and the limits' values."""

    capital_wei: int
    max_notional_wei: int
    max_gas_cost_wei: int
    max_daily_loss_wei: int
    max_open_attempts: int


def period_report(
    books: Books,
    period: Period,
    *,
    costs: CostsConfig,
    limits: Mapping[str, ChainLimits],
    halts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Everything `ouro.ledger.period_tables` shows, as one JSON object; amounts are exact integers.

    Transactions count in the period in which their standing outcome was booked. ``halts`` is the history of the
    store of halts. Paper results are told apart and never added to real ones.
    """
    records = [
        record
        for record in books.attempts(booked_since_ms=period.from_ms)
        if (record.outcome_at_ms or 0) in period and record.outcome is not None
    ]
    real = [record for record in records if record.attempt.lane != PAPER_LANE]
    paper = [record for record in records if record.attempt.lane == PAPER_LANE]
    shown, basis = (real, "live") if real or not paper else (paper, "paper")
    entries = books.entries([record.attempt.attempt_id for record in shown])
    booked = [book_transaction(record, entries.get(record.attempt.attempt_id, ())) for record in shown]
    marks = inventory_marks(shown)
    activity = books.activity()
    prices = {name: chain.native_usd for name, chain in activity.items()}
    by_chain = _grouped(booked, lambda item: (item.record.attempt.chain,))
    spans = books.spans(period.from_ms, period.to_ms)
    names = sorted({*limits, *(key[0] for key in by_chain)})
    chains = {
        name: _chain(by_chain.get((name,), []), marks.get(name, 0), prices.get(name), spans.get(name, []), period)
        for name in names
    }
    for name, values in chains.items():
        capital_wei = limits[name].capital_wei if name in limits else 0
        values["drawdown_ppm"] = drawdown_ppm([item.record for item in by_chain.get((name,), [])], capital_wei)
    bills = _bills(costs, period)
    money = _money(chains, bills)
    return {
        "period": {**asdict(period), "elapsed_ms": period.elapsed_ms},
        "basis": basis,
        "chains": chains,
        "strategies": _breakdown(booked, lambda item: (item.record.attempt.chain, strategy_of(item.record))),
        "tokens": _breakdown(booked, lambda item: (item.record.attempt.chain, _token_of(item.record))),
        "bills": bills,
        "money": money,
        "limits": [
            asdict(use)
            for name in names
            if name in limits
            for use in _uses(name, limits[name], [item.record for item in by_chain.get((name,), [])])
        ],
        "refusals": books.refusals_between(period.from_ms, period.to_ms),
        "halts": [dict(event) for event in halts if event.get("at_ms") in period],
        "reconciliation": books.reconciled_between(period.from_ms, period.to_ms),
        "unexplained": [
            {"attempt": item.record.attempt.attempt_id, "token": posting.token, "wei": posting.amount_wei}
            for item in booked
            for posting in item.residuals
        ],
        "phases": _phases(costs.phases, chains, money, period),
    }


def transactions_of(books: Books, period: Period) -> list[Transaction]:
    """Each transaction of a period in double entry, oldest first."""
    records = [
        record
        for record in books.attempts(booked_since_ms=period.from_ms)
        if (record.outcome_at_ms or 0) in period and record.outcome is not None
    ]
    entries = books.entries([record.attempt.attempt_id for record in records])
    return [book_transaction(record, entries.get(record.attempt.attempt_id, ())) for record in records]


def strategy_of(record: AttemptRecord) -> str:
    """What the plan was found by; a cancel without its plan is nobody's."""
    return record.plan.strategy if record.plan is not None else "none"


def drawdown_ppm(records: Iterable[AttemptRecord], capital_wei: int) -> int | None:
    """The largest fall of net equity (risk capital plus results) below its peak, in ppm of the peak, rounded up."""
    if capital_wei <= 0:
        return None
    equity = peak = capital_wei
    worst = 0
    for record in sorted(records, key=lambda item: item.outcome_at_ms or 0):
        equity += net_native_wei(record)
        peak = max(peak, equity)
        worst = max(worst, -(-(peak - equity) * _PPM // peak))
    return worst


# ---------------------------------------------------------------------------------------------------- pieces


def _token_of(record: AttemptRecord) -> str:
    return record.plan.profit_token if record.plan is not None else "none"


def _grouped(booked: Sequence[Transaction], key: Any) -> dict[tuple[str, ...], list[Transaction]]:
    groups: dict[tuple[str, ...], list[Transaction]] = defaultdict(list)
    for item in booked:
        groups[key(item)].append(item)
    return groups


def _breakdown(booked: Sequence[Transaction], key: Any) -> list[dict[str, Any]]:
    return [
        {"chain": group[0], "name": group[1], **_efficiency(items), **_parts(items, 0)}
        for group, items in sorted(_grouped(booked, key).items())
    ]


def _parts(items: Sequence[Transaction], mark_wei: int) -> dict[str, int]:
    return (total(item.attribution for item in items) + Attribution(inventory_mark_wei=mark_wei)).as_json()


def _efficiency(items: Sequence[Transaction]) -> dict[str, Any]:
    """Attempts against what came of them. The cost of a success is all that all attempts paid."""
    trades = [item.record for item in items if item.record.is_trade]
    kinds = dict.fromkeys(OutcomeKind, 0)
    for record in trades:
        if record.outcome is not None:
            kinds[record.outcome.kind] += 1
    landed = kinds[OutcomeKind.LANDED]
    parts = total(item.attribution for item in items)
    cost = parts.gas_l1_wei + parts.gas_l2_wei + parts.bid_wei + parts.bribe_wei + parts.failed_attempts_wei
    return {
        "attempts": len(trades),
        **{kind.value: count for kind, count in kinds.items()},
        "success_ppm": landed * _PPM // len(trades) if trades else None,
        "success_lower_95_ppm": int(wilson_lower(landed, len(trades)) * _PPM) if trades else None,
        "attempts_per_success_ppm": len(trades) * _PPM // landed if landed else None,
        "cost_per_success_wei": -(-cost // landed) if landed else None,
    }


def _chain(
    items: Sequence[Transaction],
    mark_wei: int,
    native_usd: float | None,
    spans: Sequence[Span],
    period: Period,
) -> dict[str, Any]:
    parts = _parts(items, mark_wei)
    sent_us = [item.record.sent_us for item in items if item.record.is_trade and item.record.sent_us is not None]
    covered, expected = covered_ms(spans, period.from_ms, period.until_ms)
    return {
        **_efficiency(items),
        **parts,
        "native_usd": native_usd,
        "net_usd_cents": usd_cents(parts["net_wei"], native_usd),
        "execution_ms": percentiles_ms(sent_us),
        "uptime_ppm": covered * _PPM // expected if expected else None,
        "up_ms": covered,
        "expected_up_ms": expected,
    }


def usd_cents(amount_wei: int, native_usd: float | None) -> int | None:
    """The worth in whole cents, rounded down; None without a price."""
    if native_usd is None:
        return None
    # The price is a float; its exact binary value times an integer is exact in integers.
    numerator, denominator = native_usd.as_integer_ratio()
    return amount_wei * 100 * numerator // (denominator * _COIN)


def _bills(costs: CostsConfig, period: Period) -> list[dict[str, Any]]:
    month_ms = period.month_days * 86_400_000
    return [
        {
            "name": item.name,
            "kind": item.kind,
            "chain": item.chain,
            "usd_cents_per_month": item.usd_cents_per_month,
            "charged_usd_cents": -(-item.usd_cents_per_month * period.elapsed_ms // month_ms),
        }
        for item in costs.items
    ]


def _money(chains: Mapping[str, Mapping[str, Any]], bills: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    trading: int | None = 0
    for values in chains.values():
        cents = values["net_usd_cents"] if values["net_wei"] else 0
        trading = None if trading is None or cents is None else trading + cents
    charged = sum(bill["charged_usd_cents"] for bill in bills)
    return {
        "trading_usd_cents": trading,
        "bills_usd_cents": charged,
        "net_usd_cents": None if trading is None else trading - charged,
    }


def _uses(chain: str, limits: ChainLimits, records: Sequence[AttemptRecord]) -> list[LimitUse]:
    return limits_used(
        chain,
        records,
        max_notional_wei=limits.max_notional_wei,
        max_gas_cost_wei=limits.max_gas_cost_wei,
        max_daily_loss_wei=limits.max_daily_loss_wei,
        max_open_attempts=limits.max_open_attempts,
    )


def _phases(
    phases: Sequence[PhaseTarget],
    chains: Mapping[str, Mapping[str, Any]],
    money: Mapping[str, Any],
    period: Period,
) -> list[dict[str, Any]]:
    """Each target with the worst of the chains; the profit is scaled to thirty days where the period is shorter."""
    attempts = sum(chain["attempts"] for chain in chains.values())
    landed = sum(chain["landed"] for chain in chains.values())
    success = landed * _PPM // attempts if attempts else None
    p99 = [chain["execution_ms"]["p99"] for chain in chains.values() if chain["execution_ms"]["p99"] is not None]
    uptimes = [chain["uptime_ppm"] for chain in chains.values() if chain["uptime_ppm"] is not None]
    drawdowns = [chain["drawdown_ppm"] for chain in chains.values() if chain["drawdown_ppm"] is not None]
    net = money["net_usd_cents"]
    month_ms = _MONTH_DAYS * 86_400_000
    monthly = None if net is None or not period.elapsed_ms else net * month_ms // max(period.elapsed_ms, 1)
    if period.elapsed_ms >= month_ms * 9 // 10:
        monthly = net
    rows = []
    for phase in phases:
        measured = {
            "success_ppm": (success, phase.success_ppm, _above(success, phase.success_ppm)),
            "execution_ms": (max(p99, default=None), phase.execution_ms, _below(max(p99, default=None), phase)),
            "uptime_ppm": (
                min(uptimes, default=None),
                phase.uptime_ppm,
                _above(min(uptimes, default=None), phase.uptime_ppm),
            ),
            "drawdown_ppm": _drawdown(max(drawdowns, default=None), phase.drawdown_ppm),
            "monthly_profit_usd_cents": _profit(monthly, phase),
        }
        rows.append(
            {
                "phase": phase.name,
                "targets": {
                    name: {"measured": value, "target": target, "met": met}
                    for name, (value, target, met) in measured.items()
                },
            }
        )
    return rows


def _above(value: int | None, target: int) -> bool | None:
    return None if value is None else value > target


def _below(value: float | None, phase: PhaseTarget) -> bool | None:
    return None if value is None else value < phase.execution_ms


def _drawdown(value: int | None, target: int) -> tuple[int | None, int, bool | None]:
    return value, target, None if value is None else value < target


def _profit(value: int | None, phase: PhaseTarget) -> tuple[int | None, Any, bool | None]:
    low, high = phase.profit_from_usd_cents, phase.profit_to_usd_cents
    met = None if value is None or low is None else value >= low
    return value, None if low is None else [low, high], met
