"""Once a second, what nobody calls a hook for: states, pools, endpoints, queues, memory, how late the loop is."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import psutil
import structlog

from ouro.chain.endpoint import EndpointState, EndpointStatus
from ouro.chain.errors import ChainError
from ouro.chain.quantity import parse_quantity
from ouro.config.model import ChainConfig, RiskConfig
from ouro.control import Halt
from ouro.control.model import PERSON
from ouro.monitoring.metrics import AnyMetrics
from ouro.risk.limits import Exposure

log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 0.25
SAMPLE_EVERY_S = 1.0
BALANCES_EVERY_S = 15.0
LEVELS = {"ready": 0, "delayed": 1, "stale": 2}
STATES = ("starting", "connecting", "loading", "running", "finishing", "recovering")
_COIN_WEI = 10**18


class Observed(Protocol):
    """What is looked at of a chain's engine."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> ChainConfig: ...
    @property
    def status(self) -> Any:
        """A `ouro.engine.status.ChainStatus`."""
        ...

    @property
    def state(self) -> Any:
        """A `ouro.engine.chain_state.ChainState`, None until the first is loaded."""
        ...

    @property
    def node(self) -> Any:
        """The `ouro.chain.pool.EndpointPool` of the session; None between sessions."""
        ...


class Sampler:
    """Looks at engines from their own loop; a failure of one look is logged once and costs nothing else."""

    def __init__(
        self,
        metrics: AnyMetrics,
        engines: Sequence[Observed],
        *,
        limits: Callable[[str], RiskConfig],
        exposure: Callable[[str], Exposure | None] = lambda chain: None,
        halts: Callable[[str], Iterable[Halt]] = lambda chain: (),
        queues: Callable[[], Mapping[str, int]] = dict,
        books_problem: Callable[[], object] = lambda: None,
    ) -> None:
        """``limits``, ``exposure`` and ``halts`` of a chain; ``queues`` tells depths by name,
        ``books_problem`` why the books can't be written."""
        self._metrics, self._engines = metrics, engines
        self._limits, self._exposure, self._halts = limits, exposure, halts
        self._breakers: set[tuple[str, str]] = set()
        self._queues, self._books_problem = queues, books_problem
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._peak_native: dict[str, float] = {}
        self._process = psutil.Process()
        self._complained: set[str] = set()
        self._balances: asyncio.Task[None] | None = None
        self._asked_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        due_s = time.monotonic()
        try:
            while True:
                before = time.monotonic()
                await asyncio.sleep(FLUSH_EVERY_S)
                now = time.monotonic()
                lag_s = max(now - before - FLUSH_EVERY_S, 0.0)
                self._metrics.observe("ouro_event_loop_lag_seconds", lag_s, self._metrics.process)
                self._metrics.flush()
                if now >= due_s:
                    due_s = now + SAMPLE_EVERY_S
                    self.sample()
        finally:
            if self._balances is not None:
                self._balances.cancel()
            self._guarded("flush", self._metrics.flush)
            self.look()
            self._guarded("flush", self._metrics.flush)

    def sample(self) -> None:
        """One look at everything, and the question to the nodes for balances when it is due."""
        self.look()
        now_s = time.monotonic()
        if now_s >= self._asked_s + BALANCES_EVERY_S and (self._balances is None or self._balances.done()):
            self._asked_s = now_s
            self._balances = asyncio.get_running_loop().create_task(self._ask_balances())

    def look(self) -> None:
        """One look at what is in this process."""
        self._guarded("process", self._look_at_process)
        for engine in self._engines:
            self._guarded(f"engine {engine.name}", lambda engine=engine: self._look_at_engine(engine))
            self._guarded(f"nodes {engine.name}", lambda engine=engine: self._look_at_nodes(engine))

    def _guarded(self, what: str, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:
            if what not in self._complained:
                self._complained.add(what)
                log.warning("not_sampled", what=what, error=f"{type(error).__name__}: {error}")

    def _look_at_process(self) -> None:
        metrics, name = self._metrics, self._metrics.process
        metrics.set("ouro_process_heartbeat_timestamp_seconds", time.time(), name)
        with self._process.oneshot():
            metrics.set("ouro_process_memory_bytes", self._process.memory_info().rss, name)
            times = self._process.cpu_times()
            metrics.set("ouro_process_cpu_seconds", times.user + times.system, name)
        for queue, depth in self._queues().items():
            metrics.set("ouro_queue_depth", depth, name, queue)
        metrics.set("ouro_ledger_writable", 0.0 if self._books_problem() else 1.0)

    def _look_at_engine(self, engine: Observed) -> None:
        metrics, chain, status, state = self._metrics, engine.name, engine.status, engine.state
        for known in STATES:
            metrics.set("ouro_chain_state", float(status.state == known), chain, known)
        level = status.freshness if state is None else state.freshness.level.value
        metrics.set("ouro_source_level", LEVELS.get(level, 2), chain, "blocks")
        metrics.set("ouro_open_attempts", status.open_attempts, chain)
        metrics.set("ouro_cycles", status.cycles, chain)
        net = status.net_wei / _COIN_WEI
        peak = self._peak_native[chain] = max(self._peak_native.get(chain, 0.0), net)
        metrics.set("ouro_net_profit_native", net, chain)
        metrics.set("ouro_drawdown_native", peak - net, chain)
        self._look_at_halts(chain)
        exposure = self._exposure(chain)
        if exposure is not None:
            for limit, share in limits_used(exposure, self._limits(chain)).items():
                metrics.set("ouro_limit_used_ratio", share, chain, limit)
        if state is None:
            return
        market = state.market
        quarantined = len(market.quarantine)
        unconfirmed = len(market.to_confirm)
        metrics.set("ouro_pools", len(market.states) - quarantined - unconfirmed, chain, "tradable")
        metrics.set("ouro_pools", unconfirmed, chain, "unconfirmed")
        metrics.set("ouro_pools", quarantined, chain, "quarantined")
        metrics.set("ouro_pools", len(market.rejected), chain, "rejected")
        usd = state.prices.native_usd()
        if usd is not None:
            metrics.set("ouro_native_usd", usd, chain)
            metrics.set("ouro_net_profit_usd", net * usd, chain)
            metrics.set("ouro_source_update_timestamp_seconds", time.time(), chain, "prices")

    def _look_at_halts(self, chain: str) -> None:
        halts = tuple(self._halts(chain))
        tripped = {halt.source.partition(":")[2] for halt in halts} - {""}
        people = sum(halt.source == PERSON for halt in halts)
        self._metrics.set("ouro_halts_in_force", people, chain, "person")
        self._metrics.set("ouro_halts_in_force", len(halts) - people, chain, "breaker")
        self._breakers |= {(chain, name) for name in tripped}
        for known, name in self._breakers:
            if known == chain:
                self._metrics.set("ouro_breaker_tripped", float(name in tripped), chain, name)

    def _look_at_nodes(self, engine: Observed) -> None:
        node, chain = engine.node, engine.name
        if node is None or not hasattr(node, "status"):
            return
        self._count("ouro_rpc_failovers_total", node.failovers, chain)
        statuses: Sequence[EndpointStatus] = node.status()
        for place, status in enumerate(statuses):
            self._look_at_endpoint(chain, str(place), status)

    def _look_at_endpoint(self, chain: str, place: str, status: EndpointStatus) -> None:
        # By place in the configuration: an address may hold a key, and its host says little more.
        self._count("ouro_rpc_calls_total", status.calls, chain, place)
        self._count("ouro_rpc_errors_total", status.errors, chain, place)
        self._count("ouro_rpc_rate_limited_total", status.rate_limited, chain, place)
        up = status.state is EndpointState.READY
        self._metrics.set("ouro_rpc_up", float(up), chain, place)
        if status.latency_ms is not None:
            self._metrics.set("ouro_rpc_latency_seconds", status.latency_ms / 1_000, chain, place)

    def _count(self, name: str, total: int, *labels: str) -> None:
        """A count that somebody else keeps; a smaller one is that of a new session."""
        key = (name, *labels)
        before = self._seen[key]
        self._metrics.inc(name, total - before if total >= before else total, *labels)
        self._seen[key] = total

    async def _ask_balances(self) -> None:
        for engine in self._engines:
            node, operators = engine.node, engine.config.operators
            if node is None or not operators:
                continue
            try:
                answers = await node.batch([("eth_getBalance", [who, "latest"]) for who in operators])
                balances = [parse_quantity(answer) for answer in answers if isinstance(answer, str)]
            except (ChainError, ValueError) as error:
                log.debug("balances_not_read", chain=engine.name, error=str(error))
                continue
            self._note_balances(engine, balances)

    def _note_balances(self, engine: Observed, balances: Sequence[int]) -> None:
        for place, balance in enumerate(balances):
            self._metrics.set("ouro_operator_balance_native", balance / _COIN_WEI, engine.name, str(place))
        if balances:
            worst_wei = self._limits(engine.name).max_gas_cost_wei
            self._metrics.set("ouro_gas_reserve_trades", min(balances) / worst_wei, engine.name)


def limits_used(exposure: Exposure, limits: RiskConfig) -> dict[str, float]:
    """The share of each hard limit that is used; 1 and above refuses."""
    at_risk_wei = exposure.in_flight_loss_wei + max(0, -exposure.net_today_wei)
    return {
        "open_attempts": exposure.open_attempts / limits.max_open_attempts,
        "daily_loss": at_risk_wei / limits.max_daily_loss_wei,
        "reverts_per_hour": exposure.reverts_last_hour / limits.max_reverts_per_hour,
        "wasted_gas_per_hour": exposure.wasted_gas_last_hour_wei / limits.max_wasted_gas_per_hour_wei,
    }


async def sampled(sampler: Sampler, work: Awaitable[None]) -> None:
    """``work`` with ``sampler`` beside it."""
    looking = asyncio.create_task(sampler.run(), name="sampler")
    try:
        await work
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
