"""The page's sums are those of the report, however the news comes."""

import random
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from example_books import Example, write_example
from sqlalchemy import event

from ouro.config.load import load_config
from ouro.dashboard.feed import Feed
from ouro.dashboard.totals import Filter, curve, funnel, histogram, net_usd
from ouro.dashboard.trades import strategy_of
from ouro.ledger.books import Books
from ouro.ledger.operations import ReverseOutcome
from ouro.ledger.report import summary


@pytest.fixture
def own(tmp_path: Path) -> Example:
    return write_example(tmp_path / "a run", trades=40)


async def _feed(example: Example) -> Feed:
    feed = Feed(load_config(example.config))
    await feed.read()
    return feed


def _report(example: Example) -> dict[str, dict[str, object]]:
    books = Books.open(load_config(example.config).ledger.url)
    try:
        return summary(books)["chains"]
    finally:
        books.close()


def _same(feed: Feed, example: Example) -> None:
    totals, chains = feed.totals(Filter()), _report(example)
    for name, figures in chains.items():
        assert totals.chains[name].net_wei == figures["net_profit_wei"]
        assert totals.chains[name].attempts == figures["attempts"]
        assert totals.chains[name].outcomes["landed"] == figures["landed"]
    worth = net_usd(totals, feed.picture.counted.native_usd)
    assert worth is not None
    expected = sum(Decimal(str(figures["net_profit_usd"])) for figures in chains.values())
    assert abs(worth - expected) < Decimal("0.000001")


async def test_sums_are_those_of_the_report_at_once_and_trade_by_trade(own: Example) -> None:
    feed = await _feed(own)
    _same(feed, own)
    before = feed.totals(Filter())
    open_ones = own.add(5, final=False)
    own.add(7)
    await feed.read()
    assert feed.totals(Filter()) is before, "kept up to date, not made anew"
    assert len(feed.open_trades()) == 5
    own.settle(open_ones[0])
    await feed.read()
    assert len(feed.open_trades()) == 4
    _same(feed, own)


async def test_a_withdrawn_outcome_is_taken_back(own: Example) -> None:
    feed = await _feed(own)
    landed = next(trade for trade in feed.trades(Filter()) if trade.landed)
    before = feed.totals(Filter()).chains[landed.chain].net_wei
    with own.engine.begin() as connection:
        ReverseOutcome(landed.attempt_id, "orphaned", own.at_ms).apply(connection)
    await feed.read()
    assert feed.totals(Filter()).chains[landed.chain].net_wei == before - landed.net_wei
    _same(feed, own)


async def test_only_what_is_new_is_read_again(own: Example) -> None:
    feed = await _feed(own)
    statements: list[str] = []
    reader = feed._reader
    assert reader is not None
    event.listen(reader._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    version = feed.version
    await feed.read()
    assert feed.version == version, "nothing is new"
    assert not any("plan_json" in statement for statement in statements)
    (name,) = own.add(1)
    await feed.read()
    changed = feed.changes_since(version)
    assert changed is not None
    assert [trade.attempt_id for trade in changed] == [name]


async def test_trouble_with_the_books_is_told_and_goes_away(own: Example) -> None:
    feed = await _feed(own)
    reader, feed._reader = feed._reader, None  # as after an error: the file is opened anew
    assert reader is not None
    reader.close()
    folder, away = own.folder, own.folder.with_name("away")
    own.engine.dispose()
    folder.rename(away)
    await feed.read()
    assert "no such file" in feed.picture.problem
    away.rename(folder)
    await feed.read()
    assert feed.picture.problem == ""
    _same(feed, own)


async def test_the_funnel_loses_nobody_unexplained(own: Example) -> None:
    feed = await _feed(own)
    refused: dict[str, int] = {}
    for reasons in feed.picture.counted.refused.values():
        for reason, times in reasons.items():
            refused[reason] = refused.get(reason, 0) + times
    seen = sum(feed.picture.counted.opportunities.values())
    steps = funnel(seen, refused, feed.totals(Filter()))
    assert [step.name for step in steps] == ["seen", "profitable", "approved", "sent", "landed"]
    for before, step in pairwise(steps):
        assert before.count - step.count == sum(number for _, number in step.lost), step


def test_a_long_curve_keeps_its_peaks_and_troughs() -> None:
    rng = random.Random(3)
    results = [(at, "ethereum", rng.randrange(-(10**18), 12 * 10**17)) for at in range(9_000)]
    points = curve(results, {"ethereum": 1.0})
    whole, peak, deepest, highest = 0.0, 0.0, 0.0, 0.0
    for _, _, wei in results:
        whole += wei / 10**18
        peak = max(peak, whole)
        deepest, highest = min(deepest, whole - peak), max(highest, whole)
    assert len(points) <= 700
    assert min(point.drawdown for point in points) == deepest
    assert max(point.equity for point in points) == highest
    assert points[-1].equity == whole


def test_every_latency_is_in_one_bin() -> None:
    shape = histogram([10, 99, 100, 3_500, 999_999, 7_000_000])
    assert sum(shape.counts) == shape.samples == 6
    assert shape.p50_ms == 0.1


def test_hops_that_are_no_chain_are_netted() -> None:
    def hop(one: str, other: str) -> dict[str, str]:
        return {"token_in": one, "token_out": other}

    assert strategy_of([hop("a", "b"), hop("b", "a")]) == "cross_dex"
    assert strategy_of([hop("a", "b"), hop("b", "c"), hop("c", "a")]) == "triangular"
    assert strategy_of([hop("a", "b"), hop("a", "b"), hop("b", "a")]) == "netted"
