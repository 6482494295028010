"""Entries of an outcome: our side of every movement, netted, and the gas."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import (
    DAI,
    EXECUTOR,
    GAS_COST,
    OPERATOR,
    OWNED,
    OWNER,
    POOL_A,
    POOL_B,
    PROFIT,
    WETH,
    failed,
    landed,
)

from ouro.ledger.entries import balance_entries
from ouro.ledger.records import BalanceEntry
from ouro.types import OutcomeKind, Transfer


def test_a_landed_trade() -> None:
    # What passes through the executor cancels out; what pools pay each other is not ours.
    assert balance_entries(landed(), OPERATOR, OWNED) == (
        BalanceEntry(OPERATOR, None, -GAS_COST, "gas"),
        BalanceEntry(OWNER, WETH, PROFIT, "trade"),
    )


@pytest.mark.parametrize("kind", [OutcomeKind.LOST, OutcomeKind.REVERTED])
def test_failed_but_included_costs_gas_and_moves_nothing(kind: OutcomeKind) -> None:
    outcome = replace(failed("1", kind), transfers=landed().transfers)
    assert balance_entries(outcome, OPERATOR, OWNED) == (BalanceEntry(OPERATOR, None, -GAS_COST, "gas"),)


@pytest.mark.parametrize("kind", [OutcomeKind.EXPIRED, OutcomeKind.DROPPED])
def test_never_included_costs_nothing(kind: OutcomeKind) -> None:
    assert balance_entries(failed("1", kind), OPERATOR, OWNED) == ()


def test_native_and_left_over_tokens_are_booked() -> None:
    transfers = (
        Transfer(None, EXECUTOR, POOL_A, 7),
        Transfer(DAI, POOL_A, EXECUTOR, 3),
        Transfer(DAI, EXECUTOR, EXECUTOR, 2),
        Transfer(None, OWNER, OPERATOR, 5),
    )
    assert balance_entries(replace(landed(), transfers=transfers), OPERATOR, OWNED)[1:] == (
        BalanceEntry(OPERATOR, None, 5, "trade"),
        BalanceEntry(OWNER, None, -5, "trade"),
        BalanceEntry(EXECUTOR, None, -7, "trade"),
        BalanceEntry(EXECUTOR, DAI, 3, "trade"),
    )


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="not among the owned"):
        balance_entries(landed(), POOL_A, OWNED)
    with pytest.raises(ValueError, match="needs block_number"):
        balance_entries(replace(landed(), block_number=None), OPERATOR, OWNED)
    with pytest.raises(ValueError, match="negative"):
        balance_entries(replace(landed(), transfers=(Transfer(DAI, POOL_A, OWNER, -1),)), OPERATOR, OWNED)


accounts = st.sampled_from([OPERATOR, OWNER, EXECUTOR, POOL_A, POOL_B])
movements = st.builds(Transfer, st.sampled_from([None, WETH, DAI]), accounts, accounts, st.integers(0, 2**256 - 1))


@given(st.lists(movements, max_size=12))
def test_entries_are_the_change_of_the_balances(transfers: list[Transfer]) -> None:
    balances: dict[tuple[str, str | None], int] = {(OPERATOR, None): -GAS_COST}
    for move in transfers:
        for account, sign in ((move.source, -1), (move.destination, 1)):
            balances[account, move.token] = balances.get((account, move.token), 0) + sign * move.amount_wei
    booked: dict[tuple[str, str | None], int] = {}
    for entry in balance_entries(replace(landed(), transfers=tuple(transfers)), OPERATOR, OWNED):
        assert entry.change_wei != 0
        booked[entry.account, entry.token] = booked.get((entry.account, entry.token), 0) + entry.change_wei
    ours = {key: wei for key, wei in balances.items() if key[0] in OWNED}
    assert {key: wei for key, wei in booked.items() if wei} == {key: wei for key, wei in ours.items() if wei}
