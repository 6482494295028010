"""Pieces of pages as HTML: pure functions of what is known, everything from outside escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlencode

from ouro.dashboard.feed import Feed
from ouro.dashboard.files import ChainNow
from ouro.dashboard.health import Gauge, Health
from ouro.dashboard.totals import Filter, Histogram, Step, Totals, net_usd, usd
from ouro.dashboard.trades import STRATEGIES, Trade
from ouro.dashboard.units import (
    NONE,
    age,
    coin,
    count,
    esc,
    micros,
    milliseconds,
    moment,
    share,
    tone,
)
from ouro.dashboard.units import usd as dollars

SPANS = (
    ("1h", 3_600_000, "1 hour"),
    ("24h", 86_400_000, "24 hours"),
    ("7d", 604_800_000, "7 days"),
    ("all", 0, "All time"),
)
_MINUTE_MS = 60_000
REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class View:
    """What a page was asked to show: the words of its address."""

    chain: str | None = None
    strategy: str | None = None
    span: str = "all"
    outcome: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], chains: Sequence[str]) -> "View":
        """From an address; what is not known is left out."""
        spans = [name for name, _, _ in SPANS]
        chain, strategy = query.get("chain"), query.get("strategy")
        outcome, span = query.get("outcome"), query.get("span")
        return cls(
            chain if chain in chains else None,
            strategy if strategy in STRATEGIES else None,
            span if span in spans else "all",
            outcome if outcome in OUTCOMES else None,
        )

    def filter(self, now_ms: int) -> Filter:
        """The sums that belong to it. The beginning moves by minutes, so that sums are kept for one."""
        size = next(size for name, size, _ in SPANS if name == self.span)
        since = now_ms - now_ms % _MINUTE_MS - size if size else 0
        return Filter(self.chain, self.strategy, since)

    def address(self, path: str, **changes: str | None) -> str:
        """``path`` with this view in its query, but for ``changes``."""
        values = {"chain": self.chain, "strategy": self.strategy, "span": self.span, "outcome": self.outcome}
        values |= changes
        if values["span"] == "all":
            values["span"] = None
        query = urlencode({key: value for key, value in values.items() if value})
        return f"{path}?{query}" if query else path


OUTCOMES = ("landed", "lost", "reverted", "expired", "dropped", "open")


def filter_bar(view: View, path: str, chains: Sequence[str], *, outcomes: bool = False) -> str:
    """Chains, strategies and spans as groups of links: shareable, and reachable by keyboard."""
    groups = [
        ("Chain", "chain", view.chain, [(None, "All"), *((name, name) for name in chains)]),
        (
            "Strategy",
            "strategy",
            view.strategy,
            [(None, "All"), *((name, name.replace("_", "-")) for name in STRATEGIES)],
        ),
        ("Time", "span", view.span, [(name, name if name != "all" else "All") for name, _, _ in SPANS]),
    ]
    if outcomes:
        groups.append(("Outcome", "outcome", view.outcome, [(None, "All"), *((name, name) for name in OUTCOMES)]))
    parts = []
    for label, key, current, choices in groups:
        links = "".join(
            f'<a href="{esc(view.address(path, **{key: value}))}"{_current(value == current)}>{esc(text)}</a>'
            for value, text in choices
        )
        parts.append(
            f'<div class="o-seg" role="group" aria-label="{label}"><span class="o-seg-name">{label}'
            f"</span>{links}</div>"
        )
    return f'<nav class="o-filters" aria-label="Filters">{"".join(parts)}</nav>'


def _current(yes: bool) -> str:
    return ' aria-current="true"' if yes else ""


def health_pill(state: Health) -> str:
    """The one thing to look at first."""
    return (
        f'<div class="o-health o-{state.level}" role="status"><span class="o-dot" aria-hidden="true"></span>'
        f'<strong>{esc(state.word)}</strong><span class="o-health-text">{esc(state.sentence)}</span></div>'
    )


def stat(name: str, value: str, under: str = "", *, klass: str = "", hint: str = "") -> str:
    """One figure with its name and a line below. ``value`` and ``under`` are HTML."""
    title = f' title="{esc(hint)}"' if hint else ""
    return (
        f'<div class="o-stat"{title}><div class="o-stat-name">{esc(name)}</div>'
        f'<div class="o-stat-value {klass}">{value}</div><div class="o-stat-under">{under}</div></div>'
    )


def hero(feed: Feed, totals: Totals, today: Totals, latency: Histogram) -> str:
    """What it earned, and how well."""
    prices = feed.picture.counted.native_usd
    total, day = net_usd(totals, prices), net_usd(today, prices)
    outcomes = totals.outcomes()
    final = sum(number for kind, number in outcomes.items() if kind != "open")
    expected = sum(chain.expected_landed_wei for chain in totals.chains.values())
    error = sum(chain.landed_net_wei - chain.expected_landed_wei for chain in totals.chains.values())
    return (
        '<div class="o-hero">'
        + "".join(
            (
                stat(
                    "Net profit",
                    dollars(total, plus=True),
                    _by_chain(feed, totals),
                    klass=f"o-big {tone(total)}",
                    hint="Realised profit minus all gas, at each chain's latest price; the same figure as ouro "
                    "report",
                ),
                stat(
                    "Today (UTC)",
                    dollars(day, plus=True),
                    f"{count(today.outcomes()['landed'])} landed",
                    klass=tone(day),
                ),
                stat(
                    "Landed",
                    count(outcomes["landed"]),
                    f"{share(outcomes['landed'], final)} of {count(final)} final",
                ),
                stat(
                    "Realised against predicted",
                    _relative(error, expected),
                    "of what landed trades promised",
                    hint="Net of landed trades compared with what their plans expected, gas included",
                ),
                stat(
                    "Decided in",
                    milliseconds(latency.p50_ms),
                    f"p99 {milliseconds(latency.p99_ms)}",
                    hint="From the read of the socket to the decision",
                ),
            )
        )
        + "</div>"
    )


def _relative(error: int, expected: int) -> str:
    if expected <= 0:
        return NONE
    percent = 100 * error / expected
    text = f"{percent:+.2f} %".replace("-", "−")
    return "0.00 %" if text[1:] == "0.00 %" else text


def _by_chain(feed: Feed, totals: Totals) -> str:
    lines = [
        f'<span class="o-nobreak">{esc(coin(chain.net_wei, feed.coin(name), digits=4, plus=True))} '
        f'<span class="o-dim">{esc(name)}</span></span>'
        for name, chain in sorted(totals.chains.items())
    ]
    return " ".join(lines) or "nothing settled yet"


def funnel(steps: Sequence[Step]) -> str:
    """Each step with its bar, and below it why the others went no further."""
    most = max((step.count for step in steps), default=0)
    rows = []
    for before, step in zip([None, *steps], steps, strict=False):
        width = _log_width(step.count, most)
        lost = ""
        if before is not None and step.lost:
            shown = [
                f'<span class="o-reason"><b>{count(number)}</b> {esc(_words(reason))}</span>'
                for reason, number in step.lost[:REASONS_SHOWN]
            ]
            rest = sum(number for _, number in step.lost[REASONS_SHOWN:])
            if rest:
                shown.append(f'<span class="o-reason"><b>{count(rest)}</b> other</span>')
            lost = f'<div class="o-lost">lost before: {"".join(shown)}</div>'
        part = share(step.count, before.count) if before is not None else ""
        rows.append(
            f'<li>{lost}<div class="o-step"><span class="o-step-name">{step.name}</span>'
            f'<span class="o-bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
            f'<span class="o-step-n">{count(step.count)}</span><span class="o-step-p">{part}</span></div></li>'
        )
    return f'<ol class="o-funnel">{"".join(rows)}</ol>'


def _log_width(number: int, most: int) -> float:
    """Bars on a logarithmic scale: of a hundred thousand seen, a hundred landed still show."""
    if number <= 0 or most <= 0:
        return 0.0
    return 100.0 * (1 + _log2(number)) / (1 + _log2(most))


def _log2(number: int) -> float:
    import math

    return math.log2(number)


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def freshness(feed: Feed, now_ms: int) -> str:
    """Each chain: block, its age, how current the state is."""
    rows = []
    for name in feed.chain_names():
        chain = feed.files.chains.get(name)
        counted = feed.picture.counted
        rows.append(_freshness_row(name, chain, counted.last_block.get(name), counted.pools.get(name), now_ms))
    if not rows:
        return empty("No chain yet", "The configuration names none that has run.")
    head = "".join(
        f"<th scope=col{' class=num' if at in (2, 3, 4, 5) else ''}>{name}</th>"
        for at, name in enumerate(("Chain", "State", "Block", "Age", "Pools", "Cycles"))
    )
    return (
        f'<table class="o-table"><caption class="o-sr">Freshness by chain</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _freshness_row(name: str, chain: ChainNow | None, last: int | None, pools: int | None, now_ms: int) -> str:
    if chain is None or not chain.alive(now_ms):
        level, word = "idle", "not running"
        block, old, cycles = last, None, None
        if chain is not None:
            block, pools, cycles = (
                chain.values.get("block_number"),
                chain.values.get("pools"),
                chain.values.get("cycles"),
            )
            old = chain.age_ms(now_ms)
    else:
        values = chain.values
        word = str(values.get("freshness"))
        level = {"ready": "ok", "delayed": "warn"}.get(word, "bad")
        if values.get("state") not in ("running", "finishing"):
            word = (
                f"{values.get('state')}: {values.get('detail')}"
                if values.get("detail")
                else str(values.get("state"))
            )
        block, pools, cycles = values.get("block_number"), values.get("pools"), values.get("cycles")
        old = chain.block_age_ms(now_ms)
    return (
        f"<tr><th scope=row>{esc(name)}</th><td><span class='o-badge o-{level}'><span class='o-dot' "
        "aria-hidden='true'>"
        f"</span>{esc(word)}</span></td><td class=num>{count(block)}</td><td class=num>{age(old)}</td>"
        f"<td class=num>{count(pools)}</td><td class=num>{count(cycles)}</td></tr>"
    )


def gauge_grid(gauges: Sequence[Gauge], halts: Sequence[tuple[str, str]]) -> str:
    """Limits as arcs, then what is halted (person or breaker) and why."""
    cells = "".join(_arc(gauge) for gauge in gauges)
    if halts:
        rows = "".join(f"<li><b>{esc(who)}</b> {esc(why)}</li>" for who, why in halts)
        stopped = f'<ul class="o-halts">{rows}</ul>'
    else:
        stopped = '<p class="o-quiet">No breaker has tripped, nobody has halted anything.</p>'
    return f'<div class="o-gauges">{cells}</div>{stopped}'


def _arc(gauge: Gauge) -> str:
    part = min(max(gauge.share, 0.0), 1.0)
    level = "bad" if gauge.share >= 1 else "warn" if gauge.share >= 0.7 else "ok"
    length = 125.7
    label = f"{gauge.chain}: {gauge.name}, {gauge.text} of {gauge.limit}"
    return (
        f'<figure class="o-gauge o-{level}"><svg viewBox="0 0 100 58" role="img" aria-label="{esc(label)}">'
        f'<path class="o-arc-back" d="M10 52 A40 40 0 0 1 90 52"/>'
        f'<path class="o-arc" d="M10 52 A40 40 0 0 1 90 52" stroke-dasharray="{part * length:.1f} 200"/>'
        f'<text x="50" y="46" text-anchor="middle">{100 * gauge.share:.0f} %</text></svg>'
        f"<figcaption><b>{esc(gauge.name)}</b><span>{esc(gauge.text)}</span>"
        f'<span class="o-dim">of {esc(gauge.limit)} · {esc(gauge.chain)}</span></figcaption></figure>'
    )


def trade_row(feed: Feed, trade: Trade) -> dict[str, object]:
    """What the table shows of a trade; texts, for the browser only puts them in their cells."""
    price = feed.picture.counted.native_usd.get(trade.chain)
    worth = usd(trade.net_wei, price) if trade.is_final else None
    unit = feed.coin(trade.chain)
    return {
        "id": trade.attempt_id,
        "href": f"/trades/{trade.attempt_id}",
        "at": trade.at_ms,
        "chain": trade.chain,
        "strategy": trade.strategy,
        "route": " → ".join(feed.token(trade.chain, token) for token in trade.path) or "cancel",
        "outcome": trade.outcome,
        "reason": trade.reason,
        "net": dollars(worth, plus=True)
        if worth is not None
        else coin(trade.net_wei, unit)
        if trade.is_final
        else NONE,
        "native": coin(trade.net_wei, unit, plus=True) if trade.is_final else "",
        "tone": tone(trade.net_wei if trade.is_final else None),
        "gas": coin(trade.gas_wei, unit, digits=5) if trade.is_final else NONE,
        "decided": micros(trade.decided_us),
        "block": count(trade.block_number),
    }


def latest(feed: Feed, trades: Iterable[Trade], link: str) -> str:
    """The newest few trades, for the overview."""
    rows = []
    for trade in trades:
        row = trade_row(feed, trade)
        rows.append(
            f'<li><a href="{esc(row["href"])}"><span class="o-badge o-out-{esc(trade.outcome)}'
            f'">{esc(trade.outcome)}</span>'
            f'<span class="o-route">{esc(row["route"])}</span>'
            f'<span class="num {row["tone"]}" title="{esc(row["native"])}">{esc(row["net"])}</span>'
            f'<span class="o-dim">{moment(trade.at_ms)}</span></a></li>'
        )
    if not rows:
        return empty("No trades yet", "The first one appears here the moment it is journaled.")
    return f'<ol class="o-latest">{"".join(rows)}</ol><a class="o-more" href="{esc(link)}">All trades</a>'


def empty(title: str, text: str) -> str:
    """A place where nothing is yet, and what will be."""
    return (
        f'<div class="o-empty"><svg viewBox="0 0 48 48" aria-hidden="true">{RING}</svg><b>{esc(title)}</b>'
        f"<p>{esc(text)}</p></div>"
    )


RING = (
    '<path d="M24 6a18 18 0 1 1-12.7 5.3" fill="none" stroke="currentColor" stroke-width="4" '
    'stroke-linecap="round"/>'
    '<path d="M24 1.5 30.5 6 24 10.5Z" fill="currentColor"/>'
)
"""The snake that closes on itself: a ring with a head."""


def money_native(wei: int, price: float | None, unit: str) -> str:
    """Dollars where there is a price, with the coins on hover."""
    worth: Decimal | None = usd(wei, price)
    if worth is None:
        return f"<span>{esc(coin(wei, unit, plus=True))}</span>"
    return f'<span title="{esc(coin(wei, unit, plus=True))}">{esc(dollars(worth, plus=True))}</span>'
