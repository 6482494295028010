"""Realised returns of each arm (chain, strategy, token), period by period, as scenarios for the allocation.

A period's return is 1 + net result / what was at risk: the worst loss of every attempt that was made, so that
failed attempts count in both. It can't be below 0. A period in which an arm did nothing returns 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ouro.config.capital import BudgetConfig
from ouro.ledger.books import net_native_wei
from ouro.ledger.records import AttemptRecord

_MOST = 3.0
"""A single period's return above this says more of luck than of what comes."""
_PPM = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Arm:
    """What a budget is of."""

    chain: str
    strategy: str
    token: str


@dataclass(frozen=True, slots=True)
class Scenarios:
    """``returns[i, k]`` of ``arms[i]`` (the last row is money that is kept) with probabilities ``weights``."""

    arms: tuple[Arm, ...]
    returns: NDArray[np.float64]
    weights: NDArray[np.float64]
    periods: int


def scenarios_of(records: Sequence[AttemptRecord], config: BudgetConfig) -> Scenarios:
    """Scenarios of final trades and cancels; arms with fewer than ``min_periods`` active periods are left out.

    Means above 1 are shrunk by n / (n + ``shrink_periods``); losses are taken whole. The last scenario is the
    stress: every arm loses ``stress_loss_ppm`` at once, however well it did.
    """
    width_ms = config.period_minutes * 60_000
    net: dict[tuple[Arm, int], int] = defaultdict(int)
    risked: dict[tuple[Arm, int], int] = defaultdict(int)
    plan_arms = {record.attempt.plan_id: arm for record in records if (arm := _arm_of(record)) is not None}
    for record in records:
        arm = plan_arms.get(record.attempt.plan_id)
        if arm is None or record.outcome is None or record.outcome_at_ms is None:
            continue
        key = (arm, record.outcome_at_ms // width_ms)
        net[key] += net_native_wei(record)
        if record.plan is not None and record.is_trade:
            risked[key] += record.plan.gas_limit * record.plan.fee.max_fee_per_gas_wei
    periods = sorted({period for _, period in risked})
    active: dict[Arm, int] = defaultdict(int)
    for (arm, _), wei in risked.items():
        active[arm] += wei > 0
    arms = tuple(sorted(arm for arm, count in active.items() if count >= config.min_periods))
    rows = np.ones((len(arms) + 1, len(periods) + 1))
    for i, arm in enumerate(arms):
        for k, period in enumerate(periods):
            wei = risked.get((arm, period), 0)
            if wei > 0:
                rows[i, k] = min(_MOST, max(0.0, 1.0 + net[arm, period] / wei))
        mean = float(rows[i, :-1].mean()) - 1.0
        if mean > 0:
            kept = active[arm] / (active[arm] + config.shrink_periods) if config.shrink_periods else 1.0
            rows[i, :-1] = np.maximum(0.0, rows[i, :-1] - (1.0 - kept) * mean)
        rows[i, -1] = 1.0 - config.stress_loss_ppm / _PPM
    stress = config.stress_ppm / _PPM
    weights = np.full(len(periods) + 1, (1.0 - stress) / max(1, len(periods)))
    weights[-1] = stress if periods else 1.0
    return Scenarios(arms, rows, weights / weights.sum(), len(periods))


def _arm_of(record: AttemptRecord) -> Arm | None:
    if record.plan is None:
        return None
    return Arm(record.attempt.chain, record.plan.strategy, record.plan.profit_token)
