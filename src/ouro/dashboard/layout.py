"""The frame around every page: scheme, navigation, and the places where live pieces go."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui

from ouro import __version__
from ouro.dashboard.fragments import RING
from ouro.dashboard.units import esc

_ICONS = {
    "overview": '<path d="M3 12h4l3-8 4 16 3-8h4"/>',
    "trades": '<path d="M4 6h16M4 12h16M4 18h10"/>',
    "market": '<circle cx="5" cy="6" r="2"/><circle cx="19" cy="8" r="2"/><circle cx="10" cy="18" r="2"/>'
    '<path d="m7 6.5 10 1.2M17.5 9.6 11.6 16.6M9.3 16.1 5.8 7.9"/>',
    "capital": '<path d="M4 20V10M10 20V4M16 20v-8M21 20H3"/>',
    "system": '<rect x="4" y="4" width="16" height="7" rx="2"/><rect x="4" y="13" width="16" height="7" '
    'rx="2"/><path d="M8 7.5h.01M8 16.5h.01"/>',
    "control": '<path d="M12 3v9M6.3 6.3a8 8 0 1 0 11.4 0"/>',
}
PAGES = (
    ("/", "overview", "Overview"),
    ("/trades", "trades", "Trades"),
    ("/market", "market", "Market"),
    ("/capital", "capital", "Capital"),
    ("/system", "system", "System"),
    ("/control", "control", "Control"),
)


def icon(name: str) -> str:
    """A line drawing."""
    return (
        '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" '
        f'stroke-linejoin="round" aria-hidden="true">{_ICONS[name]}</svg>'
    )


def scheme_of(cookies: Any) -> str:
    """ "light" or "dark", as the browser told last time."""
    return "light" if cookies.get("ouro_scheme") == "light" else "dark"


def head(scheme: str) -> str:
    """What every page has in its head."""
    return (
        f'<script>document.documentElement.dataset.scheme="{scheme}"</script>'
        f'<link rel="stylesheet" href="/assets/ouro.css?{__version__}">'
        f'<script src="/assets/ouro.js?{__version__}"></script>'
        '<noscript><p style="padding:2rem;font:16px system-ui">This page needs JavaScript. '
        "Trading does not depend on it: <code>ouro status</code>, <code>ouro report</code> and "
        "<code>ouro halt</code> say and do the same in a terminal.</p></noscript>"
    )


def rail(here: str) -> str:
    """The navigation's inside."""
    links = "".join(
        f'<a class="o-nav" href="{path}"{_current(name == here)}>{icon(name)}<span>{title}</span></a>'
        for path, name, title in PAGES
    )
    return (
        f'<a class="o-brand" href="/"><svg viewBox="0 0 48 48" aria-hidden="true">{RING}</svg>Ouro</a>{links}'
        '<div class="o-rail-end"><button class="o-button o-quiet" type="button" data-scheme-toggle>Light or '
        "dark</button>"
        '<a class="o-button o-danger" href="/control">Halt</a></div>'
    )


def _current(yes: bool) -> str:
    return ' aria-current="page"' if yes else ""


class Live:
    """A piece of HTML that is sent again only when it has changed."""

    def __init__(self, make: Callable[[], str], classes: str = "") -> None:
        self._make = make
        self._text = make()
        self._element = ui.html(self._text, sanitize=False).classes(classes)

    def refresh(self) -> None:
        """Make it anew, send it if it differs."""
        text = self._make()
        if text != self._text:
            self._text = text
            self._element.set_content(text)


def refresh(live: Iterable[Live]) -> None:
    """All of them."""
    for piece in live:
        piece.refresh()


@contextmanager
def frame(
    here: str, title: str, scheme: str, health: Callable[[], str], *, heading: str = ""
) -> Iterator[list[Live]]:
    """The page around what the ``with`` builds; gives the list of live pieces, to which it may add its own."""
    ui.add_head_html(head(scheme))
    ui.page_title(f"{title} · Ouro")
    ui.html('<a class="o-skip" href="#main">To the content</a>', sanitize=False)
    live: list[Live] = []
    with ui.element("div").classes("o-frame"):
        ui.html(rail(here), sanitize=False, tag="nav").classes("o-rail").props('aria-label="Pages"')
        with ui.element("div").classes("o-main").props("id=main tabindex=-1"):
            with ui.element("div").classes("o-top"):
                ui.html(f"<h1>{esc(heading or title)}</h1>", sanitize=False)
                live.append(Live(health))
            yield live


@contextmanager
def card(title: str, classes: str = "", note: str = "", tools: str = "") -> Iterator[None]:
    """A titled box. ``tools`` is HTML of links and buttons at its right."""
    with ui.element("section").classes(f"o-card {classes}").props(f'aria-label="{esc(title)}"'):
        right = f'<div class="o-tools">{tools}</div>' if tools else f'<span class="o-dim">{esc(note)}</span>'
        ui.html(f"<h2>{esc(title)}</h2>{right}", sanitize=False, tag="header")
        yield


def tools(chart: str, csv: str) -> str:
    """Downloads of a chart: its picture and its numbers."""
    return (
        f'<button type="button" data-png="{chart}" aria-label="Download {chart} as PNG">PNG</button>'
        f'<a href="{esc(csv)}" download aria-label="Download {chart} as CSV">CSV</a>'
    )


class Chart:
    """An ECharts canvas with a name for those who do not see it; only changed series are sent."""

    def __init__(self, name: str, label: str, options: dict[str, Any]) -> None:
        self._options = options
        self._chart = ui.echart(options).props(f'data-chart="{name}" role=img aria-label="{esc(label)}"')

    def show(self, options: dict[str, Any], *, only: tuple[str, ...] = ("series", "xAxis", "yAxis")) -> None:
        """Send what of ``only`` differs from what is shown."""
        changed = {key: options[key] for key in only if key in options and options[key] != self._options.get(key)}
        if changed:
            self._options = options
            self._chart.run_chart_method("setOption", changed)
