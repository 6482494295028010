"""Downloads: the numbers behind a picture as CSV, exact, in UTC, and harmless in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ouro.dashboard.feed import Feed
from ouro.dashboard.totals import Filter, funnel
from ouro.dashboard.trades import Trade

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(_STARTS_A_FORMULA):
        return "'" + value
    return "" if value is None else value


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def trades_csv(feed: Feed, trades: Iterable[Trade]) -> str:
    """All columns of the table and what it leaves out; amounts in wei."""
    head = (
        "time_utc",
        "chain",
        "strategy",
        "outcome",
        "reason",
        "route",
        "net_wei",
        "gross_wei",
        "gas_wei",
        "expected_net_wei",
        "native_usd",
        "decided_us",
        "sent_us",
        "block",
        "tx_hash",
        "attempt_id",
    )
    prices = feed.picture.counted.native_usd
    rows = (
        (
            _utc(trade.at_ms),
            trade.chain,
            trade.strategy,
            trade.outcome,
            trade.reason,
            " > ".join(feed.token(trade.chain, token) for token in trade.path),
            trade.net_wei,
            trade.gross_wei,
            trade.gas_wei,
            trade.expected_wei,
            prices.get(trade.chain),
            trade.decided_us,
            trade.sent_us,
            trade.block_number,
            trade.tx_hash,
            trade.attempt_id,
        )
        for trade in trades
    )
    return _csv(head, rows)


def equity_csv(feed: Feed, wanted: Filter) -> str:
    """Every point of the curve."""
    points = feed.curve(wanted)
    rows = ((_utc(point.at_ms), f"{point.equity:.6f}", f"{point.drawdown:.6f}") for point in points)
    return _csv(("time_utc", "equity_usd", "drawdown_usd"), rows)


def latency_csv(feed: Feed, chain: str | None) -> str:
    """The histogram."""
    shape = feed.histogram(chain)
    edges = zip(shape.edges_ms, shape.edges_ms[1:], shape.counts, strict=False)
    return _csv(("from_ms", "to_ms", "blocks"), edges)


def funnel_csv(feed: Feed, wanted: Filter) -> str:
    """Steps and reasons."""
    counted = feed.picture.counted
    names = [wanted.chain] if wanted.chain else sorted({*counted.opportunities, *counted.refused})
    refused: dict[str, int] = {}
    for name in names:
        for reason, times in counted.refused.get(name, {}).items():
            refused[reason] = refused.get(reason, 0) + times
    seen = sum(counted.opportunities.get(name, 0) for name in names)
    rows: list[tuple[object, ...]] = []
    for step in funnel(seen, refused, feed.totals(wanted)):
        rows += [(step.name, "lost before", reason, times) for reason, times in step.lost]
        rows.append((step.name, "reached", "", step.count))
    return _csv(("step", "what", "reason", "count"), rows)
