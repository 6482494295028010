"""Limits one by one, then all together under thousands of random intents."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_examples import DAI, GWEI, HEAD, POOLS, WETH
from risk_examples import plan_of as make_plan

from ouro.config.model import RiskConfig
from ouro.ledger.books import Realised
from ouro.risk.approved import Approved
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition, worst_loss_wei
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Mode, Outcome, OutcomeKind, Plan, Refused

DAY_MS = 86_400_000


def make_attempt(plan: Plan, kind: AttemptKind = AttemptKind.TRADE, name: str = "") -> Attempt:
    attempt_id = name or f"a-{plan.plan_id}"
    return Attempt(attempt_id, plan.plan_id, plan.chain, kind, "0x1", 0, attempt_id, b"", "public", 11)


def make_outcome(attempt: Attempt, kind: OutcomeKind, gas_wei: int = 0, profit: int = 0) -> Outcome:
    block = (11, "0xb") if kind in (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED) else (None, None)
    return Outcome(attempt.attempt_id, kind, *block, 0, gas_wei, profit, (), (), "")


class Clock:
    now_ms = 1_000 * DAY_MS + 5

    def __call__(self) -> int:
        return self.now_ms


def make_gate(tmp_path: Path, clock: Clock | None = None, mode: Mode = Mode.LIVE, **limits: Any) -> RiskGate:
    config = RiskConfig(kill_file=tmp_path / "kill", **limits)
    return RiskGate(config, mode, ["ethereum", "fantom"], clock or Clock())


def reason(answer: Approved | Refused) -> str:
    assert isinstance(answer, Refused), "approved"
    assert answer.detail
    return answer.reason


def test_a_good_plan_is_approved_whole(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    answer = gate.check(make_plan(), HEAD)
    assert isinstance(answer, Approved)
    assert answer.plan == make_plan()
    assert (answer.mode, answer.checked_at_ms, answer.limits_hash) == (Mode.LIVE, Clock.now_ms, gate.limits_hash)
    assert make_gate(tmp_path, max_open_attempts=3).limits_hash != gate.limits_hash


def test_modes(tmp_path: Path) -> None:
    assert reason(make_gate(tmp_path, mode=Mode.OBSERVE).check(make_plan(), HEAD)) == "mode"
    answer = make_gate(tmp_path, mode=Mode.PAPER).check(make_plan(), HEAD)
    assert isinstance(answer, Approved)
    assert answer.mode is Mode.PAPER


def test_the_kill_file_stops_at_once_and_lets_go_at_once(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    (tmp_path / "kill").touch()
    assert reason(gate.check(make_plan(), HEAD)) == "kill_file"
    (tmp_path / "kill").unlink()
    assert isinstance(gate.check(make_plan(), HEAD), Approved)


def test_a_kill_file_that_cannot_be_looked_for_counts_as_present(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    gate = RiskGate(RiskConfig(kill_file=tmp_path / "loop" / "kill"), Mode.LIVE, ["ethereum"])
    assert reason(gate.check(make_plan(), HEAD)) == "kill_file"


def test_a_chains_kill_file_stops_that_chain_and_the_common_one_stops_all(tmp_path: Path) -> None:
    common = RiskConfig(kill_file=tmp_path / "kill")
    own = common.model_copy(update={"kill_file": tmp_path / "kill-fantom"})
    gate = RiskGate(common, Mode.LIVE, ["ethereum", "fantom"], Clock(), overrides={"fantom": own})
    (tmp_path / "kill-fantom").touch()
    assert reason(gate.check(make_plan("a", chain="fantom"), HEAD)) == "kill_file"
    assert "kill-fantom is present" in gate.kill_file_problem("fantom")
    assert isinstance(gate.check(make_plan("b"), HEAD), Approved)
    (tmp_path / "kill-fantom").rename(tmp_path / "kill")
    for chain in ("ethereum", "fantom"):
        assert reason(gate.check(make_plan("c", chain=chain), HEAD)) == "kill_file"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        (replace(HEAD, halted="deep reorg"), "chain_halted"),
        (replace(HEAD, books_problem="ledger x is locked"), "books_unhealthy"),
        (replace(HEAD, freshness="stale"), "stale"),
        (replace(HEAD, freshness=""), "stale"),
        (replace(HEAD, head_number=9), "orphaned"),
        (replace(HEAD, head_hash="0xother"), "orphaned"),
        (replace(HEAD, head_number=11, head_hash="0x11"), "expired"),
    ],
)
def test_conditions_of_the_chain(tmp_path: Path, condition: ChainCondition, code: str) -> None:
    assert reason(make_gate(tmp_path).check(make_plan(), condition)) == code


def test_halts_and_unknown_chains(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    gate.halt("ethereum", "by hand")
    assert reason(gate.check(make_plan(), HEAD)) == "chain_halted"
    assert isinstance(gate.check(make_plan(chain="fantom"), HEAD), Approved)
    gate.resume("ethereum")
    assert isinstance(gate.check(make_plan(), HEAD), Approved)
    assert reason(gate.check(make_plan(chain="base"), HEAD)) == "unknown_chain"


def hop(index: int, **changes: Any) -> tuple[Hop, ...]:
    hops = list(make_plan().hops)
    hops[index] = replace(hops[index], **changes)
    return tuple(hops)


@pytest.mark.parametrize(
    "changes",
    [
        {"hops": ()},
        {"hops": make_plan().hops[:1]},
        {"hops": hop(0, amount_in_wei=0)},
        {"hops": hop(0, amount_out_wei=-1)},
        {"hops": hop(1, amount_in_wei=1)},
        {"hops": hop(1, token_in=WETH)},
        {"hops": hop(1, token_out=DAI)},
        {"hops": hop(1, pool=POOLS[0])},
        {"hops": hop(1, j=1)},
        {"profit_token": DAI},
        {"gross_profit_wei": 10**17},
        {"min_profit_wei": 0},
        {"min_profit_wei": 10**17},
        {"bribe_wei": -1},
        {"bribe_wei": 10**16},
        {"loan_fee_wei": 10**16},
        {"bribe_wei": 6 * 10**15, "loan_fee_wei": 4 * 10**15},
        {"min_profit_wei": 4 * 10**15 + 1, "bribe_wei": 6 * 10**15},
        {"expected_net_native_wei": 4 * 10**15 + 1, "bribe_wei": 6 * 10**15},
        {"value_native_wei": 0},
        {"expected_net_native_wei": 10**17},
        {"expected_gas": 300_001},
        {"expected_gas": 0},
        {"fee": FeeBid(0, 0, legacy=True)},
        {"fee": FeeBid(GWEI, 2 * GWEI, legacy=False)},
        {"calldata": b""},
    ],
)
def test_plans_that_contradict_themselves(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert reason(make_gate(tmp_path).check(make_plan(**changes), HEAD)) == "bad_plan"


def test_limits_hold_to_the_wei(tmp_path: Path) -> None:
    plan = make_plan()
    gas, net = worst_loss_wei(plan), plan.expected_net_native_wei
    tight: list[tuple[dict[str, Any], str]] = [
        ({"max_notional_wei": 10**18 - 1}, "max_notional"),
        ({"max_gas_cost_wei": gas - 1}, "max_gas_cost"),
        ({"min_net_profit_wei": net + 1}, "not_profitable"),
        ({"max_daily_loss_wei": gas - 1}, "max_daily_loss"),
    ]
    for limits, code in tight:
        assert reason(make_gate(tmp_path, **limits).check(plan, HEAD)) == code
    exact: dict[str, Any] = {
        "max_notional_wei": 10**18,
        "max_gas_cost_wei": gas,
        "min_net_profit_wei": net,
        "max_daily_loss_wei": gas,
    }
    assert isinstance(make_gate(tmp_path, **exact).check(plan, HEAD), Approved)
    assert reason(make_gate(tmp_path).check(make_plan(expected_net_native_wei=0), HEAD)) == "not_profitable"


def test_notional_in_another_token_is_priced_and_rounded_up(tmp_path: Path) -> None:
    # 3 units of profit are worth 10 wei, so one unit is 3.33 wei and 100 units are 334.
    plan = make_plan(amount=100, profit=3, value_native_wei=10, expected_net_native_wei=1)
    assert isinstance(make_gate(tmp_path, max_notional_wei=334).check(plan, HEAD), Approved)
    assert reason(make_gate(tmp_path, max_notional_wei=333).check(plan, HEAD)) == "max_notional"


def test_open_attempts_count_from_approval_to_outcome(tmp_path: Path) -> None:
    gate = make_gate(tmp_path, max_open_attempts=2)
    plans = [make_plan(str(number), amount=10**18 + number) for number in range(4)]
    assert isinstance(gate.check(plans[0], HEAD), Approved)
    assert isinstance(gate.check(plans[1], HEAD), Approved)
    assert reason(gate.check(plans[2], HEAD)) == "max_open_attempts"
    assert isinstance(gate.check(make_plan(chain="fantom"), HEAD), Approved)
    attempt = make_attempt(plans[0])
    gate.on_attempt(attempt, plans[0])
    assert reason(gate.check(plans[2], HEAD)) == "max_open_attempts"
    outcome = make_outcome(attempt, OutcomeKind.EXPIRED)
    gate.on_outcome(attempt, plans[0], outcome)
    gate.on_outcome(attempt, plans[0], outcome)
    assert isinstance(gate.check(plans[2], HEAD), Approved)
    gate.release("ethereum", plans[1].plan_id)
    gate.release("ethereum", plans[1].plan_id)
    assert isinstance(gate.check(plans[3], HEAD), Approved)
    # The landing of the first one turned out an orphan: three are in flight now, and that counts.
    gate.on_reversal(attempt)
    assert reason(gate.check(make_plan("x", amount=5 * 10**17), HEAD)) == "max_open_attempts"


def test_the_same_order_is_approved_once(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    assert isinstance(gate.check(make_plan("a"), HEAD), Approved)
    assert reason(gate.check(make_plan("a"), HEAD)) == "duplicate"
    assert reason(gate.check(make_plan("b"), HEAD)) == "duplicate"
    gate.release("ethereum", "a")
    assert reason(gate.check(make_plan("c"), HEAD)) == "duplicate"
    assert isinstance(gate.check(make_plan("d", amount=10**18 + 1), HEAD), Approved)
    later = make_plan("e", found_at_number=11, found_at_hash="0x11", max_block_number=12)
    assert isinstance(gate.check(later, ChainCondition(11, "0x11", "delayed")), Approved)


def test_losses_stop_the_day_and_midnight_starts_a_new_one(tmp_path: Path) -> None:
    clock = Clock()
    plan = make_plan()
    gas = worst_loss_wei(plan)
    gate = make_gate(tmp_path, clock, max_daily_loss_wei=2 * gas)
    for number in range(2):
        loser = make_plan(str(number), amount=10**18 + number)
        assert isinstance(gate.check(loser, HEAD), Approved)
        attempt = make_attempt(loser)
        gate.on_outcome(attempt, loser, make_outcome(attempt, OutcomeKind.REVERTED, gas_wei=gas))
    assert reason(gate.check(make_plan("x", amount=10**17), HEAD)) == "max_daily_loss"
    clock.now_ms += DAY_MS
    assert isinstance(gate.check(make_plan("x", amount=10**17), HEAD), Approved)


def test_a_cancel_costs_but_holds_no_place(tmp_path: Path) -> None:
    plan = make_plan()
    gate = make_gate(tmp_path, max_open_attempts=1, max_daily_loss_wei=worst_loss_wei(plan))
    cancel = make_attempt(plan, AttemptKind.CANCEL, "c")
    gate.on_attempt(cancel, plan)
    gate.on_outcome(cancel, plan, make_outcome(cancel, OutcomeKind.LANDED, gas_wei=1))
    assert reason(gate.check(plan, HEAD)) == "max_daily_loss"


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    clock = Clock()
    plan = make_plan()
    gas = worst_loss_wei(plan)
    limits: dict[str, Any] = {"max_daily_loss_wei": 2 * gas, "max_open_attempts": 1}
    realised = [
        Realised("ethereum", "a-0", clock.now_ms - 1, -gas),
        Realised("ethereum", "a-1", clock.now_ms - DAY_MS, -(10**20)),
        Realised("gone", "a-2", clock.now_ms, -1),
    ]
    gate = make_gate(tmp_path, clock, **limits)
    gate.restore([(make_attempt(plan), plan)], realised)
    assert gate.day_start_ms() == 1_000 * DAY_MS
    assert reason(gate.check(make_plan("n", amount=7 * 10**17), HEAD)) == "max_open_attempts"
    attempt = make_attempt(plan)
    gate.on_outcome(attempt, plan, make_outcome(attempt, OutcomeKind.LOST, gas_wei=1))
    assert reason(gate.check(plan, HEAD)) == "max_daily_loss"
    gate.on_reversal(replace(attempt, attempt_id="a-0", plan_id="n0"))
    assert reason(gate.check(plan, HEAD)) == "duplicate"
    assert isinstance(gate.check(make_plan("n", amount=7 * 10**17), HEAD), Approved)


class Model:
    """An independent count of everything that was let through."""

    def __init__(self, gate: RiskGate, clock: Clock, limits: RiskConfig) -> None:
        self.gate, self.clock, self.limits = gate, clock, limits
        self.open: dict[tuple[str, str], Plan] = {}
        self.net: dict[tuple[str, int], int] = {}
        self.approved = self.finished = 0
        self.refusals: set[str] = set()

    def intend(self, plan: Plan) -> None:
        answer = self.gate.check(plan, HEAD)
        if isinstance(answer, Refused):
            self.refusals.add(answer.reason)
            return
        assert (plan.chain, plan.plan_id) not in self.open
        self.open[plan.chain, plan.plan_id] = plan
        self.approved += 1
        mine = [other for other in self.open.values() if other.chain == plan.chain]
        assert len(mine) <= self.limits.max_open_attempts
        assert plan.notional_wei <= self.limits.max_notional_wei
        assert worst_loss_wei(plan) <= self.limits.max_gas_cost_wei
        at_stake = sum(map(worst_loss_wei, mine))
        today = self.net.get((plan.chain, self.clock.now_ms // DAY_MS), 0)
        assert at_stake + max(0, -today) <= self.limits.max_daily_loss_wei

    def finish(self, rng: random.Random) -> None:
        if not self.open:
            return
        plan = self.open.pop(rng.choice(sorted(self.open)))
        # A transaction hash is never used twice, even if a plan's name is.
        self.finished += 1
        attempt = make_attempt(plan, name=f"tx-{self.finished}")
        kind = rng.choice(list(OutcomeKind))
        if kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED):
            gas, profit = 0, 0
        else:
            gas = rng.randint(0, worst_loss_wei(plan))
            profit = plan.gross_profit_wei if kind is OutcomeKind.LANDED and rng.random() < 0.2 else 0
        outcome = make_outcome(attempt, kind, gas, profit)
        self.gate.on_attempt(attempt, plan)
        for _ in range(rng.choice((1, 1, 2))):
            self.gate.on_outcome(attempt, plan, outcome)
        day = (plan.chain, self.clock.now_ms // DAY_MS)
        self.net[day] = self.net.get(day, 0) + profit - gas
        # What was realised can never be worse than the limit, because the worst was reserved before.
        assert self.net[day] >= -self.limits.max_daily_loss_wei


def run_model(tmp_path: Path, seed: int, steps: int) -> Model:
    rng, clock = random.Random(seed), Clock()
    limits: dict[str, Any] = {
        "max_open_attempts": rng.randint(1, 6),
        "max_daily_loss_wei": rng.randint(10**15, 10**17),
        "max_gas_cost_wei": rng.randint(10**15, 2 * 10**16),
        "max_notional_wei": rng.randint(10**17, 10**19),
    }
    gate = make_gate(tmp_path, clock, **limits)
    model = Model(gate, clock, RiskConfig(**limits))
    for step in range(steps):
        if rng.random() < 0.55:
            fee = FeeBid(rng.randint(1, 60) * GWEI, 1, legacy=False)
            amount = rng.randint(1, 2 * 10**18) if rng.random() < 0.9 else rng.choice((10**17, 10**18))
            name = str(step) if rng.random() < 0.9 else str(rng.randint(0, step))
            model.intend(make_plan(name, amount, chain=rng.choice(("ethereum", "fantom")), fee=fee))
        else:
            model.finish(rng)
        if rng.random() < 0.002:
            clock.now_ms += DAY_MS
    return model


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_no_sequence_of_intents_gets_over_a_limit(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    run_model(tmp_path_factory.getbasetemp(), seed, 200)


def test_thousands_of_intents_stay_within_the_limits(tmp_path: Path) -> None:
    reached: set[str] = set()
    approved = 0
    for seed in range(4):
        model = run_model(tmp_path, seed, 5_000)
        reached |= model.refusals
        approved += model.approved
    assert approved > 500
    assert {"duplicate", "max_open_attempts", "max_daily_loss", "max_gas_cost", "max_notional"} <= reached


def test_a_chain_may_have_limits_of_its_own(tmp_path: Path) -> None:
    common = RiskConfig(kill_file=tmp_path / "kill")
    strict = common.model_copy(update={"max_notional_wei": 1})
    gate = RiskGate(common, Mode.LIVE, ["ethereum", "fantom"], Clock(), overrides={"fantom": strict})
    assert isinstance(gate.check(make_plan("a"), HEAD), Approved)
    assert reason(gate.check(make_plan("b", chain="fantom"), HEAD)) == "max_notional"


def test_trades_that_fail_for_no_reason_stop_the_chain_for_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    gate = make_gate(tmp_path, clock, max_reverts_per_hour=2)
    plans = [make_plan(f"r{number}", amount=2 * 10**18 + number) for number in range(2)]
    attempts = [make_attempt(plan) for plan in plans]
    for plan, attempt in zip(plans, attempts, strict=True):
        assert isinstance(gate.check(plan, HEAD), Approved)
        gate.on_attempt(attempt, plan)
        gate.on_outcome(attempt, plan, make_outcome(attempt, OutcomeKind.REVERTED, gas_wei=10**12))
    assert reason(gate.check(make_plan("next"), HEAD)) == "max_reverts"
    assert isinstance(gate.check(make_plan("other", chain="fantom"), HEAD), Approved)
    gate.on_reversal(attempts[0])
    gate.on_outcome(attempts[0], plans[0], make_outcome(attempts[0], OutcomeKind.LANDED, profit=10**16))
    assert isinstance(gate.check(make_plan("after a reorg took one back", amount=9 * 10**18), HEAD), Approved)


def test_gas_of_failed_trades_is_bounded_whatever_the_day_earned(tmp_path: Path) -> None:
    clock = Clock()
    gate = make_gate(tmp_path, clock, max_wasted_gas_per_hour_wei=10**16, max_daily_loss_wei=10**18)
    rich = make_plan("rich", amount=3 * 10**18, profit=10**18)
    assert isinstance(gate.check(rich, HEAD), Approved)
    gate.on_outcome(make_attempt(rich), rich, make_outcome(make_attempt(rich), OutcomeKind.LANDED, profit=10**18))
    lost = make_plan("lost")
    assert isinstance(gate.check(lost, HEAD), Approved)
    gate.on_outcome(make_attempt(lost), lost, make_outcome(make_attempt(lost), OutcomeKind.LOST, gas_wei=10**16))
    assert reason(gate.check(make_plan("one more", amount=2 * 10**18), HEAD)) == "max_wasted_gas"
    clock.now_ms += 3_600_000
    assert isinstance(gate.check(make_plan("an hour later", amount=4 * 10**18), HEAD), Approved)


def test_the_native_coin_is_its_wrapped_form_where_the_chain_is_told_so(tmp_path: Path) -> None:
    native = "0x" + "00" * 20
    first, second = make_plan().hops
    plan = make_plan(hops=(replace(first, token_in=native), replace(second, token_out=native)))
    assert reason(make_gate(tmp_path).check(plan, HEAD)) == "bad_plan"
    told = replace(HEAD, wrapped_native=WETH)
    assert isinstance(make_gate(tmp_path).check(plan, told), Approved)
    other = make_plan(hops=(replace(first, token_in=DAI, token_out=native), second))
    assert reason(make_gate(tmp_path).check(other, told)) == "bad_plan"
