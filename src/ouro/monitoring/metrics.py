"""What the engine tells of itself. The calls only append to a queue; `Metrics.flush` counts, between blocks.

Each process writes memory-mapped files of its own under ``data_dir/metrics`` (prometheus-client's multiprocess
mode); the parent process serves the sum (`ouro.monitoring.endpoint`). A crash loses at most what was not flushed.
"""

import os
import time
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ouro.ledger.records import native_value_wei
from ouro.monitoring.catalogue import BY_NAME, METRICS, Kind
from ouro.types import Attempt, AttemptKind, BlockUpdate, Outcome, OutcomeKind, Plan, Rollback

if TYPE_CHECKING:
    from ouro.execution.submit import Submitted

FOLDER = "metrics"
_WAITING_LIMIT = 65_536
_BLOCKS_KEPT = 1_024
_SENT_KEPT = 4_096
_COIN_WEI = 10**18
_INCLUDED = "included"


class StageTimes(Protocol):
    """When a block reached its stages (`ouro.engine.stages.BlockTimes`)."""

    candidates: int
    plans: int

    def steps_us(self) -> dict[str, float]:
        """Time of each stage that was reached, since the one before, from the socket read on."""
        ...


class ChainMetrics(Protocol):
    """What one chain's engine tells; every call takes about a microsecond and never raises."""

    def block(self, update: BlockUpdate) -> None:
        """A block was applied."""
        ...

    def decided(self, times: StageTimes, looked: int, opportunities: int) -> None:
        """A block was decided on and what came of it was sent; ``looked`` are steps of the search."""
        ...

    def passed(self, *, superseded: bool) -> None:
        """A block was applied and not decided on."""
        ...

    def rolled_back(self, event: Rollback) -> None: ...
    def session(self) -> None:
        """The state of the chain was loaded."""
        ...

    def refused(self, reason: str) -> None: ...
    def submitted(self, submitted: "Submitted") -> None: ...
    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        """A final outcome; None when an earlier one is withdrawn."""
        ...

    def reconciled(self, largest_difference_wei: int) -> None:
        """Balances were compared with the books."""
        ...


class NullChainMetrics:
    """Counts nothing."""

    def block(self, update: BlockUpdate) -> None:
        """See ``ChainMetrics.block``."""

    def decided(self, times: StageTimes, looked: int, opportunities: int) -> None:
        """See ``ChainMetrics.decided``."""

    def passed(self, *, superseded: bool) -> None:
        """See ``ChainMetrics.passed``."""

    def rolled_back(self, event: Rollback) -> None:
        """See ``ChainMetrics.rolled_back``."""

    def session(self) -> None:
        """See ``ChainMetrics.session``."""

    def refused(self, reason: str) -> None:
        """See ``ChainMetrics.refused``."""

    def submitted(self, submitted: "Submitted") -> None:
        """See ``ChainMetrics.submitted``."""

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        """See ``ChainMetrics.outcome``."""

    def reconciled(self, largest_difference_wei: int) -> None:
        """See ``ChainMetrics.reconciled``."""


class NullMetrics:
    """Counts nothing: replays, tests, and ``monitoring.metrics = "off"``."""

    process = ""

    def of_chain(self, chain: str) -> ChainMetrics:
        """See ``Metrics.of_chain``."""
        del chain
        return NullChainMetrics()

    def inc(self, name: str, amount: float, *labels: str) -> None:
        """See ``Metrics.inc``."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """See ``Metrics.set``."""

    def observe(self, name: str, value: float, *labels: str) -> None:
        """See ``Metrics.observe``."""

    def flush(self) -> None:
        """See ``Metrics.flush``."""

    def close(self) -> None:
        """See ``Metrics.close``."""


class Metrics:
    """The metrics of one process; ``open`` makes it. For one thread (the engine's loop)."""

    def __init__(self, folder: Path, process: str) -> None:
        """See ``open``."""
        from prometheus_client import CollectorRegistry, Gauge, Histogram, values
        from prometheus_client import Counter as Count

        # The library reads the folder from the environment, and chooses its storage when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        storage: Any = values.MultiProcessValue()
        values.ValueClass = storage
        self.folder, self.process = folder, process
        self._storage = storage
        self._queue: deque[tuple[Any, ...]] = deque()
        self._dropped = 0
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._sums: dict[tuple[str, tuple[str, ...]], float] = {}
        self._seen: dict[tuple[str, tuple[str, ...]], list[float]] = {}
        registry = CollectorRegistry()
        made: dict[str, Any] = {}
        for metric in METRICS:
            if metric.kind is Kind.COUNTER:
                made[metric.name] = Count(metric.name, metric.help, metric.labels, registry=registry)
            elif metric.kind is Kind.GAUGE:
                made[metric.name] = Gauge(
                    metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode="mostrecent"
                )
            else:
                made[metric.name] = Histogram(
                    metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets
                )
        self._made = made
        self.set("ouro_process_start_timestamp_seconds", time.time(), process)

    @classmethod
    def open(cls, folder: Path, process: str) -> "Metrics":
        """Write to files of this process under ``folder``, which is made where it is missing.

        ``process`` names it to people ("engine", "engine-base", "alerts"). One per process: opening another folder
        redirects what is counted from then on. Raises ``OSError``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, process)

    def of_chain(self, chain: str) -> ChainMetrics:
        """The metrics of one chain."""
        return _ChainMetrics(self, chain)

    def defer(self, count: Callable[..., None], *values: Any) -> None:
        """Count with the next ``flush``."""
        if len(self._queue) >= _WAITING_LIMIT:
            self._dropped += 1
            return
        self._queue.append((count, *values))

    def inc(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter; written with the next ``flush``."""
        if amount > 0:
            key = (name, labels)
            self._sums[key] = self._sums.get(key, 0.0) + amount

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge at once."""
        self._of((name, labels)).set(value)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add to a histogram; written with the next ``flush``."""
        self._seen.setdefault((name, labels), []).append(value)

    def _of(self, key: tuple[str, tuple[str, ...]]) -> Any:
        child = self._children.get(key)
        if child is None:
            name, labels = key
            metric = self._made[name]
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child

    def flush(self) -> None:
        """Count what waits, and write it: one write for a series, however often it was told of."""
        queue = self._queue
        for _ in range(len(queue)):
            count, *values = queue.popleft()
            count(*values)
        if self._dropped:
            self.inc("ouro_metrics_dropped_total", self._dropped, self.process)
            self._dropped = 0
        sums, self._sums = self._sums, {}
        for key, amount in sums.items():
            self._of(key).inc(amount)
        seen, self._seen = self._seen, {}
        for key, values in seen.items():
            self._write_observed(key, values)

    def _write_observed(self, key: tuple[str, tuple[str, ...]], values: list[float]) -> None:
        histogram = self._of(key)
        if len(values) == 1:
            histogram.observe(values[0])
            return
        # What ``observe`` does, for many at once. The library has no public way to.
        bounds = BY_NAME[key[0]].buckets
        histogram._sum.inc(sum(values))
        for place, times in Counter(bisect_left(bounds, value) for value in values).items():
            histogram._buckets[place].inc(times)

    def close(self) -> None:
        """Count what waits and close the files; what was counted stays there."""
        self.flush()
        self._storage.close_all_files()


class _ChainMetrics:
    """See ``ChainMetrics``: the public calls queue, the private ones count."""

    def __init__(self, metrics: Metrics, chain: str) -> None:
        self._metrics, self._chain = metrics, chain
        self._received_ns: OrderedDict[int, int] = OrderedDict()
        self._sent_us: OrderedDict[str, int] = OrderedDict()

    def block(self, update: BlockUpdate) -> None:
        age_ns = time.monotonic_ns() - update.received_ns
        self._metrics.defer(
            self._block, update.number, update.timestamp, update.received_ns, time.time_ns() - age_ns
        )

    def decided(self, times: StageTimes, looked: int, opportunities: int) -> None:
        self._metrics.defer(self._decided, times, looked, opportunities)

    def passed(self, *, superseded: bool) -> None:
        result = "superseded" if superseded else "followed"
        self._metrics.defer(self._metrics.inc, "ouro_blocks_total", 1, self._chain, result)

    def rolled_back(self, event: Rollback) -> None:
        self._metrics.defer(self._rolled_back, event.to_number)

    def session(self) -> None:
        self._metrics.defer(self._metrics.inc, "ouro_sessions_total", 1, self._chain)

    def refused(self, reason: str) -> None:
        self._metrics.defer(self._metrics.inc, "ouro_refusals_total", 1, self._chain, reason)

    def submitted(self, submitted: "Submitted") -> None:
        self._metrics.defer(self._submitted, submitted)

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        self._metrics.defer(self._outcome, attempt, plan, outcome)

    def reconciled(self, largest_difference_wei: int) -> None:
        name, difference = "ouro_reconciliation_difference_native", largest_difference_wei / _COIN_WEI
        self._metrics.defer(self._metrics.set, name, difference, self._chain)

    # ------------------------------------------------------------------------------------------------ counting

    def _block(self, number: int, timestamp: int, received_ns: int, wall_ns: int) -> None:
        metrics, chain = self._metrics, self._chain
        received_s = wall_ns / 1e9
        _keep(self._received_ns, number, received_ns, _BLOCKS_KEPT)
        metrics.set("ouro_block_number", number, chain)
        metrics.set("ouro_block_timestamp_seconds", timestamp, chain)
        metrics.set("ouro_block_lag_seconds", max(received_s - timestamp, 0.0), chain)
        metrics.set("ouro_source_update_timestamp_seconds", received_s, chain, "blocks")

    def _decided(self, times: StageTimes, looked: int, opportunities: int) -> None:
        metrics, chain = self._metrics, self._chain
        metrics.inc("ouro_blocks_total", 1, chain, "decided")
        metrics.inc("ouro_cycles_evaluated_total", looked, chain)
        metrics.inc("ouro_candidates_total", times.candidates, chain)
        metrics.inc("ouro_opportunities_total", opportunities, chain)
        metrics.inc("ouro_plans_total", times.plans, chain)
        since_s = 0.0
        for stage, step_us in times.steps_us().items():
            since_s += step_us / 1e6
            metrics.observe("ouro_stage_seconds", since_s, chain, stage)
            metrics.observe("ouro_stage_step_seconds", step_us / 1e6, chain, stage)

    def _rolled_back(self, to_number: int) -> None:
        self._metrics.inc("ouro_rollbacks_total", 1, self._chain)
        for number in [number for number in self._received_ns if number > to_number]:
            del self._received_ns[number]

    def _submitted(self, submitted: "Submitted") -> None:
        attempt = submitted.attempt
        self._metrics.inc("ouro_attempts_total", 1, self._chain, attempt.lane, submitted.handover.value)
        _keep(self._sent_us, attempt.attempt_id, submitted.sent_us, _SENT_KEPT)

    def _outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
        metrics, chain = self._metrics, self._chain
        if outcome is None:
            metrics.inc("ouro_reversals_total", 1, chain)
            return
        gas = outcome.gas_cost_wei / _COIN_WEI
        metrics.inc("ouro_gas_spent_native_total", gas, chain)
        if attempt.kind is not AttemptKind.TRADE:
            return
        metrics.inc("ouro_outcomes_total", 1, chain, attempt.lane, outcome.kind.value)
        if outcome.kind is not OutcomeKind.LANDED:
            metrics.inc("ouro_wasted_gas_native_total", gas, chain)
        if plan is None:
            return
        if outcome.gas_used and plan.expected_gas:
            error = (outcome.gas_used - plan.expected_gas) / plan.expected_gas
            metrics.observe("ouro_gas_error_ratio", error, chain)
        if outcome.kind is OutcomeKind.LANDED:
            self._landed(attempt, plan, outcome)

    def _landed(self, attempt: Attempt, plan: Plan, outcome: Outcome) -> None:
        metrics, chain = self._metrics, self._chain
        gross = native_value_wei(plan, outcome.realised_profit_wei) / _COIN_WEI
        metrics.inc("ouro_gross_profit_native_total", gross, chain)
        predicted = plan.predicted_profit_wei
        difference = outcome.realised_profit_wei - predicted
        result = "exact" if difference == 0 else ("better" if difference > 0 else "worse")
        metrics.inc("ouro_predictions_total", 1, chain, result)
        if predicted > 0:
            metrics.observe("ouro_profit_error_ratio", difference / predicted, chain)
        found_ns = self._received_ns.get(plan.found_at_number)
        included_ns = None if outcome.block_number is None else self._received_ns.get(outcome.block_number)
        sent_us = self._sent_us.pop(attempt.attempt_id, None)
        if found_ns is None or included_ns is None or included_ns < found_ns:
            return
        since_s = (included_ns - found_ns) / 1e9
        metrics.observe("ouro_stage_seconds", since_s, chain, _INCLUDED)
        if sent_us is not None:
            metrics.observe("ouro_stage_step_seconds", max(since_s - sent_us / 1e6, 0.0), chain, _INCLUDED)


def _keep(kept: OrderedDict[Any, int], key: Any, value: int, limit: int) -> None:
    kept[key] = value
    if len(kept) > limit:
        kept.popitem(last=False)


AnyMetrics = Metrics | NullMetrics
