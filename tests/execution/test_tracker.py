"""Whatever the chain, the node and the signer do: in the end the books say what the chain holds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from execution_examples import OPERATORS, attempt
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tracker_model import FINALITY, RING, Follower, _update, run

from ouro.execution.tracker import NotTakenBackError
from ouro.types import Attempt, AttemptKind, OutcomeKind

INCLUDED = (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED)

STEPS: dict[str, Callable[[Follower], None]] = {
    "send": lambda f: f.send(),
    "send, past the node": lambda f: f.send(at_node=False),
    "send, lost on the way": lambda f: f.send(at_node=False, anywhere=False),
    "mine all": lambda f: f.world.mine(lambda _tx: True, succeed=True),
    "mine and fail": lambda f: f.world.mine(lambda _tx: True, succeed=False),
    "mine nothing": lambda f: f.world.mine(lambda _tx: False, succeed=True),
    "mine trades": lambda f: f.world.mine(lambda tx: tx.kind is AttemptKind.TRADE, succeed=True),
    "mine cancels": lambda f: f.world.mine(lambda tx: tx.kind is AttemptKind.CANCEL, succeed=True),
    "follow": lambda f: f.follow(),
    "follow one": lambda f: f.follow(1),
    "settle": lambda f: f.settle(),
    "restart": lambda f: f.restart(),
    "node forgets": lambda f: f.world.forget(everywhere=False),
    "all forget": lambda f: f.world.forget(everywhere=True),
    "signer is away": lambda f: setattr(f, "signer_answers", False),
    "signer is back": lambda f: setattr(f, "signer_answers", True),
    "cancels get lost": lambda f: setattr(f, "cancels_arrive", False),
    "cancels arrive": lambda f: setattr(f, "cancels_arrive", True),
}
for _depth in (1, 2, 3, 4):
    STEPS[f"reorg {_depth}"] = lambda f, d=_depth: f.world.reorg(d, node_keeps=True)
    STEPS[f"reorg {_depth}, txs forgotten"] = lambda f, d=_depth: f.world.reorg(d, node_keeps=False)

NAMES = st.sampled_from(sorted(STEPS))
CHAIN_STEPS = st.sampled_from(sorted(name for name in STEPS if name.startswith(("mine", "reorg", "follow"))))
MEANWHILE = st.tuples(st.just("meanwhile"), st.lists(CHAIN_STEPS, min_size=1, max_size=4).map(tuple))
# A block that is followed and settled is what mostly happens.
ROUND = st.sampled_from(
    [
        ("send", "mine all", "follow", "settle"),
        ("mine nothing", "follow", "settle"),
        ("reorg 2", "restart", "mine all", "follow", "settle"),
    ]
)
History = list[Any]
"""Names of steps; tuples of them, played in a row; ("meanwhile", steps) for the next settling's pauses."""

HISTORY: st.SearchStrategy[History] = st.lists(st.one_of(NAMES, NAMES, ROUND, MEANWHILE), max_size=40)


def play(history: History) -> Follower:
    """A follower after ``history`` and enough calm blocks."""
    follower = Follower()
    for step in history:
        if isinstance(step, tuple) and step[0] == "meanwhile":
            # These happen between two questions of the next settling.
            follower.meanwhile += [lambda name=name: STEPS[name](follower) for name in step[1]]
            continue
        for name in (step,) if isinstance(step, str) else step:
            STEPS[str(name)](follower)
    follower.calm_down()
    return follower


def check(follower: Follower) -> None:
    """The books fold to the truth."""
    books, mined = follower.books, follower.world.mined()
    assert books.contradictions == []
    assert books.standing.keys() == books.journal.keys()
    used = Counter()
    for attempt_id, (made, _) in books.journal.items():
        outcome = books.standing[attempt_id]
        if attempt_id in mined:
            block, status = mined[attempt_id]
            used[made.operator, made.nonce] += 1
            assert (outcome.block_number, outcome.block_hash) == (block.number, block.hash), attempt_id
            assert (outcome.kind is OutcomeKind.LANDED) == (status == 1)
            assert outcome.kind in INCLUDED
        else:
            assert outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED), attempt_id
            assert outcome.gas_cost_wei == 0
    assert all(count == 1 for count in used.values())
    for operator in OPERATORS:
        nonces = {a.nonce for a, _ in books.journal.values() if a.operator == operator}
        # No nonce was left out, so none blocks the account.
        assert nonces == set(range(len(nonces))) == {nonce for who, nonce in used if who == operator}
        assert follower.nonces.in_flight(operator) == ()
    assert follower.tracker.open_attempts == ()
    assert follower.tracker.unfinal(follower.world.head.number) == 0
    trades = Counter((a.operator, a.nonce) for a, _ in books.journal.values() if a.kind is AttemptKind.TRADE)
    assert all(count == 1 for count in trades.values())


@settings(max_examples=300, deadline=None)
@given(HISTORY)
@example(["send", "mine all", "follow", "settle", "reorg 1", "mine nothing", "mine nothing", "follow", "settle"])
# Included and orphaned between two questions: nothing was lost, so nothing may be called lost.
@example(["send", ("meanwhile", ("follow", "mine all", "reorg 1")), ("mine nothing", "follow", "settle")])
# A cancel took the nonce, a restart forgot the trade, a reorg took the cancel away: now the trade may land.
@example(
    [
        ("send", "mine nothing", "follow", "settle", "mine cancels", "follow", "settle", "restart", "reorg 1"),
        ("mine trades", "mine nothing", "follow", "settle"),
    ]
)
def test_any_history_folds_to_the_truth(history: History) -> None:
    check(play(history))


def rounds(follower: Follower, count: int, wanted: Callable[[Attempt], bool] = lambda _tx: False) -> None:
    """Blocks that are followed and settled."""
    for _ in range(count):
        follower.world.mine(wanted, succeed=True)
        follower.follow()
        follower.settle()


def test_an_inclusion_is_booked_at_once_and_final_only_when_buried() -> None:
    follower = Follower()
    follower.send()
    assert follower.tracker.unfinal(100) == 1
    rounds(follower, 1, lambda _tx: True)
    (outcome,) = follower.books.standing.values()
    assert outcome.kind is OutcomeKind.LANDED
    assert [follower.tracker.unfinal(101 + depth) for depth in range(FINALITY + 1)] == [1] * FINALITY + [0]
    name = outcome.attempt_id
    rounds(follower, RING)
    assert follower.tracker.plan_of(name) is not None
    rounds(follower, 1)
    assert follower.tracker.plan_of(name) is None


def test_a_nonce_used_by_a_stranger_is_believed_only_after_several_blocks() -> None:
    follower = Follower()
    follower.send(at_node=False, anywhere=False)
    (mine,) = (pair[0] for pair in follower.books.journal.values())
    stranger = replace(mine, attempt_id="0x" + "ff" * 32, tx_hash="0x" + "ff" * 32)
    follower.world.arrive(stranger, at_node=True, anywhere=True)
    rounds(follower, FINALITY, lambda _tx: True)
    assert follower.books.standing == {}
    rounds(follower, 1)
    outcome = follower.books.standing[mine.attempt_id]
    assert outcome.kind is OutcomeKind.DROPPED
    assert "not in the journal" in outcome.reason
    assert follower.nonces.in_flight(mine.operator) == ()


def test_a_cancel_without_a_trade_is_outbid_too_until_its_nonce_is_used() -> None:
    """It clears a nonce whose bytes were lost; stuck, it would block the account for ever."""
    follower = Follower()
    lease = follower.nonces.acquire()
    assert lease is not None
    follower.nonces.sent(lease)
    name = "0x" + "0".rjust(64, "0")
    lone = attempt(None, lease.nonce, lease.operator, attempt_id=name, tx_hash=name, kind=AttemptKind.CANCEL)
    lone = replace(lone, max_block_number=103)
    follower.books.journal[name] = (lone, None)
    follower.tracker.add(lone, None)
    follower.world.arrive(lone, at_node=False, anywhere=False)
    rounds(follower, 4)
    cancels = [made for made, _ in follower.books.journal.values() if made.replaces == name]
    assert len(cancels) == 1
    rounds(follower, 1, lambda _tx: True)
    assert follower.books.standing[cancels[0].attempt_id].kind is OutcomeKind.LANDED
    check_after_calm(follower)


def test_at_most_one_cancel_of_a_nonce_is_under_way() -> None:
    follower = Follower()
    follower.send(at_node=False, anywhere=False)
    follower.cancels_arrive = False
    for _ in range(12):
        rounds(follower, 1)
        head = follower.view[-1].number
        alive = [
            made
            for made, _ in follower.books.journal.values()
            if made.kind is AttemptKind.CANCEL and made.max_block_number > head
        ]
        assert len(alive) == 1
    # Each outbids the newest before it, never an older one.
    cancels = [made for made, _ in follower.books.journal.values() if made.kind is AttemptKind.CANCEL]
    assert [made.replaces for made in cancels[1:]] == [made.attempt_id for made in cancels[:-1]]
    check_after_calm(follower)


def check_after_calm(follower: Follower) -> None:
    """Everything works again, and the books are right."""
    follower.calm_down()
    check(follower)


def test_what_could_not_be_taken_back_is_told_and_tried_again() -> None:
    follower = Follower()
    follower.send()
    follower.signer_answers = False
    head = _update(follower.view[-1])
    with pytest.raises(NotTakenBackError, match="1 open trades"):
        run(follower.tracker.take_back_open(head))
    follower.signer_answers = True
    assert run(follower.tracker.take_back_open(head)) == 1
    assert run(follower.tracker.take_back_open(head)) == 0
