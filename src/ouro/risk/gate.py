"""The gate between deciding and sending: every plan passes here, or is refused with a reason."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from ouro.config.model import RiskConfig
from ouro.control import ControlStore, blocks_trades
from ouro.risk.approved import Approved, approve
from ouro.risk.limits import CHECKS, ChainCondition, Exposure, Intent, Reason
from ouro.risk.state import ChainRisk
from ouro.stopfile import stop_file_problem
from ouro.types import Attempt, AttemptKind, Mode, Outcome, Plan, Refused


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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


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
        control: ControlStore | None = None,
    ) -> None:
        """``overrides``: chains with limits of their own, each whole. A kill file there stops that chain alone;
        that of ``config`` stops them all. ``control`` has the halts of persons and breakers."""
        self._control = control
        self._overrides = dict(overrides or {})
        self._config, self._mode, self._clock_ms = config, mode, clock_ms
        self._chains = {chain: ChainRisk() for chain in chains}
        self._halted: dict[str, str] = {}
        self.limits_hash = _fingerprint(config)
        self._hashes = {chain: _fingerprint(self._limits(chain)) for chain in chains}

    def check(self, plan: Plan, condition: ChainCondition) -> Approved | Refused:
        """An approval, which reserves the plan's worst loss and a place among the open attempts, or why not."""
        now_ms = self._clock_ms()
        killed = self.kill_file_problem(plan.chain)
        if killed:
            return Refused(plan.plan_id, Reason.KILL_FILE, killed)
        risk = self._chains.get(plan.chain)
        if risk is None:
            return Refused(plan.plan_id, Reason.UNKNOWN_CHAIN, f"{plan.chain!r} is not in the config")
        if plan.chain in self._halted:
            return Refused(plan.plan_id, Reason.HALTED, f"{plan.chain} is halted: {self._halted[plan.chain]}")
        halted = self.control_problem(plan.chain, plan.strategy)
        if halted:
            return Refused(plan.plan_id, Reason.HALTED, halted)
        intent = Intent(plan, condition, risk.exposure(now_ms), self._limits(plan.chain), self._mode)
        for check in CHECKS:
            verdict = check(intent)
            if verdict is not None:
                return Refused(plan.plan_id, verdict[0], verdict[1])
        if risk.is_known(plan):
            return Refused(plan.plan_id, Reason.DUPLICATE, "the same order was approved before")
        risk.reserve(plan)
        return approve(plan, self._mode, now_ms, self._hashes[plan.chain])

    def _limits(self, chain: str) -> RiskConfig:
        return self._overrides.get(chain, self._config)

    def release(self, chain: str, plan_id: str) -> None:
        """An approval will not be sent. The same order is not approved again: it may have been signed."""
        if chain in self._chains:
            self._chains[chain].release(plan_id)

    def on_attempt(self, attempt: Attempt, plan: Plan | None) -> None:
        """A transaction exists and can land: it counts, whether this gate approved it or an earlier process did."""
        if attempt.kind is AttemptKind.TRADE and plan is not None:
            self._chains[attempt.chain].reserve(plan)

    def on_outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None:
        """Final: the reservation ends and the result counts for today (UTC). Telling it twice counts once."""
        self._chains[attempt.chain].settle(attempt, plan, outcome, self._clock_ms())

    def on_reversal(self, attempt: Attempt, plan: Plan | None = None) -> None:
        """The outcome was withdrawn (reorg): the attempt is in flight again.

        ``plan`` matters only for an outcome that this process did not see itself.
        """
        self._chains[attempt.chain].reopen(attempt, plan)

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
                self._chains[result.chain].book(result.attempt_id, result.at_ms, result.net_native_wei, None)

    def exposure(self, chain: str) -> Exposure:
        """What is at stake on ``chain`` now."""
        return self._chains[chain].exposure(self._clock_ms())

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
        common, own = self._config.kill_file, self._limits(chain).kill_file
        problem = stop_file_problem(common) or (stop_file_problem(own) if own != common else "")
        return f"kill file {problem}" if problem else ""


def _fingerprint(limits: RiskConfig) -> str:
    return hashlib.sha256(limits.model_dump_json().encode()).hexdigest()
