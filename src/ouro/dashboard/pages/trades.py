"""All trades, paged by the server; news comes as single rows."""

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.requests import Request

from ouro.dashboard import fragments
from ouro.dashboard.context import Context
from ouro.dashboard.fragments import View
from ouro.dashboard.layout import Live, card, frame, scheme_of
from ouro.dashboard.pages.overview import problem_banner
from ouro.dashboard.totals import usd
from ouro.dashboard.trades import Trade
from ouro.dashboard.units import esc

PAGE_SIZE = 25
_COLUMNS = [
    {"key": "at", "name": "Time", "sort": True},
    {"key": "outcome", "name": "Outcome"},
    {"key": "chain", "name": "Chain"},
    {"key": "strategy", "name": "Strategy"},
    {"key": "route", "name": "Route"},
    {"key": "net", "name": "Net", "num": True, "sort": True},
    {"key": "gas", "name": "Gas", "num": True, "sort": True},
    {"key": "decided", "name": "Decided in", "num": True, "sort": True},
    {"key": "block", "name": "Block", "num": True},
]


class TradesTable(Element, component="../components/trades_table.js"):
    """The table in the browser: shows a page, or takes changed rows."""

    def __init__(self, rows: list[dict[str, Any]], total: int, sort: dict[str, Any]) -> None:
        super().__init__()
        self._props.update(columns=_COLUMNS, first=rows, count=total, size=PAGE_SIZE, sorted=sort)

    def show(self, rows: list[dict[str, Any]], total: int, page: int, sort: dict[str, Any]) -> None:
        """Another page, or another order."""
        self.run_method("show", rows, total, page, sort)

    def apply(self, changed: list[dict[str, Any]], added: list[dict[str, Any]], total: int) -> None:
        """Only what is new."""
        self.run_method("apply", changed, added, total)


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/trades", title="Trades · Ouro")
    def trades(request: Request) -> None:
        view = context.view(request)
        with frame("trades", "Trades", scheme_of(request.cookies), context.pill) as live:
            _Trades(context, view, live).build()


class _Trades:
    def __init__(self, context: Context, view: View, live: list[Live]) -> None:
        self._context, self._feed, self._view, self._live = context, context.feed, view, live
        self._page, self._key, self._up = 0, "at", False
        self._rows: list[str] = []
        self._version = self._feed.version

    def build(self) -> None:
        feed, view = self._feed, self._view
        self._live.append(Live(lambda: problem_banner(feed.picture.problem)))
        ui.html(fragments.filter_bar(view, "/trades", feed.chain_names(), outcomes=True), sanitize=False)
        link = (
            f'<a href="{esc(view.address("/export/trades.csv"))}" download aria-label="Download trades as '
            'CSV">CSV</a>'
        )
        rows, total = self._page_rows()
        self._was_empty = total == 0
        with card("Attempts", tools=link):
            if self._was_empty:
                self._live.append(Live(self._nothing))
            else:
                self._table = TradesTable(rows, total, self._sort())
                self._table.on("page", self._turn)
                self._table.on("sort", self._order)
        self._context.tick(self._on_tick)

    def _nothing(self) -> str:
        if self._feed.picture.loading:
            return '<div class="o-loading" aria-hidden="true"><i></i></div>'
        if self._view != View():
            return fragments.empty("Nothing fits these filters", "Choose “All” above to see everything.")
        return fragments.empty("No trades yet", "The first one appears here the moment it is journaled.")

    def _sort(self) -> dict[str, Any]:
        return {"key": self._key, "up": self._up}

    def _page_rows(self) -> tuple[list[dict[str, Any]], int]:
        found = self._feed.trades(self._view.filter(self._context.now_ms()), outcome=self._view.outcome)
        if (self._key, self._up) != ("at", False):
            found.sort(key=self._sort_key(), reverse=not self._up)
        start = self._page * PAGE_SIZE
        shown = found[start : start + PAGE_SIZE]
        self._rows = [trade.attempt_id for trade in shown]
        return [fragments.trade_row(self._feed, trade) for trade in shown], len(found)

    def _sort_key(self) -> Callable[[Trade], Any]:
        prices = self._feed.picture.counted.native_usd
        keys: dict[str, Callable[[Trade], Any]] = {
            "net": lambda trade: usd(trade.net_wei, prices.get(trade.chain, 0.0)),
            "gas": lambda trade: usd(trade.gas_wei, prices.get(trade.chain, 0.0)),
            "decided": lambda trade: trade.decided_us or 0,
        }
        return keys.get(self._key, lambda trade: trade.at_ms)

    def _turn(self, event: GenericEventArguments) -> None:
        self._page = max(0, int(event.args.get("page", 0)))
        self._show()

    def _order(self, event: GenericEventArguments) -> None:
        key = str(event.args.get("key", "at"))
        if key in {column["key"] for column in _COLUMNS if column.get("sort")}:
            self._up = not self._up if key == self._key else False
            self._key, self._page = key, 0
            self._show()

    def _show(self) -> None:
        rows, total = self._page_rows()
        self._table.show(rows, total, self._page, self._sort())

    def _on_tick(self, news: bool) -> None:
        for piece in self._live:
            piece.refresh()
        if not news:
            return
        if self._was_empty:
            if self._page_rows()[1]:
                ui.navigate.reload()
            return
        self._push()

    def _push(self) -> None:
        changes = self._feed.changes_since(self._version)
        self._version = self._feed.version
        if changes is None:
            self._show()
            return
        known = set(self._rows)
        changed = {trade.attempt_id for trade in changes} & known
        total_before = set(self._rows)
        newest_first = self._page == 0 and (self._key, self._up) == ("at", False)
        if not newest_first:
            # On another page the rows stay where they are, for nobody can read what moves.
            by_name = {trade.attempt_id: trade for trade in changes}
            rows = [fragments.trade_row(self._feed, by_name[name]) for name in self._rows if name in changed]
            if rows:
                self._table.apply(rows, [], self._count())
            return
        rows, total = self._page_rows()
        added = [row for row in rows if row["id"] not in total_before]
        updated = [row for row in rows if row["id"] in changed]
        if added or updated:
            self._table.apply(updated, added, total)

    def _count(self) -> int:
        return len(self._feed.trades(self._view.filter(self._context.now_ms()), outcome=self._view.outcome))
