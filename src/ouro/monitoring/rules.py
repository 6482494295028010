"""Recording and alert rules of Prometheus, as values; `ouro.monitoring.generate` writes them as files.

Every alert has a page of the same name under ``docs/runbooks``: what it means, where to look, what to do.
"""

from dataclasses import dataclass
from typing import Any, Literal

RUNBOOKS = "docs/runbooks"
"""In the checkout; ``python -m ouro.monitoring.generate --runbooks URL`` writes another place (your site)."""

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that dashboards and alerts share."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a person should know. ``last`` is how long it has to hold; texts may use Prometheus'
    templates."""

    name: str
    severity: Severity
    expr: str
    last: str
    summary: str
    todo: str

    @property
    def runbook(self) -> str:
        """The file of its page."""
        return f"{_kebab(self.name)}.md"


RECORDINGS: tuple[Recording, ...] = (
    Recording("chain:ouro_block_age_seconds:now", 'time() - ouro_source_update_timestamp_seconds{source="blocks"}'),
    Recording(
        "chain:ouro_success:ratio1h",
        'sum by (chain) (increase(ouro_outcomes_total{outcome="landed"}[1h])) '
        "/ sum by (chain) (increase(ouro_outcomes_total[1h]))",
    ),
    Recording(
        "chain:ouro_net_native:increase1h",
        "sum by (chain) (increase(ouro_gross_profit_native_total[1h])) "
        "- sum by (chain) (increase(ouro_gas_spent_native_total[1h]))",
    ),
    Recording(
        "chain:ouro_inexact:ratio1h",
        'sum by (chain) (increase(ouro_predictions_total{result!="exact"}[1h])) '
        "/ sum by (chain) (increase(ouro_predictions_total[1h]))",
    ),
    Recording(
        "chain_stage:ouro_stage_seconds:p50_5m",
        "histogram_quantile(0.5, sum by (chain, stage, le) (rate(ouro_stage_seconds_bucket[5m])))",
    ),
    Recording(
        "chain_stage:ouro_stage_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (chain, stage, le) (rate(ouro_stage_seconds_bucket[5m])))",
    ),
    Recording(
        "chain_stage:ouro_stage_step_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (chain, stage, le) (rate(ouro_stage_step_seconds_bucket[5m])))",
    ),
    Recording(
        "chain_endpoint:ouro_rpc_errors:ratio5m",
        "sum by (chain, endpoint) (rate(ouro_rpc_errors_total[5m])) "
        "/ sum by (chain, endpoint) (rate(ouro_rpc_calls_total[5m]))",
    ),
)

ALERTS: tuple[Alert, ...] = (
    Alert(
        "OuroDown",
        "critical",
        'absent(up{job="ouro"} == 1)',
        "1m",
        "Ouro's metrics can't be read",
        "Is the process running? If so, is it another port than Prometheus reads?",
    ),
    Alert(
        "OuroEngineDead",
        "critical",
        'time() - ouro_process_heartbeat_timestamp_seconds{process=~"engine.*"} > 15',
        "10s",
        "{{ $labels.process }} has given no sign of life for {{ $value | humanizeDuration }}",
        "Look at its log; the next start follows what the journal has open.",
    ),
    Alert(
        "OuroChainStale",
        "critical",
        'ouro_source_level{source="blocks"} == 2',
        "30s",
        "{{ $labels.chain }} is stale: nothing is traded there",
        "Its nodes do not deliver blocks. Compare with an explorer; add or change endpoints.",
    ),
    Alert(
        "OuroChainDelayed",
        "warning",
        'ouro_source_level{source="blocks"} == 1',
        "2m",
        "{{ $labels.chain }} lags behind",
        "Blocks come late: the node's, the network's or this machine's fault.",
    ),
    Alert(
        "OuroChainNotRunning",
        "warning",
        'sum by (chain) (ouro_chain_state{state=~"running|finishing"}) == 0',
        "3m",
        "{{ $labels.chain }} does not run",
        "It can't be loaded or connected to: `ouro status` says why.",
    ),
    Alert(
        "OuroHalted",
        "critical",
        "sum by (chain, source) (ouro_halts_in_force) > 0",
        "0s",
        "{{ $labels.chain }} is halted by a {{ $labels.source }}",
        "Read the reason (`ouro status`), cure it, and resume with name and reason.",
    ),
    Alert(
        "OuroBreakerTripped",
        "critical",
        "ouro_breaker_tripped == 1",
        "0s",
        "breaker {{ $labels.breaker }} holds {{ $labels.chain }}",
        "A breaker found what must not go on. Its runbook says what it saw.",
    ),
    Alert(
        "OuroBooksDiffer",
        "critical",
        "ouro_reconciliation_difference_native != 0",
        "0s",
        "{{ $labels.chain }}: a balance differs from the books by {{ $value }}",
        "Stop trading there until every unit is explained: `ouro reconcile`.",
    ),
    Alert(
        "OuroLedgerNotWritable",
        "critical",
        "ouro_ledger_writable == 0",
        "10s",
        "the books can't be written: nothing is traded",
        "Free the disk, or bring the database back; the queue is written then.",
    ),
    Alert(
        "OuroDrawdown",
        "critical",
        'ouro_limit_used_ratio{limit="daily_loss"} > 0.8',
        "0s",
        "{{ $labels.chain }} has used {{ $value | humanizePercentage }} of its daily loss",
        "Look at the last losses with `ouro trades --outcome lost`, and why with `ouro why`.",
    ),
    Alert(
        "OuroLimitNear",
        "warning",
        'ouro_limit_used_ratio{limit!~"daily_loss|open_attempts"} > 0.8',
        "0s",
        "{{ $labels.chain }}: {{ $value | humanizePercentage }} of {{ $labels.limit }} is used",
        "Trades fail more than usual: a rival, a changed pool, or a bug.",
    ),
    Alert(
        "OuroReverted",
        "warning",
        'sum by (chain) (increase(ouro_outcomes_total{outcome="reverted"}[10m])) > 0',
        "0s",
        "{{ $labels.chain }}: a trade reverted that no rival explains",
        "That would be our own mistake: `ouro trades --outcome reverted`, `ouro why`.",
    ),
    Alert(
        "OuroPredictionInexact",
        "warning",
        "chain:ouro_inexact:ratio1h > 0.2",
        "10m",
        "{{ $labels.chain }}: {{ $value | humanizePercentage }} of the trades did not land as simulated",
        "Rivals go first (expected), or a pool's state is wrong: `ouro doctor`.",
    ),
    Alert(
        "OuroSuccessLow",
        "warning",
        "chain:ouro_success:ratio1h < 0.3 and sum by (chain) (increase(ouro_outcomes_total[1h])) > 20",
        "10m",
        "{{ $labels.chain }}: only {{ $value | humanizePercentage }} of the attempts land",
        "Bids too low, too late, or a private lane is needed.",
    ),
    Alert(
        "OuroLosing",
        "warning",
        "chain:ouro_net_native:increase1h < 0",
        "15m",
        "{{ $labels.chain }} lost {{ $value | humanize }} coins within the hour",
        "Gas of failed trades is more than what landed brought.",
    ),
    Alert(
        "OuroSlow",
        "warning",
        'chain_stage:ouro_stage_seconds:p99_5m{stage="sent"} > 0.25',
        "10m",
        "{{ $labels.chain }}: {{ $value | humanizeDuration }} from block to lane (p99)",
        "See which stage grew on the latency dashboard.",
    ),
    Alert(
        "OuroEventLoopLag",
        "warning",
        "histogram_quantile(0.99, sum by (process, le) (rate(ouro_event_loop_lag_seconds_bucket[5m]))) > 0.1",
        "5m",
        "{{ $labels.process }}: the loop is {{ $value | humanizeDuration }} late (p99)",
        "The processor is too busy for what runs on it.",
    ),
    Alert(
        "OuroRpcErrors",
        "warning",
        "chain_endpoint:ouro_rpc_errors:ratio5m > 0.1",
        "5m",
        "{{ $labels.chain }}, endpoint {{ $labels.endpoint }}: {{ $value | humanizePercentage }} of requests fail",
        "See `ouro status` for the endpoint's own words; change the order or the provider.",
    ),
    Alert(
        "OuroRpcQuota",
        "warning",
        "sum by (chain, endpoint) (increase(ouro_rpc_rate_limited_total[10m])) > 5",
        "0s",
        "{{ $labels.chain }}, endpoint {{ $labels.endpoint }} refuses requests for its quota",
        "A larger plan, another provider, or fewer pools.",
    ),
    Alert(
        "OuroGasTankLow",
        "critical",
        "ouro_gas_reserve_trades < 20",
        "1m",
        "{{ $labels.chain }}: an operator can pay {{ $value | humanize }} more transactions at worst",
        "Send native coins to the operator.",
    ),
    Alert(
        "OuroPoolsQuarantined",
        "warning",
        'sum by (chain) (ouro_pools{state="quarantined"}) / sum by (chain) (ouro_pools) > 0.05',
        "10m",
        "{{ $labels.chain }}: {{ $value | humanizePercentage }} of the pools are in quarantine",
        "`ouro doctor` compares them with calls and names the fields.",
    ),
    Alert(
        "OuroReorgs",
        "info",
        "sum by (chain) (increase(ouro_rollbacks_total[10m])) > 5",
        "0s",
        "{{ $labels.chain }}: {{ $value | humanize }} reorganisations in ten minutes",
        "A node on a minority fork, or an unquiet network: raise finality_depth.",
    ),
    Alert(
        "OuroQueueDeep",
        "warning",
        "ouro_queue_depth > 5000",
        "1m",
        "{{ $labels.process }}: {{ $value }} wait in {{ $labels.queue }}",
        "What empties it is too slow: the disk, mostly.",
    ),
    Alert(
        "OuroAlertsNotDelivered",
        "warning",
        "ouro_alerts_waiting > 0",
        "5m",
        "{{ $value }} alerts wait for {{ $labels.destination }}",
        "`ouro alerts list` says why; `ouro alerts test` tries again.",
    ),
)


def recording_groups() -> dict[str, Any]:
    """The document of the recording rules."""
    rules = [{"record": rule.record, "expr": rule.expr} for rule in RECORDINGS]
    return {"groups": [{"name": "ouro", "interval": "15s", "rules": rules}]}


def alert_groups(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """The document of the alert rules; ``runbooks`` is where their pages are read."""
    rules = [_rule(alert, runbooks) for alert in ALERTS]
    return {"groups": [{"name": "ouro-alerts", "interval": "15s", "rules": rules}]}


def _rule(alert: Alert, runbooks: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.last,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.todo,
            "runbook_url": f"{runbooks}/{alert.runbook}",
        },
    }


def _kebab(name: str) -> str:
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.lstrip("-").removeprefix("ouro-")
