"""Positions at a moving head are those of the whole books."""

from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_examples import OPERATOR, OWNED, OWNER, WETH, attempt, landed, plan

from ouro.ledger.books import Position
from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.ledger.running import RunningPositions

DEPTH = 3


_names = count(1)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12))
def test_they_equal_a_fresh_sum(ledger: Ledger, steps: list[tuple[int, bool]]) -> None:
    chain = f"chain{next(_names)}"  # each example in books of its own
    ledger.record_opening(chain, OWNER, WETH, 8, 5)
    ledger.record_opening(chain, OPERATOR, None, 12, 10**18)
    running = RunningPositions(ledger.books, chain, DEPTH)
    block = 9
    for further, withdrawn in steps:
        block += further
        number = next(_names)
        ledger.journal_attempt(attempt(str(number), chain, number), plan(str(number), chain)).result(30)
        outcome = landed(str(number), block)
        ledger.record_outcome(outcome, balance_entries(outcome, OPERATOR, OWNED))
        if withdrawn:
            ledger.reverse_outcome(outcome.attempt_id, "orphaned")
        ledger.flush()
        assert running.at(block) == ledger.books.positions(chain, block)


def test_what_changed_is_looked_at_first_and_the_rest_in_turn(ledger: Ledger) -> None:
    running = RunningPositions(ledger.books, "ethereum", DEPTH)
    places = [Position(f"0x{k:040x}", None, 1) for k in range(5)]
    assert running.pick(places, 3) == places[:3]
    assert running.pick(places, 3)[:2] == places[3:]
    changed = [*places[:4], Position(places[4].account, None, 2)]
    first, *others = running.pick(changed, 3)
    assert first.expected_wei == 2
    seen = {each.account for _ in range(4) for each in running.pick(changed, 2)}
    assert len(seen) == 5
    assert len(others) == 2
