"""What runs: processes, session, books, versions."""

import sys

from nicegui import ui
from starlette.requests import Request

from ouro import __version__
from ouro.dashboard import fragments
from ouro.dashboard.context import Context
from ouro.dashboard.feed import Feed
from ouro.dashboard.layout import Live, card, frame, scheme_of
from ouro.dashboard.pages.overview import problem_banner
from ouro.dashboard.units import age, count, esc, moment
from ouro.ledger.schema import REVISIONS


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/system", title="System · Ouro")
    def system(request: Request) -> None:
        feed = context.feed
        with frame("system", "System", scheme_of(request.cookies), context.pill) as live:
            live.append(Live(lambda: problem_banner(feed.picture.problem)))
            with ui.element("div").classes("o-grid"):
                with card("Engines", "w7"):
                    live.append(Live(lambda: _engines(feed, context.now_ms()), "o-scroll"))
                with card("Session and books", "w5"):
                    live.append(Live(lambda: _session(feed, context.now_ms())))
                with card("Refusals", note="all of this ledger, by reason"):
                    live.append(Live(lambda: _refusals(feed), "o-scroll"))

        def on_tick(news: bool) -> None:
            for piece in live:
                piece.refresh()

        context.tick(on_tick)


def _engines(feed: Feed, now_ms: int) -> str:
    rows = []
    for name, chain in sorted(feed.files.chains.items()):
        alive = chain.alive(now_ms)
        values = chain.values
        rows.append(
            f'<tr><th scope="row">{esc(name)}</th><td><span class="o-badge {"o-ok" if alive else "o-bad"}">'
            '<span class="o-dot" '
            f'aria-hidden="true"></span>{"running" if alive else "gone"}</span></td><td '
            f'class="num">{esc(values.get("pid"))}</td>'
            f'<td>{esc(values.get("state"))}</td><td class="num">{count(values.get("blocks"))}</td>'
            f'<td class="num">{count(values.get("superseded"))}</td><td '
            f'class="num">{count(values.get("open_attempts"))}</td>'
            f'<td class="num">{age(chain.age_ms(now_ms))}</td></tr>'
        )
    if not rows:
        return fragments.empty("No engine has written here yet", "Start one with “ouro run”.")
    names = ("Chain", "Process", "PID", "State", "Blocks", "Superseded", "Open", "Heard")
    head = "".join(
        f'<th scope="col"{" class=num" if at in (2, 4, 5, 6, 7) else ""}>{name}</th>'
        for at, name in enumerate(names)
    )
    return (
        f'<table class="o-table"><caption class="o-sr">Engines</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _session(feed: Feed, now_ms: int) -> str:
    run = feed.picture.run
    pairs = [("Ledger", f'<span class="o-mono">{esc(feed.ledger_name)}</span>'), ("Schema", REVISIONS[-1])]
    if run is not None:
        ended = (
            f"ended {moment(run.ended_at_ms, style='full')}"
            if run.ended_at_ms
            else f"heard {age(now_ms - run.last_seen_ms)} ago"
        )
        pairs += [
            ("Session", f'<span class="o-mono">{esc(run.session_id)}</span>'),
            ("Mode", esc(run.mode)),
            ("Started", str(moment(run.started_at_ms, style="full"))),
            ("State", ended),
            ("Code", esc(run.code_version)),
            ("Sessions", count(run.sessions)),
        ]
    trades = feed.count_trades()
    pairs += [("Attempts", count(trades)), ("This page", f"ouro {__version__}, Python {sys.version.split()[0]}")]
    return f'<dl class="o-kv">{"".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs)}</dl>'


def _refusals(feed: Feed) -> str:
    refused = feed.picture.counted.refused
    rows = [
        (chain, reason, times) for chain, reasons in sorted(refused.items()) for reason, times in reasons.items()
    ]
    if not rows:
        return fragments.empty("Nothing was refused", "Each refusal is counted with its reason.")
    body = "".join(
        f'<tr><th scope="row">{esc(chain)}</th><td>{esc(reason.replace("_", " "))}</td><td '
        f'class="num">{count(times)}</td></tr>'
        for chain, reason, times in sorted(rows, key=lambda row: -row[2])
    )
    return (
        '<table class="o-table"><caption class="o-sr">Refusals</caption><thead><tr><th scope="col">Chain</th>'
        f'<th scope="col">Reason</th><th scope="col" class="num">Times</th></tr></thead><tbody>{body}</tbody>'
        "</table>"
    )
