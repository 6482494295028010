"""The figures of a run, computed from the books and from nothing else."""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ouro.ledger.books import Books, ChainActivity, gross_native_wei
from ouro.ledger.records import AttemptRecord
from ouro.types import OutcomeKind

_WEI_PER_COIN = 10**18
_NO_ACTIVITY = ChainActivity(0, 0, 0, 0, 0, None, None)
_PERCENTILES = (("p50", 50), ("p99", 99))


def summary(
    books: Books, session: str | None = None, *, native_usd: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """All figures of one session (or of all of them) in the shape of ``ouro report --json``.

    Amounts are exact integers in native wei. ``success_rate`` is landed / trades with a final outcome, None without
    any. ``net_profit_usd`` is None where no price is known (``native_usd`` by chain overrides the recorded ones).
    The reconciliation figure is the largest of each chain's latest comparison, None while a chain that traded was
    never compared; it rests on ``balances_compared`` balances, and on paper there are none.
    Cancels count in gas and net profit, not as attempts.
    """
    records = books.attempts(session=session)
    activity = books.activity(session)
    refusals = books.refusals(session=session)
    checks = books.last_reconciliations(session)
    by_chain: dict[str, list[AttemptRecord]] = defaultdict(list)
    for record in records:
        by_chain[record.attempt.chain].append(record)
    names = sorted({*by_chain, *activity, *refusals, *checks})
    chains: dict[str, Any] = {}
    for name in names:
        price = (native_usd or {}).get(name)
        decided_us = books.decided_latencies_us(name, session)
        seen = activity.get(name, _NO_ACTIVITY)
        chains[name] = _chain_summary(seen, by_chain[name], refusals.get(name, {}), decided_us, price)
    unchecked = [name for name in by_chain if by_chain[name] and name not in checks]
    largest = max((check.max_abs_difference_wei for check in checks.values()), default=None)
    return {
        "chains": chains,
        "max_abs_reconciliation_difference_wei": None if unchecked else largest,
        "balances_compared": sum(check.balances_checked for check in checks.values()),
        "seconds": _seconds(books, session),
    }


def summary_json(figures: Mapping[str, Any]) -> str:
    """One line of JSON; wei stay integers of any size."""
    return json.dumps(figures, allow_nan=False)


def _chain_summary(
    activity: ChainActivity,
    records: Sequence[AttemptRecord],
    refused: Mapping[str, int],
    decided_us: "array[int]",
    price_usd: float | None,
) -> dict[str, Any]:
    trades = [record for record in records if record.is_trade]
    kinds = Counter(record.outcome.kind for record in trades if record.outcome is not None)
    final = kinds.total()
    gross_wei = sum(gross_native_wei(record) for record in trades)
    gas_wei = sum(record.outcome.gas_cost_wei for record in records if record.outcome is not None)
    usd = activity.native_usd if price_usd is None else price_usd
    return {
        "blocks": activity.blocks,
        "blocks_decided": activity.blocks_decided,
        "pools": activity.pools,
        "cycles": activity.cycles,
        "opportunities": activity.opportunities,
        "refused": dict(refused),
        "attempts": len(trades),
        **{kind.value: kinds[kind] for kind in OutcomeKind},
        "success_rate": kinds[OutcomeKind.LANDED] / final if final else None,
        "gross_profit_wei": gross_wei,
        "net_profit_wei": gross_wei - gas_wei,
        "net_profit_usd": _usd(gross_wei - gas_wei, usd),
        "gas_spent_wei": gas_wei,
        "predicted_equals_executed": sum(predicted_equals_executed(record) for record in trades),
        "latency_ms": {
            "decided": percentiles_ms(decided_us),
            "signed": percentiles_ms(record.signed_us for record in trades if record.signed_us is not None),
            "sent": percentiles_ms(record.sent_us for record in trades if record.sent_us is not None),
        },
    }


def predicted_equals_executed(record: AttemptRecord) -> bool:
    """Whether a landed trade's amounts, as its receipt shows them, are those of its plan to the wei."""
    if record.plan is None or record.outcome is None or record.outcome.kind is not OutcomeKind.LANDED:
        return False
    hops = record.plan.hops
    predicted = (*(hop.amount_in_wei for hop in hops), hops[-1].amount_out_wei)
    return record.outcome.realised_amounts_wei == predicted


def percentiles_ms(latencies_us: Iterable[int]) -> dict[str, float | None]:
    """Exact nearest-rank p50 and p99, and the largest; None without any."""
    ordered = sorted(latencies_us)
    result: dict[str, float | None] = {"p50": None, "p99": None, "max": None}
    if not ordered:
        return result
    for name, percent in _PERCENTILES:
        # The smallest value that at least this share does not exceed; integers, so that no rounding moves the rank.
        rank = -(-percent * len(ordered) // 100)
        result[name] = ordered[rank - 1] / 1000
    result["max"] = ordered[-1] / 1000
    return result


def _usd(amount_wei: int, price_usd: float | None) -> float | None:
    if price_usd is None:
        return None
    return float(Decimal(amount_wei) / _WEI_PER_COIN * Decimal(price_usd))


def _seconds(books: Books, session: str | None) -> float:
    runs = [run for run in books.sessions() if session is None or run.session_id == session]
    return sum((run.ended_at_ms or run.last_seen_ms) - run.started_at_ms for run in runs) / 1000
