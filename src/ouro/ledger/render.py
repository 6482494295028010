"""The books as tables for a terminal. Amounts are exact; only their decimal point is moved."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ouro.ledger.books import net_native_wei
from ouro.ledger.records import AttemptRecord
from ouro.ledger.report import predicted_equals_executed
from ouro.types import OutcomeKind

_STYLES = {
    OutcomeKind.LANDED: "green",
    OutcomeKind.LOST: "yellow",
    OutcomeKind.REVERTED: "red",
    OutcomeKind.EXPIRED: "dim",
    OutcomeKind.DROPPED: "dim",
}
_COUNTERS = (
    ("blocks", "blocks"),
    ("decided", "blocks_decided"),
    ("pools", "pools"),
    ("cycles", "cycles"),
    ("opportunities", "opportunities"),
    ("attempts", "attempts"),
    *((kind.value, kind.value) for kind in OutcomeKind),
    ("predicted = executed", "predicted_equals_executed"),
)


def attempts_table(records: Sequence[AttemptRecord], *, full: bool = False) -> RenderableType:
    """One line per attempt, oldest first; hashes and amounts are shortened unless ``full``."""
    if not records:
        return Text("no attempts in these books")
    table = Table(title=f"{len(records)} attempts", title_justify="left")
    for heading in ("when (UTC)", "chain", "kind", "nonce", "outcome", "block"):
        table.add_column(heading, justify="right" if heading in ("nonce", "block") else "left", no_wrap=not full)
    for heading in ("net (native)", "exact", "sent ms", "transaction"):
        justify = "left" if heading == "transaction" else "right"
        table.add_column(heading, justify=justify, no_wrap=not full, overflow="fold")
    for record in records:
        table.add_row(*_attempt_cells(record, full))
    return table


COLUMNS = (
    "journaled_at_ms",
    "chain",
    "kind",
    "operator",
    "nonce",
    "state",
    "outcome",
    "block_number",
    "net_native_wei",
    "gas_native_wei",
    "predicted_equals_executed",
    "decided_us",
    "signed_us",
    "sent_us",
    "reversals",
    "session_id",
    "attempt_id",
    "tx_hash",
)


def attempts_json(records: Sequence[AttemptRecord]) -> str:
    """An array of objects with the names of ``COLUMNS``; amounts are integers of any size."""
    return json.dumps([dict(zip(COLUMNS, _values(record), strict=True)) for record in records], indent=1) + "\n"


def attempts_csv(records: Sequence[AttemptRecord]) -> str:
    """``COLUMNS`` and a line per attempt, oldest first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_values(record) for record in records)
    return out.getvalue()


def _values(record: AttemptRecord) -> tuple[Any, ...]:
    attempt, outcome = record.attempt, record.outcome
    landed = outcome is not None and outcome.kind is OutcomeKind.LANDED and record.is_trade
    return (
        record.journaled_at_ms,
        attempt.chain,
        attempt.kind.value,
        attempt.operator,
        attempt.nonce,
        record.state,
        None if outcome is None else outcome.kind.value,
        None if outcome is None else outcome.block_number,
        None if outcome is None else net_native_wei(record),
        None if outcome is None else outcome.gas_cost_wei,
        predicted_equals_executed(record) if landed else None,
        record.decided_us,
        record.signed_us,
        record.sent_us,
        record.reversals,
        record.session_id,
        attempt.attempt_id,
        attempt.tx_hash,
    )


def summary_view(figures: Mapping[str, Any]) -> RenderableType:
    """`ouro.ledger.report.summary` as a table with a column per chain, refusals below."""
    chains: Mapping[str, Any] = figures["chains"]
    if not chains:
        return Text("these books are empty")
    table = Table(title=f"{figures['seconds']:.1f} s", title_justify="left")
    table.add_column("")
    for name in chains:
        table.add_column(name, justify="right")
    for label, key in _COUNTERS:
        table.add_row(label, *(f"{chain[key]:,}" for chain in chains.values()))
    table.add_row("success", *(_rate(chain["success_rate"]) for chain in chains.values()))
    for label, key in (
        ("gross profit", "gross_profit_wei"),
        ("gas", "gas_spent_wei"),
        ("net profit", "net_profit_wei"),
    ):
        table.add_row(f"{label} (native)", *(coins(chain[key]) for chain in chains.values()))
    table.add_row("net profit (USD)", *(_usd(chain["net_profit_usd"]) for chain in chains.values()))
    for stage in ("decided", "signed", "sent"):
        table.add_row(f"{stage}, p50 / p99 / max ms", *(_latency(c["latency_ms"][stage]) for c in chains.values()))
    return Group(table, *_refusals(chains), _reconciliation(figures))


def coins(amount_wei: int, decimals: int = 18) -> str:
    """``amount_wei`` with its decimal point, without rounding and without trailing zeros."""
    text = (
        f"{Decimal(amount_wei).scaleb(-decimals):f}"
        if abs(amount_wei) < 10**27
        else _long_coins(amount_wei, decimals)
    )
    return text.rstrip("0").rstrip(".") if "." in text else text


def _long_coins(amount_wei: int, decimals: int) -> str:
    # Beyond the digits that Decimal keeps by default.
    whole, rest = divmod(abs(amount_wei), 10**decimals)
    return f"{'-' if amount_wei < 0 else ''}{whole}.{rest:0{decimals}d}"


def _attempt_cells(record: AttemptRecord, full: bool) -> list[str | Text]:
    outcome = record.outcome
    kind = Text(outcome.kind.value, style=_STYLES[outcome.kind]) if outcome else Text(record.state, style="cyan")
    if record.reversals:
        kind.append(f" ({record.reversals} withdrawn)", style="magenta")
    exact = ""
    if outcome and outcome.kind is OutcomeKind.LANDED and record.is_trade:
        exact = "yes" if predicted_equals_executed(record) else "NO"
    return [
        datetime.fromtimestamp(record.journaled_at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S"),
        record.attempt.chain,
        record.attempt.kind.value,
        str(record.attempt.nonce),
        kind,
        str(outcome.block_number) if outcome and outcome.block_number is not None else "",
        "" if outcome is None else (coins if full else _short_coins)(net_native_wei(record)),
        exact,
        f"{record.sent_us / 1000:.1f}" if record.sent_us is not None else "",
        record.attempt.tx_hash if full else _short_hash(record.attempt.tx_hash),
    ]


def _short_hash(tx_hash: str) -> str:
    return f"{tx_hash[:8]}…{tx_hash[-4:]}"


def _short_coins(amount_wei: int) -> str:
    """Six decimals, rounded towards zero; the exact figure is in the books."""
    sign = "-" if amount_wei < 0 else ""
    micro = abs(amount_wei) // 10**12
    return f"{sign}{micro // 10**6}.{micro % 10**6:06d}"


def _refusals(chains: Mapping[str, Any]) -> list[RenderableType]:
    rows = [(count, name, reason) for name, c in chains.items() for reason, count in c["refused"].items()]
    if not rows:
        return []
    table = Table(title="refused", title_justify="left")
    table.add_column("chain")
    table.add_column("reason")
    table.add_column("times", justify="right")
    for count, name, reason in sorted(rows, key=lambda row: (-row[0], row[1], row[2])):
        # Text, because a reason is not markup.
        table.add_row(name, Text(reason), f"{count:,}")
    return [table]


def _reconciliation(figures: Mapping[str, Any]) -> Text:
    difference_wei, compared = figures["max_abs_reconciliation_difference_wei"], figures["balances_compared"]
    if difference_wei is None:
        return Text("books against chain: not compared", style="yellow")
    if not compared:
        return Text("books against chain: not compared (these books follow no balance on it)", style="dim")
    if difference_wei == 0:
        return Text(f"books against chain: equal to the wei ({compared} balances)", style="green")
    return Text(f"books against chain: they differ by up to {difference_wei} wei", style="bold red")


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _usd(value: float | None) -> str:
    return "no price" if value is None else f"{value:,.2f}"


def _latency(values: Mapping[str, float | None]) -> str:
    return " / ".join("–" if value is None else f"{value:.1f}" for value in values.values())
