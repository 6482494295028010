"""Every metric that Ouro exports: name, kind, labels, meaning. Rules, dashboards and documents are held to it.

Base units as Prometheus wants them: seconds, coins of the chain (``native``), ratios. Labels are bounded by the
configuration or by an enumeration in the code (chain, lane, stage, reason); never a pool, a hash, an id.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
)  # fmt: skip
LAG_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
ERROR_BUCKETS = (-0.5, -0.1, -0.01, -0.001, -0.000001, 0.0, 0.000001, 0.001, 0.01, 0.1, 0.5)
GAS_ERROR_BUCKETS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One metric."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series that Prometheus stores of it."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(self.name + suffix for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)


def _counter(name: str, text: str, *labels: str) -> MetricDef:
    return MetricDef(name, Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> MetricDef:
    return MetricDef(name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> MetricDef:
    return MetricDef(name, Kind.HISTOGRAM, text, labels, buckets)


METRICS: tuple[MetricDef, ...] = (
    # Blocks and market
    _gauge("ouro_block_number", "Number of the block that the engine stands on.", "chain"),
    _gauge("ouro_block_timestamp_seconds", "Unix time of the block that the engine stands on.", "chain"),
    _gauge("ouro_block_lag_seconds", "From the block's own time stamp to its bytes on our socket.", "chain"),
    _counter(
        "ouro_blocks_total",
        "Blocks: decided on, superseded (a newer one was waiting), or only followed.",
        "chain",
        "result",
    ),
    _counter("ouro_rollbacks_total", "Reorganisations that were rolled back.", "chain"),
    _counter("ouro_sessions_total", "Times that the state of a chain was loaded anew.", "chain"),
    _gauge("ouro_source_update_timestamp_seconds", "Unix time of the last update of a source.", "chain", "source"),
    _gauge("ouro_source_level", "Freshness of a source: 0 ready, 1 delayed, 2 stale.", "chain", "source"),
    _gauge("ouro_chain_state", "1 for the state that the chain's engine is in.", "chain", "state"),
    _gauge("ouro_pools", "Pools by state: tradable, unconfirmed, quarantined, rejected.", "chain", "state"),
    _gauge("ouro_cycles", "Cycles in the graph of the watched pools (counted up to five million).", "chain"),
    # The search
    _counter(
        "ouro_cycles_evaluated_total",
        "Steps of the complete search through the touched pools (edges walked; bounds cover the rest).",
        "chain",
    ),
    _counter("ouro_candidates_total", "Cycles that the search found above the costs.", "chain"),
    _counter("ouro_opportunities_total", "Opportunities after exact sizing.", "chain"),
    _counter("ouro_plans_total", "Plans that were judged.", "chain"),
    _counter("ouro_refusals_total", "Plans that were not sent, by reason.", "chain", "reason"),
    _histogram(
        "ouro_stage_seconds", "From the socket read of a block to each stage.", LATENCY_BUCKETS, "chain", "stage"
    ),
    _histogram("ouro_stage_step_seconds", "Time of each stage by itself.", LATENCY_BUCKETS, "chain", "stage"),
    # Trading
    _counter("ouro_attempts_total", "Signed transactions, by what the lane said.", "chain", "lane", "handover"),
    _counter("ouro_outcomes_total", "Final outcomes of trades.", "chain", "lane", "outcome"),
    _counter("ouro_reversals_total", "Outcomes that a reorganisation withdrew.", "chain"),
    _gauge("ouro_open_attempts", "Attempts that are open or not yet final.", "chain"),
    _counter("ouro_gross_profit_native_total", "Realised profit before gas, in coins.", "chain"),
    _counter("ouro_gas_spent_native_total", "Gas paid, in coins; cancels included.", "chain"),
    _counter("ouro_wasted_gas_native_total", "Gas paid by trades that did not land, in coins.", "chain"),
    _gauge("ouro_net_profit_native", "Net profit of this session, in coins.", "chain"),
    _gauge("ouro_net_profit_usd", "Net profit of this session at the recorded price.", "chain"),
    _gauge("ouro_drawdown_native", "How far net profit is below its peak of this session, in coins.", "chain"),
    _gauge("ouro_native_usd", "Price of the native coin.", "chain"),
    _histogram(
        "ouro_profit_error_ratio",
        "(executed - simulated) / simulated profit of landed trades.",
        ERROR_BUCKETS,
        "chain",
    ),
    _counter(
        "ouro_predictions_total", "Landed trades by amounts: exact to the wei, better, worse.", "chain", "result"
    ),
    _histogram(
        "ouro_gas_error_ratio",
        "(used - expected) / expected gas of included trades.",
        GAS_ERROR_BUCKETS,
        "chain",
    ),
    # Risk
    _gauge("ouro_limit_used_ratio", "Share of a hard limit that is used.", "chain", "limit"),
    _gauge("ouro_halts_in_force", "Halts that hold for the chain, by who set them.", "chain", "source"),
    _gauge("ouro_breaker_tripped", "1 while the breaker holds the chain.", "chain", "breaker"),
    _gauge("ouro_operator_balance_native", "Coins for gas of an operator, by its place.", "chain", "operator"),
    _gauge("ouro_gas_reserve_trades", "Worst-case transactions that the poorest operator can pay.", "chain"),
    _gauge(
        "ouro_reconciliation_difference_native",
        "Largest difference of a balance from the books (units of 1e18).",
        "chain",
    ),
    _gauge("ouro_ledger_writable", "0 while the books cannot be written; then nothing is traded."),
    # Endpoints
    _counter("ouro_rpc_calls_total", "Requests to a node.", "chain", "endpoint"),
    _counter("ouro_rpc_errors_total", "Requests that failed.", "chain", "endpoint"),
    _counter("ouro_rpc_rate_limited_total", "Requests refused for the provider's quota.", "chain", "endpoint"),
    _counter("ouro_rpc_failovers_total", "Changes to another endpoint.", "chain"),
    _gauge("ouro_rpc_latency_seconds", "Moving average of the time of an answer.", "chain", "endpoint"),
    _gauge("ouro_rpc_up", "1 while the endpoint is usable.", "chain", "endpoint"),
    # The machine
    _histogram("ouro_event_loop_lag_seconds", "How late a timer fires.", LAG_BUCKETS, "process"),
    _gauge("ouro_queue_depth", "Waiting items of a queue.", "process", "queue"),
    _gauge("ouro_process_heartbeat_timestamp_seconds", "Unix time of the last sign of life.", "process"),
    _gauge("ouro_process_start_timestamp_seconds", "Unix time when the process began.", "process"),
    _gauge("ouro_process_memory_bytes", "Resident memory.", "process"),
    _gauge("ouro_process_cpu_seconds", "Processor time used.", "process"),
    _counter("ouro_metrics_dropped_total", "Observations dropped because too many waited.", "process"),
    _gauge("ouro_alerts_waiting", "Alerts that have not been delivered yet.", "destination"),
    _gauge("ouro_alerts_delivered_timestamp_seconds", "Unix time of the last delivery.", "destination"),
)

BY_NAME = {metric.name: metric for metric in METRICS}
SERIES = {series for metric in METRICS for series in metric.series}
assert len(BY_NAME) == len(METRICS)
