"""A chain in a few lines: blocks, transactions, a node that forgets and runs ahead, an engine that follows it.

The world (any miner, any mempool) may include every transaction that ever left us and is not lost; the node that we
ask knows some of them. What the tracker believes is compared with what the canonical chain holds in the end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from execution_examples import OPERATORS, OURS, FakeReceipt, attempt, plan

from ouro.chain.accounts import NonceBook
from ouro.engine.recovery import recover
from ouro.execution.tracker import Settled, Tracker
from ouro.ledger.records import AttemptRecord
from ouro.types import (
    Attempt,
    AttemptKind,
    BlockUpdate,
    Outcome,
    OutcomeKind,
    Plan,
    Rollback,
)

T = TypeVar("T")
FINALITY, RING = 3, 64


@dataclass(frozen=True)
class Block:
    """A block and the transactions in it, with what became of each (1 success)."""

    number: int
    hash: str
    transactions: tuple[tuple[str, int], ...] = ()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


@dataclass
class World:
    """The chain, everybody's mempools, and what the node that we ask knows."""

    blocks: list[Block] = field(default_factory=lambda: [Block(100, "0x" + "64".rjust(64, "0"))])
    signed: dict[str, Attempt] = field(default_factory=dict)
    pending: dict[str, None] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    forks: int = 0

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def mined(self) -> dict[str, tuple[Block, int]]:
        """Every included transaction, with its block and status."""
        return {tx: (block, status) for block in self.blocks for tx, status in block.transactions}

    def next_nonce(self, operator: str) -> int:
        return sum(self.signed[tx].operator == operator for tx in self.mined())

    def arrive(self, sent: Attempt, *, at_node: bool, anywhere: bool) -> None:
        """``sent`` left us; it reached the node, or only others, or nobody."""
        self.signed[sent.tx_hash] = sent
        if at_node:
            # A replacement pushes what it outbids out of the node's own pool, not out of the world's.
            self.known -= {tx for tx in self.known & self.pending.keys() if _same_nonce(self.signed[tx], sent)}
            self.known.add(sent.tx_hash)
        if at_node or anywhere:
            self.pending[sent.tx_hash] = None

    def mine(self, wanted: Callable[[Attempt], bool], succeed: bool) -> None:
        """One more block with every wanted transaction that can be in it."""
        number = self.head.number + 1
        chosen: list[tuple[str, int]] = []
        used = {operator: self.next_nonce(operator) for operator in OPERATORS}
        for tx in list(self.pending):
            sent = self.signed[tx]
            if wanted(sent) and sent.nonce == used[sent.operator]:
                used[sent.operator] += 1
                in_time = sent.kind is AttemptKind.CANCEL or number <= sent.max_block_number
                chosen.append((tx, int(in_time and (succeed or sent.kind is AttemptKind.CANCEL))))
        self.forks += 1
        self.blocks.append(Block(number, "0x" + f"{self.forks:064x}", tuple(chosen)))
        for tx, _ in chosen:
            del self.pending[tx]
            self.known.add(tx)
        dead = [tx for tx in self.pending if self.signed[tx].nonce < used[self.signed[tx].operator]]
        for tx in dead:
            self.known.discard(tx)

    def reorg(self, depth: int, *, node_keeps: bool) -> None:
        """The last blocks never were; their transactions are pending again, maybe not at our node."""
        depth = min(depth, len(self.blocks) - 1)
        dropped = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        for block in dropped:
            for tx, _ in block.transactions:
                self.pending[tx] = None
                if not node_keeps:
                    self.known.discard(tx)

    def forget(self, *, everywhere: bool) -> None:
        """The node restarts without its pool; or everybody does."""
        self.known &= self.mined().keys()
        if everywhere:
            self.pending.clear()


def _same_nonce(one: Attempt, other: Attempt) -> bool:
    return (one.operator, one.nonce) == (other.operator, other.nonce)


@dataclass
class FoldedBooks:
    """What stands in the books, and that nothing is withdrawn that did not stand."""

    standing: dict[str, Outcome] = field(default_factory=dict)
    journal: dict[str, tuple[Attempt, Plan | None]] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None:
        del plan
        old = self.standing.get(attempt.attempt_id)
        if old is not None and old != outcome:
            self.contradictions.append(f"{old.kind} replaced by {outcome.kind} without a withdrawal")
        self.standing[attempt.attempt_id] = outcome

    def reversed(self, attempt: Attempt, reason: str) -> None:
        del reason
        if self.standing.pop(attempt.attempt_id, None) is None:
            self.contradictions.append(f"withdrew what did not stand: {attempt.attempt_id}")

    # What recovery asks of a ledger.

    @property
    def books(self) -> "FoldedBooks":
        return self

    def flush(self) -> None:
        """Nothing waits."""

    def attempts(self, *, chain: str, limit: int) -> list[AttemptRecord]:
        """The latest."""
        del chain
        return [self._record(*pair) for pair in list(self.journal.values())[-limit:]]

    def unresolved(self, chain: str) -> list[AttemptRecord]:
        """Without an outcome."""
        return [record for record in self.attempts(chain=chain, limit=10**6) if record.outcome is None]

    def _record(self, attempt: Attempt, plan: Plan | None) -> AttemptRecord:
        outcome = self.standing.get(attempt.attempt_id)
        return AttemptRecord(attempt, "s", "sent", 0, 0, None, None, None, plan, outcome, None, 0)


class Follower:
    """The engine's side: a feed that may lag, nonces, the real tracker. Also the tracker's node."""

    def __init__(self) -> None:
        self.world = World()
        self.view: list[Block] = [self.world.head]
        self.books = FoldedBooks()
        self.nonces = NonceBook(OPERATORS)
        for operator in OPERATORS:
            self.nonces.observe(operator, 0, 0)
        self.tracker = self._new_tracker()
        self.meanwhile: list[Callable[[], None]] = []
        self.rollbacks: list[Rollback] = []
        self.signer_answers = True
        self.cancels_arrive = True
        self.sent = 0
        self.sessions = 1
        self.lost_the_thread = False
        self._settling = False

    def _new_tracker(self) -> Tracker:
        return Tracker(
            NodeView(self), self.books, self._cancel, OURS, lambda _n: {}, self._is_canonical, FINALITY, RING
        )

    # ------------------------------------------------------------------------------------- as the tracker's node

    def _race(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()

    async def receipts(self, hashes: Sequence[str]) -> list[FakeReceipt | None]:
        self._race()
        mined = self.world.mined()
        return [
            FakeReceipt(mined[tx][1], mined[tx][0].number, mined[tx][0].hash) if tx in mined else None
            for tx in hashes
        ]

    async def nonces_at_head(self, operators: Sequence[str]) -> list[int]:
        self._race()
        return [self.world.next_nonce(operator) for operator in operators]

    async def knows(self, hashes: Sequence[str]) -> list[bool]:
        self._race()
        return [tx in self.world.known for tx in hashes]

    def _is_canonical(self, number: int, block_hash: str) -> bool:
        if number <= self.view[0].number:
            return True
        return any(block.number == number and block.hash == block_hash for block in self.view)

    # --------------------------------------------------------------------------------------------- as the engine

    def send(self, *, at_node: bool = True, anywhere: bool = True) -> None:
        """A trade from a free account, if there is one."""
        lease = self.nonces.acquire()
        if lease is None:
            return
        self.sent += 1
        trade = plan(self.view[-1].number, f"t{self.sent}")
        name = f"0x{self.sent:064x}"
        made = attempt(trade, lease.nonce, lease.operator, attempt_id=name, tx_hash=name)
        same = [a for a, _ in self.books.journal.values() if _same_nonce(a, made)]
        assert same == [], f"a second trade for nonce {made.nonce} of {made.operator}"
        self.books.journal[made.attempt_id] = (made, trade)
        self.nonces.sent(lease)
        self.tracker.add(made, trade)
        self.world.arrive(made, at_node=at_node, anywhere=anywhere)

    async def _cancel(self, stuck: Attempt, head: BlockUpdate, known: bool) -> Attempt | None:
        del known  # a fresh cancel is always right, only dearer
        self._race()
        if not self.signer_answers:
            return None
        self.sent += 1
        name = f"0x{self.sent:064x}"
        made = replace(
            stuck,
            attempt_id=name,
            tx_hash=name,
            kind=AttemptKind.CANCEL,
            max_block_number=head.number + 3,
            replaces=stuck.attempt_id,
        )
        self.books.journal[made.attempt_id] = (made, None)
        self.world.arrive(made, at_node=self.cancels_arrive, anywhere=False)
        return made

    def follow(self, blocks: int = 1_000) -> None:
        """The feed delivers up to ``blocks`` blocks of what the node has, taking back what was orphaned."""
        chain = {block.number: block.hash for block in self.world.blocks}
        depth = next(
            (k for k in range(len(self.view)) if chain.get(self.view[-1 - k].number) == self.view[-1 - k].hash),
            None,
        )
        if depth is None:  # below what was loaded: the engine begins a new session
            self.lost_the_thread = True
            if not self._settling:
                self.restart()
            return
        if depth:
            dropped = self.view[len(self.view) - depth :]
            del self.view[len(self.view) - depth :]
            last = self.view[-1]
            self.rollbacks.append(
                Rollback("ethereum", last.number, last.hash, tuple(block.hash for block in dropped))
            )
        following = [block for block in self.world.blocks if block.number > self.view[-1].number]
        self.view += following[:blocks]
        if not self._settling:
            self._roll_back()

    def settle(self) -> None:
        """What the engine does off its hot path for the newest block."""
        self._settling = True
        update = _update(self.view[-1])
        try:
            self._take_over(run(self.tracker.on_block(update)))
        finally:
            self._settling = False
        if self.lost_the_thread:
            self.restart()
        self._roll_back()

    def restart(self) -> None:
        """A new session or process: only journal, books and chain are left. The real recovery."""
        self.meanwhile.clear()
        self.rollbacks.clear()
        self.lost_the_thread = False
        self.sessions += 1
        self.view = [self.world.blocks[max(0, len(self.world.blocks) - 1 - FINALITY)]]
        self.nonces = NonceBook(OPERATORS)
        self.tracker = self._new_tracker()
        base = self.view[0].number
        node, books, submitter = NodeWire(self), cast("Any", self.books), cast("Any", self)
        asyncio.run(
            recover("ethereum", node, books, books, self.tracker, self.nonces, submitter, base, RING, may_send=True)
        )

    async def resend(self, sent: Attempt) -> None:
        """The submitter's part of recovery: the same bytes again."""
        assert sent in self.world.signed.values()
        if sent.tx_hash not in self.world.mined():
            self.world.arrive(sent, at_node=True, anywhere=True)

    def _roll_back(self) -> None:
        while self.rollbacks:
            self._take_over(self.tracker.on_rollback(self.rollbacks.pop(0)))

    def _take_over(self, settled: Settled) -> None:
        for reopened in settled.reopened:
            self.nonces.reopened(reopened.operator, reopened.nonce)
        for done, outcome in settled.outcomes:
            if outcome.block_number is not None or outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED):
                self.nonces.confirmed(done.operator, done.nonce)

    def calm_down(self, blocks: int = 24) -> None:
        """From now on everything works: signer, node, miners, feed. The dearest transaction of a nonce wins."""
        self.meanwhile.clear()
        self.signer_answers = self.cancels_arrive = True
        for _ in range(blocks):
            self.world.pending = dict.fromkeys(sorted(self.world.pending, key=lambda tx: -int(tx, 16)))
            self.world.mine(lambda _tx: True, succeed=True)
            self.follow()
            self.settle()


class NodeView:
    """The reader's names, of which one is also the follower's nonce book."""

    def __init__(self, follower: Follower) -> None:
        self.receipts, self.knows, self.nonces = follower.receipts, follower.knows, follower.nonces_at_head


class NodeWire:
    """The node as recovery asks it."""

    def __init__(self, follower: Follower) -> None:
        self._world = follower.world

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """One answer, as JSON."""
        del timeout_ms
        world = self._world
        match method:
            case "eth_blockNumber":
                return hex(world.head.number)
            case "eth_getTransactionCount":
                nonce = world.next_nonce(params[0])
                while params[1] == "pending" and any(
                    world.signed[tx].operator == params[0] and world.signed[tx].nonce == nonce
                    for tx in world.known & world.pending.keys()
                ):
                    nonce += 1
                return hex(nonce)
            case "eth_getTransactionByHash":
                return {} if params[0] in world.known else None
            case "eth_getTransactionReceipt":
                return self._receipt(params[0])
        raise AssertionError(method)

    async def batch(self, calls: Sequence[tuple[str, list[Any]]], timeout_ms: int | None = None) -> list[Any]:
        """Several."""
        return [await self.call(method, params, timeout_ms) for method, params in calls]

    def _receipt(self, tx: str) -> dict[str, Any] | None:
        found = self._world.mined().get(tx)
        if found is None:
            return None
        block, status = found
        numbers = {
            "status": status,
            "blockNumber": block.number,
            "transactionIndex": 0,
            "gasUsed": 21_000,
            "effectiveGasPrice": 1,
        }
        return {
            **{name: hex(number) for name, number in numbers.items()},
            "transactionHash": tx,
            "blockHash": block.hash,
            "contractAddress": None,
            "logs": [],
        }


def _update(block: Block) -> BlockUpdate:
    return BlockUpdate("ethereum", block.number, block.hash, "", 0, 10**9, 0, 30_000_000, (), 0)
