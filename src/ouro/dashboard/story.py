"""One trade told whole: ring of hops, where the money went, how long each stage took, simulated against real."""

import math
from dataclasses import dataclass
from html import escape

from ouro.dashboard.feed import Feed, short
from ouro.dashboard.reading import TradeStory
from ouro.dashboard.totals import WEI_PER_COIN, usd
from ouro.dashboard.units import NONE, amount, coin, count, esc, micros, milliseconds, moment, tone
from ouro.dashboard.units import usd as dollars
from ouro.ledger.books import gross_native_wei
from ouro.ledger.records import AttemptRecord
from ouro.types import Hop, Plan

_WIDTH, _HEIGHT, _NODE = 760, 400, 34
_RX, _RY = 168, 124


@dataclass(frozen=True, slots=True)
class Teller:
    """Names and units of one chain."""

    feed: Feed
    chain: str

    def token(self, token: str) -> str:
        """Its symbol."""
        return self.feed.token(self.chain, token)

    def amount(self, raw: int, token: str) -> str:
        """An amount of it."""
        return amount(raw, self.feed.decimals(self.chain, token), self.token(token))

    def link(self, kind: str, value: str, text: str | None = None) -> str:
        """A link to the chain's explorer (``kind`` is tx, address or block), plain text without one."""
        shown = f'<span class="o-mono">{esc(text or value)}</span>'
        explorer = self.feed.config.dashboard.explorers.get(self.chain)
        if not explorer or not value:
            return shown
        address = f"{explorer}/{kind}/{value}"
        return f'<a href="{esc(address)}" target="_blank" rel="noopener noreferrer">{shown}</a>'


def ring(plan: Plan, teller: Teller, realised: tuple[int, ...]) -> str:
    """The route as a ring: tokens are nodes, each arrow is a swap with what goes in and what comes out."""
    hops = plan.hops
    steps = len(hops)
    start = math.pi if steps == 2 else -math.pi / 2
    angles = [start + 2 * math.pi * at / steps for at in range(steps)]
    arcs, labels, nodes = [], [], []
    for at, hop in enumerate(hops):
        arcs.append(_arrow(angles[at], start + 2 * math.pi * (at + 1) / steps))
        labels.append(_hop_label((angles[at] + start + 2 * math.pi * (at + 1) / steps) / 2, hop, teller))
        nodes.append(_node(angles[at], teller.token(hop.token_in), first=at == 0))
    words = ", then ".join(
        f"{teller.amount(hop.amount_in_wei, hop.token_in)} into {hop.family} for "
        f"{teller.amount(hop.amount_out_wei, hop.token_out)}"
        for hop in hops
    )
    middle = _middle(plan, teller, realised)
    return (
        f'<svg class="o-ring" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}">'
        '<defs><marker id="o-head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="head" d="M0 0 10 5 0 10Z"/></marker></defs>'
        f"{''.join(arcs)}{''.join(nodes)}{''.join(labels)}{middle}</svg>"
    )


def _point(angle: float, grow: float = 0) -> tuple[float, float]:
    return _WIDTH / 2 + (_RX + grow) * math.cos(angle), _HEIGHT / 2 + (_RY + grow) * math.sin(angle)


def _clear(angle: float, direction: int) -> float:
    """The angle at which the ring leaves a node's circle."""
    x, y = _point(angle)
    step = direction * 0.01
    here = angle
    while math.dist(_point(here), (x, y)) < _NODE + 5:
        here += step
    return here


def _arrow(begin: float, end: float) -> str:
    x1, y1 = _point(_clear(begin, 1))
    x2, y2 = _point(_clear(end, -1))
    large = 1 if end - begin > math.pi + 0.01 else 0
    return (
        f'<path class="arc" marker-end="url(#o-head)" d="M{x1:.1f} {y1:.1f}A{_RX} {_RY} 0 {large} 1 {x2:.1f} '
        f'{y2:.1f}"/>'
    )


def _node(angle: float, name: str, *, first: bool) -> str:
    x, y = _point(angle)
    size = 13 if len(name) <= 6 else 10.5
    return (
        f'<circle class="node{" start" if first else ""}" cx="{x:.1f}" cy="{y:.1f}" r="{_NODE}"/>'
        f'<text class="sym" x="{x:.1f}" y="{y + 4.5:.1f}" style="font-size:{size}px">{escape(name[:10])}</text>'
    )


def _hop_label(angle: float, hop: Hop, teller: Teller) -> str:
    x, y = _point(angle, 20)
    across = math.cos(angle)
    anchor = "start" if across > 0.3 else "end" if across < -0.3 else "middle"
    up = -32 if anchor == "middle" and math.sin(angle) < 0 else 12 if anchor == "middle" else -12
    lines = (
        f"{hop.family.replace('_', ' ')} · {short(hop.pool)}",
        f"in {teller.amount(hop.amount_in_wei, hop.token_in)}",
        f"out {teller.amount(hop.amount_out_wei, hop.token_out)}",
    )
    return "".join(
        f'<text class="{"sub" if at == 0 else ""}" text-anchor="{anchor}" x="{x:.1f}" y="{y + up + 18 * at:.1f}">'
        f"{escape(line)}</text>"
        for at, line in enumerate(lines)
    )


def _middle(plan: Plan, teller: Teller, realised: tuple[int, ...]) -> str:
    gain = realised[-1] - realised[0] if realised else plan.gross_profit_wei
    x, y = _WIDTH / 2, _HEIGHT / 2
    word = "gained" if realised else "expected"
    return (
        f'<text class="sym" x="{x}" y="{y - 2}">{escape(teller.amount(gain, plan.profit_token))}</text>'
        f'<text class="sub" text-anchor="middle" x="{x}" y="{y + 16}">{word}, before gas</text>'
    )


def waterfall_steps(record: AttemptRecord) -> list[tuple[str, float]]:
    """From what was found to what was kept, in native coins."""
    plan, outcome = record.plan, record.outcome
    if plan is None:
        return []

    def native(amount_wei: int) -> float:
        return (
            amount_wei * plan.value_native_wei / plan.gross_profit_wei / WEI_PER_COIN
            if plan.gross_profit_wei
            else 0.0
        )

    found = plan.value_native_wei / WEI_PER_COIN
    steps = [("Found", found)]
    landed = outcome is not None and outcome.kind.value == "landed"
    if outcome is None or landed:
        steps += [
            (name, -native(wei))
            for name, wei in (("Loan fee", plan.loan_fee_wei), ("Bribe", plan.bribe_wei))
            if wei
        ]
    if outcome is None:
        gas = plan.expected_gas * plan.fee.max_fee_per_gas_wei / WEI_PER_COIN
        return [*steps, ("Gas, at most", -gas), ("Expected", plan.expected_net_native_wei / WEI_PER_COIN)]
    gross = gross_native_wei(record) / WEI_PER_COIN
    moved = gross - sum(value for _, value in steps)
    if abs(moved) > 1e-12:
        steps.append(("State moved" if landed else "Not realised", moved))
    gas = outcome.gas_cost_wei / WEI_PER_COIN
    return [*steps, ("Gas", -gas), ("Net", gross - gas)]


def timeline(record: AttemptRecord) -> str:
    """How long each stage took, from the read of the socket."""
    marks = [("decided", record.decided_us), ("signed", record.signed_us), ("handed over", record.sent_us)]
    known = [(name, value) for name, value in marks if value is not None]
    rows, before = [], 0
    span = max([value for _, value in known], default=1) or 1
    for name, value in known:
        left, width = 100 * before / span, 100 * max(value - before, 0) / span
        rows.append(_stage(name, left, width, f"{micros(value - before)}", f"{micros(value)} after the read"))
        before = value
    if record.outcome_at_ms is not None:
        waited = record.outcome_at_ms - (record.sent_at_ms or record.journaled_at_ms)
        rows.append(
            _stage("settled", 0, 100, milliseconds(float(waited)), "from the hand-over to the booked outcome")
        )
    return f'<ol class="o-timeline">{"".join(rows)}</ol>' if rows else "<p class='o-quiet'>No stage was timed.</p>"


def _stage(name: str, left: float, width: float, took: str, hint: str) -> str:
    return (
        f'<li title="{esc(hint)}"><span>{name}</span><span class="o-track" aria-hidden="true">'
        f'<i style="left:{min(left, 99):.1f}%;width:{width:.1f}%"></i></span><span class="num">{took}</span></li>'
    )


def compared(record: AttemptRecord, teller: Teller) -> str:
    """Promised against realised, hop by hop, to the unit."""
    plan, outcome = record.plan, record.outcome
    if plan is None:
        return ""
    realised = outcome.realised_amounts_wei if outcome is not None else ()
    predicted = (*(hop.amount_in_wei for hop in plan.hops), plan.hops[-1].amount_out_wei)
    rows = []
    for at, wei in enumerate(predicted):
        token = plan.hops[at].token_in if at < len(plan.hops) else plan.hops[-1].token_out
        name = f"Into hop {at + 1}" if at < len(plan.hops) else "Out of the last hop"
        got = realised[at] if len(realised) == len(predicted) else None
        rows.append(
            _compare_row(
                name,
                teller.amount(wei, token),
                None if got is None else teller.amount(got, token),
                None if got is None else got - wei,
            )
        )
    used = outcome.gas_used if outcome is not None and outcome.gas_used else None
    difference = None if used is None else used - plan.expected_gas
    rows.append(
        _compare_row(
            "Gas", f"{count(plan.expected_gas)} gas", None if used is None else f"{count(used)} gas", difference
        )
    )
    return (
        '<table class="o-table"><caption class="o-sr">Simulated against realised</caption><thead><tr>'
        '<th scope="col"></th><th scope="col" class="num">Simulated</th><th scope="col" class="num">Realised</th>'
        f'<th scope="col" class="num">Difference</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _compare_row(name: str, promised: str, got: str | None, difference: int | None) -> str:
    last = (
        NONE
        if difference is None
        else "0"
        if difference == 0
        else f"{'+' if difference > 0 else '−'}{abs(difference):,}"
    )
    return (
        f'<tr><th scope="row">{name}</th><td class="num">{esc(promised)}</td><td class="num">{esc(got or NONE)}'
        "</td>"
        f'<td class="num">{last}</td></tr>'
    )


def facts(story: TradeStory, teller: Teller) -> str:
    """Everything else, as pairs."""
    record = story.record
    attempt, plan, outcome = record.attempt, record.plan, record.outcome
    pairs: list[tuple[str, str]] = [
        ("Journaled", str(moment(record.journaled_at_ms, style="full"))),
        ("Transaction", teller.link("tx", attempt.tx_hash)),
        ("Operator", f"{teller.link('address', attempt.operator)} nonce {count(attempt.nonce)}"),
        ("Lane", esc(attempt.lane)),
    ]
    if outcome is not None:
        settled = str(moment(record.outcome_at_ms, style="full"))
        pairs.append(("Outcome", f"{esc(outcome.kind.value)} at {settled}{_because(outcome.reason)}"))
        if outcome.block_number is not None:
            pairs.append(("Block", teller.link("block", str(outcome.block_number), count(outcome.block_number))))
    if plan is not None:
        pairs += [
            ("Found at block", f"{count(plan.found_at_number)}, valid to {count(plan.max_block_number)}"),
            (
                "Gas bid",
                f"{count(plan.fee.max_fee_per_gas_wei)} wei at most, "
                f"{count(plan.fee.max_priority_fee_per_gas_wei)} tip",
            ),
        ]
    pairs.append(("Attempt", f'<span class="o-mono">{esc(attempt.attempt_id)}</span>'))
    body = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs)
    return f'<dl class="o-kv">{body}</dl>{_history(story)}'


def _because(reason: str) -> str:
    return f": {esc(reason)}" if reason else ""


def _history(story: TradeStory) -> str:
    if len(story.history) <= 1 and not story.cancels:
        return ""
    rows = [
        f"<li>{'withdrawn' if withdrawn else esc(outcome.kind.value)}{_because(outcome.reason)}</li>"
        for outcome, withdrawn in story.history
    ]
    rows += [f"<li>nonce taken back by {esc(short(item.attempt.tx_hash))}</li>" for item in story.cancels]
    return f'<details class="o-data"><summary>History of outcomes</summary><ol>{"".join(rows)}</ol></details>'


def verdict(record: AttemptRecord, feed: Feed) -> str:
    """The figures at the top of the page."""
    from ouro.dashboard.fragments import stat

    chain = record.attempt.chain
    unit, price = feed.coin(chain), feed.picture.counted.native_usd.get(chain)
    gas = record.outcome.gas_cost_wei if record.outcome else 0
    net = gross_native_wei(record) - gas
    promised = record.plan.expected_net_native_wei if record.plan else None

    def money(wei: int) -> str:
        return dollars(usd(wei, price), plus=True) if price is not None else coin(wei, unit)

    parts = [
        stat(
            "Net",
            money(net) if record.outcome else NONE,
            coin(net, unit, digits=9, plus=True) if record.outcome else "open",
            klass=f"o-big {tone(net if record.outcome else None)}",
        ),
        stat("Expected", NONE if promised is None else money(promised), coin(promised, unit, digits=9, plus=True)),
        stat("Gas", money(-gas), coin(gas, unit, digits=9)),
        stat("Decided in", micros(record.decided_us), "from the read of the socket"),
        stat("Handed over in", micros(record.sent_us), "signed, journaled, sent"),
    ]
    return f'<div class="o-hero">{"".join(parts)}</div>'
