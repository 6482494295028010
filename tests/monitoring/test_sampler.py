"""What is looked at once a second, of engines that are as odd as they get."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ouro.chain.endpoint import EndpointState, EndpointStatus
from ouro.chain.errors import TransportError
from ouro.config.load import load_config
from ouro.config.model import ChainConfig, RiskConfig
from ouro.control import Halt
from ouro.engine.status import ChainStatus
from ouro.monitoring.metrics import FOLDER, Metrics
from ouro.monitoring.read import read_metrics
from ouro.monitoring.sampler import Sampler, limits_used, sampled
from ouro.risk.limits import Exposure

EXAMPLE = Path(__file__).parents[2] / "docs" / "ouro.example.toml"


@dataclass
class Node:
    """The part of an endpoint pool that is looked at."""

    balances: list[Any] = field(default_factory=list)
    calls: int = 10
    failovers: int = 1

    def status(self) -> tuple[EndpointStatus, ...]:
        ready = EndpointStatus("ws://a", EndpointState.READY, True, "", 5.0, self.calls, 2, 100, 1)
        return ready, EndpointStatus("ws://b", EndpointState.DOWN, False, "gone", None, 1, 1, None)

    async def batch(self, calls: list[Any]) -> list[Any]:
        if not self.balances:
            raise TransportError("gone")
        return self.balances[: len(calls)]


@dataclass
class Engine:
    """The part of a chain's engine that is looked at."""

    name: str
    config: ChainConfig
    status: ChainStatus
    node: Any = None
    state: Any = None


def chain_config() -> ChainConfig:
    return next(iter(load_config(EXAMPLE, {}).chains.values()))


def market(quarantined: int) -> Any:
    return SimpleNamespace(
        freshness=SimpleNamespace(level=SimpleNamespace(value="delayed")),
        market=SimpleNamespace(states=range(10), quarantine=range(quarantined), to_confirm=[1], rejected={"x": ""}),
        prices=SimpleNamespace(native_usd=lambda: 2_000.0),
    )


async def test_states_pools_nodes_and_money_are_sampled(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    operator = "0x" + "11" * 20
    config = chain_config().model_copy(update={"operators": (operator, operator)})
    status = ChainStatus("base", state="running", freshness="ready", cycles=7, open_attempts=2, net_wei=3 * 10**18)
    engine = Engine("base", config, status, Node([hex(10**18), hex(2 * 10**17)]), market(2))
    halts = [
        Halt("h1", None, None, "stop", "ann", "lunch", "person", 0),
        Halt("h2", "base", None, "stop", "breaker", "reverts", "breaker:reverts", 0),
    ]
    sampler = Sampler(
        metrics,
        [engine],
        limits=lambda _: RiskConfig(),
        exposure=lambda _: Exposure(4, 0, -(10**17), 0, 0),
        halts=lambda _: halts,
        queues=lambda: {"ledger": 3},
        books_problem=lambda: "disk full",
    )
    sampler.sample()
    halts.pop()
    status.net_wei = 10**18
    engine.node.calls = 25
    while "ouro_gas_reserve_trades" not in read_metrics(tmp_path).values:  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.01)
    sampler.look()
    metrics.flush()
    seen = read_metrics(tmp_path)
    assert seen.by("ouro_chain_state", "state")["running"] == 1
    assert seen.total("ouro_chain_state") == 1
    assert seen.value("ouro_source_level", chain="base", source="blocks") == 1
    assert seen.by("ouro_pools", "state") == {"quarantined": 2, "rejected": 1, "tradable": 7, "unconfirmed": 1}
    assert seen.value("ouro_drawdown_native", chain="base") == pytest.approx(2)
    assert seen.value("ouro_net_profit_usd", chain="base") == pytest.approx(2_000)
    assert seen.value("ouro_limit_used_ratio", chain="base", limit="open_attempts") == 0.5
    assert seen.value("ouro_limit_used_ratio", chain="base", limit="daily_loss") == pytest.approx(0.1)
    assert seen.value("ouro_rpc_calls_total", chain="base", endpoint="0") == 25
    assert seen.value("ouro_rpc_rate_limited_total", chain="base", endpoint="0") == 1
    assert seen.by("ouro_halts_in_force", "source") == {"person": 1, "breaker": 0}
    assert seen.value("ouro_breaker_tripped", chain="base", breaker="reverts") == 0
    assert seen.by("ouro_rpc_up", "endpoint") == {"0": 1, "1": 0}
    assert seen.value("ouro_rpc_latency_seconds", chain="base", endpoint="0") == pytest.approx(0.005)
    assert seen.value("ouro_operator_balance_native", chain="base", operator="1") == pytest.approx(0.2)
    assert seen.value("ouro_gas_reserve_trades", chain="base") == pytest.approx(2)
    assert seen.value("ouro_queue_depth", process="engine", queue="ledger") == 3
    assert seen.value("ouro_ledger_writable") == 0
    assert (seen.value("ouro_process_memory_bytes", process="engine") or 0) > 1_000_000
    metrics.close()


async def test_a_new_sessions_counts_begin_at_nothing(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    engine = Engine("base", chain_config(), ChainStatus("base"), Node(calls=10))
    sampler = Sampler(metrics, [engine], limits=lambda _: RiskConfig())
    sampler.look()
    engine.node = None
    sampler.look()
    engine.node = Node(calls=4)
    sampler.look()
    metrics.flush()
    assert read_metrics(tmp_path).value("ouro_rpc_calls_total", chain="base", endpoint="0") == 14
    metrics.close()


async def test_an_engine_that_cannot_be_looked_at_costs_the_others_nothing(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    broken = Engine("broken", chain_config(), ChainStatus("broken"), state=object())
    good = Engine("good", chain_config(), ChainStatus("good", outcomes=Counter()), Node([]))

    async def work() -> None:
        while read_metrics(tmp_path).total("ouro_event_loop_lag_seconds_count") < 2:  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        await sampled(Sampler(metrics, [broken, good], limits=lambda _: RiskConfig()), work())
    seen = read_metrics(tmp_path)
    assert seen.value("ouro_chain_state", chain="good", state="starting") == 1
    assert seen.value("ouro_process_heartbeat_timestamp_seconds", process="engine") is not None
    metrics.close()


def test_limits_count_what_is_in_flight_as_lost() -> None:
    used = limits_used(Exposure(8, 5 * 10**17, -(5 * 10**17), 3, 3 * 10**17), RiskConfig())
    assert set(used.values()) == {1.0}
