"""Plans, outcomes and gates that the tests of this room share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ouro.config.model import RiskConfig
from ouro.risk.approved import Approved
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Mode, Outcome, OutcomeKind, Plan, Refused

WETH, DAI = "0x" + "ee" * 20, "0x" + "da" * 20
POOLS = tuple("0x" + f"{number:040x}" for number in range(1, 5))
HEAD = ChainCondition(10, "0xhead", "ready")
GWEI = 10**9


class CLOCK:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ms = 1_000 * 86_400_000 + 5

    def __call__(self) -> int:
        return self.now_ms


def plan_of(name: str = "p", amount: int = 10**18, profit: int = 10**16, **changes: Any) -> Plan:
    """A good plan of two hops; its gas may cost 0.006 coins."""
    plan = Plan(
        plan_id=name,
        chain="ethereum",
        hops=(
            Hop(POOLS[0], "uniswap_v2", WETH, DAI, 0, 1, amount, 2000 * amount),
            Hop(POOLS[1], "uniswap_v3", DAI, WETH, 1, 0, 2000 * amount, amount + profit),
        ),
        profit_token=WETH,
        gross_profit_wei=profit,
        min_profit_wei=1,
        value_native_wei=profit,
        gas_limit=300_000,
        expected_gas=200_000,
        fee=FeeBid(20 * GWEI, GWEI, legacy=False),
        expected_net_native_wei=profit - 4 * 10**15,
        found_at_number=10,
        found_at_hash="0xhead",
        max_block_number=11,
        lane="public",
        calldata=b"\x01",
    )
    return replace(plan, **changes)


def gate_with(
    folder: Path, rules: Sequence[dict[str, Any]], clock: CLOCK | None = None, **sections: Any
) -> RiskGate:
    """A gate with these rules and no breakers."""
    config = RiskConfig.model_validate({"kill_file": folder / "kill", "limits": list(rules), **sections})
    return RiskGate(config, Mode.LIVE, ["ethereum"], clock or CLOCK(), state_dir=folder / "risk")


def attempt_of(plan: Plan, name: str = "", kind: AttemptKind = AttemptKind.TRADE) -> Attempt:
    """The transaction of a plan."""
    attempt_id = name or f"a-{plan.plan_id}"
    return Attempt(attempt_id, plan.plan_id, plan.chain, kind, "0x1", 0, attempt_id, b"", "public", 11)


def outcome_of(plan: Plan, kind: OutcomeKind, gas_wei: int, profit_wei: int, gas_used: int = 0) -> Outcome:
    """What became of it."""
    return Outcome(f"a-{plan.plan_id}", kind, 11, "0xb", gas_used, gas_wei, profit_wei, (), (), "")


def landed(plan: Plan, gas_wei: int = 10**15) -> Outcome:
    """As predicted."""
    return outcome_of(plan, OutcomeKind.LANDED, gas_wei, plan.predicted_profit_wei, plan.expected_gas)


def lost(plan: Plan, gas_wei: int = 10**15) -> Outcome:
    """Somebody was faster."""
    return outcome_of(plan, OutcomeKind.LOST, gas_wei, 0)


def reason(answer: Approved | Refused) -> str:
    """Why it was refused, which it must have been."""
    assert isinstance(answer, Refused), "approved"
    assert answer.detail
    return answer.reason
