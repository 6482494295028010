"""Tables as Markdown, CSV and HTML. What is shown may come from outside: it is escaped, and HTML loads nothing."""

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ouro.ledger.period_tables import TextTable, tables_of, title_of
from ouro.ledger.pnl import Transaction

_NUMBER = re.compile(r"-?[0-9][0-9,]*(\.[0-9]+)?")
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1b1b;"
    "background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}"
    "th,td{border:1px solid #c8c8c8;padding:.25rem .6rem;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}th{background:#f2f2f2}p.note{color:#555}"
    ".wide{overflow-x:auto}td.bad{background:#fbe3e1;font-weight:600}"
)


def to_markdown(report: Mapping[str, Any]) -> str:
    """For people who read text."""
    parts = [f"# {_md(title_of(report))}"]
    for table in tables_of(report):
        parts.append(f"## {_md(table.title)}")
        if table.rows:
            lines = [_md_row(table.headings), _md_row(["---"] * len(table.headings), escape=False)]
            parts.append("\n".join([*lines, *(_md_row(row) for row in table.rows)]))
        if table.note:
            parts.append(_md(table.note))
    return "\n\n".join(parts) + "\n"


def to_csv(report: Mapping[str, Any]) -> str:
    """Every table below the other, each row led by its table's title."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for table in tables_of(report):
        writer.writerow(["table", *map(_cell, table.headings)])
        writer.writerows([_cell(table.title), *map(_cell, row)] for row in table.rows)
    return out.getvalue()


def to_html(report: Mapping[str, Any]) -> str:
    """One page that needs nothing else."""
    body = "".join(_html_table(table) for table in tables_of(report))
    title = html.escape(title_of(report))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )


TRANSACTION_COLUMNS = (
    "booked_at_ms",
    "chain",
    "kind",
    "outcome",
    "block_number",
    "strategy",
    "profit_token",
    "gross_spread_wei",
    "flash_fee_wei",
    "bribe_wei",
    "gas_l2_wei",
    "gas_l1_wei",
    "bid_wei",
    "failed_attempts_wei",
    "residual_wei",
    "net_wei",
    "tx_hash",
)


def transactions_csv(booked: Sequence[Transaction]) -> str:
    """A line for each transaction, in native wei; for whoever keeps other books."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRANSACTION_COLUMNS)
    for item in booked:
        record, parts = item.record, item.attribution.as_json()
        outcome, plan = record.outcome, record.plan
        values: dict[str, Any] = {
            **parts,
            "booked_at_ms": record.outcome_at_ms,
            "chain": record.attempt.chain,
            "kind": record.attempt.kind.value,
            "outcome": None if outcome is None else outcome.kind.value,
            "block_number": None if outcome is None else outcome.block_number,
            "strategy": None if plan is None else plan.strategy,
            "profit_token": None if plan is None else plan.profit_token,
            "tx_hash": record.attempt.tx_hash,
        }
        writer.writerow([_cell(values[name]) for name in TRANSACTION_COLUMNS])
    return out.getvalue()


def _md(text: str) -> str:
    """Nothing in a cell is markup."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat)


def _md_row(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_md(cell) if escape else cell for cell in cells) + " |"


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is shown as text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def _html_table(table: TextTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in table.headings)
    rows = "".join("<tr>" + "".join(map(_html_cell, row)) + "</tr>" for row in table.rows)
    shown = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return f"<section><h2>{html.escape(table.title)}</h2>{shown if table.rows else ''}{note}</section>"


def _html_cell(text: str) -> str:
    number = bool(_NUMBER.fullmatch(text.removesuffix(" %").removesuffix(" wei")))
    kind = ' class="n"' if number else ' class="bad"' if text == "NO" else ""
    return f"<td{kind}>{html.escape(text)}</td>"
