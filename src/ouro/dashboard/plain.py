"""Pages that need no JavaScript and no WebSocket, login and control: stopping must not depend on the rest."""

from collections.abc import Sequence

from ouro.dashboard.access import Session
from ouro.dashboard.control import Standing
from ouro.dashboard.layout import head, rail
from ouro.dashboard.trades import STRATEGIES
from ouro.dashboard.units import esc, moment

_LATEST_EVENTS = 20


def page(title: str, body: str, scheme: str, *, here: str = "control") -> str:
    """A whole document."""
    return (
        f'<!doctype html><html lang="en" data-scheme="{scheme}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{esc(title)} · Ouro</title><link rel="icon" href="/assets/icon.svg">{head(scheme)}</head>'
        f'<body class="o-body"><a class="o-skip" href="#main">To the content</a><div class="o-frame">'
        f'<nav class="o-rail" aria-label="Pages">{rail(here)}</nav><main class="o-main" id="main" tabindex="-1">'
        f"{body}</main></div></body></html>"
    )


def login(scheme: str, *, wrong: str = "", locked: str = "") -> str:
    """Name and password. ``wrong`` is what was wrong the last time, ``locked`` why nobody can log in."""
    message = _banner(wrong or locked)
    form = (
        '<form class="o-form" method="post" action="/login"><label>Your name'
        '<input name="name" autocomplete="name" required minlength="2" maxlength="80"></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" required '
        'maxlength="1024">'
        '</label><button class="o-button o-primary" type="submit">Log in</button></form>'
    )
    note = (
        '<p class="o-quiet">Looking needs no login. Halting and resuming do, and both are written into the '
        "audit chain.</p>"
    )
    return page("Log in", f'<div class="o-login"><h1>Log in</h1><p></p>{message}{form}{note}</div>', scheme)


def control(
    scheme: str,
    session: Session | None,
    halts: Sequence[Standing],
    history: Sequence[dict[str, object]],
    chains: Sequence[str],
    *,
    told: str = "",
    wrong: str = "",
) -> str:
    """What is halted, by whom and why; with a login, the two forms."""
    top = '<div class="o-top"><h1>Control</h1>' + _who(session) + "</div>"
    parts = [top, _banner(wrong), _note(told), '<div class="o-grid">']
    parts.append(
        '<section class="o-card w7" aria-label="In force"><header><h2>In force</h2>'
        f"</header>{_halts(halts, session)}</section>"
    )
    parts.append('<section class="o-card w5" aria-label="Halt"><header><h2>Halt trading</h2></header>')
    parts.append(_halt_form(session, chains) if session else _ask_to_log_in())
    parts.append("</section>")
    parts.append(
        f'<section class="o-card" aria-label="History"><header><h2>History</h2></header>{_history(history)}'
        "</section></div>"
    )
    return page("Control", "".join(parts), scheme)


def _who(session: Session | None) -> str:
    if session is None:
        return '<a class="o-button" href="/login">Log in</a>'
    return (
        f'<form method="post" action="/logout">{_csrf(session)}<span class="o-dim">{esc(session.name)}</span> '
        '<button class="o-button o-quiet" type="submit">Log out</button></form>'
    )


def _ask_to_log_in() -> str:
    return (
        '<p>Anybody may look; to halt or resume, log in.</p><p><a class="o-button o-primary" href="/login">Log '
        "in</a></p>"
        '<p class="o-quiet">Without a browser: <code>ouro halt --by NAME --why REASON</code>.</p>'
    )


def _csrf(session: Session) -> str:
    return f'<input type="hidden" name="csrf" value="{esc(session.csrf)}">'


def _halt_form(session: Session, chains: Sequence[str]) -> str:
    chain_options = "".join(f'<option value="{esc(name)}">{esc(name)}</option>' for name in chains)
    strategy_options = "".join(f'<option value="{name}">{name.replace("_", "-")}</option>' for name in STRATEGIES)
    return (
        f'<form class="o-form" method="post" action="/control/halt">{_csrf(session)}'
        f'<label>Chain<select name="chain"><option value="">All chains</option>{chain_options}</select></label>'
        f'<label>Strategy<select name="strategy"><option value="">All strategies</option>{strategy_options}'
        "</select></label>"
        f'<label>Your name<input name="by" value="{esc(session.name)}" required minlength="2" maxlength="80">'
        "</label>"
        '<label>Reason<textarea name="why" required minlength="2" maxlength="400"></textarea></label>'
        '<button class="o-button o-danger o-solid" type="submit">Halt now</button></form>'
    )


def _halts(halts: Sequence[Standing], session: Session | None) -> str:
    if not halts:
        return "<p>Nothing is halted.</p>"
    rows = []
    for halt in halts:
        form = ""
        if session is not None:
            form = (
                '<form class="o-form" method="post" action="/control/resume" aria-label="Resume '
                f'{esc(halt.scope)}">'
                f'{_csrf(session)}<input type="hidden" name="id" value="{esc(halt.id)}">'
                f'<label>Your name<input name="by" value="{esc(session.name)}" required minlength="2" '
                'maxlength="80"></label>'
                '<label>Reason to resume<input name="why" required minlength="2" maxlength="400"></label>'
                f'<button class="o-button" type="submit">Resume {esc(halt.scope)}</button></form>'
            )
        rows.append(
            f'<li><b>{esc(halt.scope)}</b> <span class="o-badge o-bad">{esc(halt.mode.replace("_", " "))}</span>'
            f'<p>{esc(halt.why)}<br><span class="o-dim">{esc(halt.by)} ({esc(halt.source)}), '
            f"{moment(halt.at_ms, style='full')}</span></p>{form}</li>"
        )
    return f'<ul class="o-standing">{"".join(rows)}</ul>'


def _history(events: Sequence[dict[str, object]]) -> str:
    if not events:
        return '<p class="o-quiet">Nobody has halted anything yet.</p>'
    rows = []
    for event in events[:_LATEST_EVENTS]:
        at = event.get("at_ms")
        rows.append(
            f"<tr><td>{moment(at if isinstance(at, int) else None, style='full')}</td>"
            f"<td>{esc(event.get('event'))}</td>"
            f"<td>{esc(event.get('by'))}</td><td>{esc(event.get('why'))}</td></tr>"
        )
    return (
        '<div class="o-scroll" tabindex="0" role="region" aria-label="History of halts"><table class="o-table">'
        "<thead><tr>"
        '<th scope="col">When</th><th scope="col">What</th><th scope="col">Who</th><th scope="col">Why</th>'
        "</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _banner(text: str) -> str:
    return f'<div class="o-banner" role="alert"><b>{esc(text)}</b></div>' if text else ""


def _note(text: str) -> str:
    return f'<div class="o-banner o-note" role="status"><b>{esc(text)}</b></div>' if text else ""
