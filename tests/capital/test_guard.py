"""What stages and budgets take away from what risk would allow, in flight included."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path[:0] = [str(Path(__file__).parents[1] / "ledger")]

from ledger_examples import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    GAS_COST,
    attempt,
    failed,
    landed,
    plan,
)

from ouro.capital.allocate import allocate  # noqa: E402
from ouro.capital.budgets import (  # noqa: E402
    Budget,
    BudgetFile,
    FileBudgets,
    budget_path,
    read_budgets,
    write_budgets,
)
from ouro.capital.errors import CapitalError  # noqa: E402
from ouro.capital.guard import CapitalGuard  # noqa: E402
from ouro.capital.returns import scenarios_of  # noqa: E402
from ouro.capital.stages import StageStore  # noqa: E402
from ouro.config.capital import BudgetConfig, StagesConfig  # noqa: E402
from ouro.config.model import RiskConfig  # noqa: E402
from ouro.ledger.records import AttemptRecord  # noqa: E402
from ouro.types import Mode, OutcomeKind, Plan  # noqa: E402

LIMITS = RiskConfig(max_notional_wei=100 * 10**18, max_daily_loss_wei=10**18)
CONFIG = StagesConfig(state="on")


def named(name: str) -> Plan:
    made = plan(name)
    return replace(made, value_native_wei=made.gross_profit_wei)


WORST = named("1").gas_limit * named("1").fee.max_fee_per_gas_wei


def store_at(folder: Path, stage: str) -> StageStore:
    row = {"stage": stage, "since_ms": 1, "by": "Ada", "why": "test", "proposal": None}
    (folder / "stages.json").write_text(json.dumps({"format": 1, "chains": {"ethereum": row}}))
    return StageStore(folder / "stages.json", lambda *_: None)


def guard_at(folder: Path, stage: str, **more: Any) -> CapitalGuard:
    return CapitalGuard(
        more.pop("mode", Mode.LIVE), lambda _: LIMITS, lambda: 1, stages=(store_at(folder, stage), CONFIG), **more
    )


@pytest.mark.parametrize("stage", ["observe", "paper"])
def test_nothing_is_sent_below_canary(tmp_path: Path, stage: str) -> None:
    refused = guard_at(tmp_path, stage).check(named("1"))
    assert refused is not None
    assert refused.reason == "stage"
    assert guard_at(tmp_path, stage, mode=Mode.PAPER).check(named("1")) is None


def test_an_unreadable_stage_sends_nothing(tmp_path: Path) -> None:
    guard = guard_at(tmp_path, "full")
    assert guard.check(named("1")) is None
    (tmp_path / "stages.json").write_text("{")
    refused = guard.check(named("1"))
    assert refused is not None
    assert refused.reason == "stage_unreadable"


def test_canary_takes_a_hundredth_and_one_at_a_time(tmp_path: Path) -> None:
    guard = guard_at(tmp_path, "canary")
    assert guard.check(named("1")) is None  # a notional of one coin, of a hundred allowed
    large = named("2")
    large = replace(large, hops=(replace(large.hops[0], amount_in_wei=10**18 + 1), *large.hops[1:]))
    refused = guard.check(large)
    assert refused is not None
    assert refused.reason == "stage_notional"
    guard.hold(named("1"))
    refused = guard.check(named("3"))
    assert refused is not None
    assert refused.reason == "stage_open_attempts"
    guard.settle(attempt("1"), named("1"), landed("1"))
    assert guard.check(named("3")) is None


def test_the_daily_loss_of_a_stage_counts_what_is_in_flight(tmp_path: Path) -> None:
    guard = guard_at(tmp_path, "canary")
    for number in range(1, 100):
        name = str(number)
        made = named(name)
        refused = guard.check(made)
        if refused is not None:
            assert refused.reason == "stage_daily_loss"
            # 5 % of a coin, minus what one more could cost
            assert number - 1 == (10**18 // 20 - WORST) // GAS_COST + 1
            return
        guard.hold(made)
        guard.settle(attempt(name), made, failed(name, OutcomeKind.LOST))
    raise AssertionError("no limit")


def test_what_was_never_sent_is_none_of_the_days_trades(tmp_path: Path) -> None:
    guard = guard_at(tmp_path, "canary")
    most = CONFIG.of("canary").caps.max_trades_per_day
    assert most is not None
    for number in range(most + 5):
        assert guard.check(named(str(number))) is None
        guard.hold(named(str(number)))
        guard.release(named(str(number)).plan_id)
    for number in range(100, 100 + most):
        guard.hold(named(str(number)))
        guard.settle(attempt(str(number)), named(str(number)), landed(str(number)))
    refused = guard.check(named("last"))
    assert refused is not None
    assert refused.reason == "stage_trades"


class _Fixed:
    def __init__(self, wei: int | None) -> None:
        self.wei = wei

    def of(self, chain: str, strategy: str, token: str) -> int | None:
        del chain, strategy, token
        return self.wei


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["hold", "landed", "lost", "withdrawn", "released"]))
    )
)
def test_a_budget_is_never_exceeded(steps: list[tuple[int, str]]) -> None:
    budget = 3 * WORST + WORST // 2
    guard = CapitalGuard(Mode.LIVE, lambda _: LIMITS, lambda: 1, budgets=_Fixed(budget))
    held: dict[str, Plan] = {}
    done: set[str] = set()
    lost = 0
    for number, what in steps:
        name = str(number)
        made = named(name)
        if what == "hold" and name not in held and name not in done:
            refused = guard.check(made)
            assert (refused is None) == ((len(held) + 1) * WORST + lost <= budget)
            if refused is None:
                guard.hold(made)
                held[name] = made
        elif what in ("landed", "lost") and name in held:
            outcome = landed(name) if what == "landed" else failed(name, OutcomeKind.LOST)
            guard.settle(attempt(name), made, outcome)
            lost += GAS_COST if what == "lost" else 0
            del held[name]
            if what == "landed":
                done.add(name)
        elif what == "withdrawn" and name in done:
            guard.settle(attempt(name), None, None)
            held[name] = made
            done.remove(name)
        elif what == "released" and name in held:
            guard.release(made.plan_id)
            del held[name]


def test_budgets_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = budget_path(tmp_path / "a folder")
    budgets = FileBudgets(path)
    assert budgets.of("ethereum", "cyclic", "0xaa") is None
    rows = (Budget("ethereum", "cyclic", "0xaa", 7), Budget("ethereum", "*", "*", 3))
    write_budgets(path, BudgetFile(1, "ab", 1_000_000, rows))
    assert budgets.of("ethereum", "cyclic", "0xaa") == 7
    assert budgets.of("ethereum", "cyclic", "0xbb") == 3
    assert budgets.of("fantom", "cyclic", "0xaa") == 0
    made = read_budgets(path)
    assert made is not None
    assert made.budgets == rows
    path.write_text(path.read_text().replace('"7"', '"8"'))
    assert budgets.of("ethereum", "cyclic", "0xaa") == 0
    assert "digest" in budgets.problem
    path.write_text('{"format": 1, "budgets": [{"chain": "x"}]}')
    with pytest.raises(CapitalError, match=r"budgets\[0\]"):
        read_budgets(path)


def history(wins: dict[str, list[bool]]) -> list[AttemptRecord]:
    """One trade an hour of each token: a win of the worst loss, or that lost."""
    records = []
    for token, results in wins.items():
        for hour, won in enumerate(results):
            name = f"{token}{hour}"
            made = replace(named(name), profit_token=token, gross_profit_wei=WORST, value_native_wei=WORST)
            outcome = replace(landed(name) if won else failed(name, OutcomeKind.LOST), gas_cost_wei=WORST // 2)
            outcome = replace(outcome, realised_profit_wei=WORST if won else 0)
            at_ms = hour * 3_600_000
            records.append(AttemptRecord(attempt(name), "s", "final", at_ms, 1, 1, 1, 1, made, outcome, at_ms, 0))
    return records


SETTINGS = BudgetConfig(state="on", capital_usd_cents=100_000, paths=200, horizon_periods=20)


def test_what_earns_gets_more_and_what_loses_nothing() -> None:
    records = history({"0xgood": [True, True, True, False] * 10, "0xbad": [False] * 40})
    scenarios = scenarios_of(records, SETTINGS)
    assert scenarios.returns.shape == (3, 41)
    assert (scenarios.returns[:, -1] == np.array([0.5, 0.5, 1.0])).all()
    made = allocate(scenarios, SETTINGS, {"ethereum": 2_000.0}, multiplier_ppm=1_000_000, now_ms=5)
    amounts = {each.token: each.wei for each in made.budgets}
    # A thousand dollars are half a coin; a token may have half of that, and a hundredth explores.
    assert 0 < amounts["0xgood"] <= 10**18 // 4 + 10**9
    assert amounts["0xbad"] <= 10**18 // 10_000
    assert amounts["*"] == 10**18 // 200
    again = allocate(scenarios, SETTINGS, {"ethereum": 2_000.0}, multiplier_ppm=1_000_000, now_ms=5)
    assert again.to_json() == made.to_json()
    halved = allocate(scenarios, SETTINGS, {"ethereum": 2_000.0}, multiplier_ppm=500_000, now_ms=5)
    assert all(
        one.wei in (2 * other.wei, 2 * other.wei + 1)
        for one, other in zip(made.budgets, halved.budgets, strict=True)
    )


def test_gains_are_shrunk_and_losses_are_not() -> None:
    records = history({"0xaa": [True] * 20, "0xbb": [False] * 20})
    whole = scenarios_of(records, SETTINGS.model_copy(update={"shrink_periods": 0}))
    shrunk = scenarios_of(records, SETTINGS)
    gains, losses = whole.returns[0, 0], whole.returns[1, 0]
    assert 1 < shrunk.returns[0, 0] < gains
    assert shrunk.returns[1, 0] == losses < 1


def test_too_short_a_history_is_only_explored() -> None:
    scenarios = scenarios_of(history({"0xaa": [True] * 5}), SETTINGS)
    made = allocate(scenarios, SETTINGS, {"ethereum": 2_000.0}, multiplier_ppm=1_000_000, now_ms=5)
    assert [each.strategy for each in made.budgets] == ["*"]


def test_no_price_is_told() -> None:
    scenarios = scenarios_of(history({"0xaa": [True] * 20}), SETTINGS)
    with pytest.raises(CapitalError, match="ethereum: its native coin has no USD price"):
        allocate(scenarios, SETTINGS, {}, multiplier_ppm=1_000_000, now_ms=5)
    with pytest.raises(ValueError, match="capital_usd_cents"):
        BudgetConfig(state="on")
