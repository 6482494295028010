"""The loop of one chain: blocks in, decisions, transactions out, outcomes into the books.

A *session* is the time between reading the chain's state and losing the thread (a deep reorg, a gap that can't be
filled, a contradiction). Whatever ends one, the next begins from the chain and the journal, the way a restarted
process does: there is one way to recover, and it is used all the time.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Any

import structlog

from ouro.chain.errors import ChainError
from ouro.config.model import ChainConfig
from ouro.engine.audit_trail import DecisionListener, together
from ouro.engine.chain_state import ChainState
from ouro.engine.decision import Decision, decide
from ouro.engine.halt_watch import watch_halts
from ouro.engine.idle import Collector
from ouro.engine.picture import FOLDER, PictureWriter
from ouro.engine.reconciler import Reconciler, reconciler_of
from ouro.engine.stages import BlockTimes, TimesListener
from ouro.engine.status import ChainStatus, TradeLine
from ouro.engine.trading import Clock, LiveTrader, Trader
from ouro.engine.world import Feed, Housekeeping, LiveWorld, Shared, World
from ouro.execution.lanes import Handover
from ouro.execution.preflight import Preflight
from ouro.execution.shadow import ShadowError
from ouro.execution.submit import Submitted
from ouro.ledger.reconcile import Reconciliation
from ouro.ledger.records import BlockStats, native_value_wei
from ouro.market.errors import MarketError, Remedy, SyncError
from ouro.market.freshness import Level, pool_level
from ouro.market.venues import NATIVE
from ouro.monitoring.traces import begin_block, log_outcome, log_sent
from ouro.risk.approved import Approved
from ouro.risk.collar import references_of
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.types import (
    Address,
    Attempt,
    AttemptKind,
    BlockUpdate,
    Outcome,
    OutcomeKind,
    Plan,
    Refused,
    Resync,
    Rollback,
)

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_BOOKED_KEPT = 4_096
_NATIVE = "native"


class SessionOver(Exception):  # noqa: N818 - an event, not an error
    """This session's state can't be continued; the text says why."""


class ChainEngine:
    """One chain of a running engine."""

    def __init__(
        self,
        name: str,
        shared: Shared,
        max_blocks: int | None = None,
        *,
        world: World | None = None,
        journal: DecisionListener | None = None,
        timed: TimesListener | None = None,
    ) -> None:
        """``max_blocks``: stop deciding after so many blocks (then only follow what is under way).

        ``world`` is by default the configured chain by its nodes. ``journal`` is told what was decided, ``timed``
        when each decided block reached its stages; both on the loop, so they must be quick.
        """
        self.name = name
        self._world: World = world or LiveWorld(name, shared)
        self._audit = None if shared.audit is None else shared.audit.of(name)
        self._decisions, self._timed = together(journal, self._audit), timed
        self._collector = Collector()
        self.config: ChainConfig = shared.config.chains[name]
        self.status = ChainStatus(name)
        self._shared = shared
        self._metrics = shared.metrics.of_chain(name)
        self.node: Any = None
        self._max_blocks = max_blocks
        self._drain = asyncio.Event()
        self.drained = asyncio.Event()
        self.attempted = asyncio.Event()
        self._open_since_ns: int | None = None
        self._state: ChainState | None = None
        self._trader: Trader | None = None
        self._reconciler: Reconciler | None = None
        self._latest: BlockUpdate | None = None
        self._settle_due = asyncio.Event()
        self._unfinished = 0
        self._booked: OrderedDict[str, TradeLine] = OrderedDict()

    @property
    def state(self) -> ChainState | None:
        """What it knows, for those who watch; None until the first is loaded."""
        return self._state

    @property
    def risk(self) -> RiskGate:
        """The gate that its plans pass."""
        return self._shared.risk

    def open(self, since_ns: int | None = None) -> None:
        """Decide on blocks received after ``since_ns``, by default from now on; earlier ones are only followed."""
        self._open_since_ns = time.monotonic_ns() if since_ns is None else since_ns

    def stop_deciding(self) -> None:
        """Make no new attempt; ``drained`` is set once everything under way is final."""
        self._drain.set()
        if self._trader is None and self._unfinished == 0 and self.status.state in ("connecting", "recovering"):
            self.drained.set()  # nothing is open here, so nothing needs the node that is waited for
        if self.status.state == "running" and not self.drained.is_set():
            self.status.state = "finishing"

    async def run(self) -> None:
        """Sessions one after another, with a growing pause after failures. Ends by cancellation only."""
        picture = asyncio.create_task(self._picture().run())
        try:
            await self._sessions()
        finally:
            picture.cancel()
            await asyncio.gather(picture, return_exceptions=True)

    def _picture(self) -> PictureWriter:
        config = self._shared.config
        return PictureWriter(
            config.data_dir / FOLDER,
            self.status,
            config.mode.value,
            lambda: self._state.market if self._state is not None else None,
        )

    async def _sessions(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except SessionOver as over:
                self._lost(str(over))
            except (ChainError, MarketError, ShadowError, SyncError) as error:
                self._lost(str(error))
            except Exception as error:
                log.exception("engine_error", chain=self.name)
                self._lost(f"internal error: {type(error).__name__}: {error}")
            if self._drain.is_set() and self._unfinished == 0:
                self.drained.set()
            if time.monotonic() - began > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    # ---------------------------------------------------------------------------------------------- a session

    async def run_session(self) -> None:
        """One session, to what ends it, which is raised. For a chain that can't be connected to again."""
        await self._session()

    async def _session(self) -> None:
        self.status.state = "connecting"  # why the last session ended can be read until this one connects
        async with self._world.node() as node:
            self.node = node
            self.status.state, self.status.detail = "loading", ""
            state = await self._world.load(node, self._progress)
            self._state = state
            self._metrics.session()
            self.status.pools, self.status.cycles = state.market.arrays.n_pools, state.cycles
            feed = self._world.feed(node, state)
            try:
                self._trader = await self._world.trader(node, state, self._on_outcome, self._refuse_approved)
                if isinstance(self._world, LiveWorld):
                    self._reconciler = reconciler_of(self.name, self._shared, node, self._on_reconciled)
                self._rehearse(state)
                await self._follow(feed, state, self._world.housekeeping(node, state))
            finally:
                if self._trader is not None:
                    self._unfinished = self._trader.unfinal(state.head_number)
                if self._reconciler is not None:
                    await self._reconciler.close()
                self._trader = self.node = self._reconciler = None
                await feed.close()

    def _rehearse(self, state: ChainState) -> None:
        """Decide once on the loaded state and throw it away: first calls of everything are slow, blocks are not."""
        head = state.market.head
        if head is None:
            return
        update = BlockUpdate(self.name, head.number, head.hash, "", head.timestamp, None, 0, 0, (), 0)
        touched = list(state.touched)
        decision = decide(state, update, frozenset(), "rehearsal")
        if state.shadow is not None and self.config.operators:
            preflight = Preflight(state.shadow)
            for plan in decision.plans:
                preflight.run(plan.calldata, self.config.operators[0], state.market.context, plan.hops)
        state.carry(touched)

    async def _follow(self, feed: Feed, state: ChainState, upkeep: Housekeeping) -> None:
        self.status.state = "running"
        self.attempted.set()
        settling = asyncio.create_task(self._settle_loop())
        halts = asyncio.create_task(watch_halts(self._shared.config.data_dir, self.name, self._taking_back))
        upkeep.start()
        self._collector.start()
        try:
            async for event in feed:
                match event:
                    case BlockUpdate():
                        await self._on_block(event, state, upkeep, superseded=feed.pending() > 0)
                        if not feed.pending():
                            self._collector.between_blocks()
                    case Rollback():
                        log.warning("rollback", chain=self.name, to=event.to_number, dropped=len(event.dropped))
                        self._latest = None  # it may be orphaned: nothing is settled by it
                        state.rollback(event)
                        self._metrics.rolled_back(event)
                        self.risk.on_reorg(self.name, len(event.dropped))
                        self.status.block_number = event.to_number
                        if self._trader is not None:
                            await self._trader.rolled_back(event)
                    case Resync():
                        raise SessionOver(event.reason)
                if settling.done():
                    settling.result()
        finally:
            settling.cancel()
            halts.cancel()
            await asyncio.gather(settling, halts, return_exceptions=True)
            self._collector.stop()
            await upkeep.close()

    async def _on_block(
        self, update: BlockUpdate, state: ChainState, upkeep: Housekeeping, *, superseded: bool
    ) -> None:
        times = BlockTimes(update.number, update.received_ns, time.monotonic_ns(), logs=len(update.logs))
        begin_block(self.name, update.number)
        try:
            result = state.apply(update)
        except MarketError as error:
            if error.remedy is Remedy.IGNORE:
                return
            raise
        times.applied, times.touched = time.monotonic_ns(), len(result.touched)
        self._metrics.block(update)
        self.status.block_number, self.status.last_block_ns = update.number, update.received_ns
        trader = self._trader
        if trader is not None:
            trader.applied(update)
        decision, decided_us = Decision(), None
        # A newer block is waiting: what this one changed is decided with that one.
        if not superseded and self._may_decide(update) and not state.executor_stirred:
            if state.wants_refresh:
                await upkeep.refresh()
            decision, decided_us = await self._decide(update, state, trader, times)
            self._metrics.decided(times, state.finder.stats.looked, len(decision.opportunities))
            if self._timed is not None:
                self._timed(times)
        else:
            self._metrics.passed(superseded=superseded)
            self.status.superseded += superseded
        self.risk.on_block(self.name, update.number, update.timestamp, decided_us, state.freshness.level.value)
        self._count(update, state, decision, decided_us)
        state.catch_up()
        self._latest = update
        if self._world.in_step:
            await self._settle(update, trader, state)
        else:
            self._settle_due.set()
        self._shared.ledger.between_blocks()
        upkeep.born(result.new_pools)
        if not superseded:
            await upkeep.tend()
            self.status.pools, self.status.cycles = state.market.arrays.n_pools, state.cycles

    async def _decide(
        self, update: BlockUpdate, state: ChainState, trader: Trader | None, times: BlockTimes
    ) -> tuple[Decision, int]:
        locked = state.unconfirmed | (trader.locked(update.number) if trader else frozenset[Address]())
        decision = decide(state, update, locked, trader.lane if trader else "none")
        times.found, times.sized = decision.found_ns, time.monotonic_ns()
        times.candidates, times.plans = decision.candidates, len(decision.plans)
        approved = self._judge(decision, state, update)
        times.approved = time.monotonic_ns()
        clock = Clock(update.received_ns, (times.approved - update.received_ns) // 1_000, times)
        self.status.decided.add(clock.decided_us / 1_000)
        done: list[Submitted] = []
        try:
            if self._decisions is not None:
                self._decisions.decided(update, decision, approved)
            if trader is not None and approved:
                done = await trader.execute(approved, update, clock)
        except Exception:
            # The session ends with this; the next one counts what the journal says is in flight.
            for item in approved:
                self._release(item.plan.plan_id)
            raise
        else:
            for submitted in done:
                self._on_submitted(submitted)
                if self._decisions is not None:
                    self._decisions.submitted(submitted)
        return decision, clock.decided_us

    def _judge(self, decision: Decision, state: ChainState, update: BlockUpdate) -> list[Approved]:
        approved: list[Approved] = []
        for refused in decision.refused:
            self._refuse(refused)
        audit = self._shared.audit
        problem = self._shared.ledger.problem or (audit.problem if audit is not None else None)
        references, leases = references_of(state), self._shared.leases
        lost = leases.lost.get(self.name, "") if leases is not None else ""
        for plan in decision.plans:
            levels = {pool_level(state.freshness, state.market, pool) for pool in plan.pools}
            freshness = next(level for level in (Level.STALE, Level.DELAYED, Level.READY) if level in levels)
            condition = ChainCondition(
                update.number,
                update.hash,
                freshness.value,
                halted=lost,
                books_problem=str(problem) if problem else "",
                wrapped_native=self.config.wrapped_native,
                references=references,
                native_usd=state.prices.native_usd(),
            )
            capital = self._shared.capital
            verdict = capital.check(plan) if capital is not None else None
            if verdict is None:
                verdict = self._shared.risk.check(plan, condition)
            if isinstance(verdict, Refused):
                self._refuse(verdict)
            else:
                approved.append(verdict)
                if capital is not None:
                    capital.hold(plan)
        return approved

    def _taking_back(self) -> tuple[LiveTrader | None, BlockUpdate | None]:
        return self._trader if isinstance(self._trader, LiveTrader) else None, self._latest

    async def _settle_loop(self) -> None:
        """Off the hot path: settle the newest block, however many came meanwhile."""
        while True:
            await self._settle_due.wait()
            self._settle_due.clear()
            update, trader, state = self._latest, self._trader, self._state
            if update is None or state is None:
                continue
            await self._settle(update, trader, state)

    async def _settle(self, update: BlockUpdate, trader: Trader | None, state: ChainState) -> None:
        try:
            if trader is not None:
                await trader.settle(update)
                self._unfinished = trader.unfinal(update.number)
        except ChainError as error:
            log.warning("settle_failed", chain=self.name, error=str(error))
            return
        if self._reconciler is not None:
            self._reconciler.due(update)
        if state.revalue_if_due() or not self.status.priced:
            self._record_price(state)
        self.status.open_attempts = self._unfinished
        if (self._drain.is_set() or self._done_deciding()) and self._unfinished == 0:
            self.drained.set()

    # ----------------------------------------------------------------------------------------------- pieces

    def _may_decide(self, update: BlockUpdate) -> bool:
        """Whether ``update`` belongs to the run: received since it was opened, and before its end."""
        opened = self._open_since_ns is not None and update.received_ns > self._open_since_ns
        return opened and not self._drain.is_set() and not self._done_deciding()

    def _done_deciding(self) -> bool:
        return self._max_blocks is not None and self.status.blocks >= self._max_blocks

    def _count(self, update: BlockUpdate, state: ChainState, decision: Decision, decided_us: int | None) -> None:
        status = self.status
        status.freshness = state.freshness.level.value
        # Blocks that only brought the state up to date before the first decision are not of the run.
        if self._may_decide(update) and (decided_us is not None or status.blocks):
            status.blocks += 1
            status.blocks_decided += decided_us is not None
            status.opportunities += len(decision.opportunities)
            self._shared.ledger.record_block(
                self.name,
                BlockStats(update.number, status.pools, state.cycles, len(decision.opportunities), decided_us),
            )
        best = decision.plans[0] if decision.plans else None
        status.best_pools = () if best is None else best.pools
        status.best = "" if best is None else f"{best.expected_net_native_wei / 1e18:+.6f} {_route(best, state)}"

    def _record_price(self, state: ChainState) -> None:
        usd = state.prices.native_usd()
        if usd is not None:
            self.status.priced = True
            self._shared.ledger.record_price(self.name, usd, state.prices.name)
            self._shared.signer.set_price(self.name, usd)

    def _on_submitted(self, submitted: Submitted) -> None:
        self._metrics.submitted(submitted)
        log_sent(submitted, whole=self._shared.config.monitoring.logs_of_open == "whole")
        if submitted.handover is not Handover.WITHHELD:
            self.status.sent.add(submitted.sent_us / 1_000)

    def _refuse(self, refused: Refused) -> None:
        self.status.refused[refused.reason] += 1
        self._metrics.refused(refused.reason)
        self._shared.ledger.record_refusal(self.name, refused)
        if self._decisions is not None:
            self._decisions.refused(refused)

    def _refuse_approved(self, refused: Refused) -> None:
        """A refusal after the gate had said yes gives its reservation back."""
        self._release(refused.plan_id)
        self._refuse(refused)

    def _release(self, plan_id: str) -> None:
        self._shared.risk.release(self.name, plan_id)
        if self._shared.capital is not None:
            self._shared.capital.release(plan_id)

    def _on_outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        # Those that free what was reserved come first: whatever a later one runs into, nothing stays held.
        if outcome is None:
            self._shared.risk.on_reversal(attempt)
        else:
            self._shared.risk.on_outcome(attempt, plan, outcome)
        if self._shared.capital is not None:
            self._shared.capital.settle(attempt, plan, outcome)
        self._book(attempt, plan, outcome)
        if self._audit is not None:
            self._audit.outcome(attempt, outcome)
        self._metrics.outcome(attempt, plan, outcome)
        log_outcome(attempt, outcome)

    def _book(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        """Into the leases' reports and the status."""
        status = self.status
        earlier = self._booked.pop(attempt.attempt_id, None)
        if earlier is not None:
            status.net_wei -= earlier.net_wei
            if attempt.kind is AttemptKind.TRADE:
                status.outcomes[earlier.kind.value] -= 1
        leases = self._shared.leases
        if outcome is None:
            if leases is not None:
                leases.reversal(attempt)
            return
        gain = 0 if plan is None else native_value_wei(plan, outcome.realised_profit_wei)
        route = "" if plan is None or self._state is None else _route(plan, self._state)
        line = TradeLine(outcome.block_number, outcome.kind, route, gain - outcome.gas_cost_wei)
        status.net_wei += line.net_wei
        if leases is not None:
            leases.outcome(attempt, line.net_wei)
        self._booked[attempt.attempt_id] = line
        if len(self._booked) > _BOOKED_KEPT:
            self._booked.popitem(last=False)
        if attempt.kind is not AttemptKind.TRADE:
            return
        if plan is not None and self._state is not None:
            self._state.bidder.settle(plan, outcome)
        status.outcomes[outcome.kind.value] += 1
        status.trades.append(line)
        if outcome.kind is OutcomeKind.REVERTED:
            log.error("reverted", chain=self.name, attempt=attempt.attempt_id, reason=outcome.reason)

    def _on_reconciled(self, _chain: str, result: Reconciliation) -> None:
        self._metrics.reconciled(result.max_abs_difference_wei)
        self.risk.on_reconciled(self.name, result.max_abs_difference_wei)
        if self._audit is not None:
            self._audit.reconciled(result)

    def _lost(self, reason: str) -> None:
        self.attempted.set()
        log.warning("session_over", chain=self.name, reason=reason)
        self.status.state, self.status.detail, self.status.freshness = "recovering", reason, "stale"
        if self._state is not None:
            self._state.freshness.lost(reason)

    def _progress(self, text: str) -> None:
        self.status.detail = text
        log.info("loading", chain=self.name, step=text)


def _route(plan: Plan, state: ChainState) -> str:
    return " → ".join(_token_name(token, state) for token in _path(plan))


def _token_name(token: Address, state: ChainState) -> str:
    """The wrapped native coin by the configuration, for its own name may be that of another chain's (WETH9)."""
    if token in (state.config.wrapped_native, NATIVE):
        return _NATIVE
    symbol = state.market.tokens[token].symbol if token in state.market.tokens else ""
    return symbol if symbol and symbol.casefold() != _NATIVE else token[:8]


def _path(plan: Plan) -> list[Address]:
    return [plan.hops[0].token_in, *(hop.token_out for hop in plan.hops)]
