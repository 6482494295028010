"""Where the money is and what earned it: by chain, by strategy, by token."""

import asyncio
from contextlib import suppress
from typing import Any

from nicegui import ui
from starlette.requests import Request

from ouro.dashboard import charts, fragments
from ouro.dashboard.context import Context
from ouro.dashboard.feed import Feed, short
from ouro.dashboard.layout import Chart, Live, card, frame, scheme_of
from ouro.dashboard.pages.overview import problem_banner
from ouro.dashboard.reading import Holding
from ouro.dashboard.totals import WEI_PER_COIN, Filter
from ouro.dashboard.trades import STRATEGIES
from ouro.dashboard.units import NONE, amount, coin, count, esc, moment, share, tone, usd
from ouro.ledger.errors import LedgerError


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/capital", title="Capital · Ouro")
    async def capital(request: Request) -> None:
        feed = context.feed
        holdings: list[Holding] = []
        with suppress(LedgerError):  # the banner says it
            holdings = await asyncio.to_thread(feed.holdings)
        colours = charts.palette(scheme_of(request.cookies))
        with frame("capital", "Capital", scheme_of(request.cookies), context.pill) as live:
            live.append(Live(lambda: problem_banner(feed.picture.problem)))
            with ui.element("div").classes("o-grid"):
                png = '<button type="button" data-png="strategies" aria-label="Download as PNG">PNG</button>'
                with card("Net profit by chain and strategy", "w6 o-short", tools=png):
                    chart = Chart("strategies", "Net profit by chain and strategy in USD", _options(feed, colours))
                with card("Strategies", "w6"):
                    live.append(Live(lambda: _strategies(feed), "o-scroll"))
                if any(feed.stage(name) for name in feed.chain_names()):
                    with card("Stages"):
                        live.append(Live(lambda: _stages(feed), "o-scroll"))
                with card("Balances by the books", note="opening plus every booked change"):
                    ui.html(_balances(feed, holdings), sanitize=False).classes("o-scroll")

        def on_tick(news: bool) -> None:
            for piece in live:
                piece.refresh()
            if news:
                chart.show(_options(feed, colours))

        context.tick(on_tick)


def _options(feed: Feed, colours: charts.Palette) -> dict[str, Any]:
    totals, prices = feed.totals(Filter()), feed.picture.counted.native_usd
    rows = [
        (
            chain,
            [
                totals.strategies[chain, strategy].net_wei / WEI_PER_COIN * prices.get(chain, 0.0)
                if (chain, strategy) in totals.strategies
                else 0.0
                for strategy in STRATEGIES
            ],
        )
        for chain in feed.chain_names()
    ]
    return charts.stacked(rows, [name.replace("_", "-") for name in STRATEGIES], "USD", colours)


def _strategies(feed: Feed) -> str:
    totals, prices = feed.totals(Filter()), feed.picture.counted.native_usd
    rows = []
    for (chain, strategy), sums in sorted(totals.strategies.items()):
        final = sum(number for kind, number in sums.outcomes.items() if kind != "open")
        if not sums.attempts:
            continue
        net = fragments.money_native(sums.net_wei, prices.get(chain), feed.coin(chain))
        rows.append(
            f'<tr><th scope="row">{esc(chain)}</th><td>{esc(strategy.replace("_", "-"))}</td>'
            f'<td class="num">{count(sums.attempts)}</td><td class="num">{share(sums.outcomes["landed"], final)}'
            "</td>"
            f'<td class="num">{esc(coin(sums.gas_wei, feed.coin(chain), digits=4))}</td>'
            f'<td class="num {tone(sums.net_wei)}">{net}</td></tr>'
        )
    if not rows:
        return fragments.empty("No strategy has traded yet", "Each one that does gets its line here.")
    return (
        '<table class="o-table"><caption class="o-sr">By chain and strategy</caption><thead><tr><th '
        'scope="col">Chain</th>'
        '<th scope="col">Strategy</th><th scope="col" class="num">Attempts</th><th scope="col" '
        'class="num">Landed</th>'
        '<th scope="col" class="num">Gas</th><th scope="col" class="num">Net</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _stages(feed: Feed) -> str:
    rows = []
    for name in feed.chain_names():
        stage = feed.stage(name)
        if stage is None:
            continue
        proposed = f"{stage.proposal.to}, waits for a person" if stage.proposal is not None else NONE
        rows.append(
            f'<tr><th scope="row">{esc(name)}</th><td>{esc(stage.stage)}</td>'
            f"<td>{moment(stage.since_ms or None, style='full')}</td><td>{esc(stage.by)}: {esc(stage.why)}</td>"
            f"<td>{esc(proposed)}</td></tr>"
        )
    return (
        '<table class="o-table"><caption class="o-sr">Stages</caption><thead><tr><th scope="col">Chain</th>'
        '<th scope="col">Stage</th><th scope="col">Since</th><th scope="col">By and why</th>'
        f'<th scope="col">Proposed</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _balances(feed: Feed, holdings: list[Holding]) -> str:
    rows = []
    for item in holdings:
        config = feed.config.chains.get(item.chain)
        role = "operator"
        if config is not None:
            role = {config.owner: "treasury", config.executor: "executor"}.get(item.account, "operator")
        name = feed.coin(item.chain) if item.token is None else feed.token(item.chain, item.token)
        places = 18 if item.token is None else feed.decimals(item.chain, item.token)
        price = feed.picture.counted.native_usd.get(item.chain)
        native = item.token is None or (config is not None and item.token == config.wrapped_native)
        worth = usd(item.wei / WEI_PER_COIN * price) if native and price is not None else ""
        rows.append(
            f'<tr><th scope="row">{esc(item.chain)}</th><td>{role}</td><td class="o-mono" '
            f'title="{esc(item.account)}">'
            f'{esc(short(item.account))}</td><td class="num">{esc(amount(item.wei, places, name))}</td>'
            f'<td class="num">{worth}</td></tr>'
        )
    if not rows:
        return fragments.empty("No balances in the books", "They are opened when a session that trades begins.")
    return (
        '<table class="o-table"><caption class="o-sr">Balances</caption><thead><tr><th scope="col">Chain</th>'
        '<th scope="col">Whose</th><th scope="col">Account</th><th scope="col" class="num">Balance</th>'
        f'<th scope="col" class="num">Worth</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )
