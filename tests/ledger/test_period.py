"""Days and months of the books: figures, bills, targets, and how they are written."""

import csv
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import GAS_COST, PROFIT, attempt, book, cancel, failed, journal, landed, plan

from ouro.config.costs import CostItem, CostsConfig, PhaseTarget
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.period import ChainLimits, drawdown_ppm, period_of, period_report, transactions_of, usd_cents
from ouro.ledger.period_formats import to_csv, to_html, to_markdown, transactions_csv
from ouro.ledger.records import BlockStats
from ouro.ledger.stats import clopper_pearson_lower, wilson_lower
from ouro.ledger.uptime import covered_ms
from ouro.types import OutcomeKind

NOON_MS = 1_795_435_200_000  # 2026-11-23 12:00 UTC
DAY_MS = 86_400_000
LIMITS = {"ethereum": ChainLimits(10**18, 10**20, 10**17, 10**18, 8)}
COSTS = CostsConfig(
    items=(
        CostItem(name="<script>node</script>", kind="node", usd_cents_per_month=30_000, chain="ethereum"),
        CostItem(name="machine", usd_cents_per_month=3_000),
    )
)


@pytest.fixture
def clocked(url: str) -> Iterator[tuple[Ledger, list[int]]]:
    """A ledger whose clock stands where the test puts it."""
    now = [NOON_MS]
    ledger = Ledger.open(url, interval_s=0.02, clock_ms=lambda: now[0])
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    yield ledger, now
    ledger.close()


def report_of(clocked: tuple[Ledger, list[int]], kind: str = "day", **more: Any) -> dict[str, Any]:
    ledger, now = clocked
    ledger.flush()
    return period_report(ledger.books, period_of(kind, None, now[0]), costs=COSTS, limits=LIMITS, **more)


def fill(clocked: tuple[Ledger, list[int]]) -> None:
    """Two landed, one lost, one cancel; one landed the day before."""
    ledger, now = clocked
    now[0] = NOON_MS - DAY_MS
    journal(ledger, "1", nonce=1)
    book(ledger, landed("1"))
    ledger.flush()
    now[0] = NOON_MS
    for number in (2, 3, 4):
        journal(ledger, str(number), nonce=number)
    book(ledger, landed("2"))
    book(ledger, landed("3"))
    book(ledger, failed("4", OutcomeKind.LOST))
    taken_back = cancel("5", attempt("4", nonce=4))
    ledger.journal_attempt(taken_back, None).result(30)
    book(ledger, failed("5", OutcomeKind.REVERTED))
    ledger.record_block("ethereum", BlockStats(10, 5, 6, 1, 900))


def test_a_day_counts_what_was_booked_in_it(clocked: tuple[Ledger, list[int]]) -> None:
    fill(clocked)
    chain = report_of(clocked)["chains"]["ethereum"]
    assert (chain["attempts"], chain["landed"], chain["lost"]) == (3, 2, 1)
    assert chain["gross_spread_wei"] == 2 * PROFIT
    assert chain["failed_attempts_wei"] == 2 * GAS_COST
    assert chain["net_wei"] == 2 * PROFIT - 4 * GAS_COST
    assert chain["residual_wei"] == 0
    assert chain["success_ppm"] == 666_666
    assert chain["attempts_per_success_ppm"] == 1_500_000
    assert chain["cost_per_success_wei"] == 2 * GAS_COST
    assert report_of(clocked, "month")["chains"]["ethereum"]["landed"] == 3


def test_every_part_adds_up_over_chains_strategies_and_tokens(clocked: tuple[Ledger, list[int]]) -> None:
    fill(clocked)
    report = report_of(clocked)
    for groups in (report["strategies"], report["tokens"]):
        assert sum(group["net_wei"] for group in groups) == report["chains"]["ethereum"]["net_wei"]
    assert report["unexplained"] == []


def test_bills_are_charged_for_the_time_that_passed(clocked: tuple[Ledger, list[int]]) -> None:
    ledger, _ = clocked
    ledger.record_price("ethereum", 2.0, "test")
    report = report_of(clocked)  # half a day of a month of thirty
    assert [bill["charged_usd_cents"] for bill in report["bills"]] == [500, 50]
    assert report["money"] == {"trading_usd_cents": 0, "bills_usd_cents": 550, "net_usd_cents": -550}


def test_targets_against_what_was_measured(clocked: tuple[Ledger, list[int]]) -> None:
    fill(clocked)
    phases = report_of(clocked)["phases"]
    first = phases[0]["targets"]
    assert first["success_ppm"] == {"measured": 666_666, "target": 800_000, "met": False}
    assert first["uptime_ppm"]["measured"] is None  # no time has passed since the run began
    assert first["drawdown_ppm"]["met"] is True
    assert first["monthly_profit_usd_cents"]["met"] is None  # no price, no band


def test_halts_of_the_day_alone(clocked: tuple[Ledger, list[int]]) -> None:
    event = {
        "event": "halt",
        "by": "breaker drawdown",
        "why": "<b>x</b>|y",
        "halts": [{"source": "breaker:drawdown"}],
    }
    report = report_of(clocked, halts=[{**event, "at_ms": NOON_MS - 1}, {**event, "at_ms": NOON_MS - DAY_MS}])
    assert len(report["halts"]) == 1
    assert "breaker:drawdown" in to_markdown(report)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]


def test_every_format_is_whole_and_escaped(clocked: tuple[Ledger, list[int]]) -> None:
    fill(clocked)
    halt = {"event": "halt", "at_ms": NOON_MS - 1, "by": "=1+1", "why": "a|b\n<img src=http://x>", "halts": [{}]}
    report = report_of(clocked, halts=[halt])
    json.dumps(report, allow_nan=False)
    page = to_html(report)
    tags = _Tags()
    tags.feed(page)
    assert tags.loads == []
    assert not {"script", "img", "link", "iframe"} & set(tags.seen)
    assert "&lt;script&gt;" in page
    rows = list(csv.reader(io.StringIO(to_csv(report))))
    assert any("'=1+1" in row for row in rows)
    assert all(len(row) > 1 for row in rows)
    text = to_markdown(report)
    assert "<img" not in text.replace("\\<img", "")
    assert r"a\|b" in text


def test_each_transaction_as_csv(clocked: tuple[Ledger, list[int]]) -> None:
    fill(clocked)
    ledger, now = clocked
    ledger.flush()
    booked = transactions_of(ledger.books, period_of("day", None, now[0]))
    rows = list(csv.DictReader(io.StringIO(transactions_csv(booked))))
    assert len(rows) == 4
    assert sum(int(row["net_wei"]) for row in rows) == 2 * PROFIT - 4 * GAS_COST
    assert {row["residual_wei"] for row in rows} == {"0"}


@pytest.mark.parametrize(
    ("kind", "date", "name", "days"),
    [
        ("day", "2026-02-28", "2026-02-28", 28),
        ("month", "2024-02", "2024-02", 29),
        ("month", "2026-02-03", "2026-02", 28),
    ],
)
def test_dates(kind: str, date: str, name: str, days: int) -> None:
    period = period_of(kind, date, NOON_MS)
    assert (period.name, period.month_days) == (name, days)
    assert period.until_ms == period.to_ms


@pytest.mark.parametrize(
    ("kind", "date", "said"),
    [("day", "yesterday", "2026-11-23"), ("month", "2026-13", "2026-11"), ("day", "2027-01-01", "has not begun")],
)
def test_bad_dates_are_told(kind: str, date: str, said: str) -> None:
    with pytest.raises(LedgerError, match=said):
        period_of(kind, date, NOON_MS)


@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda s: (min(s), max(s))), max_size=6),
    bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_uptime_is_the_union(spans: list[tuple[int, int]], bounds: tuple[int, int]) -> None:
    begin, until = min(bounds), max(bounds)
    covered, expected = covered_ms(spans, begin, until)
    first = max(begin, min((start for start, _ in spans), default=until))
    points = sum(any(start <= t < end for start, end in spans) for t in range(first, until))
    assert covered == (points if spans else 0)
    assert expected == (max(0, until - first) if spans else 0)


def test_drawdown_is_the_largest_fall_below_the_peak(ledger: Ledger) -> None:
    journal(ledger, "1")
    book(ledger, failed("1", OutcomeKind.LOST))
    ledger.flush()
    records = ledger.books.attempts()
    assert drawdown_ppm(records, 2 * GAS_COST) == 500_000
    assert drawdown_ppm([], 10**18) == 0
    assert drawdown_ppm(records, 0) is None


@given(n=st.integers(1, 400), k=st.integers(0, 400))
def test_bounds_of_a_rate_are_below_it(n: int, k: int) -> None:
    k = min(k, n)
    assert 0 <= clopper_pearson_lower(k, n) <= k / n + 1e-12
    assert 0 <= wilson_lower(k, n) <= k / n + 1e-12


def test_known_bounds() -> None:
    assert clopper_pearson_lower(10, 10) == pytest.approx(0.05 ** (1 / 10))
    assert clopper_pearson_lower(0, 5) == 0.0
    assert wilson_lower(8, 10, z=1.959963984540054) == pytest.approx(0.4901625, abs=1e-6)
    assert wilson_lower(0, 0) == 0.0


@given(wei=st.integers(-(10**30), 10**30))
def test_cents_are_exact(wei: int) -> None:
    assert usd_cents(wei, 2.5) == wei * 250 // 10**18
    assert usd_cents(wei, None) is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"items": [{"name": "a", "usd_cents_per_month": -1}]}, "usd_cents_per_month"),
        ({"items": [{"name": "a", "usd_cents_per_month": 1}] * 2}, "named twice"),
        ({"phases": [PhaseTarget(name="1", success_ppm=1, execution_ms=1, uptime_ppm=1)] * 2}, "named twice"),
    ],
)
def test_bad_costs_are_told(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        CostsConfig.model_validate(values)
    with pytest.raises(ValueError, match=r"chain 'mars'"):
        CostsConfig(items=(CostItem(name="x", usd_cents_per_month=1, chain="mars"),)).check_chains({"ethereum"})


def test_marks_follow_the_latest_price(clocked: tuple[Ledger, list[int]]) -> None:
    from dataclasses import replace

    ledger, now = clocked
    for number, value in ((1, 10**18), (2, 2 * 10**18)):
        now[0] = NOON_MS + number
        made = replace(plan(str(number)), value_native_wei=value, gross_profit_wei=10**18)
        ledger.journal_attempt(attempt(str(number), nonce=number), made).result(30)
        outcome = replace(landed(str(number)), realised_profit_wei=10**18, transfers=())
        ledger.record_outcome(outcome, ())
    report = report_of(clocked)
    assert report["chains"]["ethereum"]["inventory_mark_wei"] == 10**18


def test_a_report_file_in_a_folder_with_blanks(clocked: tuple[Ledger, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "a report.html"
    path.write_text(to_html(report_of(clocked)))
    assert path.read_text().startswith("<!DOCTYPE html>")
