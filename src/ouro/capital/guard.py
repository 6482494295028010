"""Before the gate of risk: what stage and budget of a plan's chain, strategy and token leave it. In flight
included.

It only ever takes away: what passes here still has to pass every limit of risk.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ouro.capital.budgets import Budgets
from ouro.capital.stages import StageStore
from ouro.config.capital import StagesConfig
from ouro.config.model import RiskConfig
from ouro.ledger.books import Realised
from ouro.risk.limits import notional_native_wei, worst_loss_wei
from ouro.risk.state import net_result_wei
from ouro.types import Attempt, AttemptKind, Mode, Outcome, Plan, Refused

_PPM = 1_000_000
_DAY_MS = 86_400_000
_Arm = tuple[str, str, str]


@dataclass(slots=True)
class _Day:
    """One chain's day (UTC)."""

    number: int = -1
    net_wei: int = 0
    trades: int = 0
    lost_by_arm: Counter[_Arm] = field(default_factory=Counter)


class CapitalGuard:
    """Stage caps and budgets of one engine process. For its loop; asking reads no more than two files' stamps."""

    def __init__(
        self,
        mode: Mode,
        limits: Callable[[str], RiskConfig],
        clock_ms: Callable[[], int],
        *,
        stages: tuple[StageStore, StagesConfig] | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        """``limits`` are those of risk, which a stage takes parts of."""
        self._mode, self._limits, self._clock_ms = mode, limits, clock_ms
        self._stages, self._budgets = stages, budgets
        self._held: dict[str, tuple[str, _Arm, int]] = {}
        self._open: Counter[str] = Counter()
        self._at_risk: Counter[_Arm] = Counter()
        self._days: dict[str, _Day] = {}
        self._booked: dict[str, tuple[int, int, _Arm | None]] = {}
        self._ended: dict[str, tuple[int, Plan]] = {}

    def check(self, plan: Plan) -> Refused | None:
        """Why ``plan`` may not go on; None if it may."""
        for problem in (self._stage_problem(plan), self._budget_problem(plan)):
            if problem is not None:
                return Refused(plan.plan_id, *problem)
        return None

    def _stage_problem(self, plan: Plan) -> tuple[str, str] | None:
        if self._stages is None or self._mode is not Mode.LIVE:
            return None  # what is not sent needs no leave
        store, config = self._stages
        stage = store.of(plan.chain).stage
        if store.problem:
            return "stage_unreadable", store.problem
        caps, limits, day = config.of(stage).caps, self._limits(plan.chain), self._day(plan.chain)
        if caps.sends == "no":
            return "stage", f"{plan.chain} is at stage {stage}: nothing is sent; see `ouro stage show`"
        notional, most = notional_native_wei(plan), limits.max_notional_wei * caps.notional_ppm // _PPM
        if notional > most:
            return "stage_notional", f"notional {notional} wei, stage {stage} allows {most}"
        if caps.max_open_attempts is not None and self._open[plan.chain] >= caps.max_open_attempts:
            return "stage_open_attempts", f"{self._open[plan.chain]} are open, stage {stage} allows no more"
        if caps.max_trades_per_day is not None and day.trades >= caps.max_trades_per_day:
            return "stage_trades", f"{day.trades} trades today, stage {stage} allows no more"
        at_risk = sum(wei for chain, _, wei in self._held.values() if chain == plan.chain)
        worst = at_risk + worst_loss_wei(plan) + max(0, -day.net_wei)
        most = limits.max_daily_loss_wei * caps.daily_loss_ppm // _PPM
        if worst > most:
            return "stage_daily_loss", f"the day's loss could reach {worst} wei, stage {stage} allows {most}"
        return None

    def _budget_problem(self, plan: Plan) -> tuple[str, str] | None:
        if self._budgets is None:
            return None
        arm = _arm_of(plan)
        budget = self._budgets.of(*arm)
        if budget is None:
            return None
        used = self._at_risk[arm] + self._day(plan.chain).lost_by_arm[arm] + worst_loss_wei(plan)
        if used <= budget:
            return None
        return "budget", f"{used} wei would be at risk in {arm[1]} of {arm[2]}, its budget is {budget}"

    def hold(self, plan: Plan) -> None:
        """It was approved: it counts until `release` or `settle`. Twice counts once."""
        if plan.plan_id in self._held:
            return
        arm, wei = _arm_of(plan), worst_loss_wei(plan)
        self._held[plan.plan_id] = (plan.chain, arm, wei)
        self._open[plan.chain] += 1
        self._at_risk[arm] += wei
        self._day(plan.chain).trades += 1

    def release(self, plan_id: str) -> None:
        """It will not be sent, and so was none of the day's trades."""
        chain = self._let_go(plan_id)
        if chain is not None:
            day = self._day(chain)
            day.trades = max(0, day.trades - 1)

    def _let_go(self, plan_id: str) -> str | None:
        held = self._held.pop(plan_id, None)
        if held is None:
            return None
        chain, arm, wei = held
        self._open[chain] -= 1
        self._at_risk[arm] -= wei
        return chain

    def settle(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        """An attempt ended, or (None) its outcome was withdrawn and it is open again."""
        day = self._day(attempt.chain)
        booked = self._booked.pop(attempt.attempt_id, None)
        if booked is not None and booked[0] == day.number:
            day.net_wei -= booked[1]
            if booked[2] is not None:
                day.lost_by_arm[booked[2]] -= max(0, -booked[1])
        if outcome is None:
            ended = self._ended.pop(attempt.plan_id, None)
            if ended is not None and attempt.kind is AttemptKind.TRADE:
                self.hold(ended[1])
                self._day(attempt.chain).trades -= 1  # it was counted when it was approved
            return
        if plan is not None:
            self._ended[plan.plan_id] = (day.number, plan)
        if attempt.kind is AttemptKind.TRADE:
            self._let_go(attempt.plan_id)
        net, arm = net_result_wei(plan, outcome), None if plan is None else _arm_of(plan)
        self._booked[attempt.attempt_id] = (day.number, net, arm)
        day.net_wei += net
        if arm is not None:
            day.lost_by_arm[arm] += max(0, -net)

    def restore(self, realised: list[Realised]) -> None:
        """At a restart: today's results of the books."""
        for result in realised:
            day = self._day(result.chain)
            if result.at_ms // _DAY_MS == day.number:
                day.net_wei += result.net_native_wei
                day.trades += 1
                self._booked[result.attempt_id] = (day.number, result.net_native_wei, None)

    def _day(self, chain: str) -> _Day:
        number = self._clock_ms() // _DAY_MS
        day = self._days.get(chain)
        if day is None or day.number != number:
            day = self._days[chain] = _Day(number)
            self._booked = {name: each for name, each in self._booked.items() if each[0] == number}
            self._ended = {name: each for name, each in self._ended.items() if each[0] >= number - 1}
        return day


def _arm_of(plan: Plan) -> _Arm:
    return plan.chain, plan.strategy, plan.profit_token
