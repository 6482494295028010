"""The gate between deciding and sending: every plan passes here, or is refused with a reason."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ouro.config.model import RiskConfig
from ouro.control import blocks_trades
from ouro.risk.approved import Approved, approve
from ouro.risk.breakers import (
    ApprovedOrder,
    BlockDone,
    Board,
    Event,
    Halts,
    NodesDisagree,
    Reconciled,
    ReleasedOrder,
    Reorganised,
    SettledTrade,
    WithdrawnTrade,
)
from ouro.risk.breakers.base import SEVERITY
from ouro.risk.budget import Budgets
from ouro.risk.collar import collar_problem
from ouro.risk.limits import CHECKS, ChainCondition, Exposure, Intent, Reason, Verdict, worst_loss_wei
from ouro.risk.rules import FULL_PPM, Facts, Rulebook, facts_of
from ouro.risk.screening import Screening
from ouro.risk.state import ChainRisk
from ouro.risk.tanks import GasTanks
from ouro.stopfile import stop_file_problem
from ouro.types import PAPER_LANE, Address, Attempt, AttemptKind, Mode, Outcome, OutcomeKind, Plan, Refused

REDUCING_STRATEGIES = frozenset(("rebalance",))
"""What brings inventory home, and so may go on under reduce-only."""


class RealisedResult(Protocol):
    """A result that the books hold already (`ouro.ledger.books.Realised`)."""

    @property
    def chain(self) -> str: ...
    @property
    def attempt_id(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def net_native_wei(self) -> int: ...


class FinalRecord(Protocol):
    """An attempt of the books with plan and outcome (`ouro.ledger.records.AttemptRecord`)."""

    @property
    def attempt(self) -> Attempt: ...
    @property
    def plan(self) -> Plan | None: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def outcome_at_ms(self) -> int | None: ...


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Chain:
    """One chain's limits and what counts against them."""

    limits: RiskConfig
    limits_hash: str
    risk: ChainRisk
    rules: Rulebook
    tanks: GasTanks
    throttled: RiskConfig
    board: Board | None = None
    screening: Screening | None = None
    budgets: Budgets | None = None
    problem: str = ""
    paths: dict[str, int] = field(default_factory=dict)
    """Of what was approved and is neither sent nor released."""

    def scaled(self, scale_ppm: int) -> RiskConfig:
        return self.limits if scale_ppm == FULL_PPM else self.throttled


class RiskGate:
    """Checks plans against the limits, counting what is in flight. For one thread (the engine's loop).

    An approval reserves its worst loss at once. Tell the gate what became of it: `release` if nothing was sent,
    `on_attempt` once it is journaled, `on_outcome` and `on_reversal` as the books hear of them.
    """

    def __init__(
        self,
        config: RiskConfig,
        mode: Mode,
        chains: Collection[str],
        clock_ms: Callable[[], int] = _now_ms,
        *,
        overrides: Mapping[str, RiskConfig] | None = None,
        control: Halts | None = None,
        state_dir: Path | None = None,
    ) -> None:
        """``overrides``: chains with limits of their own, each whole. A kill file there stops that chain alone;
        that of ``config`` stops them all. ``control`` has the halts of persons and breakers.
        ``state_dir``: where refills are proposed and the budgets over all chains are. See ``ouro.risk.build``."""
        self._config, self._mode, self._clock_ms = config, mode, clock_ms
        self._real_clock = clock_ms is _now_ms
        own = overrides or {}
        self._chains = {name: _chain(name, own.get(name, config), state_dir) for name in chains}
        self._control = control
        self._halted: dict[str, str] = {}
        self._last_block: dict[str, int] = {}
        self.limits_hash = _fingerprint(config)

    def check(self, plan: Plan, condition: ChainCondition) -> Approved | Refused:
        """An approval, which reserves the plan's worst loss and a place among the open attempts, or why not."""
        now_ms = self._clock_ms()
        chain = self._chains.get(plan.chain)
        killed = self.kill_file_problem(plan.chain)
        if killed:
            return Refused(plan.plan_id, Reason.KILL_FILE, killed)
        if chain is None:
            return Refused(plan.plan_id, Reason.UNKNOWN_CHAIN, f"{plan.chain!r} is not in the config")
        verdict, scale_ppm = self._standing(plan, chain)
        if verdict is None:
            verdict, facts = self._judged(plan, condition, chain, now_ms, scale_ppm)
            if verdict is None:
                assert facts is not None
                chain.risk.reserve(plan)
                chain.rules.hold(plan.plan_id, facts, now_ms)
                if chain.budgets is not None:
                    chain.budgets.hold(plan.plan_id, facts, condition.native_usd, now_ms)
                if chain.board is not None:
                    path = chain.paths[plan.plan_id] = _path(plan)
                    chain.board.observe(ApprovedOrder(plan.chain, plan.strategy, path, now_ms))
                return approve(plan, self._mode, now_ms, chain.limits_hash)
        return Refused(plan.plan_id, verdict[0], verdict[1])

    def _standing(self, plan: Plan, chain: _Chain) -> tuple[Verdict, int]:
        """What is halted or throttled, whatever the plan is."""
        name = plan.chain
        if chain.problem:
            return (Reason.CONFIG, chain.problem), FULL_PPM
        if name in self._halted:
            return (Reason.HALTED, f"{name} is halted: {self._halted[name]}"), FULL_PPM
        worst, why = 0, ""
        if self._control is not None:
            for halt in self._control.in_force(name, plan.strategy):
                severity = SEVERITY.get(halt.mode, 3)
                if severity > worst:
                    worst, why = severity, f"{halt.source} ({halt.by}): {halt.why}"
        if chain.board is not None and chain.board.tripped:
            for breaker, tripped in chain.board.in_force():
                if SEVERITY[tripped.mode] > worst:
                    worst, why = SEVERITY[tripped.mode], f"breaker {breaker}: {tripped.reason}"
        if worst >= SEVERITY["stop"]:
            return (Reason.HALTED, f"{name} is halted by {why}"), FULL_PPM
        if worst == SEVERITY["reduce_only"] and plan.strategy not in REDUCING_STRATEGIES:
            return (Reason.REDUCE_ONLY, f"{name} only reduces, by {why}"), FULL_PPM
        return None, chain.limits.breakers.throttle_ppm if worst == SEVERITY["throttle"] else FULL_PPM

    def _judged(
        self, plan: Plan, condition: ChainCondition, chain: _Chain, now_ms: int, scale_ppm: int
    ) -> tuple[Verdict, Facts | None]:
        risk = chain.risk
        intent = Intent(plan, condition, risk.exposure(now_ms), chain.scaled(scale_ppm), self._mode)
        for check in CHECKS:
            verdict = check(intent)
            if verdict is not None:
                return verdict, None
        if risk.is_known(plan):
            return (Reason.DUPLICATE, "the same order was approved before"), None
        if chain.screening is not None:
            screened = chain.screening.plan_problem(plan)
            if screened:
                return (Reason.SCREENED, screened), None
        if chain.tanks.all_dry():
            return (Reason.TANK, f"no operator of {plan.chain} can pay gas: refill one"), None
        verdict = self._drawdown_room(plan, chain, intent.exposure.in_flight_loss_wei)
        if verdict is not None:
            return verdict, None
        facts = facts_of(plan)
        verdict = chain.rules.problem(facts, now_ms, scale_ppm) or collar_problem(
            plan, condition.references, chain.limits.collar
        )
        if verdict is None and chain.budgets is not None:
            verdict = chain.budgets.problem(facts, condition.native_usd, now_ms)
        return verdict, facts

    @staticmethod
    def _drawdown_room(plan: Plan, chain: _Chain, in_flight_wei: int) -> Verdict:
        """Even with everything in flight and this plan lost, the drawdown stays below its limit."""
        drawdown = chain.board.drawdown if chain.board is not None else None
        if drawdown is None:
            return None
        limit = chain.limits.breakers.drawdown.limit_ppm
        worst = drawdown.with_loss_ppm(in_flight_wei + worst_loss_wei(plan))
        if worst < limit:
            return None
        return (
            Reason.DRAWDOWN,
            f"the drawdown could reach {worst} ppm of net equity, {limit} must not be reached",
        )

    def admit_account(self, plan: Plan, operator: Address) -> Refused | None:
        """Whether ``operator`` may send an approved plan: its tank, and the limits per account. Counts it if so."""
        chain = self._chains.get(plan.chain)
        if chain is None:
            return Refused(plan.plan_id, Reason.UNKNOWN_CHAIN, f"{plan.chain!r} is not in the config")
        dry = chain.tanks.problem(operator, worst_loss_wei(plan))
        if dry:
            return Refused(plan.plan_id, Reason.TANK, dry)
        wrong = chain.rules.account_problem(plan.plan_id, operator, self._clock_ms())
        return Refused(plan.plan_id, wrong[0], wrong[1]) if wrong else None

    def release(self, chain: str, plan_id: str) -> None:
        """An approval will not be sent. The same order is not approved again: it may have been signed."""
        known = self._chains.get(chain)
        if known is not None:
            known.risk.release(plan_id)
            known.rules.release(plan_id)
            if known.budgets is not None:
                known.budgets.release(plan_id)
            path = known.paths.pop(plan_id, None)
            if known.board is not None and path is not None:
                known.board.observe(ReleasedOrder(chain, path, self._clock_ms()))

    def on_attempt(self, attempt: Attempt, plan: Plan | None) -> None:
        """A transaction exists and can land: it counts, whether this gate approved it or an earlier process did."""
        if attempt.kind is AttemptKind.TRADE and plan is not None:
            self._reserve(self._chains[attempt.chain], attempt, plan)

    def _reserve(self, chain: _Chain, attempt: Attempt, plan: Plan) -> None:
        chain.risk.reserve(plan)
        now_ms, facts = self._clock_ms(), facts_of(plan)
        chain.rules.hold(plan.plan_id, facts, now_ms, attempt.operator)
        if chain.budgets is not None:
            chain.budgets.hold(plan.plan_id, facts, None, now_ms)

    def on_outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None:
        """Final: the reservation ends and the result counts for today (UTC). Telling it twice counts once."""
        chain, now_ms = self._chains[attempt.chain], self._clock_ms()
        earlier = chain.risk.net_of(attempt.attempt_id)
        chain.risk.settle(attempt, plan, outcome, now_ms)
        net = chain.risk.net_of(attempt.attempt_id) or 0
        if attempt.kind is AttemptKind.TRADE:
            chain.paths.pop(attempt.plan_id, None)
            chain.rules.settle(attempt.plan_id, attempt.attempt_id, outcome, net, now_ms)
            if chain.budgets is not None:
                chain.budgets.settle(attempt.plan_id, outcome, net, now_ms)
        if chain.board is not None:
            if earlier is not None:
                chain.board.observe(WithdrawnTrade(attempt.chain, earlier, now_ms))
            chain.board.observe(_settled(attempt, plan, outcome, net, now_ms))

    def on_reversal(self, attempt: Attempt, plan: Plan | None = None) -> None:
        """The outcome was withdrawn (reorg): the attempt is in flight again.

        ``plan`` matters only for an outcome that this process did not see itself.
        """
        chain = self._chains[attempt.chain]
        earlier = chain.risk.net_of(attempt.attempt_id)
        known = chain.risk.reopen(attempt, plan)
        chain.rules.withdraw(attempt.attempt_id)
        if known is not None and attempt.kind is AttemptKind.TRADE:
            self._reserve(chain, attempt, known)
        if chain.board is not None and earlier is not None:
            chain.board.observe(WithdrawnTrade(attempt.chain, earlier, self._clock_ms()))

    # -------------------------------------------------------------------------------- what the breakers are told

    def on_block(self, chain: str, number: int, timestamp_s: int, decided_us: int | None, freshness: str) -> None:
        """A block was worked through. A replay's clock is the recording's: speed and staleness are not judged."""
        self._last_block[chain] = number
        board = self._board(chain)
        if board is None:
            return
        now_ms = self._clock_ms()
        live = self._real_clock
        board.observe(
            BlockDone(
                chain=chain,
                number=number,
                block_time_ms=timestamp_s * 1_000,
                decided_ms=decided_us // 1_000 if live and decided_us is not None else None,
                stale=live and freshness not in ("ready", "delayed"),
                at_ms=now_ms,
                monotonic_ms=time.monotonic_ns() // 1_000_000 if live else now_ms,
            )
        )

    def on_reorg(self, chain: str, depth: int) -> None:
        """So many blocks left the chain."""
        self._tell(chain, Reorganised(chain, depth, self._clock_ms()))

    def on_nodes_disagree(self, chain: str, detail: str) -> None:
        """Endpoints contradict each other."""
        self._tell(chain, NodesDisagree(chain, detail, self._clock_ms()))

    def on_reconciled(self, chain: str, max_abs_difference_wei: int) -> None:
        """Books were compared with the chain."""
        self._tell(chain, Reconciled(chain, max_abs_difference_wei, self._clock_ms()))

    def on_balance(self, chain: str, operator: Address, balance_wei: int) -> None:
        """What an operator has to pay gas with."""
        if chain in self._chains:
            self._chains[chain].tanks.observe(operator, balance_wei)

    def on_inventory(self, chain: str, token: Address, value_native_wei: int) -> None:
        """What hot accounts hold of a token, in native wei."""
        if chain in self._chains:
            self._chains[chain].rules.set_inventory(token, value_native_wei)

    def _tell(self, chain: str, event: Event) -> None:
        board = self._board(chain)
        if board is not None:
            board.observe(event)

    def _board(self, chain: str) -> Board | None:
        known = self._chains.get(chain)
        return None if known is None else known.board

    # ------------------------------------------------------------------------------------------------- set-up

    def equip(
        self,
        chain: str,
        *,
        board: Board | None = None,
        screening: Screening | None = None,
        budgets: Budgets | None = None,
        problem: str = "",
    ) -> None:
        """What a chain is guarded by beside its limits; ``problem`` refuses everything."""
        known = self._chains[chain]
        known.board, known.screening, known.budgets, known.problem = board, screening, budgets, problem

    @property
    def chains(self) -> tuple[str, ...]:
        """Those that it lets trade."""
        return tuple(self._chains)

    def last_block(self, chain: str) -> int:
        """The block of ``chain`` that was worked through last, -1 before the first."""
        return self._last_block.get(chain, -1)

    def tanks(self, chain: str) -> GasTanks:
        """The gas tanks of a chain."""
        return self._chains[chain].tanks

    def board(self, chain: str) -> Board | None:
        """The breakers of a chain."""
        return self._board(chain)

    def halt(self, chain: str, why: str) -> None:
        """Refuse every plan of ``chain`` until `resume`."""
        self._halted[chain] = why or "no reason given"

    def resume(self, chain: str) -> None:
        """Lift `halt`."""
        self._halted.pop(chain, None)

    def restore(
        self, open_attempts: Iterable[tuple[Attempt, Plan | None]], realised: Iterable[RealisedResult]
    ) -> None:
        """At a restart, from the books: what is in flight, and today's results. Other chains are passed over."""
        for attempt, plan in open_attempts:
            if attempt.chain in self._chains:
                self.on_attempt(attempt, plan)
        for result in realised:
            if result.chain in self._chains:
                risk = self._chains[result.chain].risk
                risk.book(result.attempt_id, result.at_ms, result.net_native_wei, None)

    def restore_windows(self, records: Iterable[FinalRecord], nets: Mapping[str, int]) -> None:
        """At a restart: what the rolling windows of the rules hold, and which orders were sent already.

        ``nets``: net native wei by attempt.
        """
        for record in records:
            attempt, plan, outcome = record.attempt, record.plan, record.outcome
            chain = self._chains.get(attempt.chain)
            if chain is None or plan is None or attempt.kind is not AttemptKind.TRADE:
                continue
            chain.risk.remember(plan)
            if outcome is None or record.outcome_at_ms is None:
                continue
            at_ms, name = record.outcome_at_ms, f"restored-{attempt.attempt_id}"
            chain.rules.hold(name, facts_of(plan), at_ms, attempt.operator)
            chain.rules.settle(name, attempt.attempt_id, outcome, nets.get(attempt.attempt_id, 0), at_ms)

    def exposure(self, chain: str) -> Exposure:
        """What is at stake on ``chain`` now."""
        return self._chains[chain].risk.exposure(self._clock_ms())

    def day_start_ms(self) -> int:
        """Start of the UTC day: since when results matter to `restore`."""
        now_ms = self._clock_ms()
        return now_ms - now_ms % 86_400_000

    def control_problem(self, chain: str, strategy: str | None = None) -> str:
        """Which halt of a person or breaker forbids trades of ``strategy`` on ``chain`` now, empty if none."""
        if self._control is None:
            return ""
        halt = blocks_trades(self._control.in_force(chain, strategy))
        return "" if halt is None else halt.describe()

    def kill_file_problem(self, chain: str) -> str:
        """Which kill file stops ``chain`` now, empty when none does."""
        common = self._config.kill_file
        known = self._chains.get(chain)
        own = common if known is None else known.limits.kill_file
        problem = stop_file_problem(common) or (stop_file_problem(own) if own != common else "")
        return f"kill file {problem}" if problem else ""


def _chain(name: str, limits: RiskConfig, state_dir: Path | None) -> _Chain:
    return _Chain(
        limits=limits,
        limits_hash=_fingerprint(limits),
        risk=ChainRisk(),
        rules=Rulebook.of(limits.limits),
        tanks=GasTanks(name, limits.gas_tank, None if state_dir is None else state_dir / f"refills-{name}.json"),
        throttled=throttled(limits),
    )


def throttled(limits: RiskConfig) -> RiskConfig:
    """What is left of the limits while a breaker throttles; at least one order at a time of the least size."""
    ppm = limits.breakers.throttle_ppm
    names = ("max_notional_wei", "max_open_attempts", "max_daily_loss_wei", "max_wasted_gas_per_hour_wei")
    changes = {name: max(1, getattr(limits, name) * ppm // FULL_PPM) for name in names}
    return limits.model_copy(update=changes)


def _path(plan: Plan) -> int:
    return hash(tuple((hop.pool, hop.i, hop.j) for hop in plan.hops))


def _settled(attempt: Attempt, plan: Plan | None, outcome: Outcome, net_wei: int, at_ms: int) -> SettledTrade:
    """A cancel costs, and says nothing about how trades go."""
    trade = attempt.kind is AttemptKind.TRADE and plan is not None
    return SettledTrade(
        chain=attempt.chain,
        strategy=plan.strategy if plan is not None else "",
        path=_path(plan) if plan is not None else 0,
        kind=outcome.kind if trade else OutcomeKind.EXPIRED,
        net_wei=net_wei,
        predicted_profit_wei=plan.predicted_profit_wei if plan is not None else 0,
        realised_profit_wei=outcome.realised_profit_wei,
        expected_gas=plan.expected_gas if plan is not None else 0,
        gas_used=outcome.gas_used,
        at_ms=at_ms,
        explained=bool(outcome.reason) or attempt.lane == PAPER_LANE,
    )


def _fingerprint(limits: RiskConfig) -> str:
    return hashlib.sha256(limits.model_dump_json().encode()).hexdigest()
