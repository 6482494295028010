"""Short form of the exhaustive model, and that its detector is awake."""

import random

import pytest
from model import Case, Machine, Revert, cases, outcome, search
from modelworld import Bytecode
from world import BUILDS


def test_nothing_suspicious_in_all_programs_of_two_operations() -> None:
    states, passed, bad = search(2, pairs=False)
    print(f"model: {states} states, {passed} went through")
    assert states == 26_100
    assert passed > 5000
    assert bad == []


@pytest.mark.parametrize("build", BUILDS)
def test_bytecode_agrees_on_a_sample(build: str) -> None:
    bytecode = Bytecode(build)
    chosen = random.Random(3).sample(list(cases(3, pairs=False)), 400)
    assert [case for case in chosen if bytecode.outcome(case) != outcome(case)[0]] == []


class Forgetful(Machine):
    """Does not compare balances."""

    def compare(self, before: dict[str, int]) -> None:
        del before


class Trusting(Machine):
    """Does not authenticate callbacks."""

    def authenticate(self, sender: str, shape: int, data: tuple[str, ...]) -> None:
        if self.expected is None:
            raise Revert("not now")


class Generous(Machine):
    """Leaves approvals."""

    def lend(self, op: str, rest: tuple[str, ...]) -> None:
        super().lend(op, rest)
        if op == "morpho":
            self.allowance = 1

    def revoke(self) -> None:
        """Not even where a venue left something."""


def test_detector_sees_what_a_wrong_contract_would_allow() -> None:
    for wrong, ops in ((Forgetful, ("send",)), (Generous, ("morpho",)), (Generous, ("exchange",))):
        case = Case(ops, ("X",), "honest", "honest")
        assert outcome(case)[1] == []
        assert outcome(case, wrong)[1]


def test_model_tells_a_contract_without_authentication_apart() -> None:
    differing = [case for case in cases(2, pairs=False) if outcome(case)[0] != outcome(case, Trusting)[0]]
    assert differing
