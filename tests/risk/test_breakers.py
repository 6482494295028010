"""Each breaker's reason, and the state machine that they share: nothing but a person undoes a halt."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from risk_examples import CLOCK, HEAD, attempt_of, landed, lost, outcome_of, plan_of, reason

from ouro.config.model import RiskConfig
from ouro.config.risk import BreakersConfig
from ouro.control import ControlStore, Scope
from ouro.risk.approved import Approved
from ouro.risk.breakers import (
    ApprovedOrder,
    BlockDone,
    Board,
    Event,
    NodesDisagree,
    Reconciled,
    ReleasedOrder,
    Reorganised,
    SettledTrade,
    WithdrawnTrade,
    breakers_of,
)
from ouro.risk.build import drawdown_taken_ms, restore_drawdown
from ouro.risk.gate import RiskGate
from ouro.types import Mode, OutcomeKind

CAPITAL = 10**18
T0 = 1_000 * 86_400_000
QUIET: dict[str, Any] = {name: {"state": "off"} for name in BreakersConfig.model_fields if name != "throttle_ppm"}


def board_of(name: str = "", halts: Any = None, **settings_of_it: Any) -> Board:
    """A board with one breaker, or with all."""
    values = {**QUIET, name: settings_of_it} if name else settings_of_it
    return Board("ethereum", breakers_of(BreakersConfig.model_validate(values), CAPITAL), halts)


def trade(net: int = 0, kind: OutcomeKind = OutcomeKind.LANDED, at: int = 0, **changes: Any) -> SettledTrade:
    values: dict[str, Any] = {
        "path": 1, "predicted_profit_wei": 100, "realised_profit_wei": 100, "expected_gas": 100, "gas_used": 100,
    }  # fmt: skip
    return SettledTrade("ethereum", "cross_dex", kind=kind, net_wei=net, at_ms=T0 + at, **{**values, **changes})


MISSED = trade(kind=OutcomeKind.LOST, realised_profit_wei=0)


def block(at: int = 0, number: int = 1, **changes: Any) -> BlockDone:
    values: dict[str, Any] = {"block_time_ms": T0 + at, "decided_ms": 5, "stale": False, "monotonic_ms": at}
    return BlockDone("ethereum", number, at_ms=T0 + at, **{**values, **changes})


def modes(board: Board) -> list[tuple[str, str]]:
    return [(name, tripped.mode) for name, tripped in board.in_force()]


def test_drawdown_has_tiers_on_net_equity() -> None:
    board = board_of("drawdown")
    board.observe(trade(CAPITAL))  # the peak is twice the capital
    for lost_wei, mode in ((39, None), (1, "throttle"), (29, "throttle"), (1, "reduce_only"), (20, "stop")):
        board.observe(trade(-lost_wei * CAPITAL // 1_000))
        assert modes(board) == ([] if mode is None else [("drawdown", mode)])
    board.observe(trade(CAPITAL))  # winning it back lifts nothing
    assert modes(board) == [("drawdown", "stop")]


def test_a_difference_that_is_explained_says_nothing_about_the_simulation() -> None:
    board = board_of("simulation", max_differences=1)
    board.observe(trade(at=1, realised_profit_wei=90, explained=True))
    assert not board.tripped
    board.observe(trade(at=2, realised_profit_wei=90))
    assert board.tripped


def test_orders_that_were_never_sent_are_no_runaway_loop() -> None:
    board = board_of("repeat", max_same_path=3, max_approvals=5)
    for at in range(20):
        board.observe(ApprovedOrder("ethereum", "cross_dex", 1, T0 + at))
        board.observe(ReleasedOrder("ethereum", 1, T0 + at))
    assert not board.tripped
    for at in range(3):
        board.observe(ApprovedOrder("ethereum", "cross_dex", 1, T0 + 30 + at))
    assert board.tripped


def test_a_standing_throttle_is_not_written_again_at_every_block() -> None:
    class Halts:
        def __init__(self) -> None:
            self.written = 0

        def halt(self, **_: Any) -> None:
            self.written += 1

        def in_force(self, *_: Any) -> tuple[()]:
            return ()

        def history(self) -> list[Any]:
            return []

    halts = Halts()
    board = board_of("nodes", halts, max_stale=1, heal_ms=100_000)
    for at in range(0, 40_000, 1_000):
        board.observe(block(at=at, number=at // 1_000 + 1, stale=True))
    assert board.tripped
    assert halts.written == 1


def test_a_drawdown_throttle_heals_once_it_is_better() -> None:
    board = board_of("drawdown", heal_ms=1_000)
    board.observe(trade(-CAPITAL // 50))
    board.observe(block(5_000))
    assert modes(board) == [("drawdown", "throttle")]  # time alone does not help
    board.observe(trade(CAPITAL // 100, at=5_001))
    board.observe(block(5_500))
    assert modes(board) == [("drawdown", "throttle")]
    board.observe(block(20_000))
    assert modes(board) == []
    board.observe(trade(CAPITAL // 10, at=20_000))
    board.observe(WithdrawnTrade("ethereum", CAPITAL // 10, T0 + 21_000))  # its block was orphaned
    assert modes(board)[0][1] == "stop"


@pytest.mark.parametrize(
    ("name", "values", "events", "trips"),
    [
        ("loss_rate", {}, [trade(-CAPITAL * 3 // 100)], False),
        ("loss_rate", {}, [trade(-CAPITAL * 3 // 100), trade(CAPITAL), trade(-1)], True),
        ("loss_rate", {}, [trade(-CAPITAL * 3 // 100), trade(-1, at=3_600_000)], False),
        ("reverts", {}, [trade(kind=OutcomeKind.REVERTED)] * 2 + [trade(kind=OutcomeKind.LOST)] * 9, False),
        ("reverts", {}, [trade(kind=OutcomeKind.REVERTED)] * 3, True),
        ("simulation", {}, [trade(realised_profit_wei=99)], False),
        ("simulation", {}, [trade(realised_profit_wei=99)] * 2, True),
        (
            "simulation",
            {},
            [trade(realised_profit_wei=101), trade(kind=OutcomeKind.LOST, realised_profit_wei=0)] * 9,
            False,
        ),
        ("simulation", {"tolerance_ppm": 10_000}, [trade(realised_profit_wei=99)] * 9, False),
        ("gas_error", {}, [trade(gas_used=150)] * 9, False),
        ("gas_error", {}, [trade(gas_used=151)] * 5, True),
        ("nodes", {}, [NodesDisagree("ethereum", "one says 5, the other 6", T0)], True),
        ("nodes", {}, [block(stale=True)] * 19, False),
        ("nodes", {}, [block(stale=True)] * 20, True),
        ("reorg", {}, [Reorganised("ethereum", 7, T0)], False),
        ("reorg", {}, [Reorganised("ethereum", 8, T0)], True),
        ("latency", {"blocks": 4}, [block(decided_ms=1_001), block(), block(decided_ms=9_999), block()], False),
        ("latency", {"blocks": 4}, [block(decided_ms=1_001)] * 3 + [block()], True),
        ("latency", {"blocks": 4}, [block(decided_ms=None)] * 9, False),
        ("repeat", {}, [ApprovedOrder("ethereum", "x", 5, T0)] * 29, False),
        ("repeat", {}, [ApprovedOrder("ethereum", "x", 5, T0)] * 30, True),
        ("repeat", {}, ([ApprovedOrder("ethereum", "x", 1, T0)] * 29 + [trade()]) * 2, False),
        ("repeat", {"max_approvals": 9}, [ApprovedOrder("ethereum", "x", n, T0) for n in range(9)], True),
        ("clock", {}, [block(0), block(1_000)], False),
        ("clock", {}, [block(0), block(7_000, monotonic_ms=1_000)], True),
        ("clock", {}, [block(0), block(-7_000, monotonic_ms=1_000)], True),
        ("clock", {}, [block(block_time_ms=T0 + 3_600_001)], True),
        ("ledger", {}, [Reconciled("ethereum", 0, T0)], False),
        ("ledger", {}, [Reconciled("ethereum", 1, T0)], True),
        ("ledger", {"state": "off"}, [Reconciled("ethereum", 1, T0)], False),
    ],
)
def test_each_breaker_has_its_reason(name: str, values: dict[str, Any], events: list[Event], trips: bool) -> None:
    board = board_of(name, **values)
    for event in events:
        board.observe(event)
    assert [each for each, _ in board.in_force()] == ([name] if trips else [])
    everything = board_of()
    for event in events:
        everything.observe(event)
    assert not trips or values or name in {each for each, _ in everything.in_force()}


def gate_of(folder: Path, clock: CLOCK, **breakers: Any) -> RiskGate:
    store = ControlStore(folder / "control", clock_ms=clock)
    config = RiskConfig.model_validate(
        {"kill_file": folder / "kill", "capital_wei": CAPITAL, "breakers": breakers, "max_open_attempts": 100}
    )
    gate = RiskGate(config, Mode.LIVE, ["ethereum"], clock, control=store)
    gate.equip("ethereum", board=Board("ethereum", breakers_of(config.breakers, CAPITAL), store))
    return gate


def test_a_trip_outlives_the_process_and_only_a_named_person_lifts_it(tmp_path: Path) -> None:
    clock = CLOCK()
    gate = gate_of(tmp_path, clock)
    plans = [plan_of(str(n), 10**18 + n) for n in range(9)]
    for plan in plans[:3]:
        assert isinstance(gate.check(plan, HEAD), Approved)
        gate.on_outcome(attempt_of(plan), plan, outcome_of(plan, OutcomeKind.REVERTED, 10**12, 0))
    assert reason(gate.check(plans[3], HEAD)) == "chain_halted"
    again = gate_of(tmp_path, clock)
    assert reason(again.check(plans[3], HEAD)) == "chain_halted"
    store = ControlStore(tmp_path / "control", clock_ms=clock)
    [halt] = store.all()
    assert (halt.source, halt.mode, halt.chain) == ("breaker:reverts", "stop", "ethereum")
    store.resume(Scope(source="breaker:reverts"), by="Ada Risk", why="the pool was paused")
    assert isinstance(again.check(plans[3], HEAD), Approved)
    # The process that tripped it begins to count anew.
    gate.on_block("ethereum", 11, 0, None, "ready")
    for _ in range(2):
        gate.on_outcome(attempt_of(plans[4]), plans[4], outcome_of(plans[4], OutcomeKind.REVERTED, 10**12, 0))
    assert [name for name, _ in gate.board("ethereum").in_force()] == []  # type: ignore[union-attr]


def test_a_throttle_leaves_a_part_of_the_limits_and_heals(tmp_path: Path) -> None:
    clock = CLOCK()
    gate = gate_of(tmp_path, clock)
    gate.on_reorg("ethereum", 9)
    assert reason(gate.check(plan_of("a", 13 * 10**18), HEAD)) == "max_notional"  # a quarter of 50
    assert isinstance(gate.check(plan_of("b", 12 * 10**18), HEAD), Approved)
    clock.now_ms += 300_000
    gate.on_block("ethereum", 11, 0, None, "ready")
    assert isinstance(gate.check(plan_of("a", 13 * 10**18), HEAD), Approved)


def test_what_is_in_flight_can_not_take_the_drawdown_to_its_limit(tmp_path: Path) -> None:
    # A trade may lose 0.006: eight of them are 4.8 % of the capital, nine 5.4 %.
    gate = gate_of(tmp_path, CLOCK())
    answers = [gate.check(plan_of(str(n), 10**18 + n), HEAD) for n in range(9)]
    assert all(isinstance(answer, Approved) for answer in answers[:8])
    assert reason(answers[8]) == "drawdown_room"


def test_a_damaged_store_of_halts_stops_everything(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, CLOCK())
    assert isinstance(gate.check(plan_of("a"), HEAD), Approved)
    store = ControlStore(tmp_path / "control")
    store.halt(by="Ada Risk", why="to have a file", mode="throttle", until_ms=1)
    for path in (tmp_path / "control").iterdir():
        path.write_bytes(b"\x00garbage")
    assert reason(gate.check(plan_of("b", 10**18 + 1), HEAD)) == "chain_halted"


def test_equity_after_a_restart_is_that_of_the_books(tmp_path: Path) -> None:
    class Result:
        def __init__(self, at_ms: int, net: int) -> None:
            self.chain, self.attempt_id, self.at_ms, self.net_native_wei = "ethereum", str(at_ms), at_ms, net

    history = [
        {"event": "halt", "at_ms": 1, "halts": []},
        {
            "event": "resume",
            "at_ms": 50,
            "halts": [{"source": "breaker:drawdown", "mode": "stop", "chain": "ethereum"}],
        },
    ]
    taken = drawdown_taken_ms(history, ["ethereum"])
    assert taken == {"ethereum": 50}
    gate = gate_of(tmp_path, CLOCK())
    restore_drawdown(gate, [Result(60, CAPITAL), Result(40, -CAPITAL), Result(70, -CAPITAL // 20)], taken)
    drawdown = gate.board("ethereum").drawdown  # type: ignore[union-attr]
    assert drawdown is not None
    assert (drawdown.net_wei, drawdown.peak_net_wei) == (CAPITAL * 19 // 20, CAPITAL)
    assert drawdown.drawdown_ppm == 25_000


class BreakerMachine(RuleBasedStateMachine):
    """Random events, restarts, resumes and damage against what may be said of every history."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = CLOCK()
        self.net = self.peak = 0
        self.base = CAPITAL
        self.halted = False

    @initialize(folder=st.integers(0, 2**60))
    def begin(self, folder: int) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp(prefix=f"ouro-breakers-{folder}-"))
        self.gate = gate_of(self.folder, self.clock, drawdown={"heal_ms": 1_000})
        self.store = ControlStore(self.folder / "control", clock_ms=self.clock)
        self.number = 0

    def teardown(self) -> None:
        import shutil

        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    @rule(gain=st.integers(-3, 3), seconds=st.integers(0, 400))
    def settle(self, gain: int, seconds: int) -> None:
        """A trade won or lost so many thousandths of the capital."""
        self.clock.now_ms += seconds * 1_000
        self.number += 1
        plan = plan_of(f"s{self.number}", 10**18 + self.number, profit=10**16)
        net = gain * CAPITAL // 1_000
        if net > 0:
            plan = plan_of(f"s{self.number}", 10**18 + self.number, profit=net)
            outcome = landed(plan, gas_wei=0)
        else:
            outcome = lost(plan, gas_wei=-net)
        self.gate.on_outcome(attempt_of(plan), plan, outcome)
        self.net += net
        self.peak = max(self.peak, self.net)
        if (self.peak - self.net) * 1_000_000 >= 45_000 * (self.base + self.peak):
            self.halted = True

    @rule(seconds=st.integers(1, 4_000))
    def wait(self, seconds: int) -> None:
        self.clock.now_ms += seconds * 1_000
        self.gate.on_block("ethereum", self.number, 0, None, "ready")

    @rule()
    def restart(self) -> None:
        """A new process: the store is all that it knows; the books give it its equity."""
        self.gate = gate_of(self.folder, self.clock, drawdown={"heal_ms": 1_000})
        drawdown = self.gate.board("ethereum").drawdown  # type: ignore[union-attr]
        assert drawdown is not None
        drawdown.restore(self.net, self.peak)
        if self.base != CAPITAL:
            self.net = self.peak = 0
            self.base = CAPITAL
            drawdown.restore(0, 0)

    @rule()
    def resume(self) -> None:
        """A person lifts everything that is halted, if anything is."""
        if not self.store.all():
            return
        stopped = any(halt.source == "breaker:drawdown" and halt.mode != "throttle" for halt in self.store.all())
        self.store.resume(by="Ada Risk", why="looked at it")
        board = self.gate.board("ethereum")
        assert board is not None
        tripped_here = any(name == "drawdown" and t.mode != "throttle" for name, t in board.in_force())
        assert not tripped_here
        if stopped and board.drawdown is not None:
            # From here on it counts anew: either this process reset itself, or it never had tripped.
            self.base = board.drawdown._capital
            self.net, self.peak = board.drawdown.net_wei, board.drawdown.peak_net_wei
        self.halted = False

    @invariant()
    def a_halt_stays_until_a_person_lifts_it(self) -> None:
        if not hasattr(self, "gate"):
            return
        self.number += 1
        answer = self.gate.check(plan_of(f"c{self.number}", 10**18 + self.number), HEAD)
        if isinstance(answer, Approved):
            self.gate.release("ethereum", f"c{self.number}")
        if self.halted:
            assert reason(answer) in ("chain_halted",)
            assert any(halt.mode == "stop" for halt in self.store.in_force("ethereum"))


BreakerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
