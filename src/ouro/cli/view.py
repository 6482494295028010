"""The terminal view of a running engine (rich), and one plain line per chain where there is no terminal."""

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ouro.engine.status import ChainStatus, TradeLine

_FRESHNESS_STYLE = {"ready": "green", "delayed": "yellow", "stale": "red"}
_KIND_STYLE = {"landed": "green", "lost": "yellow", "expired": "yellow", "dropped": "yellow", "reverted": "red"}


def render(statuses: Sequence[ChainStatus], mode: str, now_ns: int | None = None) -> RenderableType:
    """All chains, and their last trades, as one renderable."""
    now = time.monotonic_ns() if now_ns is None else now_ns
    return Group(_chains_table(statuses, mode, now), *(_trades_panel(status) for status in statuses))


def plain_line(status: ChainStatus) -> str:
    """One chain in one line, for logs and pipes."""
    outcomes = " ".join(f"{kind}={count}" for kind, count in sorted(status.outcomes.items())) or "no attempts yet"
    return (
        f"{status.chain}: block {_number(status.block_number)} {status.freshness}, {status.pools} pools, "
        f"{status.cycles} cycles, {status.opportunities} opportunities, {outcomes}, "
        f"net {_native(status.net_wei)}, sent p99 {_ms(status.sent.quantile(0.99))}"
    )


def _chains_table(statuses: Sequence[ChainStatus], mode: str, now_ns: int) -> Table:
    table = Table(title=f"Ouro · {mode}", expand=True)
    for heading in ("chain", "block", "fresh", "pools / cycles", "best now", "outcomes", "net", "decided", "sent"):
        table.add_column(heading)
    for status in statuses:
        outcomes = Text()
        for kind, count in sorted(status.outcomes.items()):
            outcomes.append(f"{kind} {count} ", style=_KIND_STYLE.get(kind, ""))
        age = "" if status.last_block_ns is None else f" {max(0, now_ns - status.last_block_ns) / 1e9:.1f} s"
        table.add_row(
            Text(f"{status.chain}\n{status.state}"),
            _number(status.block_number),
            Text(status.freshness + age, style=_FRESHNESS_STYLE.get(status.freshness, "")),
            f"{status.pools} / {status.cycles}",
            Text(status.best or status.detail),
            outcomes,
            _native(status.net_wei),
            _quantiles(status.decided.quantile(0.5), status.decided.quantile(0.99)),
            _quantiles(status.sent.quantile(0.5), status.sent.quantile(0.99)),
        )
    return table


def _trades_panel(status: ChainStatus) -> Panel:
    table = Table.grid(padding=(0, 2))
    for trade in reversed(status.trades):
        table.add_row(*_trade_cells(trade))
    refused = ", ".join(f"{reason} {count}" for reason, count in status.refused.most_common(4))
    return Panel(table, title=f"{status.chain}: last trades", subtitle=f"refused: {refused or 'none'}")


def _trade_cells(trade: TradeLine) -> tuple[str, Text, Text, str]:
    kind = Text(trade.kind.value, style=_KIND_STYLE.get(trade.kind.value, ""))
    return _number(trade.block_number), kind, Text(trade.route), _native(trade.net_wei)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value}"


def _native(wei: int) -> str:
    return f"{wei / 1e18:+.6f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _quantiles(p50: float | None, p99: float | None) -> str:
    return f"p50 {_ms(p50)}\np99 {_ms(p99)}"
