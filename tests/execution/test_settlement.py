"""Receipts become outcomes: every branch, and receipts that lie."""

from dataclasses import replace

import pytest
from execution_examples import (
    DAI,
    EXECUTOR,
    OPERATORS,
    OURS,
    OWNED,
    OWNER,
    POOL_A,
    POOL_B,
    STRANGER,
    WETH,
    FakeReceipt,
    attempt,
    log,
    plan,
    transfer,
    v2_swap,
    v3_swap,
    words,
)
from hypothesis import given
from hypothesis import strategies as st

from ouro.execution.settlement import (
    TRANSFER_TOPIC,
    Ours,
    never_included,
    outcome_of,
    predicted_amounts,
    realised_profit,
    token_transfers,
)
from ouro.hashing import topic
from ouro.ledger.entries import balance_entries
from ouro.protocols.uniswap_v2 import SWAP_TOPIC as V2_SWAP_TOPIC
from ouro.protocols.v3_events import SWAP_TOPIC as V3_SWAP_TOPIC
from ouro.types import AttemptKind, Log, OutcomeKind, Plan

PLAN = plan(10)
GAIN = PLAN.gross_profit_wei
LANDED_LOGS = (
    transfer(DAI, POOL_A, POOL_B, 1_800 * 10**18),
    transfer(WETH, POOL_B, EXECUTOR, 10**18 + GAIN),
    transfer(WETH, EXECUTOR, POOL_A, 10**18),
    v2_swap(POOL_A, (10**18, 0), (0, 1_800 * 10**18)),
    v3_swap(POOL_B, -(10**18 + GAIN), 1_800 * 10**18),
    transfer(WETH, EXECUTOR, OWNER, GAIN),
)


def test_a_landed_trade_brings_what_its_events_say() -> None:
    receipt = FakeReceipt(logs=LANDED_LOGS)
    outcome = outcome_of(attempt(PLAN), PLAN, receipt, OURS, {})
    assert outcome.kind is OutcomeKind.LANDED
    assert outcome.reason == ""
    assert outcome.realised_profit_wei == GAIN
    assert outcome.gas_cost_wei == 190_000 * 3 * 10**9
    assert (outcome.block_number, outcome.block_hash) == (11, receipt.block_hash)
    # Only what we took part in: the pools' own DAI movement is not ours.
    assert [t.amount_wei for t in outcome.transfers] == [10**18 + GAIN, 10**18, GAIN]
    entries = balance_entries(outcome, OPERATORS[0], OWNED)
    assert {(e.account, e.token): e.change_wei for e in entries} == {
        (OPERATORS[0], None): -outcome.gas_cost_wei,
        (OWNER, WETH): GAIN,
    }


def test_what_was_predicted_is_compared_in_the_plans_order() -> None:
    turned = replace(PLAN, hops=PLAN.hops)
    outcome = outcome_of(attempt(turned), turned, FakeReceipt(logs=tuple(reversed(LANDED_LOGS))), OURS, {})
    assert outcome.realised_amounts_wei == predicted_amounts(PLAN)


def test_a_landed_cancel_costs_gas_and_brings_nothing() -> None:
    cancel = attempt(PLAN, kind=AttemptKind.CANCEL)
    outcome = outcome_of(cancel, None, FakeReceipt(gas_used=21_000), OURS, None)
    assert outcome.kind is OutcomeKind.LANDED
    assert outcome.gas_cost_wei == 21_000 * 3 * 10**9
    assert (outcome.realised_profit_wei, outcome.realised_amounts_wei, outcome.transfers) == (0, (), ())


def test_a_landed_trade_whose_plan_is_lost_still_books_its_movements() -> None:
    outcome = outcome_of(attempt(PLAN), None, FakeReceipt(logs=LANDED_LOGS), OURS, {})
    assert outcome.kind is OutcomeKind.LANDED
    assert len(outcome.transfers) == 3
    assert (outcome.realised_profit_wei, outcome.realised_amounts_wei) == (0, ())


@pytest.mark.parametrize(
    ("of", "block", "tx_index", "touched", "kind", "words_of_reason"),
    [
        (PLAN, 11, 1, {POOL_A: 0}, OutcomeKind.LOST, POOL_A),
        (PLAN, 11, 5, {STRANGER: 0, POOL_B: 4}, OutcomeKind.LOST, POOL_B),
        (PLAN, 11, 1, {POOL_A: 1, POOL_B: 3}, OutcomeKind.REVERTED, "no one"),
        (PLAN, 11, 0, {POOL_A: 0, POOL_B: 0}, OutcomeKind.REVERTED, "no one"),
        (PLAN, 11, 1, {STRANGER: 0}, OutcomeKind.REVERTED, "no one"),
        (PLAN, 11, 1, {}, OutcomeKind.REVERTED, "no one"),
        (PLAN, 11, 1, None, OutcomeKind.REVERTED, "no one"),
        (PLAN, 12, 1, {}, OutcomeKind.LOST, "last block was 11"),
        (replace(PLAN, max_block_number=13), 12, 1, {}, OutcomeKind.LOST, "later than the first block"),
        (None, 11, 1, {POOL_A: 0}, OutcomeKind.REVERTED, "plan is not at hand"),
        (None, 12, 1, {}, OutcomeKind.LOST, "last block was 11"),
    ],
)
def test_why_an_included_trade_failed(
    of: Plan | None,
    block: int,
    tx_index: int,
    touched: dict[str, int] | None,
    kind: OutcomeKind,
    words_of_reason: str,
) -> None:
    made = attempt(of or PLAN)
    receipt = FakeReceipt(status=0, block_number=block, tx_index=tx_index, logs=LANDED_LOGS)
    outcome = outcome_of(made, of, receipt, OURS, touched)
    assert outcome.kind is kind
    assert words_of_reason in outcome.reason
    # Whatever logs a node attaches to a failed transaction: nothing moved but gas.
    assert (outcome.realised_profit_wei, outcome.realised_amounts_wei, outcome.transfers) == (0, (), ())
    assert [entry.token for entry in balance_entries(outcome, OPERATORS[0], OWNED)] == [None]


def test_a_failed_cancel_is_never_explained_away() -> None:
    cancel = attempt(PLAN, kind=AttemptKind.CANCEL, max_block_number=5)
    outcome = outcome_of(cancel, None, FakeReceipt(status=0), OURS, {POOL_A: 0})
    assert outcome.kind is OutcomeKind.REVERTED


@pytest.mark.parametrize("kind", [OutcomeKind.EXPIRED, OutcomeKind.DROPPED])
def test_what_no_block_has_cost_nothing(kind: OutcomeKind) -> None:
    outcome = never_included(attempt(PLAN), kind, "why")
    assert (outcome.block_number, outcome.block_hash, outcome.gas_cost_wei) == (None, None, 0)
    assert balance_entries(outcome, OPERATORS[0], OWNED) == ()


ACCOUNTS = st.sampled_from([*sorted(OWNED), POOL_A, POOL_B, STRANGER])
MOVES = st.lists(st.tuples(st.sampled_from([WETH, DAI]), ACCOUNTS, ACCOUNTS, st.integers(0, 2**256 - 1)))


@given(MOVES)
def test_profit_is_the_change_of_what_we_own_together(moves: list[tuple[str, str, str, int]]) -> None:
    balances = dict.fromkeys(((token, who) for token in (WETH, DAI) for who in OWNED), 0)
    for token, source, destination, amount in moves:
        for who, sign in ((source, -1), (destination, 1)):
            if who in OWNED:
                balances[token, who] += sign * amount
    transfers = token_transfers([transfer(*move) for move in moves], Ours(OWNED, frozenset((WETH, DAI))))
    for token in (WETH, DAI):
        assert realised_profit(token, transfers, OWNED) == sum(
            amount for (of, _), amount in balances.items() if of == token
        )
    # Round trips between our own accounts are no profit.
    inside = [t for t in transfers if t.source in OWNED and t.destination in OWNED]
    assert all(realised_profit(token, inside, OWNED) == 0 for token in (WETH, DAI))


def _foreign(data: str, topics: tuple[str, ...]) -> Log:
    return log(STRANGER, topics, data)


OUR_TOPIC = "0x" + OWNER[2:].rjust(64, "0")
HOSTILE = [
    _foreign("0x", (TRANSFER_TOPIC, OUR_TOPIC, OUR_TOPIC)),
    _foreign("0x" + "ff" * 31, (TRANSFER_TOPIC, OUR_TOPIC, OUR_TOPIC)),
    _foreign(words(1), ()),
    _foreign(words(1), (TRANSFER_TOPIC,)),
    _foreign(words(1), (TRANSFER_TOPIC, OUR_TOPIC)),
    # An ERC-721 transfer has its number as a fourth topic: no amount.
    _foreign("0x", (TRANSFER_TOPIC, OUR_TOPIC, OUR_TOPIC, "0x" + "00" * 32)),
    _foreign(words(1), ("0x" + "12" * 32, OUR_TOPIC, OUR_TOPIC)),
    log(POOL_A, (V2_SWAP_TOPIC,), "0x"),
    log(POOL_A, (V2_SWAP_TOPIC,), words(1, 2, 3)),
    log(POOL_B, (V3_SWAP_TOPIC,), words(1, 2, 3, 4)),
    log(POOL_B, (V3_SWAP_TOPIC,), words(1, 2, 3, 4, 5) + "ff"),
    log(POOL_A, (), words(1, 2, 3, 4)),
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_events_that_are_not_what_they_seem_are_passed_over(hostile: Log) -> None:
    outcome = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=(hostile, *LANDED_LOGS)), OURS, {})
    assert outcome.realised_profit_wei == GAIN
    assert len(outcome.transfers) == 3
    assert outcome.realised_amounts_wei == predicted_amounts(PLAN)


@pytest.mark.parametrize(
    "extra",
    [
        v2_swap(POOL_A, (10**18, 0), (0, 1)),  # a pool that swapped twice is not the plan's one swap
        v3_swap(POOL_B, -1, 1),
    ],
)
def test_amounts_are_only_claimed_when_each_pool_swapped_exactly_once(extra: Log) -> None:
    landed = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=(*LANDED_LOGS, extra)), OURS, {})
    assert landed.realised_amounts_wei == ()
    missing = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=LANDED_LOGS[:4]), OURS, {})
    assert missing.realised_amounts_wei == ()


def test_a_swap_event_of_a_stranger_or_the_wrong_way_round_says_nothing_of_ours() -> None:
    stranger = v2_swap(STRANGER, (10**18, 0), (0, 1_800 * 10**18))
    backwards = v2_swap(POOL_A, (0, 5), (4, 0))
    v3_backwards = v3_swap(POOL_B, 5, -4)
    logs = (stranger, backwards, v3_backwards, *LANDED_LOGS)
    outcome = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=logs), OURS, {})
    assert outcome.realised_amounts_wei == predicted_amounts(PLAN)


@given(st.lists(st.integers(0, 2**256 - 1), max_size=7), st.sampled_from([V2_SWAP_TOPIC, V3_SWAP_TOPIC]))
def test_any_numbers_in_events_are_taken_as_they_are_or_not_at_all(values: list[int], topic: str) -> None:
    hostile = (log(POOL_A, (topic,), words(*values)), log(POOL_B, (topic,), words(*values)))
    amounts = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=hostile), OURS, {}).realised_amounts_wei
    assert all(0 < amount < 1 << 255 for amount in amounts)


def test_a_token_on_the_way_may_log_what_it_likes_and_nothing_is_booked() -> None:
    lies = tuple(transfer(DAI, STRANGER, OWNER, 2**256 - 1) for _ in range(9))
    outcome = outcome_of(attempt(PLAN), PLAN, FakeReceipt(logs=(*LANDED_LOGS, *lies)), OURS, {})
    assert outcome.realised_profit_wei == GAIN
    assert {entry.token for entry in balance_entries(outcome, OPERATORS[0], OWNED)} == {None, WETH}


def test_a_trade_whose_state_was_reorganised_away_is_lost_not_a_bug() -> None:
    outcome = outcome_of(attempt(PLAN), PLAN, FakeReceipt(status=0), OURS, {}, orphaned=True)
    assert outcome.kind is OutcomeKind.LOST
    assert "reorganised" in outcome.reason


@pytest.mark.parametrize("told_twice", [False, True])
def test_wrapping_and_unwrapping_are_booked_once(told_twice: bool) -> None:
    nobody = "0x" + "00" * 20
    ours = replace(OURS, wrapped_native=WETH)

    def wrapping(signature: str, account: str, amount: int) -> Log:
        return log(WETH, (topic(signature), words(int(account, 16))), words(amount))

    logs = [
        wrapping("Withdrawal(address,uint256)", EXECUTOR, 10**18),
        *([transfer(WETH, EXECUTOR, nobody, 10**18)] if told_twice else []),
        *([transfer(WETH, nobody, EXECUTOR, 10**18 + GAIN)] if told_twice else []),
        wrapping("Deposit(address,uint256)", EXECUTOR, 10**18 + GAIN),
        wrapping("Deposit(address,uint256)", STRANGER, 5),
        transfer(WETH, EXECUTOR, OWNER, GAIN),
    ]
    moved = token_transfers(logs, ours)
    assert len(moved) == 3
    assert realised_profit(WETH, moved, OWNED) == GAIN
    # Another token's events of the same names mean nothing.
    assert len(token_transfers(logs, replace(ours, wrapped_native=DAI))) == (3 if told_twice else 1)
