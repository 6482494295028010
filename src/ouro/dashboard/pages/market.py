"""The market as a graph: tokens are nodes, pools are edges, the best cycle of now is lit."""

from collections import Counter, defaultdict
from typing import Any

from nicegui import ui
from starlette.requests import Request

from ouro.dashboard import charts, fragments
from ouro.dashboard.context import Context
from ouro.dashboard.feed import Feed
from ouro.dashboard.layout import Chart, Live, card, frame, scheme_of
from ouro.dashboard.units import age, esc

_MOST_EDGES = 220
_LABELS = 24


def register(context: Context) -> None:
    """Add the page."""

    @ui.page("/market", title="Market · Ouro")
    def market(request: Request) -> None:
        view = context.view(request)
        feed = context.feed
        names = [name for name in feed.chain_names() if name in feed.files.pools] or feed.chain_names()
        chain = view.chain or (names[0] if names else "")
        colours = charts.palette(scheme_of(request.cookies))
        with frame("market", "Market", scheme_of(request.cookies), context.pill) as live:
            links = "".join(
                f'<a href="/market?chain={esc(name)}"{" aria-current=true" if name == chain else ""}>{esc(name)}'
                "</a>"
                for name in feed.chain_names()
            )
            bar = (
                '<nav class="o-filters" aria-label="Chain"><div class="o-seg"><span class="o-seg-name">Chain'
                f"</span>{links}</div></nav>"
            )
            ui.html(bar, sanitize=False)
            best = _Best(feed, chain)
            with card("Best cycle", note="the plan with the highest expected net of the latest decided block"):
                live.append(Live(lambda: best.text(context.now_ms())))
            had = chain in feed.files.pools
            chart: Chart | None = None
            png = '<button type="button" data-png="graph" aria-label="Download graph as PNG">PNG</button>'
            with card("Tokens and pools", "o-tall", tools=png if had else ""):
                if had:
                    label = f"Graph of the pools of {chain}; the best cycle is named above"
                    chart = Chart("graph", label, best.options(colours))
                    ui.html(_legend(feed, chain, colours), sanitize=False)
                else:
                    text = "The engine writes its pools here once it has loaded the chain."
                    ui.html(fragments.empty("No market loaded yet", text), sanitize=False)
        lit = best.lit()

        def on_tick(news: bool) -> None:
            nonlocal lit
            for piece in live:
                piece.refresh()
            if not had:
                if chain in feed.files.pools:
                    ui.navigate.reload()
            elif chart is not None and best.lit() != lit:
                lit = best.lit()
                chart.show(best.options(colours), only=("series",))

        context.tick(on_tick)


def _families(feed: Feed, chain: str) -> list[tuple[str, int]]:
    return Counter(edge.family for edge in feed.files.pools.get(chain, ())).most_common()


def _shades(feed: Feed, chain: str, colours: charts.Palette) -> dict[str, str]:
    return {name: colours.family(place) for place, (name, _) in enumerate(_families(feed, chain))}


def _legend(feed: Feed, chain: str, colours: charts.Palette) -> str:
    shades = _shades(feed, chain, colours)
    items = [f'<span><i style="background:{colours.gold}"></i>best cycle</span>']
    items += [
        f'<span><i style="background:{shades[name]}"></i>{esc(name.replace("_", " "))} ({number})</span>'
        for name, number in _families(feed, chain)
    ]
    return f'<div class="o-legend">{"".join(items)}</div>'


class _Best:
    """The cycle that is lit: the current one, or the last one there was."""

    def __init__(self, feed: Feed, chain: str) -> None:
        self._feed, self._chain = feed, chain

    def lit(self) -> frozenset[str]:
        now = self._feed.files.chains.get(self._chain)
        return frozenset(map(str, now.values.get("best_pools", ()))) if now is not None else frozenset()

    def text(self, now_ms: int) -> str:
        now = self._feed.files.chains.get(self._chain)
        if now is None or not now.alive(now_ms):
            return '<p class="o-quiet">The engine does not run, so nothing is looked for.</p>'
        best = str(now.values.get("best") or "")
        if not best:
            old = age(now.block_age_ms(now_ms))
            return f'<p class="o-quiet">None in the latest block ({old} ago): prices agree within costs.</p>'
        gain, _, route = best.partition(" ")
        coin = self._feed.coin(self._chain)
        return (
            f'<div class="o-stat-value {"loss" if gain.startswith("-") else "gain"}'
            f'">{esc(gain.replace("-", "−"))} {esc(coin)}</div>'
            f'<div class="o-route">{esc(route)}</div>'
        )

    def options(self, colours: charts.Palette) -> dict[str, Any]:
        feed, chain, lit = self._feed, self._chain, self.lit()
        pools = sorted(feed.files.pools.get(chain, ()), key=lambda edge: edge.pool not in lit)[:_MOST_EDGES]
        degree = Counter(token for edge in pools for token in edge.tokens)
        bright = {token for edge in pools if edge.pool in lit for token in edge.tokens}
        named = {token for token, _ in degree.most_common(_LABELS)}
        nodes = [
            {
                "id": token,
                "name": feed.token(chain, token),
                "size": 10 + 5 * times**0.5,
                "lit": token in bright,
                "labelled": token in named,
            }
            for token, times in sorted(degree.items())
        ]
        shades = _shades(feed, chain, colours)
        edges: list[dict[str, Any]] = []
        parallel: dict[tuple[str, str], int] = defaultdict(int)
        for edge in sorted(pools, key=lambda each: each.pool):
            for at, source in enumerate(edge.tokens):
                for target in edge.tokens[at + 1 :]:
                    pair = (min(source, target), max(source, target))
                    turn = parallel[pair]
                    parallel[pair] += 1
                    curve = 0.0 if turn == 0 else 0.16 * ((turn + 1) // 2) * (1 if turn % 2 else -1)
                    name = (
                        f"{feed.token(chain, source)} / {feed.token(chain, target)} · "
                        f"{edge.family.replace('_', ' ')}"
                    )
                    edges.append(
                        {
                            "source": source,
                            "target": target,
                            "pool": edge.pool,
                            "name": name,
                            "colour": shades[edge.family],
                            "curve": curve,
                        }
                    )
        return charts.graph(nodes, edges, colours, lit)
