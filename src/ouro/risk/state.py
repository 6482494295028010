"""What is at stake: approvals without a final outcome, and each day's net result; restored from the books."""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from ouro.risk.limits import Exposure, worst_loss_wei
from ouro.types import Attempt, AttemptKind, Outcome, OutcomeKind, Plan

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
_KEPT_DAYS = 3
_KEPT_KEYS = 50_000
_FAILED = (OutcomeKind.LOST, OutcomeKind.REVERTED)


@dataclass(frozen=True, slots=True)
class _Failure:
    attempt_id: str
    at_ms: int
    gas_wei: int
    unexplained: bool


@dataclass(frozen=True, slots=True)
class _Final:
    plan: Plan | None
    day: int
    net_wei: int


def plan_key(plan: Plan) -> Hashable:
    """What makes two plans the same order: the path, its amounts, and the state they were found at."""
    path = tuple((hop.pool, hop.i, hop.j, hop.amount_in_wei) for hop in plan.hops)
    return plan.found_at_hash, path


def net_result_wei(plan: Plan | None, outcome: Outcome) -> int:
    """Realised profit in native wei at the plan's price (rounded down), minus gas."""
    profit = outcome.realised_profit_wei
    if profit == 0 or plan is None or plan.gross_profit_wei <= 0:
        return -outcome.gas_cost_wei
    return profit * plan.value_native_wei // plan.gross_profit_wei - outcome.gas_cost_wei


@dataclass(slots=True)
class ChainRisk:
    """State of one chain. A reservation is held from approval to final outcome, keyed by plan."""

    _reserved: dict[str, int] = field(default_factory=dict)
    _in_flight_wei: int = 0
    _finals: dict[str, _Final] = field(default_factory=dict)
    _net_by_day: Counter[int] = field(default_factory=Counter)
    _seen: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)
    _failures: deque[_Failure] = field(default_factory=deque)

    def exposure(self, now_ms: int) -> Exposure:
        """As the limits want it."""
        while self._failures and now_ms - self._failures[0].at_ms >= HOUR_MS:
            self._failures.popleft()
        return Exposure(
            len(self._reserved),
            self._in_flight_wei,
            self._net_by_day[now_ms // DAY_MS],
            sum(failure.unexplained for failure in self._failures),
            sum(failure.gas_wei for failure in self._failures),
        )

    def is_known(self, plan: Plan) -> bool:
        """Whether this order was approved before, or is in flight."""
        return plan.plan_id in self._reserved or plan_key(plan) in self._seen

    def reserve(self, plan: Plan) -> None:
        """Count ``plan`` as in flight."""
        self._seen[plan_key(plan)] = None
        if len(self._seen) > _KEPT_KEYS:
            self._seen.popitem(last=False)
        if plan.plan_id not in self._reserved:
            self._reserved[plan.plan_id] = worst_loss_wei(plan)
            self._in_flight_wei += self._reserved[plan.plan_id]

    def release(self, plan_id: str) -> None:
        """It is no longer in flight."""
        self._in_flight_wei -= self._reserved.pop(plan_id, 0)

    def settle(self, attempt: Attempt, plan: Plan | None, outcome: Outcome, now_ms: int) -> None:
        """A final outcome; the same attempt's earlier one, if any, is replaced."""
        self._withdraw(attempt.attempt_id)
        if attempt.kind is AttemptKind.TRADE:
            self.release(attempt.plan_id)
            if outcome.kind in _FAILED:
                unexplained = outcome.kind is OutcomeKind.REVERTED
                self._failures.append(_Failure(attempt.attempt_id, now_ms, outcome.gas_cost_wei, unexplained))
        self.book(attempt.attempt_id, now_ms, net_result_wei(plan, outcome), plan)
        self._forget_before(now_ms // DAY_MS - _KEPT_DAYS)

    def book(self, attempt_id: str, at_ms: int, net_wei: int, plan: Plan | None) -> None:
        """Add a final result to its day."""
        day = at_ms // DAY_MS
        self._finals[attempt_id] = _Final(plan, day, net_wei)
        self._net_by_day[day] += net_wei

    def net_of(self, attempt_id: str) -> int | None:
        """The net result that counts of an attempt, None where none does."""
        final = self._finals.get(attempt_id)
        return None if final is None else final.net_wei

    def remember(self, plan: Plan) -> None:
        """This order was approved before, though nothing of it is in flight."""
        self._seen[plan_key(plan)] = None

    def reopen(self, attempt: Attempt, plan: Plan | None) -> Plan | None:
        """The outcome was withdrawn: its result does not count, and the attempt is in flight again.

        Returns the plan that is, where it is known.
        """
        final = self._withdraw(attempt.attempt_id)
        known = final.plan if final is not None and final.plan is not None else plan
        if known is not None and attempt.kind is AttemptKind.TRADE:
            self.reserve(known)
        return known

    def _withdraw(self, attempt_id: str) -> _Final | None:
        final = self._finals.pop(attempt_id, None)
        if final is not None:
            self._net_by_day[final.day] -= final.net_wei
            self._failures = deque(failure for failure in self._failures if failure.attempt_id != attempt_id)
        return final

    def _forget_before(self, day: int) -> None:
        if any(old < day for old in self._net_by_day):
            self._net_by_day = Counter({kept: net for kept, net in self._net_by_day.items() if kept >= day})
            self._finals = {name: final for name, final in self._finals.items() if final.day >= day}
