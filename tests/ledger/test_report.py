"""Figures and their renderings."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import GAS_COST, PROFIT, attempt, book, cancel, failed, journal, landed, plan
from rich.console import Console, RenderableType

from ouro.ledger.ledger import Ledger
from ouro.ledger.reconcile import Difference, Reconciliation
from ouro.ledger.records import BlockStats
from ouro.ledger.render import attempts_table, coins, summary_view
from ouro.ledger.report import percentiles_ms, summary, summary_json
from ouro.types import OutcomeKind, Refused


def fill(ledger: Ledger) -> None:
    """Two chains: on the first a trade of each kind, one open, one cancelled; on the second only blocks."""
    kinds = [OutcomeKind.LOST, OutcomeKind.REVERTED, OutcomeKind.EXPIRED, OutcomeKind.DROPPED]
    for number, name in enumerate("123456789"):
        journal(ledger, name, nonce=number)
        ledger.mark_sent(f"attempt-{name}", sent_us=1_000 * (number + 1))
    for name in "123":
        book(ledger, landed(name))
    book(ledger, replace(landed("4"), realised_amounts_wei=(10**18, 5 * 10**21, 10**18 + PROFIT - 1)))
    for name, kind in zip("5678", kinds, strict=True):
        book(ledger, failed(name, kind))
    void = cancel("c", attempt("7", nonce=6))
    ledger.journal_attempt(void, None).result(30)
    book(ledger, replace(landed("c"), realised_profit_wei=0, realised_amounts_wei=(), transfers=()))
    for number in range(10):
        ledger.record_block("ethereum", BlockStats(number, 54, 700, 3, 1_000 * number + 1))
        ledger.record_block("fantom", BlockStats(number, 30, 200, 0, None))
    for _ in range(4):
        ledger.record_refusal("ethereum", Refused("p", "not_profitable", "[red]too small[/red]"))
    ledger.record_price("ethereum", 2_000.5, "pools")
    for chain in ("ethereum", "fantom"):
        ledger.record_reconciliation(chain, Reconciliation(11, 4, ()))
    ledger.flush()


def test_summary_has_exactly_the_agreed_shape(ledger: Ledger) -> None:
    fill(ledger)
    figures = json.loads(summary_json(summary(ledger.books)))
    assert set(figures) == {"chains", "max_abs_reconciliation_difference_wei", "balances_compared", "seconds"}
    assert figures["balances_compared"] == 8
    gross, gas = 4 * PROFIT, 7 * GAS_COST
    assert figures["chains"]["ethereum"] == {
        "blocks": 10,
        "blocks_decided": 10,
        "pools": 54,
        "cycles": 700,
        "opportunities": 30,
        "refused": {"not_profitable": 4},
        "attempts": 9,
        "landed": 4,
        "lost": 1,
        "reverted": 1,
        "expired": 1,
        "dropped": 1,
        "success_rate": 0.5,
        "gross_profit_wei": gross,
        "net_profit_wei": gross - gas,
        "net_profit_usd": pytest.approx((gross - gas) / 10**18 * 2_000.5),
        "gas_spent_wei": gas,
        "predicted_equals_executed": 3,
        "latency_ms": {
            "decided": {"p50": 4.001, "p99": 9.001, "max": 9.001},
            "signed": {"p50": 1.5, "p99": 1.5, "max": 1.5},
            "sent": {"p50": 5.0, "p99": 9.0, "max": 9.0},
        },
    }
    fantom = figures["chains"]["fantom"]
    assert (fantom["blocks"], fantom["blocks_decided"], fantom["attempts"]) == (10, 0, 0)
    assert (fantom["success_rate"], fantom["net_profit_usd"], fantom["net_profit_wei"]) == (None, None, 0)
    assert fantom["latency_ms"]["sent"] == {"p50": None, "p99": None, "max": None}
    assert figures["max_abs_reconciliation_difference_wei"] == 0
    assert figures["seconds"] >= 0


def test_gas_of_included_failures_and_cancels_counts(ledger: Ledger) -> None:
    fill(ledger)
    chain = summary(ledger.books)["chains"]["ethereum"]
    # Four landed, a lost, a reverted and a cancel paid gas; the expired and the dropped one did not.
    assert chain["gas_spent_wei"] == 7 * GAS_COST
    assert chain["gross_profit_wei"] - chain["net_profit_wei"] == chain["gas_spent_wei"]


def test_profit_in_another_token_is_valued_at_the_plans_price(ledger: Ledger) -> None:
    stable = replace(plan("1"), gross_profit_wei=3_000_000, value_native_wei=10**15)
    ledger.journal_attempt(attempt("1"), stable).result(30)
    book(ledger, replace(landed("1"), realised_profit_wei=1_500_000))
    ledger.flush()
    assert summary(ledger.books)["chains"]["ethereum"]["gross_profit_wei"] == 5 * 10**14


def test_a_reorged_landing_leaves_the_figures(ledger: Ledger) -> None:
    fill(ledger)
    for name in "1234":
        ledger.reverse_outcome(f"attempt-{name}", "reorg")
    ledger.flush()
    chain = summary(ledger.books)["chains"]["ethereum"]
    assert (chain["landed"], chain["attempts"], chain["success_rate"], chain["gross_profit_wei"]) == (0, 9, 0.0, 0)
    assert chain["predicted_equals_executed"] == 0


def test_reconciliation_is_never_claimed_without_a_comparison(ledger: Ledger) -> None:
    assert summary(ledger.books)["max_abs_reconciliation_difference_wei"] is None
    journal(ledger, "1")
    journal(ledger, "2", chain="fantom")
    wrong = Reconciliation(9, 1, (Difference("0x1", None, 5, 3), Difference("0x2", None, 5, 12)))
    ledger.record_reconciliation("ethereum", wrong)
    ledger.flush()
    assert summary(ledger.books)["max_abs_reconciliation_difference_wei"] is None
    ledger.record_reconciliation("fantom", Reconciliation(9, 1, ()))
    ledger.flush()
    assert summary(ledger.books)["max_abs_reconciliation_difference_wei"] == 7
    ledger.record_reconciliation("ethereum", Reconciliation(10, 1, ()))
    ledger.flush()
    assert summary(ledger.books)["max_abs_reconciliation_difference_wei"] == 0


def test_sessions_are_told_apart_and_added_up(url: str) -> None:
    now = [1_000_000]
    for session in ("a", "b"):
        ledger = Ledger.open(url, clock_ms=lambda: now[0])
        ledger.start_session(mode="live", config_hash="c", code_version="v", session_id=session)
        journal(ledger, session)
        book(ledger, landed(session))
        ledger.record_block("ethereum", BlockStats(1, 5, 6, 7, 100))
        now[0] += 2_500
        ledger.close()
    ledger = Ledger.open(url)
    assert summary(ledger.books, "a")["seconds"] == 2.5
    assert summary(ledger.books, "a")["chains"]["ethereum"]["landed"] == 1
    both = summary(ledger.books)
    assert both["seconds"] == 5.0
    chain = both["chains"]["ethereum"]
    assert (chain["landed"], chain["blocks"], chain["pools"], chain["opportunities"]) == (2, 2, 5, 14)
    ledger.close()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=400))
def test_percentiles_are_the_nearest_rank(values: list[int]) -> None:
    found = percentiles_ms(values)
    for name, share in (("p50", 50), ("p99", 99)):
        value = found[name]
        assert value is not None
        assert 100 * sum(v / 1000 <= value for v in values) >= share * len(values)
        assert 100 * sum(v / 1000 < value for v in values) < share * len(values)
    assert found["max"] == max(values) / 1000


def shown(view: RenderableType) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_renderings(ledger: Ledger) -> None:
    assert "no attempts" in shown(attempts_table([]))
    assert "empty" in shown(summary_view(summary(ledger.books)))
    fill(ledger)
    report = shown(summary_view(summary(ledger.books)))
    for words in (
        "ethereum",
        "fantom",
        "50.0 %",
        "not_profitable",
        "equal to the wei",
        "no price",
        "5.0 / 9.0 / 9.0",
    ):
        assert words in report
    ledger.reverse_outcome("attempt-1", "reorg")
    ledger.flush()
    listing = shown(attempts_table(ledger.books.attempts(), full=True))
    for words in ("10 attempts", "landed", "lost", "cancel", "sent (1 withdrawn)", "NO", "-0.003000000000000001"):
        assert words in listing
    short = shown(attempts_table(ledger.books.attempts()))
    assert "-0.003000" in short
    assert "-0.003000000000000001" not in short


def test_equality_is_not_claimed_of_no_balance(ledger: Ledger) -> None:
    ledger.record_reconciliation("ethereum", Reconciliation(11, 0, ()))
    ledger.flush()
    figures = summary(ledger.books)
    assert (figures["max_abs_reconciliation_difference_wei"], figures["balances_compared"]) == (0, 0)
    report = shown(summary_view(figures))
    assert "not compared" in report
    assert "equal" not in report


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0"),
        (1, "0.000000000000000001"),
        (-(10**18), "-1"),
        (10**20, "100"),
        (15 * 10**17, "1.5"),
        (2**256 - 1, "115792089237316195423570985008687907853269984665640564039457.584007913129639935"),
        (-(10**28), "-10000000000"),
    ],
)
def test_coins_are_exact(wei: int, text: str) -> None:
    assert coins(wei) == text
