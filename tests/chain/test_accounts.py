"""Nonces: every one given once, none lost, whatever happens to the transactions."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ouro.chain.accounts import Lease, NonceBook
from ouro.chain.rpc import connect
from ouro.testnet.node import AnvilNode, NodeConfig

A, B = "0x" + "aa" * 20, "0x" + "bb" * 20


def book(*counts: int, max_in_flight: int = 1) -> NonceBook:
    result = NonceBook([A, B][: len(counts)], max_in_flight)
    for operator, count in zip(result.operators, counts, strict=True):
        result.observe(operator, count, count)
    return result


def test_nothing_is_given_before_the_chain_was_asked() -> None:
    assert NonceBook([A]).acquire() is None


def test_accounts_take_turns_and_a_stuck_one_stops_only_itself() -> None:
    nonces = book(5, 0)
    assert nonces.acquire() == Lease(A, 5)
    stuck = nonces.acquire()
    assert stuck == Lease(B, 0)
    assert nonces.acquire() is None
    nonces.sent(Lease(A, 5))
    nonces.confirmed(A, 5)
    assert nonces.acquire() == Lease(A, 6)
    assert nonces.in_flight(B) == (0,)


def test_an_unused_nonce_is_given_again_before_later_ones() -> None:
    nonces = book(0, max_in_flight=3)
    leases = [nonces.acquire() for _ in range(3)]
    assert leases[0] is not None
    assert leases[1] is not None
    nonces.sent(leases[0])
    nonces.released_unused(leases[1])
    assert nonces.acquire() == leases[1]
    nonces.released_unused(leases[1])
    with pytest.raises(ValueError, match="can't be given back"):
        nonces.released_unused(leases[0])
    with pytest.raises(ValueError, match="was not acquired"):
        nonces.sent(Lease(A, 9))
    with pytest.raises(KeyError, match="not an operator"):
        nonces.confirmed("0x" + "cc" * 20, 0)


def test_observation_frees_consumed_and_names_missing_and_foreign() -> None:
    nonces = book(3, max_in_flight=4)
    for _ in range(3):
        lease = nonces.acquire()
        assert lease is not None
        nonces.sent(lease)
    report = nonces.observe(A, latest=4, pending=5)
    assert (report.consumed, report.missing, report.foreign, report.reopened) == ((3,), (5,), (), ())
    assert nonces.in_flight(A) == (4, 5)
    report = nonces.observe(A, latest=8, pending=9)
    assert report.foreign == (6, 7, 8)
    assert nonces.in_flight(A) == (8,)
    assert nonces.acquire() == Lease(A, 9)


def test_a_reorg_reopens_nonces_until_they_are_used_again() -> None:
    nonces = book(0)
    lease = nonces.acquire()
    assert lease is not None
    nonces.sent(lease)
    nonces.confirmed(A, 0)
    report = nonces.observe(A, latest=0, pending=0)
    assert (report.reopened, report.missing) == ((0,), (0,))
    assert nonces.acquire() is None
    nonces.confirmed(A, 0)
    assert nonces.acquire() == Lease(A, 1)


def test_after_a_restart_the_journal_and_the_pool_occupy_their_nonces() -> None:
    nonces = NonceBook([A], max_in_flight=2)
    report = nonces.observe(A, latest=7, pending=8)
    assert report.foreign == ()
    nonces.restore(A, 7)
    nonces.restore(A, 6)
    assert nonces.in_flight(A) == (7,)
    assert nonces.acquire() == Lease(A, 8)
    journaled = NonceBook([A], max_in_flight=3)
    journaled.observe(A, 0, 0)
    journaled.restore(A, 2)
    assert [lease.nonce for lease in (journaled.acquire(), journaled.acquire()) if lease] == [0, 1]


class OneOperator(RuleBasedStateMachine):
    """A chain that includes sent transactions in order and sometimes reorganises; the book must stay true to it."""

    def __init__(self) -> None:
        super().__init__()
        self.nonces = NonceBook([A], max_in_flight=3)
        self.nonces.observe(A, 0, 0)
        self.leased: list[Lease] = []
        self.sent: set[int] = set()
        self.used = 0

    @rule()
    def acquire(self) -> None:
        lease = self.nonces.acquire()
        if lease is not None:
            assert lease.nonce >= self.used
            assert lease.nonce not in self.sent
            assert lease not in self.leased
            self.leased.append(lease)

    @precondition(lambda self: self.leased)
    @rule(pick=st.integers(0, 2))
    def send(self, pick: int) -> None:
        lease = self.leased.pop(pick % len(self.leased))
        self.nonces.sent(lease)
        self.sent.add(lease.nonce)

    @precondition(lambda self: self.leased)
    @rule(pick=st.integers(0, 2))
    def give_back(self, pick: int) -> None:
        self.nonces.released_unused(self.leased.pop(pick % len(self.leased)))

    @precondition(lambda self: self.used in self.sent)
    @rule()
    def include(self) -> None:
        self.nonces.confirmed(A, self.used)
        self.used += 1

    @rule(depth=st.integers(0, 2))
    def compare(self, depth: int) -> None:
        self.used = max(0, self.used - depth)
        pending = self.used
        while pending in self.sent:
            pending += 1
        report = self.nonces.observe(A, self.used, pending)
        assert report.foreign == ()

    @invariant()
    def nothing_is_lost(self) -> None:
        outstanding = {nonce for nonce in self.sent if nonce >= self.used} | {lease.nonce for lease in self.leased}
        assert set(self.nonces.in_flight(A)) == outstanding


OneOperator.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
TestOneOperator = OneOperator.TestCase


@pytest.mark.node
async def test_resync_against_a_real_node(tmp_path: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_782), tmp_path) as anvil:
        node = await connect(anvil.ws_url)
        accounts = (await node.call("eth_accounts", []))[:2]
        nonces = NonceBook(accounts)
        assert [(r.latest, r.pending) for r in await nonces.resync(node)] == [(0, 0), (0, 0)]
        lease = nonces.acquire()
        assert lease is not None
        await node.call("evm_setAutomine", [False])
        nonces.sent(lease)
        assert (await nonces.resync(node))[0].missing == (0,)
        transaction = {"from": lease.operator, "to": lease.operator, "nonce": hex(lease.nonce), "gas": "0x5208"}
        await node.call("eth_sendTransaction", [transaction])
        report = (await nonces.resync(node))[0]
        assert (report.latest, report.pending, report.missing) == (0, 1, ())
        await node.call("evm_mine", [])
        assert (await nonces.resync(node))[0].consumed == (0,)
        await node.call("anvil_reorg", [1, []])
        report = (await nonces.resync(node))[0]
        assert report.reopened == (0,)
        assert nonces.in_flight(lease.operator) == (0,)
        await node.close()
