"""Every wei has a name, and a wei without one is found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import GAS_COST, OPERATOR, OWNED, OWNER, PROFIT, WETH, attempt, cancel, failed, landed, plan

from ouro.ledger.books import net_native_wei
from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.ledger.pnl import Account, Attribution, book_transaction, total
from ouro.ledger.records import AttemptRecord, BalanceEntry
from ouro.types import Attempt, Outcome, OutcomeKind, Plan, Transfer

AMOUNT = 10**18


def record(outcome: Outcome | None, made: Plan | None, of: Attempt | None = None) -> AttemptRecord:
    return AttemptRecord(of or attempt(), "s1", "final", 1, 2, 3, 4, 5, made, outcome, 6, 0)


def trade(
    gross: int, fee: int, share_ppm: int, value: int, gas_used: int, price: int, l1: int
) -> tuple[Plan, Outcome, int]:
    """A plan whose state did not move, and its outcome: (plan, outcome, kept profit)."""
    bribe = (gross - fee) * share_ppm // 1_000_000
    kept = gross - fee - bribe
    hops = plan().hops
    last = replace(hops[-1], amount_out_wei=AMOUNT + gross)
    made = replace(
        plan(),
        hops=(hops[0], last),
        gross_profit_wei=gross,
        value_native_wei=value,
        bribe_wei=bribe,
        loan_fee_wei=fee,
    )
    outcome = replace(
        landed(),
        gas_used=gas_used,
        gas_cost_wei=gas_used * price + l1,
        l1_fee_wei=l1,
        realised_profit_wei=kept,
        realised_amounts_wei=(AMOUNT, hops[1].amount_in_wei, AMOUNT + gross),
        transfers=(Transfer(WETH, "0x" + "77" * 20, OWNER, kept),),
    )
    return made, outcome, kept


MONEY = st.integers(10**6, 2**200)


@given(
    gross=MONEY,
    fee_part=st.integers(0, 999_000),
    share=st.integers(0, 999_999),
    value=MONEY,
    gas_used=st.integers(21_000, 10**7),
    price=st.integers(0, 10**13),
    l1=st.integers(0, 10**17),
)
def test_a_landed_trade_is_explained_to_the_wei(
    gross: int, fee_part: int, share: int, value: int, gas_used: int, price: int, l1: int
) -> None:
    made, outcome, kept = trade(gross, gross * fee_part // 1_000_000, share, value, gas_used, price, l1)
    found = book_transaction(record(outcome, made), balance_entries(outcome, OPERATOR, OWNED))
    assert found.residuals == ()
    parts = found.attribution
    assert parts.residual_wei == 0
    assert parts.net_wei == net_native_wei(record(outcome, made))
    assert parts.gas_l1_wei == l1
    assert parts.gas_l1_wei + parts.gas_l2_wei + parts.bid_wei == outcome.gas_cost_wei
    assert 0 <= parts.bid_wei <= gas_used * made.fee.max_priority_fee_per_gas_wei
    sums: dict[str | None, int] = {}
    for posting in found.postings:
        sums[posting.token] = sums.get(posting.token, 0) + posting.amount_wei
    assert set(sums.values()) <= {0}
    assert kept <= gross


@given(wrong=st.integers(-(10**6), 10**6).filter(bool), native=st.booleans())
def test_a_wei_that_nothing_explains_is_the_residual(wrong: int, native: bool) -> None:
    made, outcome, _ = trade(10**15, 0, 100_000, 10**15, 200_000, 10**9, 0)
    entries = list(balance_entries(outcome, OPERATOR, OWNED))
    place = next(k for k, entry in enumerate(entries) if (entry.token is None) == native)
    entries[place] = replace(entries[place], change_wei=entries[place].change_wei + wrong)
    found = book_transaction(record(outcome, made), entries)
    assert [(posting.token, posting.amount_wei) for posting in found.residuals] == [
        (None if native else WETH, -wrong)
    ]
    assert found.attribution.residual_wei == wrong


def test_a_token_that_stays_with_us_unasked_is_a_residual() -> None:
    made, outcome, _ = trade(10**15, 0, 0, 10**15, 200_000, 10**9, 0)
    stray = "0x" + "dd" * 20
    entries = [*balance_entries(outcome, OPERATOR, OWNED), BalanceEntry(OWNER, stray, 5, "trade")]
    found = book_transaction(record(outcome, made), entries)
    assert [(posting.token, posting.amount_wei) for posting in found.residuals] == [(stray, -5)]


@given(better=st.integers(-(10**14), 10**15))
def test_a_bribe_of_another_profit_than_planned_keeps_its_share(better: int) -> None:
    made, _, _ = trade(10**15, 7, 123_456, 10**15, 200_000, 10**9, 0)
    gross = 10**15 + better
    _, outcome, _ = trade(gross, 7, 123_456, gross, 200_000, 10**9, 0)
    found = book_transaction(record(outcome, made), balance_entries(outcome, OPERATOR, OWNED))
    assert found.residuals == ()
    assert found.attribution.bribe_wei > 0


def test_swaps_that_can_not_be_read_are_explained_by_what_arrived() -> None:
    made, outcome, kept = trade(10**15, 5, 100_000, 10**15, 200_000, 10**9, 0)
    unread = replace(outcome, realised_amounts_wei=())
    found = book_transaction(record(unread, made), balance_entries(unread, OPERATOR, OWNED))
    assert found.residuals == ()
    assert found.attribution.gross_spread_wei == 10**15
    assert found.attribution.net_wei == kept - unread.gas_cost_wei


@pytest.mark.parametrize("kind", [OutcomeKind.LOST, OutcomeKind.REVERTED, OutcomeKind.EXPIRED])
def test_failures_cost_their_gas(kind: OutcomeKind) -> None:
    outcome = failed("1", kind)
    found = book_transaction(record(outcome, plan()), balance_entries(outcome, OPERATOR, OWNED))
    paid = GAS_COST if kind is not OutcomeKind.EXPIRED else 0
    assert found.attribution == Attribution(failed_attempts_wei=paid)
    assert found.attribution.net_wei == -paid
    assert found.residuals == ()


def test_a_cancel_that_landed_is_a_cost_of_failing() -> None:
    of = cancel("9", attempt())
    outcome = replace(landed("9"), realised_profit_wei=0, realised_amounts_wei=(), transfers=())
    found = book_transaction(record(outcome, plan(), of), balance_entries(outcome, OPERATOR, OWNED))
    assert found.attribution == Attribution(failed_attempts_wei=GAS_COST)


def test_what_is_open_has_no_postings() -> None:
    assert book_transaction(record(None, plan()), ()).postings == ()


def test_paper_is_explained_by_its_own_claim() -> None:
    made, outcome, kept = trade(10**15, 0, 0, 10**15, 200_000, 10**9, 0)
    found = book_transaction(record(replace(outcome, transfers=()), made), ())
    assert found.residuals == ()
    assert found.attribution.net_wei == kept - outcome.gas_cost_wei


def test_entries_that_stand_are_read_from_the_books(ledger: Ledger) -> None:
    made = attempt()
    ledger.journal_attempt(made, plan()).result(30)
    outcome = landed()
    ledger.record_outcome(outcome, balance_entries(outcome, OPERATOR, OWNED))
    ledger.reverse_outcome(made.attempt_id, "orphaned")
    later = landed(block=12)
    ledger.record_outcome(later, balance_entries(later, OPERATOR, OWNED))
    ledger.flush()
    found = ledger.books.attempts()[0]
    entries = ledger.books.entries([made.attempt_id])[made.attempt_id]
    assert len(entries) == 2
    booked = book_transaction(found, entries)
    assert booked.residuals == ()
    assert booked.attribution.net_wei == PROFIT - GAS_COST
    assert total([booked.attribution, booked.attribution]).net_wei == 2 * (PROFIT - GAS_COST)
    assert {posting.account for posting in booked.postings} >= {Account.GROSS_SPREAD, Account.GAS_L2, Account.BID}
