"""Stages: up only by proof and by a person, down by themselves, whatever happens in between."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ouro.audit import AuditChain, verify
from ouro.capital import files
from ouro.capital.errors import CapitalError
from ouro.capital.evidence import Evidence, demotion, gate_problems
from ouro.capital.stages import ChainStage, StageStore, next_stage
from ouro.config.capital import STAGES, StageGates, StagesConfig
from ouro.flock import lock_within

CONFIG = StagesConfig(state="on")


def evidence(stage: str = "canary", **changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "chain": "ethereum",
        "stage": stage,
        "since_ms": 0,
        "until_ms": 1_000 * 3_600_000,
        "trades": 10_000,
        "landed": 10_000,
        "success_lower_ppm": 990_000,
        "success_upper_ppm": 1_000_000,
        "drawdown_ppm": 0,
        "uptime_ppm": 1_000_000,
        "reconciliations": 10,
        "broken_reconciliations": 0,
        "unexplained": 0,
    }
    return Evidence(**(values | changes))


class Stages(RuleBasedStateMachine):
    """Proposals, approvals, falls, restarts and damaged files in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now_ms = 1
        self.audited: list[tuple[str, dict[str, Any]]] = []
        self.stage = "observe"
        self.proposed = False
        self.open()

    def open(self) -> None:
        self.store = StageStore(
            self.folder / "stages.json",
            lambda kind, body: self.audited.append((kind, dict(body))),
            clock_ms=lambda: self.now_ms,
        )

    @rule()
    def restart(self) -> None:
        self.open()

    @rule(step=st.integers(1, 10**6))
    def time_passes(self, step: int) -> None:
        self.now_ms += step

    @rule()
    def propose(self) -> None:
        if self.stage == "full":
            with pytest.raises(CapitalError, match="none above"):
                self.store.propose("ethereum", {})
            return
        made = self.store.propose("ethereum", {"n": 1})
        assert made.stage == self.stage
        assert made.proposal is not None
        assert made.proposal.to == next_stage(made.stage)
        self.proposed = True

    @rule(by=st.sampled_from(["", " ", "Ada"]), why=st.sampled_from(["", "ran well"]), gates=st.booleans())
    def approve(self, by: str, why: str, gates: bool) -> None:
        good = by.strip() and why and gates and self.proposed
        if not good:
            with pytest.raises(CapitalError):
                self.store.approve("ethereum", by=by, why=why, confirm=lambda _: "" if gates else "trades: 1")
            return
        made = self.store.approve("ethereum", by=by, why=why, confirm=lambda _: "")
        assert STAGES.index(made.stage) == STAGES.index(self.stage) + 1  # type: ignore[arg-type]
        assert (made.by, made.why, made.since_ms) == (by, why, self.now_ms)
        self.stage, self.proposed = made.stage, False

    @rule(to=st.sampled_from(STAGES))
    def demote(self, to: str) -> None:
        below = STAGES.index(to) < STAGES.index(self.stage)  # type: ignore[arg-type]
        self.store.demote("ethereum", to, "drawdown")  # type: ignore[arg-type]
        if below:
            self.stage, self.proposed = to, False

    @rule()
    def withdraw(self) -> None:
        self.store.withdraw("ethereum", "uptime")
        self.proposed = False

    @precondition(lambda self: (self.folder / "stages.json").exists())
    @rule(text=st.sampled_from(["", "{", "[]", '{"format":1,"chains":{"ethereum":{"stage":"rich"}}}']))
    def damage(self, text: str) -> None:
        """A damaged file means observe, loudly; what was there comes back with the file."""
        path = self.folder / "stages.json"
        good = path.read_text()
        path.write_text(text)
        self.store = StageStore(path, lambda *_: None)
        assert self.store.of("ethereum").stage == "observe"
        assert self.store.problem
        with pytest.raises(CapitalError):
            self.store.propose("ethereum", {})
        path.write_text(good)
        self.open()

    @invariant()
    def it_stands_where_it_was_put(self) -> None:
        if not hasattr(self, "store"):
            return
        at = self.store.of("ethereum")
        assert at.stage == self.stage
        assert (at.proposal is not None) == self.proposed
        assert self.store.of("other") == ChainStage()

    @invariant()
    def every_rise_has_a_person(self) -> None:
        if not hasattr(self, "store"):
            return
        level = 0
        for kind, body in self.audited:
            if kind == "stage_approved":
                assert body["by"].strip()
                assert body["why"]
                assert STAGES.index(body["to"]) == level + 1
                level += 1
            elif kind == "stage_demoted":
                assert STAGES.index(body["to"]) < level
                level = STAGES.index(body["to"])
        assert STAGES[level] == self.stage


Stages.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestStages = Stages.TestCase


def test_a_change_that_can_not_be_audited_does_not_hold(tmp_path: Path) -> None:
    def full(kind: str, body: Any) -> None:
        raise OSError(28, "No space left on device")

    store = StageStore(tmp_path / "stages.json", full)
    with pytest.raises(OSError, match="No space"):
        store.propose("ethereum", {})
    assert store.of("ethereum") == ChainStage()


def test_changes_are_in_the_audit_chain(tmp_path: Path) -> None:
    with AuditChain.open(tmp_path / "audit", writer="operator") as chain:
        store = StageStore(tmp_path / "stages.json", lambda kind, body: chain.append(kind, body, durable=True))
        store.begin("ethereum")
        store.propose("ethereum", evidence("observe").as_json())
        store.approve("ethereum", by="Ada", why="it looks well", confirm=lambda _: "")
    assert verify(tmp_path / "audit").ok
    lines = (tmp_path / "audit" / "operator.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["chain_opened", "stage_began", "stage_proposed", "stage_approved"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"until_ms": 0}, "hours"),
        ({"trades": 199}, "trades"),
        ({"success_lower_ppm": 699_999}, "lower bound"),
        ({"drawdown_ppm": 50_001}, "drawdown"),
        ({"uptime_ppm": 994_999}, "uptime"),
        ({"reconciliations": 0}, "comparisons of books"),
        ({"broken_reconciliations": 1}, "differences"),
        ({"unexplained": 1}, "double entry"),
    ],
)
def test_each_gate_holds_alone(changes: dict[str, Any], said: str) -> None:
    gates = CONFIG.canary.gates
    assert gate_problems(evidence(), gates) == []
    (problem,) = gate_problems(evidence(**changes), gates)
    assert said in problem


def test_when_it_falls_and_how_deep() -> None:
    limited = CONFIG.limited
    assert demotion(evidence("limited"), limited) is None
    assert demotion(evidence("limited", drawdown_ppm=35_001), limited) is not None
    drawdown = demotion(evidence("limited", drawdown_ppm=40_000), limited)
    assert drawdown is not None
    assert drawdown[0] == "canary"
    broken = demotion(evidence("limited", broken_reconciliations=1), limited)
    assert broken is not None
    assert broken[0] == "paper"
    failing = demotion(evidence("canary", success_upper_ppm=499_999), CONFIG.canary)
    assert failing is not None
    assert failing[0] == "paper"
    assert demotion(evidence("paper", broken_reconciliations=1), CONFIG.paper) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"observe": {"caps": {"sends": "yes"}}}, "observe.caps.sends"),
        ({"canary": {"caps": {"notional_ppm": 900_000}}}, "notional_ppm"),
        ({"canary": {"gates": {"success_ppm": 2_000_000}}}, "success_ppm"),
        ({"evaluate_every_s": 0}, "evaluate_every_s"),
    ],
)
def test_bad_settings_are_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        StagesConfig.model_validate(change)
    assert StageGates().min_hours == 24


def test_a_lock_that_is_never_let_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "lock_within", lambda lock: lock_within(lock, 0.0))
    with files.exclusive(tmp_path), pytest.raises(CapitalError, match="another process"), files.exclusive(tmp_path):
        pass
    with files.exclusive(tmp_path):
        pass
