"""The life of an attempt in the books."""

from dataclasses import replace

import pytest
from ledger_examples import (
    DAI,
    EXECUTOR,
    GAS_COST,
    OPERATOR,
    OWNER,
    PROFIT,
    WETH,
    attempt,
    book,
    cancel,
    failed,
    journal,
    landed,
    plan,
)
from sqlalchemy import create_engine, text

from ouro.ledger.books import net_native_wei
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import BlockStats
from ouro.types import OutcomeKind, Refused


def balances(ledger: Ledger, block: int = 10**6) -> dict[tuple[str, str | None], int]:
    ledger.flush()
    return {(p.account, p.token): p.expected_wei for p in ledger.books.positions("ethereum", block)}


def test_an_attempt_is_durable_before_it_is_sent_and_comes_back_whole(ledger: Ledger, url: str) -> None:
    made = attempt()
    ledger.journal_attempt(made, plan()).result(30)
    with create_engine(url).connect() as other:
        assert other.execute(text("SELECT raw_tx FROM attempts")).scalar_one() == made.raw_tx
    assert ledger.unresolved_attempts("ethereum") == [made]
    assert ledger.unresolved_attempts("fantom") == []
    (record,) = ledger.books.attempts()
    assert record.plan == plan()
    assert record.state == "journaled"


def test_states_move_forward_and_latencies_stay(ledger: Ledger) -> None:
    journal(ledger)
    ledger.mark_sent("attempt-1", 5_000, sent_us=2_000)
    ledger.mark_sent("attempt-1", 6_000, sent_us=9_000)
    ledger.flush()
    (record,) = ledger.books.attempts()
    assert (record.state, record.sent_at_ms, record.sent_us) == ("sent", 5_000, 2_000)
    book(ledger, landed())
    ledger.mark_sent("attempt-1", 7_000)
    ledger.flush()
    (record,) = ledger.books.attempts()
    assert (record.state, record.decided_us, record.signed_us, record.sent_us) == ("final", 900, 1_500, 2_000)
    assert record.outcome == landed()
    assert ledger.unresolved_attempts("ethereum") == []


def test_the_same_outcome_is_booked_once(ledger: Ledger) -> None:
    journal(ledger)
    for _ in range(3):
        book(ledger, landed())
    assert balances(ledger) == {(OPERATOR, None): -GAS_COST, (OWNER, WETH): PROFIT}
    assert [reversal for _, reversal in ledger.books.outcome_history("attempt-1")] == [False]


def test_a_reorged_landing_is_withdrawn_by_new_records(ledger: Ledger) -> None:
    journal(ledger)
    ledger.mark_sent("attempt-1")
    book(ledger, landed())
    ledger.reverse_outcome("attempt-1", "block 11 was orphaned")
    ledger.reverse_outcome("attempt-1", "told twice")
    assert set(balances(ledger).values()) == {0}
    (record,) = ledger.books.attempts()
    assert (record.state, record.outcome, record.reversals) == ("sent", None, 1)
    assert len(ledger.unresolved_attempts("ethereum")) == 1
    # The same transaction may land again, even in the very same block after the chain switched back.
    book(ledger, landed())
    assert balances(ledger) == {(OPERATOR, None): -GAS_COST, (OWNER, WETH): PROFIT}
    history = ledger.books.outcome_history("attempt-1")
    assert [(outcome.kind, reversal) for outcome, reversal in history] == [
        (OutcomeKind.LANDED, False),
        (OutcomeKind.LANDED, True),
        (OutcomeKind.LANDED, False),
    ]
    assert history[1][0].reason == "block 11 was orphaned"


def test_a_later_truth_replaces_an_earlier_one(ledger: Ledger) -> None:
    journal(ledger)
    book(ledger, failed("1", OutcomeKind.DROPPED))
    book(ledger, landed())
    book(ledger, landed(block=12, block_hash="0x" + "0c" * 32))
    assert balances(ledger) == {(OPERATOR, None): -GAS_COST, (OWNER, WETH): PROFIT}
    assert balances(ledger, block=11) == {(OPERATOR, None): 0, (OWNER, WETH): 0}
    (record,) = ledger.books.attempts()
    assert record.outcome is not None
    assert record.outcome.block_number == 12
    assert record.reversals == 2


def test_history_is_never_deleted(ledger: Ledger, url: str) -> None:
    journal(ledger)
    for round_number in range(5):
        book(ledger, landed(block=11 + round_number))
        ledger.reverse_outcome("attempt-1", "again")
    ledger.flush()
    with create_engine(url).connect() as other:
        assert other.execute(text("SELECT count(*) FROM outcomes")).scalar_one() == 10
        assert other.execute(text("SELECT count(*) FROM balance_entries")).scalar_one() == 20
    assert set(balances(ledger).values()) == {0}


def test_the_same_attempt_twice_is_one_and_another_under_its_name_is_refused(ledger: Ledger) -> None:
    made = journal(ledger)
    ledger.journal_attempt(made, plan()).result(30)
    with pytest.raises(LedgerError, match="must not be sent"):
        ledger.journal_attempt(replace(made, raw_tx=b"other", tx_hash="0x" + "f" * 64), None).result(30)
    with pytest.raises(LedgerError, match="must not be sent"):
        ledger.journal_attempt(replace(attempt("2"), tx_hash=made.tx_hash), None).result(30)
    assert ledger.healthy
    assert len(ledger.books.attempts()) == 1


def test_a_cancel_names_what_it_replaces(ledger: Ledger) -> None:
    first = journal(ledger)
    second = cancel("2", first)
    ledger.journal_attempt(second, None).result(30)
    assert ledger.unresolved_attempts("ethereum") == [first, second]
    book(ledger, failed("1", OutcomeKind.EXPIRED))
    book(ledger, replace(landed("2"), realised_profit_wei=0, realised_amounts_wei=(), transfers=()))
    assert ledger.unresolved_attempts("ethereum") == []
    assert balances(ledger) == {(OPERATOR, None): -GAS_COST}


def test_outcomes_that_contradict_themselves_are_refused_at_once(ledger: Ledger) -> None:
    journal(ledger)
    wrong = [
        replace(landed(), block_hash=None),
        replace(landed(), gas_cost_wei=-1),
        replace(failed("1", OutcomeKind.DROPPED), gas_cost_wei=1),
        replace(failed("1", OutcomeKind.LOST), realised_profit_wei=1),
    ]
    for outcome in wrong:
        with pytest.raises(ValueError, match="attempt-1"):
            ledger.record_outcome(outcome, ())
    assert ledger.unresolved_attempts("ethereum") == [attempt()]


def test_a_record_that_cannot_be_booked_stops_trades_but_nothing_else(ledger: Ledger) -> None:
    book(ledger, landed("unknown"))
    journal(ledger)
    ledger.flush()
    assert not ledger.healthy
    assert "attempt-unknown" in str(ledger.problem)
    with pytest.raises(LedgerError):
        ledger.journal_attempt(attempt("2", nonce=1), plan("2")).result(30)
    book(ledger, landed())
    assert balances(ledger)[OWNER, WETH] == PROFIT


def test_openings_count_once_and_entries_inside_them_do_not(ledger: Ledger) -> None:
    journal(ledger)
    ledger.record_opening("ethereum", OPERATOR, None, 11, 10**19)
    ledger.record_opening("ethereum", OPERATOR, None, 50, 7)
    ledger.record_opening("ethereum", OWNER, WETH, 10, 2**256 - 1 - PROFIT)
    ledger.record_opening("ethereum", EXECUTOR, DAI, 10, 0)
    book(ledger, landed(block=11))
    assert balances(ledger) == {(OPERATOR, None): 10**19, (OWNER, WETH): 2**256 - 1, (EXECUTOR, DAI): 0}


def test_refusals_are_counted_whole_and_sampled(url: str) -> None:
    now = [3_600_000 * 500]
    ledger = Ledger.open(url, refusal_samples=3, retention_days=1, clock_ms=lambda: now[0])
    with pytest.raises(LedgerError, match="start_session"):
        ledger.record_refusal("ethereum", Refused("p", "too_small", ""))
    ledger.start_session(mode="paper", config_hash="c", code_version="v", session_id="s")
    for hour in (0, 1):
        now[0] = 3_600_000 * (500 + hour)
        for number in range(1000):
            ledger.record_refusal("ethereum", Refused(f"p{number}", "too_small", "x" * 2000))
        ledger.record_refusal("fantom", Refused("q", "stale", "old"))
        ledger.flush()
    assert ledger.books.refusals() == {"ethereum": {"too_small": 2000}, "fantom": {"stale": 2}}
    assert ledger.books.refusals("fantom", "s") == {"fantom": {"stale": 2}}
    samples = ledger.books.refusal_samples("ethereum")
    assert [sample[3] for sample in samples] == ["p0", "p1", "p2"] * 2
    assert len(samples[0][4]) == 500
    now[0] += 24 * 3_600_000
    ledger.flush()
    assert [sample[3] for sample in ledger.books.refusal_samples("ethereum")] == ["p0", "p1", "p2"]
    now[0] += 3_600_000
    ledger.flush()
    assert ledger.books.refusal_samples() == []
    assert ledger.books.refusals()["ethereum"] == {"too_small": 2000}
    ledger.close()


def test_block_statistics_are_exact_over_a_long_run(ledger: Ledger) -> None:
    for number in range(10_000):
        decided = None if number % 10 == 9 else number
        ledger.record_block("ethereum", BlockStats(number, 50, 700 + number, 2, decided))
        if number % 1_500 == 0:
            ledger.flush()
    ledger.flush()
    seen = ledger.books.activity()["ethereum"]
    assert (seen.blocks, seen.blocks_decided, seen.opportunities) == (10_000, 9_000, 20_000)
    assert (seen.pools, seen.cycles) == (50, 10_699)
    assert list(ledger.books.decided_latencies_us("ethereum")) == [n for n in range(10_000) if n % 10 != 9]


def test_realised_results_come_back_for_the_daily_limit(ledger: Ledger) -> None:
    journal(ledger, "1")
    journal(ledger, "2", nonce=1)
    book(ledger, landed("1"))
    book(ledger, failed("2", OutcomeKind.REVERTED))
    ledger.flush()
    assert {item.attempt_id: item.net_native_wei for item in ledger.books.realised(0)} == {
        "attempt-1": PROFIT - GAS_COST,
        "attempt-2": -GAS_COST,
    }
    assert ledger.books.realised(2**50) == []
    assert sum(map(net_native_wei, ledger.books.attempts(limit=1))) == -GAS_COST
