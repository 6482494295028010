"""The first page: healthy or not, what it earned, why it did not trade."""

from nicegui import ui
from starlette.requests import Request

from ouro.dashboard import charts, fragments
from ouro.dashboard.context import Context
from ouro.dashboard.fragments import View
from ouro.dashboard.health import gauges
from ouro.dashboard.layout import Chart, Live, card, frame, scheme_of, tools
from ouro.dashboard.totals import WEI_PER_COIN, Filter, Totals
from ouro.dashboard.totals import funnel as funnel_of
from ouro.dashboard.units import esc, usd

_DAY_MS = 86_400_000
_LATEST = 12


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/", title="Overview · Ouro")
    def overview(request: Request) -> None:
        scheme = scheme_of(request.cookies)
        view = context.view(request)
        with frame("overview", "Overview", scheme, context.pill) as live:
            _Overview(context, view, scheme, live).build()


class _Overview:
    def __init__(self, context: Context, view: View, scheme: str, live: list[Live]) -> None:
        self._context, self._feed, self._view = context, context.feed, view
        self._colours, self._live = charts.palette(scheme), live
        self._was_loading = self._feed.picture.loading

    def build(self) -> None:
        feed, view = self._feed, self._view
        if feed.picture.loading:
            ui.html('<div class="o-loading" aria-hidden="true"><i></i><i></i><i></i></div>', sanitize=False)
            self._context.tick(lambda news: ui.navigate.reload() if not feed.picture.loading else None)
            return
        self._live.append(Live(lambda: problem_banner(feed.picture.problem)))
        ui.html(fragments.filter_bar(view, "/", feed.chain_names()), sanitize=False)
        with ui.element("div").classes("o-grid"):
            with card("Result", note=self._result_note()):
                self._live.append(Live(self._hero))
            with card("Equity and drawdown", "w8", tools=tools("equity", view.address("/export/equity.csv"))):
                self._equity = Chart(
                    "equity",
                    "Equity and drawdown over time, in USD; the numbers are in the CSV",
                    self._equity_options(),
                )
                self._live.append(Live(self._limits_note))
            with card("From seen to landed", "w4", tools=_csv("funnel", view.address("/export/funnel.csv"))):
                self._live.append(Live(self._funnel))
            with card("Limits and breakers", note="UTC day; last 60 minutes"):
                self._live.append(Live(self._gauges))
            with ui.element("div").classes("o-stack w6"):
                with card("Chains"):
                    self._live.append(Live(self._freshness, "o-scroll"))
                self._latency_card()
            with card("Latest trades", "w6"):
                self._live.append(Live(self._latest))
        self._context.tick(self._on_tick)

    def _latency_card(self) -> None:
        address = self._view.address("/export/latency.csv")
        with card("Decision latency", "o-short", tools=tools("latency", address)):
            label = "Histogram of the time from socket to decision"
            self._latency = Chart("latency", label, self._latency_options())

    def _on_tick(self, news: bool) -> None:
        for piece in self._live:
            piece.refresh()
        if news:
            self._equity.show(self._equity_options())
            self._latency.show(self._latency_options())

    def _totals(self) -> Totals:
        return self._feed.totals(self._view.filter(self._context.now_ms()))

    def _today(self) -> Totals:
        now = self._context.now_ms()
        return self._feed.totals(Filter(self._view.chain, self._view.strategy, now - now % _DAY_MS))

    def _hero(self) -> str:
        return fragments.hero(self._feed, self._totals(), self._today(), self._feed.histogram(self._view.chain))

    def _result_note(self) -> str:
        parts = [self._view.chain or "all chains", (self._view.strategy or "all strategies").replace("_", "-")]
        return ", ".join(parts)

    def _equity_options(self) -> dict[str, object]:
        points = self._feed.curve(self._view.filter(self._context.now_ms()))
        return charts.equity(points, self._colours, self._limit_lines())

    def _limit_lines(self) -> dict[str, float]:
        """The daily loss limit of what is looked at, and what its stages leave of it, in USD."""
        feed, prices = self._feed, self._feed.picture.counted.native_usd
        names = [self._view.chain] if self._view.chain else list(feed.config.chains)
        known = [name for name in names if name in prices and name in feed.config.chains]
        if not known:
            return {}
        lines: dict[str, float] = {}
        whole = staged = 0.0
        stages: set[str] = set()
        for name in known:
            limit = feed.config.limits_of(name).max_daily_loss_wei / WEI_PER_COIN * prices[name]
            stage = feed.stage(name)
            whole += limit
            if stage is not None:
                stages.add(stage.stage)
                limit *= feed.config.capital.stages.of(stage.stage).caps.daily_loss_ppm / 1_000_000
            staged += limit
        lines[f"daily loss limit −${whole:,.0f}"] = -whole
        if stages and staged < whole:
            lines[f"stage {', '.join(sorted(stages))} −${staged:,.0f}"] = -staged
        return lines

    def _limits_note(self) -> str:
        """The limit in words: it may lie far below what fits into the picture."""
        points = self._feed.curve(self._view.filter(self._context.now_ms()))
        deepest = min((point.drawdown for point in points), default=0.0)
        parts = [f"deepest drawdown {usd(deepest)}"]
        for name, value in self._limit_lines().items():
            parts.append(f"{name} ({100 * deepest / value:.0f} % of it reached)" if value else name)
        return f'<p class="o-quiet">{esc("; ".join(parts))}</p>'

    def _funnel(self) -> str:
        counted, chain = self._feed.picture.counted, self._view.chain
        names = [chain] if chain else list({*counted.opportunities, *counted.refused})
        refused: dict[str, int] = {}
        for name in names:
            for reason, times in counted.refused.get(name, {}).items():
                refused[reason] = refused.get(reason, 0) + times
        seen = sum(counted.opportunities.get(name, 0) for name in names)
        partial = self._view.strategy is not None or self._view.span != "all"
        steps = funnel_of(0 if partial else seen, {} if partial else refused, self._totals())
        note = (
            '<p class="o-quiet">Refusals are counted by chain; with a strategy or a time chosen, the steps before '
            "“approved” are left out.</p>"
        )
        if not any(step.count for step in steps):
            return fragments.empty(
                "Nothing seen yet", "Opportunities appear here from the first block that has one."
            )
        return fragments.funnel(steps[2:] if partial else steps) + (note if partial else "")

    def _freshness(self) -> str:
        return fragments.freshness(self._feed, self._context.now_ms())

    def _gauges(self) -> str:
        shown = [
            each for each in gauges(self._feed, self._context.now_ms()) if self._view.chain in (None, each.chain)
        ]
        return fragments.gauge_grid(shown, [(each.scope, each.why) for each in self._context.controls.in_force()])

    def _latency_options(self) -> dict[str, object]:
        return charts.latency(self._feed.histogram(self._view.chain), self._colours)

    def _latest(self) -> str:
        wanted = self._view.filter(self._context.now_ms())
        newest = self._feed.newest(wanted, _LATEST)
        return fragments.latest(self._feed, newest, self._view.address("/trades"))


def _csv(name: str, address: str) -> str:
    return f'<a href="{esc(address)}" download aria-label="Download {name} as CSV">CSV</a>'


def problem_banner(problem: str) -> str:
    """What is wrong with the books, and what to do; empty when nothing is."""
    if not problem:
        return ""
    older = " has schema " in problem
    todo = (
        "Run <code>ouro migrate</code>, or start the engine once: either brings the books up to date. "
        if older
        else "It is tried again every half second. "
    )
    return (
        f'<div class="o-banner" role="alert"><b>The books can’t be read.</b><p>{esc(problem)}</p>'
        f"<p>{todo}Trading does not depend on this page.</p></div>"
    )
