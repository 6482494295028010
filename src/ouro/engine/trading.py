"""From judged plans to settled attempts, on one chain. Two ways with one interface: live, and paper.

Live signs and sends. Paper runs every plan again on the state *after* the next real block and earns what that
gives, so that its success is measured, not assumed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from ouro.chain.accounts import Lease, NonceBook
from ouro.chain.fees import effective_gas_price
from ouro.engine.bookkeeping import ChainBooks
from ouro.engine.chain_state import ChainState
from ouro.engine.stages import BlockTimes
from ouro.execution.access_list import AccessList
from ouro.execution.lanes import Handover
from ouro.execution.preflight import Preflight, PreflightResult
from ouro.execution.settlement import never_included
from ouro.execution.submit import NotSent, Submitted, Submitter
from ouro.execution.tracker import Settled, Tracker
from ouro.hashing import keccak
from ouro.ledger.errors import LedgerError
from ouro.risk.approved import Approved
from ouro.types import (
    PAPER_LANE,
    Address,
    Attempt,
    AttemptKind,
    BlockContext,
    BlockUpdate,
    FeeBid,
    Outcome,
    OutcomeKind,
    Plan,
    Refused,
    Rollback,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """When a block's bytes were read and its decision was made; ``times`` takes what follows."""

    received_ns: int
    decided_us: int
    times: BlockTimes = field(default_factory=BlockTimes)


RefusalSink = Callable[[Refused], None]


class Trader(Protocol):
    """Carries out approved plans and follows them to their outcomes."""

    @property
    def lane(self) -> str: ...
    def locked(self, head: int) -> frozenset[Address]:
        """Pools of attempts that may still land after block ``head``."""
        ...

    async def execute(self, approved: list[Approved], update: BlockUpdate, clock: Clock) -> list[Submitted]: ...
    def applied(self, update: BlockUpdate) -> None:
        """A block was applied (hot path: quick)."""
        ...

    async def settle(self, update: BlockUpdate) -> None:
        """Off the hot path: receipts, cancels, books."""
        ...

    async def rolled_back(self, event: Rollback) -> None: ...
    def unfinal(self, head: int) -> int:
        """Attempts that are open, or not yet final at block ``head``."""
        ...


def check_preflight(plan: Plan, result: PreflightResult, base_fee_wei: int) -> Refused | None:
    """Why a plan must not be sent after what the EVM said of it; None if it may."""
    if not result.ok:
        kind = "moved" if result.revert_kind == "competitive" else "failed"
        return Refused(plan.plan_id, f"preflight_{kind}", result.revert_reason)
    if result.realised_profit_wei != plan.predicted_profit_wei:
        detail = f"the EVM gives {result.realised_profit_wei}, the integers {plan.predicted_profit_wei}"
        return Refused(plan.plan_id, "preflight_differs", detail)
    if result.gas_limit > plan.gas_limit:
        detail = f"{result.gas_limit} gas would be needed, the plan allows {plan.gas_limit}"
        return Refused(plan.plan_id, "preflight_gas", detail)
    price = plan.fee.max_fee_per_gas_wei
    if not plan.fee.legacy:
        price = min(price, base_fee_wei + plan.fee.max_priority_fee_per_gas_wei)
    net = plan.predicted_value_native_wei - result.gas_used * price
    if net <= 0:
        return Refused(plan.plan_id, "preflight_unprofitable", f"net {net} wei with {result.gas_used} gas")
    return None


def run_as_sent(
    preflight: Preflight, state: ChainState, plan: Plan, operator: Address, context: BlockContext | None = None
) -> tuple[AccessList, PreflightResult]:
    """Pre-flight of ``plan`` as it will be signed: with an access list where its chain and its kind take one.

    ``context`` is by default the block that would execute it.
    """
    context = state.market.context if context is None else context
    if plan.fee.legacy or state.config.access_lists == "off":
        return (), preflight.run(plan.calldata, operator, context, plan.hops)
    return preflight.run_listed(plan.calldata, operator, context, plan.hops, state.market.states)


class LiveTrader:
    """Signs, sends, tracks, takes back."""

    lane = "public"

    def __init__(
        self,
        state: ChainState,
        submitter: Submitter,
        tracker: Tracker,
        nonces: NonceBook,
        books: ChainBooks,
        refuse: RefusalSink,
        admit: Callable[[Plan, Address], Refused | None] = lambda _plan, _operator: None,
    ) -> None:
        """``admit``: whether risk lets this account send that plan (limits per account, its gas tank)."""
        assert state.shadow is not None
        self._admit = admit
        self.after_settling: Callable[[BlockUpdate], Awaitable[None]] | None = None
        self._state = state
        self._submitter = submitter
        self._tracker = tracker
        self._nonces = nonces
        self._books = books
        self._refuse = refuse
        self._preflight = Preflight(state.shadow)
        self._under_way: dict[str, tuple[Attempt, Plan]] = {}
        self._burnt: list[Lease] = []
        self._submitting = 0
        self._settling = asyncio.Lock()

    def locked(self, head: int) -> frozenset[Address]:
        """See ``Trader.locked``."""
        return frozenset(
            pool
            for attempt, plan in self._under_way.values()
            if attempt.max_block_number > head
            for pool in plan.pools
        )

    async def execute(self, approved: list[Approved], update: BlockUpdate, clock: Clock) -> list[Submitted]:
        """Pre-flight all, then sign and send those that pass, side by side."""
        context = self._state.market.context
        jobs: list[Any] = []
        for item in approved:
            lease = self._nonces.acquire()
            if lease is None:
                self._refuse(Refused(item.plan.plan_id, "no_free_operator", "every operator has one under way"))
                continue
            refused = self._admit(item.plan, lease.operator)
            if refused is None:
                access_list, result = run_as_sent(self._preflight, self._state, item.plan, lease.operator)
                refused = check_preflight(item.plan, result, context.base_fee_wei)
            else:
                access_list = ()
            if refused is not None:
                self._nonces.released_unused(lease)
                self._refuse(refused)
                continue
            jobs.append(self._submit(item, lease, clock, access_list))
        times = clock.times
        times.simulated = time.monotonic_ns()
        self._submitting += len(jobs)
        try:
            # All of them to their end, whatever becomes of one: nothing is sent by what nobody waits for.
            results = await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            self._submitting -= len(jobs)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        submitted = [done for done in results if isinstance(done, Submitted)]
        times.transactions = len(submitted)
        for done in submitted:
            times.signed = max(times.signed, clock.received_ns + 1_000 * done.signed_us)
            times.journaled = max(times.journaled, clock.received_ns + 1_000 * done.journaled_us)
            times.sent = max(times.sent, clock.received_ns + 1_000 * done.sent_us)
        return submitted

    async def _submit(
        self, approved: Approved, lease: Lease, clock: Clock, access_list: AccessList
    ) -> Submitted | None:
        def follow(attempt: Attempt) -> None:
            self._nonces.sent(lease)
            self._under_way[attempt.attempt_id] = (attempt, approved.plan)
            self._tracker.add(attempt, approved.plan)

        submitting = asyncio.ensure_future(
            self._submitter.submit(approved, lease, clock.received_ns, clock.decided_us, follow, access_list)
        )
        # once its request is with the signer, what the journal needs of the plan is made meanwhile
        await asyncio.sleep(0)
        self._books.prepare(approved.plan)
        done = await submitting
        if isinstance(done, Submitted):
            if done.handover is Handover.NONCE_USED:
                log.warning("nonce_used", operator=lease.operator, nonce=lease.nonce)
            return done
        self._refuse(done.refused)
        self._not_sent(done, lease)
        return None

    def _not_sent(self, done: NotSent, lease: Lease) -> None:
        if done.nonce_burnt:
            self._nonces.sent(lease)
            self._burnt.append(lease)
        else:
            self._nonces.released_unused(lease)

    def applied(self, update: BlockUpdate) -> None:
        """Our own events in the block free pools and accounts at once, without asking for a receipt."""
        if not self._under_way:
            return
        landed = {entry.tx_hash for entry in update.logs} & self._under_way.keys()
        for attempt_id in landed:
            attempt, _ = self._under_way.pop(attempt_id)
            self._nonces.confirmed(attempt.operator, attempt.nonce)
        for attempt_id, (attempt, _) in list(self._under_way.items()):
            if update.number >= attempt.max_block_number:
                del self._under_way[attempt_id]

    async def settle(self, update: BlockUpdate) -> None:
        """See ``Trader.settle``."""
        async with self._settling:
            self._take_over(await self._tracker.on_block(update))
            await self._clear_burnt(update)
        if self.after_settling is not None:
            await self.after_settling(update)

    async def rolled_back(self, event: Rollback) -> None:
        """See ``Trader.rolled_back``."""
        async with self._settling:
            self._take_over(self._tracker.on_rollback(event))
            # Their logs may have freed these accounts before a receipt was asked for.
            for attempt in self._tracker.open_attempts:
                self._reopen_nonce(attempt)

    def _reopen_nonce(self, attempt: Attempt) -> None:
        # An operator may have been taken out of the configuration while its transaction was under way.
        if attempt.operator in self._nonces.operators:
            self._nonces.reopened(attempt.operator, attempt.nonce)

    def unfinal(self, head: int) -> int:
        """See ``Trader.unfinal``."""
        return self._tracker.unfinal(head) + len(self._burnt) + self._submitting

    def _take_over(self, settled: Settled) -> None:
        for attempt in settled.reopened:
            self._reopen_nonce(attempt)
            plan = self._tracker.plan_of(attempt.attempt_id)
            if plan is not None:
                self._under_way[attempt.attempt_id] = (attempt, plan)
        for attempt, outcome in settled.outcomes:
            self._under_way.pop(attempt.attempt_id, None)
            if attempt.operator not in self._nonces.operators:
                continue
            if outcome.block_number is not None or outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED):
                self._nonces.confirmed(attempt.operator, attempt.nonce)

    async def take_back_open(self, head: BlockUpdate) -> int:
        """After a halt: replace what is under way by its nonces; how many transactions."""
        async with self._settling:
            return await self._tracker.take_back_open(head)

    async def _clear_burnt(self, update: BlockUpdate) -> None:
        fee = self.cancel_fee(update)
        for lease in list(self._burnt):
            cancel = await self._submitter.clear_nonce(lease, update.number, fee)
            if cancel is not None:
                self._burnt.remove(lease)
                self._tracker.add(cancel, None)

    def cancel_fee(self, update: BlockUpdate) -> FeeBid:
        """What an empty transaction offers to be in the next block."""
        base = self._state.fees.next_base_fee(update)
        return self._state.fees.bid_fee(base, self._state.config.bid.min_priority_fee_wei, blocks=3)


class PaperTrader:
    """Executes on paper: the plan runs on the state after the next real block, and that is its outcome."""

    lane = PAPER_LANE

    def __init__(self, state: ChainState, books: ChainBooks, refuse: RefusalSink) -> None:
        assert state.shadow is not None
        self._state = state
        self._books = books
        self._refuse = refuse
        self._preflight = Preflight(state.shadow)
        self._waiting: list[tuple[Attempt, Plan]] = []
        self._counter = time.time_ns()

    def locked(self, head: int) -> frozenset[Address]:
        """Nothing is under way between blocks."""
        del head
        return frozenset()

    async def execute(self, approved: list[Approved], update: BlockUpdate, clock: Clock) -> list[Submitted]:
        """Pre-flight now, journal, and wait for the next block."""
        context = self._state.market.context
        done: list[Submitted] = []
        for item in approved:
            plan = item.plan
            operator = self._state.config.operators[0]
            _, result = run_as_sent(self._preflight, self._state, plan, operator)
            refused = check_preflight(plan, result, context.base_fee_wei)
            if refused is not None:
                self._refuse(refused)
                continue
            attempt = self._attempt(plan, operator)
            now_us = (time.monotonic_ns() - clock.received_ns) // 1_000
            try:
                await self._books.attempt(attempt, plan, clock.decided_us, now_us)
            except LedgerError as error:
                self._refuse(Refused(plan.plan_id, "journal", f"the attempt could not be journaled: {error}"))
                continue
            self._books.sent(attempt.attempt_id, now_us)
            self._waiting.append((attempt, plan))
            done.append(Submitted(attempt, now_us, now_us, Handover.ACCEPTED, now_us))
        return done

    def _attempt(self, plan: Plan, operator: Address) -> Attempt:
        # Paper nonces count up from the clock: they never meet a real one and differ over restarts.
        self._counter += 1
        name = "0x" + keccak(f"paper|{plan.plan_id}|{self._counter}".encode()).hex()
        return Attempt(
            attempt_id=name,
            plan_id=plan.plan_id,
            chain=plan.chain,
            kind=AttemptKind.TRADE,
            operator=operator,
            nonce=self._counter,
            tx_hash=name,
            raw_tx=b"",
            lane=self.lane,
            max_block_number=plan.max_block_number,
        )

    def applied(self, update: BlockUpdate) -> None:
        """The next real block is there: what would the plans have done behind its transactions?"""
        waiting, self._waiting = self._waiting, []
        context = self._state.market.context
        for attempt, plan in waiting:
            if update.number > plan.max_block_number:
                outcome = never_included(attempt, OutcomeKind.EXPIRED, "its block passed unseen")
            else:
                # The executor's own deadline would refuse the block after; the state is what is being asked about.
                at = BlockContext(update.number, update.timestamp, context.base_fee_wei)
                _, result = run_as_sent(self._preflight, self._state, plan, attempt.operator, at)
                outcome = self._outcome(attempt, plan, update, result)
            self._books.outcome(attempt, plan, outcome)

    def _outcome(self, attempt: Attempt, plan: Plan, update: BlockUpdate, result: PreflightResult) -> Outcome:
        if not result.ok:
            kind = OutcomeKind.LOST if result.revert_kind == "competitive" else OutcomeKind.REVERTED
        else:
            kind = OutcomeKind.LANDED
        return Outcome(
            attempt_id=attempt.attempt_id,
            kind=kind,
            block_number=update.number,
            block_hash=update.hash,
            gas_used=result.gas_used,
            gas_cost_wei=result.gas_used * effective_gas_price(plan.fee, update.base_fee_wei or 0),
            realised_profit_wei=result.realised_profit_wei if result.ok else 0,
            realised_amounts_wei=result.amounts_wei,
            transfers=(),
            reason=result.revert_reason,
        )

    async def settle(self, update: BlockUpdate) -> None:
        """Nothing is on any chain."""
        del update

    async def rolled_back(self, event: Rollback) -> None:
        """Plans made on an orphaned block are void."""
        for attempt, plan in self._waiting:
            reason = f"made on a block above {event.to_number}, which was orphaned"
            self._books.outcome(attempt, plan, never_included(attempt, OutcomeKind.EXPIRED, reason))
        self._waiting.clear()

    def unfinal(self, head: int) -> int:
        """See ``Trader.unfinal``."""
        del head
        return len(self._waiting)
