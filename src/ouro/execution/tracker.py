"""Follows every attempt to a final outcome, through late blocks, lost transactions and reorgs.

Included is not final: an inclusion is recorded at once, so that the books are live, and reversed if its block is
orphaned; the attempt is then followed as before. An attempt whose last block has passed can only fail, so its nonce
is taken back by a cancel. Nothing is ever signed again for a nonce except such a cancel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from ouro.execution.settlement import Ours, PoolsTouched, ReceiptView, never_included, outcome_of
from ouro.types import Address, Attempt, AttemptKind, BlockUpdate, Hash, Outcome, OutcomeKind, Plan, Rollback

log = structlog.get_logger(__name__)


class ChainReader(Protocol):
    """What the tracker asks of a node."""

    async def receipts(self, hashes: Sequence[str]) -> Sequence[ReceiptView | None]: ...
    async def nonces(self, operators: Sequence[Address]) -> Sequence[int]:
        """Next nonce of each account at the latest block."""
        ...

    async def knows(self, hashes: Sequence[str]) -> Sequence[bool]:
        """Whether the node has each transaction, mined or pending."""
        ...


class Books(Protocol):
    """Where outcomes go. Recording the same outcome twice books it once."""

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None: ...
    def reversed(self, attempt: Attempt, reason: str) -> None: ...


class NotTakenBackError(RuntimeError):
    """Open trades that could not be replaced now."""


Canceller = Callable[[Attempt, BlockUpdate, bool], Any]
"""Signs, journals and sends a cancel of the attempt; returns (awaitable) its ``Attempt`` or None. The flag says
whether the node knows the attempt: what it doesn't know needs no outbidding."""


@dataclass(slots=True)
class Tracked:
    """One attempt on its way."""

    attempt: Attempt
    plan: Plan | None
    receipt: ReceiptView | None = None
    kind: OutcomeKind | None = None
    forgotten: bool = False
    cancelled_at: int | None = None
    nonce_gone_at: int | None = None

    @property
    def decided_at(self) -> int | None:
        """The block that made the outcome true: its own, or the one that used its nonce. None while open."""
        if self.kind is None:
            return None
        return self.cancelled_at if self.receipt is None else self.receipt.block_number


@dataclass(slots=True)
class Settled:
    """What one round of settling changed, for the engine: finished operators' nonces and outcomes."""

    outcomes: list[tuple[Attempt, Outcome]] = field(default_factory=list)
    reopened: list[Attempt] = field(default_factory=list)


class Tracker:
    """The open attempts of one chain."""

    def __init__(
        self,
        reader: ChainReader,
        books: Books,
        cancel: Canceller,
        ours: Ours,
        touched_in: Callable[[int], PoolsTouched | None],
        is_canonical: Callable[[int, Hash], bool],
        finality_depth: int,
        forget_depth: int,
    ) -> None:
        """``touched_in(block)`` tells which pools a recent block moved; ``is_canonical(number, hash)`` whether
        the engine stands on that block (a node may be a reorg ahead of the feed, and a receipt that the feed
        can't confirm would never be reversed); ``forget_depth`` is how long an inclusion is watched for a reorg
        even after it counts as final."""
        self._is_canonical = is_canonical
        self._reader = reader
        self._books = books
        self._cancel = cancel
        self._ours = ours
        self._touched_in = touched_in
        self._finality_depth = finality_depth
        self._forget_depth = forget_depth
        self._tracked: dict[str, Tracked] = {}

    def add(self, attempt: Attempt, plan: Plan | None) -> None:
        """Follow ``attempt`` from now on."""
        self._tracked[attempt.attempt_id] = Tracked(attempt, plan)

    def add_settled(self, attempt: Attempt, plan: Plan | None, receipt: ReceiptView, kind: OutcomeKind) -> None:
        """Watch an inclusion that the books already have, until it is too deep to be reorganised away."""
        self._tracked[attempt.attempt_id] = Tracked(attempt, plan, receipt=receipt, kind=kind)

    def add_replaced(self, attempt: Attempt, plan: Plan | None, kind: OutcomeKind, in_block: int) -> None:
        """Watch an attempt that the books call lost to another one of its nonce, included in ``in_block``."""
        self._tracked[attempt.attempt_id] = Tracked(attempt, plan, kind=kind, cancelled_at=in_block)

    @property
    def open_attempts(self) -> tuple[Attempt, ...]:
        """Attempts without an outcome."""
        return tuple(t.attempt for t in self._tracked.values() if t.kind is None)

    def plan_of(self, attempt_id: str) -> Plan | None:
        """The plan of a followed attempt, if it is at hand."""
        tracked = self._tracked.get(attempt_id)
        return None if tracked is None else tracked.plan

    def unfinal(self, head: int) -> int:
        """How many attempts are open or not yet buried ``finality_depth`` blocks deep at ``head``."""
        return sum(
            t.kind is None or (t.receipt is not None and head < t.receipt.block_number + self._finality_depth)
            for t in self._tracked.values()
        )

    async def on_block(self, head: BlockUpdate) -> Settled:
        """Settle what ``head`` settles; cancel what can no longer land."""
        settled = Settled()
        self._reopen_orphaned(settled)
        await self._read_receipts(settled)
        await self._handle_missing(head, settled)
        self._forget_old(head.number)
        return settled

    def on_rollback(self, rollback: Rollback) -> Settled:
        """Reverse every outcome above the common ancestor; those attempts are open again."""
        settled = Settled()
        for tracked in self._tracked.values():
            decided_at = tracked.decided_at
            if decided_at is not None and decided_at > rollback.to_number:
                self._reopen(tracked, f"reorg to block {rollback.to_number}", settled)
        return settled

    def _reopen_orphaned(self, settled: Settled) -> None:
        """Inclusions taken from the books were seen by an earlier feed: a reorg since then was told to nobody."""
        orphaned = {
            (t.attempt.operator, t.attempt.nonce)
            for t in self._tracked.values()
            if t.receipt is not None
            and self._touched_in(t.receipt.block_number) is not None
            and not self._is_canonical(t.receipt.block_number, t.receipt.block_hash)
        }
        if not orphaned:
            return
        for tracked in self._tracked.values():
            if tracked.kind is not None and (tracked.attempt.operator, tracked.attempt.nonce) in orphaned:
                self._reopen(tracked, "its block is not on the chain that is followed", settled)

    async def _read_receipts(self, settled: Settled) -> None:
        waiting = [t for t in self._tracked.values() if t.kind is None]
        if not waiting:
            return
        receipts = await self._reader.receipts([t.attempt.tx_hash for t in waiting])
        for tracked, receipt in zip(waiting, receipts, strict=True):
            if receipt is not None and self._is_canonical(receipt.block_number, receipt.block_hash):
                self._include(tracked, receipt, settled)

    def _include(self, tracked: Tracked, receipt: ReceiptView, settled: Settled) -> None:
        touched = self._touched_in(receipt.block_number)
        plan = tracked.plan
        orphaned = plan is not None and not self._is_canonical(plan.found_at_number, plan.found_at_hash)
        outcome = outcome_of(tracked.attempt, plan, receipt, self._ours, touched, orphaned=orphaned)
        tracked.receipt = receipt
        self._finish(tracked, outcome, settled)
        for other in self._rivals_for_nonce(tracked):
            self._replaced(other, receipt.block_number, settled)

    def _replaced(self, tracked: Tracked, in_block: int, settled: Settled) -> None:
        lost = OutcomeKind.DROPPED if tracked.forgotten else OutcomeKind.EXPIRED
        tracked.cancelled_at = in_block
        if tracked.attempt.kind is AttemptKind.CANCEL:
            reason = f"another transaction with its nonce was included in block {in_block}"
        else:
            reason = f"its nonce was taken back in block {in_block}"
        self._finish(tracked, never_included(tracked.attempt, lost, reason), settled)

    def _rivals_for_nonce(self, tracked: Tracked) -> list[Tracked]:
        mine = tracked.attempt
        return [
            t
            for t in self._tracked.values()
            if t.kind is None and t.attempt.operator == mine.operator and t.attempt.nonce == mine.nonce
        ]

    async def _handle_missing(self, head: BlockUpdate, settled: Settled) -> None:
        late = [t for t in self._tracked.values() if t.kind is None and head.number >= t.attempt.max_block_number]
        if not late:
            return
        nonces = await self._reader.nonces([t.attempt.operator for t in late])
        known = await self._reader.knows([t.attempt.tx_hash for t in late])
        for tracked, next_nonce, is_known in zip(late, nonces, known, strict=True):
            if tracked.kind is not None:
                continue  # settled with another one of its nonce a moment ago
            tracked.forgotten = not is_known
            if next_nonce > tracked.attempt.nonce:
                await self._nonce_is_gone(tracked, head, settled)
                continue
            tracked.nonce_gone_at = None
            if not self._has_hope(tracked, head.number):
                await self._take_back(tracked, head)

    async def _nonce_is_gone(self, tracked: Tracked, head: BlockUpdate, settled: Settled) -> None:
        winner = self._included_with_nonce(tracked.attempt)
        if winner is not None:
            self._replaced(tracked, winner.block_number, settled)
            return
        # A receipt may have appeared between our two questions; ask once more before calling anything lost.
        rivals = self._rivals_for_nonce(tracked)
        receipts = await self._reader.receipts([t.attempt.tx_hash for t in rivals])
        for rival, receipt in zip(rivals, receipts, strict=True):
            if receipt is None:
                continue
            if self._is_canonical(receipt.block_number, receipt.block_hash):
                self._include(rival, receipt, settled)
            return  # or it will be once the feed is where the node is
        if tracked.nonce_gone_at is None:
            tracked.nonce_gone_at = head.number
        if head.number - tracked.nonce_gone_at < self._finality_depth:
            return  # nodes behind one address may disagree for a while; a landing called lost would never be booked
        log.warning("foreign_nonce", operator=tracked.attempt.operator, nonce=tracked.attempt.nonce)
        reason = f"nonce {tracked.attempt.nonce} was used by a transaction that is not in the journal"
        for rival in rivals:
            rival.cancelled_at = head.number
            self._finish(rival, never_included(rival.attempt, OutcomeKind.DROPPED, reason), settled)

    def _included_with_nonce(self, attempt: Attempt) -> ReceiptView | None:
        return next(
            (
                t.receipt
                for t in self._tracked.values()
                if t.receipt is not None
                and (t.attempt.operator, t.attempt.nonce) == (attempt.operator, attempt.nonce)
            ),
            None,
        )

    def _has_hope(self, tracked: Tracked, head: int) -> bool:
        """Whether something with this nonce can still be included in time."""
        return any(head < t.attempt.max_block_number for t in self._rivals_for_nonce(tracked))

    async def _take_back(self, tracked: Tracked, head: BlockUpdate) -> None:
        newest = max(
            self._rivals_for_nonce(tracked),
            key=lambda t: (t.attempt.kind is AttemptKind.CANCEL, t.attempt.max_block_number),
        )
        cancel = await self._cancel(newest.attempt, head, not newest.forgotten)
        if cancel is not None:
            self.add(cancel, None)

    async def take_back_open(self, head: BlockUpdate) -> int:
        """Replace every open trade by an empty transaction, whether its last block has passed or not; how many.

        Raises ``NotTakenBackError`` when that could not be done for each now (signer or journal is away): ask
        again, those that are replaced are left as they are.
        """
        count = failed = 0
        for tracked in list(self._tracked.values()):
            rivals = self._rivals_for_nonce(tracked) if tracked.kind is None else []
            if not rivals or any(rival.attempt.kind is AttemptKind.CANCEL for rival in rivals):
                continue
            cancel = await self._cancel(tracked.attempt, head, True)
            if cancel is None:
                failed += 1
                continue
            self.add(cancel, None)
            count += 1
        if failed:
            raise NotTakenBackError(f"{failed} open trades could not be replaced now, {count} were")
        return count

    def _finish(self, tracked: Tracked, outcome: Outcome, settled: Settled) -> None:
        tracked.kind = outcome.kind
        self._books.outcome(tracked.attempt, tracked.plan, outcome)
        settled.outcomes.append((tracked.attempt, outcome))

    def _reopen(self, tracked: Tracked, reason: str, settled: Settled) -> None:
        tracked.receipt, tracked.kind, tracked.cancelled_at, tracked.nonce_gone_at = None, None, None, None
        self._books.reversed(tracked.attempt, reason)
        settled.reopened.append(tracked.attempt)

    def _forget_old(self, head: int) -> None:
        for attempt_id, tracked in list(self._tracked.items()):
            if tracked.kind is None:
                continue
            since = tracked.decided_at
            if since is None or head - since > self._forget_depth:
                del self._tracked[attempt_id]
