"""One trade."""

import asyncio

from nicegui import ui
from starlette.requests import Request

from ouro.dashboard import charts, fragments
from ouro.dashboard.context import Context
from ouro.dashboard.layout import Chart, Live, card, frame, refresh, scheme_of
from ouro.dashboard.pages.overview import problem_banner
from ouro.dashboard.reading import TradeStory
from ouro.dashboard.story import Teller, compared, facts, ring, timeline, verdict, waterfall_steps
from ouro.dashboard.units import esc
from ouro.ledger.errors import LedgerError


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/trades/{attempt_id}", title="Trade · Ouro")
    async def trade(request: Request, attempt_id: str) -> None:
        story, problem = None, ""
        try:
            story = await asyncio.to_thread(context.feed.story, attempt_id)
        except LedgerError as error:
            problem = str(error)
        scheme = scheme_of(request.cookies)
        if story is None:
            with frame("trades", "Trade", scheme, context.pill) as live:
                live.append(Live(lambda: problem_banner(problem)))
                with card("Trade"):
                    ui.html(
                        fragments.empty("No such trade", f"The books hold none called {attempt_id[:80]}."),
                        sanitize=False,
                    )
                context.tick(lambda news: refresh(live))
            return
        _build(context, story, scheme)


def _build(context: Context, story: TradeStory, scheme: str) -> None:
    feed, record = context.feed, story.record
    chain = record.attempt.chain
    teller = Teller(feed, chain)
    plan, outcome = record.plan, record.outcome
    kind = outcome.kind.value if outcome is not None else "open"
    path = " → ".join(teller.token(hop.token_in) for hop in plan.hops) if plan else "cancel"
    title = f"{path} → {teller.token(plan.hops[-1].token_out)}" if plan else path
    with frame("trades", "Trade", scheme, context.pill, heading=title) as live:
        badges = (
            f'<p><span class="o-badge o-out-{kind}">{kind}</span> <span class="o-dim">{esc(chain)}</span> '
            '<a class="o-more" href="/trades">All trades</a></p>'
        )
        ui.html(badges, sanitize=False)
        with ui.element("div").classes("o-grid"):
            with card("Result"):
                ui.html(verdict(record, feed), sanitize=False)
            if plan is not None:
                with card("Route", "w7"):
                    realised = outcome.realised_amounts_wei if outcome is not None else ()
                    ui.html(ring(plan, teller, realised), sanitize=False).classes("o-scroll")
                png = (
                    '<button type="button" data-png="waterfall" aria-label="Download waterfall as PNG">PNG</button>'
                )
                with card("Where the money went", "w5", tools=png):
                    unit = feed.coin(chain)
                    steps = waterfall_steps(record)
                    words = ", ".join(f"{name} {value:.6g} {unit}" for name, value in steps)
                    Chart(
                        "waterfall",
                        f"Profit and loss: {words}",
                        charts.waterfall(steps, unit, charts.palette(scheme)),
                    )
                with card("Simulated against realised", "w7"):
                    ui.html(compared(record, teller), sanitize=False).classes("o-scroll")
            with card("Stages", "w5"):
                ui.html(timeline(record), sanitize=False)
            with card("Facts"):
                ui.html(facts(story, teller), sanitize=False)
    waiting = outcome is None

    def on_tick(news: bool) -> None:
        for piece in live:
            piece.refresh()
        if (
            waiting
            and news
            and any(
                each.attempt_id == record.attempt.attempt_id and each.is_final
                for each in feed.changes_since(0) or []
            )
        ):
            ui.navigate.reload()

    context.tick(on_tick)
