"""The terminal view of a running engine (rich), and one plain line per chain where there is no terminal."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ouro.engine.status import ChainStatus, TradeLine

WIDE_COLUMNS = 110
"""From here on every column of the chains' table fits."""

NARROW_COLUMNS = 74
"""Below this not even the short table fits, and each chain is a paragraph."""

_TRADES_UNBOUNDED = 8
_BORDER_CHARS = 10
_FRESHNESS_STYLE = {"ready": "green", "delayed": "yellow", "stale": "red"}
_KIND_STYLE = {"landed": "green", "lost": "yellow", "expired": "yellow", "dropped": "yellow", "reverted": "red"}
_FOLLOWING = ("running", "finishing")


@dataclass(frozen=True, slots=True)
class EngineView:
    """All chains and their last trades, fitted to the console's width, and to ``height`` lines if given.

    ``note`` is a line below the title (where logs go); ``now_ns`` a ``time.monotonic_ns`` reading.
    """

    statuses: Sequence[ChainStatus]
    mode: str
    note: str = ""
    height: int | None = None
    now_ns: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic_ns() if self.now_ns is None else self.now_ns
        width = options.max_width
        head = self._head(width, now)
        shown = [_TRADES_UNBOUNDED] * len(self.statuses)
        if self.height is not None:
            bare = [head, *(_trades_panel(status, 0, width) for status in self.statuses)]
            taken = sum(len(console.render_lines(part, options.reset_height())) for part in bare)
            shown = _share(self.height - taken, [len(status.trades) for status in self.statuses])
        yield head
        for status, count in zip(self.statuses, shown, strict=True):
            yield _trades_panel(status, count, width)

    def _head(self, width: int, now_ns: int) -> RenderableType:
        parts: list[RenderableType] = [Text(f"Ouro · {self.mode}", style="bold", justify="center")]
        if self.note:
            parts.append(Text(self.note, style="dim", justify="center", no_wrap=True, overflow="ellipsis"))
        if width >= WIDE_COLUMNS:
            parts.append(_wide_table(self.statuses, now_ns))
        elif width >= NARROW_COLUMNS:
            parts.append(_short_table(self.statuses, now_ns))
        else:
            parts += [Text(plain_line(status)) for status in self.statuses]
        return Group(*parts)


def plain_line(status: ChainStatus) -> str:
    """One chain in one line, for logs and pipes."""
    outcomes = " ".join(f"{kind}={count}" for kind, count in _outcomes(status)) or "no attempts yet"
    return (
        f"{status.chain}: {_state(status)}, block {_number(status.block_number)} {status.freshness}, "
        f"{status.pools} pools, {status.cycles} cycles, {status.opportunities} opportunities, {outcomes}, "
        f"net {_native(status.net_wei)}, sent p99 {_ms(status.sent.quantile(0.99))}"
    )


def _wide_table(statuses: Sequence[ChainStatus], now_ns: int) -> Table:
    table = _table("chain", "block", "pools", "cycles", "outcomes", "net", "decided", "sent")
    for status in statuses:
        table.add_row(
            Text(f"{status.chain}\n{status.state}"),
            _block_cell(status, now_ns),
            f"{status.pools}",
            f"{status.cycles}",
            _outcome_cell(status),
            _native(status.net_wei),
            _quantiles(status.decided.quantile(0.5), status.decided.quantile(0.99)),
            _quantiles(status.sent.quantile(0.5), status.sent.quantile(0.99)),
        )
    return table


def _short_table(statuses: Sequence[ChainStatus], now_ns: int) -> Table:
    table = _table("chain", "block", "outcomes", "net", "sent")
    for status in statuses:
        table.add_row(
            Text(f"{status.chain}\n{status.state}"),
            _block_cell(status, now_ns),
            _outcome_cell(status),
            _native(status.net_wei),
            _quantiles(status.sent.quantile(0.5), status.sent.quantile(0.99)),
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(expand=True)
    for heading in headings:
        # What still does not fit goes on in the next line: half a number is worse than none.
        table.add_column(heading, overflow="fold")
    return table


def _trades_panel(status: ChainStatus, count: int, width: int) -> Panel:
    """What goes on now, and the latest ``count`` trades, newest first."""
    rows: list[RenderableType] = []
    if status.state in _FOLLOWING:
        rows.append(Text(f"best now: {status.best or '–'}", no_wrap=True, overflow="ellipsis"))
    else:
        rows.append(Text(_state(status), style="yellow"))
    trades = Table.grid(padding=(0, 2))
    for _ in range(3):
        trades.add_column(no_wrap=True)
    trades.add_column(no_wrap=True, overflow="ellipsis")
    for trade in islice(reversed(status.trades), count):
        trades.add_row(*_trade_cells(trade))
    if trades.row_count:
        rows.append(trades)
    return Panel(Group(*rows), title=Text(f"{status.chain}: last trades"), subtitle=Text(_refused(status, width)))


def _refused(status: ChainStatus, width: int) -> str:
    """The most common reasons, as many as fit into a panel's border."""
    text = "refused: "
    for index, (reason, times) in enumerate(status.refused.most_common()):
        part = f"{', ' if index else ''}{reason} {times}"
        if len(text) + len(part) > width - _BORDER_CHARS:
            return f"{text} …"
        text += part
    return text if status.refused else f"{text}none"


def _share(rows: int, wanted: Sequence[int]) -> list[int]:
    """Rows for each chain: alike, except that nobody gets more than it can fill."""
    given = [0] * len(wanted)
    while rows > 0 and given != list(wanted):
        for index, most in enumerate(wanted):
            if rows > 0 and given[index] < most:
                given[index] += 1
                rows -= 1
    return given


def _state(status: ChainStatus) -> str:
    if status.state in _FOLLOWING or not status.detail:
        return status.state
    return f"{status.state} ({status.detail})"


def _block_cell(status: ChainStatus, now_ns: int) -> Text:
    age = "" if status.last_block_ns is None else f" {max(0, now_ns - status.last_block_ns) / 1e9:.1f} s"
    style = _FRESHNESS_STYLE.get(status.freshness, "")
    return Text(f"{_number(status.block_number)}\n").append(status.freshness + age, style=style)


def _outcome_cell(status: ChainStatus) -> Text:
    parts = [Text(f"{kind} {count}", style=_KIND_STYLE.get(kind, "")) for kind, count in _outcomes(status)]
    return Text("\n").join(parts)


def _outcomes(status: ChainStatus) -> list[tuple[str, int]]:
    return [(kind, count) for kind, count in sorted(status.outcomes.items()) if count]


def _trade_cells(trade: TradeLine) -> tuple[str, Text, str, Text]:
    kind = Text(trade.kind.value, style=_KIND_STYLE.get(trade.kind.value, ""))
    return _number(trade.block_number), kind, _native(trade.net_wei), Text(trade.route)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value}"


def _native(wei: int) -> str:
    return f"{wei / 1e18:+.6f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _quantiles(p50: float | None, p99: float | None) -> str:
    return f"p50 {_ms(p50)}\np99 {_ms(p99)}"
