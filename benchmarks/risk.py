"""What the check of an order costs: ``ouro bench risk``, or a row of ``ouro bench``.

The gate is a running engine's: thirteen rules by scope and time, eleven breakers, a store of halts on disk, 10,000
denied addresses, the collar against four other pools of each pair, kill files. CPU time of this thread, so
that a busy machine doesn't count; the aim is 20 µs.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ouro.config.model import RiskConfig
from ouro.config.risk import LimitRule, ScreeningConfig
from ouro.control import ControlStore
from ouro.risk.approved import Approved
from ouro.risk.breakers import Board, breakers_of
from ouro.risk.budget import Budgets
from ouro.risk.collar import PoolReferences
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.risk.screening import load_screening
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Mode, Outcome, OutcomeKind, Plan

AIM_US = 20.0
_COIN = 10**18
_GWEI = 10**9
_POOLS_A_PAIR = 5

RULES = tuple(
    LimitRule.model_validate(values)
    for values in (
        {"measure": "notional", "per": "trade", "max_wei": 50 * _COIN},
        {"measure": "notional", "per": "minute", "max_wei": 10**6 * _COIN},
        {"measure": "notional", "per": "day", "max_wei": 10**7 * _COIN},
        {"measure": "notional", "scope": "token", "per": "hour", "max_wei": 10**7 * _COIN},
        {"measure": "notional", "scope": "pool", "per": "hour", "max_wei": 10**7 * _COIN},
        {"measure": "gas", "per": "hour", "max_wei": 10**6 * _COIN},
        {"measure": "bid", "per": "hour", "max_wei": 10**6 * _COIN},
        {"measure": "loss", "per": "minute", "max_wei": 10**6 * _COIN},
        {"measure": "loss", "scope": "strategy", "per": "day", "max_wei": 10**7 * _COIN},
        {"measure": "open", "scope": "pool", "max_count": 10**6},
        {"measure": "open", "scope": "account", "max_count": 10**6},
        {"measure": "messages", "per": "second", "max_count": 10**6},
        {"measure": "concentration", "scope": "pool", "per": "day", "max_share_ppm": 1_000_000},
    )
)


def _address(kind: int, number: int) -> str:
    return f"0x{kind:08x}{number:032x}"


TOKENS = tuple(_address(1, number) for number in range(3))


@dataclass
class _Arrays:
    """Three tokens, five pools for each pair of them: as the market's arrays have them."""

    edge_pool: "np.ndarray"
    edge_token_in: "np.ndarray"
    edge_token_out: "np.ndarray"
    seg_start: "np.ndarray"
    seg_count: "np.ndarray"
    segs: "np.ndarray"
    enabled: "np.ndarray"
    token_index: dict[str, int]

    @property
    def n_edges(self) -> int:
        return len(self.edge_pool)


def arrays_and_pools() -> tuple[_Arrays, dict[str, int]]:
    """The market of the bench, and its pools' ids."""
    pairs = [(0, 1), (1, 2), (2, 0)]
    pools = {_address(2, number): number for number in range(len(pairs) * _POOLS_A_PAIR)}
    rows = [
        (number, one, other)
        for number in pools.values()
        for one, other in (pairs[number // _POOLS_A_PAIR], pairs[number // _POOLS_A_PAIR][::-1])
    ]
    columns = np.array(rows, dtype=np.int32).T
    count = len(rows)
    segs = np.tile(np.array([[1e21, 1e21, 0.997, 1e24]]), (count, 1))
    arrays = _Arrays(
        columns[0], columns[1], columns[2], np.arange(count), np.ones(count, dtype=np.int32), segs,
        np.ones(len(pools), dtype=bool),
        {token: number for number, token in enumerate(TOKENS)},
    )  # fmt: skip
    return arrays, pools


def plan_of(number: int, at: int, hops: int = 3) -> Plan:
    """A triangular trade; each number is another order."""
    amounts = [_COIN + number, _COIN + number, _COIN + number, _COIN + number + 10**16]
    pools = [_address(2, (number + k) % _POOLS_A_PAIR + k * _POOLS_A_PAIR) for k in range(hops)]
    path = tuple(
        Hop(pools[k], "uniswap_v2", TOKENS[k], TOKENS[(k + 1) % 3], 0, 1, amounts[k], amounts[k + 1])
        for k in range(hops)
    )
    return Plan(
        plan_id=f"p{number}",
        chain="ethereum",
        hops=path,
        profit_token=TOKENS[0],
        gross_profit_wei=10**16,
        min_profit_wei=1,
        value_native_wei=10**16,
        gas_limit=600_000,
        expected_gas=300_000,
        fee=FeeBid(20 * _GWEI, _GWEI, legacy=False),
        expected_net_native_wei=4 * 10**15,
        found_at_number=at,
        found_at_hash="0xhead",
        max_block_number=at + 1,
        lane="public",
        calldata=b"\x01" * 300,
    )


@contextmanager
def equipped(folder: Path) -> Iterator[tuple[RiskGate, ChainCondition]]:
    """A gate with everything, and the condition of a chain."""
    deny = folder / "deny.json"
    today = time.strftime("%Y-%m-%d", time.gmtime())
    deny.write_text(json.dumps({"as_of": today, "deny": [_address(9, number) for number in range(10_000)]}))
    config = RiskConfig(
        kill_file=folder / "kill", max_daily_loss_wei=10**9 * _COIN, max_open_attempts=10**9,
        capital_wei=10**9 * _COIN, limits=RULES, screening=ScreeningConfig(file=deny),
    )  # fmt: skip
    repeat = config.breakers.repeat.model_copy(update={"max_approvals": 10**9, "max_same_path": 10**9})
    breakers = config.breakers.model_copy(update={"repeat": repeat})
    store = ControlStore(folder / "control")
    gate = RiskGate(config, Mode.LIVE, ["ethereum"], control=store)
    gate.equip(
        "ethereum",
        board=Board("ethereum", breakers_of(breakers, config.risk_capital_wei), store),
        screening=load_screening(config.screening),
        budgets=Budgets.of("ethereum", config.limits, folder / "budgets.json"),
    )
    arrays, pools = arrays_and_pools()
    yield gate, ChainCondition(10, "0xhead", "ready", references=PoolReferences(arrays, pools), native_usd=2_000.0)


def measure(orders: int) -> tuple[list[float], int]:
    """CPU µs of each check, and how many were approved; each order is settled before the next."""
    times: list[float] = []
    approved = 0
    with tempfile.TemporaryDirectory() as folder, equipped(Path(folder)) as (gate, condition):
        for number in range(orders):
            plan = plan_of(number, 10)
            began = time.thread_time_ns()
            answer = gate.check(plan, condition)
            times.append((time.thread_time_ns() - began) / 1_000)
            if not isinstance(answer, Approved):
                raise AssertionError(answer)
            approved += 1
            attempt = Attempt(
                f"a{number}", plan.plan_id, plan.chain, AttemptKind.TRADE, "0x1", number, "", b"", "public", 11
            )
            gate.on_outcome(
                attempt,
                plan,
                Outcome(attempt.attempt_id, OutcomeKind.LANDED, 11, "0xb", 250_000, 10**15, 10**16, (), (), ""),
            )
    return times, approved


def refusals_cost_less() -> None:
    """A refusal is an answer, too: the same order again."""
    with tempfile.TemporaryDirectory() as folder, equipped(Path(folder)) as (gate, condition):
        plan = plan_of(1, 10)
        assert isinstance(gate.check(plan, condition), Approved)
        assert not isinstance(gate.check(replace(plan, plan_id="again"), condition), Approved)


def row(orders: int = 20_000) -> dict[str, float]:
    """Figures of the check: median, p99 and mean, CPU µs."""
    measure(500)
    times, approved = measure(orders)
    times.sort()
    return {
        "orders": float(approved),
        "median_us": times[len(times) // 2],
        "p99_us": times[len(times) * 99 // 100],
        "mean_us": sum(times) / len(times),
        "aim_us": AIM_US,
    }


def main(quick: bool = False, output: Path | None = None) -> None:
    """Print the row."""
    refusals_cost_less()
    figures = row(500 if quick else 20_000)
    sys.stdout.write(
        f"check of an order, {len(RULES)} rules, 11 breakers: median {figures['median_us']:.1f} µs, "
        f"p99 {figures['p99_us']:.1f} µs (aim {AIM_US:.0f} µs, CPU)\n"
    )
    if output is not None:
        output.write_text(json.dumps({"risk_check": figures}, indent=1))


if __name__ == "__main__":
    main()
