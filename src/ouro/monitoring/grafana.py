"""Grafana dashboards as values; `ouro.monitoring.generate` writes them as JSON that Grafana provisions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 39
_DATASOURCE = {"type": "prometheus", "uid": "${source}"}
_COLUMNS = 24
_CHAIN = 'chain=~"$chain"'

_RED, _YELLOW, _GREEN, _BLUE = "red", "yellow", "green", "blue"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; ``legend`` in Grafana's template form."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; ``width`` of 24 columns. ``steps``: (from value, colour) beside green."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    help: str = ""
    steps: tuple[tuple[float | None, str], ...] = ()
    mappings: tuple[tuple[str, str, str], ...] = ()
    stacked: bool = False
    limits: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Row:
    """A heading with the panels under it."""

    title: str
    panels: tuple[Panel, ...] = field(default_factory=tuple)


def _q(expr: str, legend: str = "") -> Query:
    return Query(expr, legend)


def _stat(title: str, expr: str, unit: str, legend: str = "{{chain}}", **more: Any) -> Panel:
    return Panel(title, (_q(expr, legend),), unit, "stat", more.pop("width", 4), more.pop("height", 4), **more)


_LEVEL = (("0", "ready", _GREEN), ("1", "delayed", _YELLOW), ("2", "stale", _RED))

_HEALTH = (
    _stat(
        "Freshness",
        f'ouro_source_level{{{_CHAIN},source="blocks"}}',
        "none",
        help="0 ready, 1 delayed, 2 stale: nothing is traded on a stale chain.",
        steps=((1, _YELLOW), (2, _RED)),
        mappings=_LEVEL,
    ),
    _stat(
        "Age of the last block",
        f"chain:ouro_block_age_seconds:now{{{_CHAIN}}}",
        "s",
        steps=((3, _YELLOW), (10, _RED)),
    ),
    _stat(
        "Net profit, session", f"ouro_net_profit_usd{{{_CHAIN}}}", "currencyUSD", steps=((None, _RED), (0, _GREEN))
    ),
    _stat(
        "Landed, last hour",
        f"chain:ouro_success:ratio1h{{{_CHAIN}}}",
        "percentunit",
        steps=((None, _RED), (0.3, _YELLOW), (0.7, _GREEN)),
    ),
    _stat(
        "Halts in force",
        f"sum by (chain) (ouro_halts_in_force{{{_CHAIN}}})",
        "none",
        steps=((1, _RED),),
    ),
    _stat(
        "Block to lane, p99",
        f'chain_stage:ouro_stage_seconds:p99_5m{{{_CHAIN},stage="sent"}}',
        "s",
        steps=((0.05, _YELLOW), (0.25, _RED)),
    ),
)

_MONEY = (
    Panel("Net profit of the session", (_q(f"ouro_net_profit_native{{{_CHAIN}}}", "{{chain}}"),), help="In coins."),
    Panel(
        "Drawdown", (_q(f"ouro_drawdown_native{{{_CHAIN}}}", "{{chain}}"),), help="Coins below the session's peak."
    ),
    Panel(
        "Gas, coins an hour",
        (
            _q(f"sum by (chain) (rate(ouro_gas_spent_native_total{{{_CHAIN}}}[15m])) * 3600", "{{chain}}"),
            _q(
                f"sum by (chain) (rate(ouro_wasted_gas_native_total{{{_CHAIN}}}[15m])) * 3600",
                "{{chain}}, of trades that did not land",
            ),
        ),
    ),
)

_FUNNEL = (
    Panel(
        "Funnel, a second",
        (
            _q(f"sum(rate(ouro_candidates_total{{{_CHAIN}}}[5m]))", "found"),
            _q(f"sum(rate(ouro_opportunities_total{{{_CHAIN}}}[5m]))", "opportunities"),
            _q(f"sum(rate(ouro_plans_total{{{_CHAIN}}}[5m]))", "plans"),
            _q(f"sum(rate(ouro_attempts_total{{{_CHAIN}}}[5m]))", "attempts"),
            _q(f'sum(rate(ouro_outcomes_total{{{_CHAIN},outcome="landed"}}[5m]))', "landed"),
        ),
        "ops",
        width=12,
    ),
    Panel(
        "Why not: refusals by reason, a second",
        (_q(f"topk(10, sum by (reason) (rate(ouro_refusals_total{{{_CHAIN}}}[5m])))", "{{reason}}"),),
        "ops",
        width=12,
        stacked=True,
    ),
    Panel(
        "Outcomes, a second",
        (_q(f"sum by (outcome) (rate(ouro_outcomes_total{{{_CHAIN}}}[5m]))", "{{outcome}}"),),
        "ops",
        width=12,
        stacked=True,
    ),
    Panel(
        "Attempts by lane and answer, a second",
        (_q(f"sum by (lane, handover) (rate(ouro_attempts_total{{{_CHAIN}}}[5m]))", "{{lane}} {{handover}}"),),
        "ops",
        width=12,
    ),
)

_STAGES = (
    Panel(
        "From the socket to each stage, p50",
        (_q(f"chain_stage:ouro_stage_seconds:p50_5m{{{_CHAIN}}}", "{{chain}} {{stage}}"),),
        "s",
        width=12,
    ),
    Panel(
        "From the socket to each stage, p99",
        (_q(f"chain_stage:ouro_stage_seconds:p99_5m{{{_CHAIN}}}", "{{chain}} {{stage}}"),),
        "s",
        width=12,
    ),
    Panel(
        "Each stage by itself, p99",
        (_q(f"chain_stage:ouro_stage_step_seconds:p99_5m{{{_CHAIN}}}", "{{chain}} {{stage}}"),),
        "s",
        width=12,
    ),
    Panel(
        "Socket to lane",
        (
            _q(
                f'sum by (le) (increase(ouro_stage_seconds_bucket{{{_CHAIN},stage="sent"}}[$__rate_interval]))',
                "{{le}}",
            ),
        ),
        "s",
        "heatmap",
        width=12,
    ),
)

_MACHINE = (
    Panel(
        "Event loop lag, p99",
        (
            _q(
                "histogram_quantile(0.99, sum by (process, le) (rate(ouro_event_loop_lag_seconds_bucket[5m])))",
                "{{process}}",
            ),
        ),
        "s",
    ),
    Panel("Queues", (_q("ouro_queue_depth", "{{process}} {{queue}}"),)),
    Panel("Memory", (_q("ouro_process_memory_bytes", "{{process}}"),), "bytes"),
    Panel("Processor", (_q("deriv(ouro_process_cpu_seconds[2m])", "{{process}}"),), "percentunit"),
    Panel(
        "Sign of life",
        (_q("time() - ouro_process_heartbeat_timestamp_seconds", "{{process}}"),),
        "s",
        steps=((15, _RED),),
    ),
    Panel("Observations dropped", (_q("sum by (process) (rate(ouro_metrics_dropped_total[5m]))", "{{process}}"),)),
)

_NODES = (
    Panel(
        "Requests, a second",
        (_q(f"sum by (chain, endpoint) (rate(ouro_rpc_calls_total{{{_CHAIN}}}[5m]))", "{{chain}} #{{endpoint}}"),),
        "ops",
    ),
    Panel(
        "Share that failed",
        (_q(f"chain_endpoint:ouro_rpc_errors:ratio5m{{{_CHAIN}}}", "{{chain}} #{{endpoint}}"),),
        "percentunit",
        limits=(0, None),
    ),
    Panel(
        "Refused for the quota, ten minutes",
        (
            _q(
                f"sum by (chain, endpoint) (increase(ouro_rpc_rate_limited_total{{{_CHAIN}}}[10m]))",
                "{{chain}} #{{endpoint}}",
            ),
        ),
    ),
    Panel("Answer time", (_q(f"ouro_rpc_latency_seconds{{{_CHAIN}}}", "{{chain}} #{{endpoint}}"),), "s"),
    Panel("Usable", (_q(f"ouro_rpc_up{{{_CHAIN}}}", "{{chain}} #{{endpoint}}"),), "none", "state-timeline"),
    Panel(
        "Changes of endpoint",
        (_q(f"sum by (chain) (increase(ouro_rpc_failovers_total{{{_CHAIN}}}[10m]))", "{{chain}}"),),
    ),
)

_TRUTH = (
    Panel(
        "Landed as simulated",
        (_q(f"sum by (result) (increase(ouro_predictions_total{{{_CHAIN}}}[15m]))", "{{result}}"),),
        stacked=True,
    ),
    Panel(
        "Profit, executed against simulated: middle nine tenths",
        (
            _q(
                f"histogram_quantile(0.05, sum by (le) (rate(ouro_profit_error_ratio_bucket{{{_CHAIN}}}[15m])))",
                "p5",
            ),
            _q(
                f"histogram_quantile(0.95, sum by (le) (rate(ouro_profit_error_ratio_bucket{{{_CHAIN}}}[15m])))",
                "p95",
            ),
        ),
        "percentunit",
    ),
    Panel(
        "Gas, used against expected: middle nine tenths",
        (
            _q(f"histogram_quantile(0.05, sum by (le) (rate(ouro_gas_error_ratio_bucket{{{_CHAIN}}}[15m])))", "p5"),
            _q(
                f"histogram_quantile(0.95, sum by (le) (rate(ouro_gas_error_ratio_bucket{{{_CHAIN}}}[15m])))", "p95"
            ),
        ),
        "percentunit",
    ),
)

_RISK = (
    Panel(
        "Limits: share used",
        (_q(f"ouro_limit_used_ratio{{{_CHAIN}}}", "{{chain}} {{limit}}"),),
        "percentunit",
        "bargauge",
        width=12,
        steps=((0.5, _YELLOW), (0.8, _RED)),
        limits=(0, 1),
    ),
    Panel(
        "Limits over time",
        (_q(f"ouro_limit_used_ratio{{{_CHAIN}}}", "{{chain}} {{limit}}"),),
        "percentunit",
        width=12,
        steps=((0.8, _RED),),
        limits=(0, None),
    ),
    Panel(
        "Breakers",
        (_q(f"ouro_breaker_tripped{{{_CHAIN}}}", "{{chain}} {{breaker}}"),),
        "none",
        "state-timeline",
        width=12,
        steps=((1, _RED),),
    ),
    Panel("Halts", (_q(f"ouro_halts_in_force{{{_CHAIN}}}", "{{chain}} {{source}}"),), width=12, steps=((1, _RED),)),
    Panel(
        "Balances against the books",
        (_q(f"ouro_reconciliation_difference_native{{{_CHAIN}}}", "{{chain}}"),),
        width=8,
        steps=((0.000000000000000001, _RED),),
        help="Anything but 0 has to be explained.",
    ),
    Panel("Coins for gas", (_q(f"ouro_operator_balance_native{{{_CHAIN}}}", "{{chain}} operator {{operator}}"),)),
    Panel(
        "Worst-case transactions left",
        (_q(f"ouro_gas_reserve_trades{{{_CHAIN}}}", "{{chain}}"),),
        steps=((None, _RED), (20, _YELLOW), (100, _GREEN)),
    ),
    Panel("Books can be written", (_q("ouro_ledger_writable", "ledger"),), "none", "state-timeline"),
    Panel(
        "Alerts waiting",
        (_q("ouro_alerts_waiting", "{{destination}}"),),
        help="Not delivered yet; they are tried again.",
    ),
    Panel(
        "Since the last alert that was delivered",
        (_q("time() - ouro_alerts_delivered_timestamp_seconds", "{{destination}}"),),
        "s",
    ),
)

_MARKET = (
    Panel("Pools", (_q(f"ouro_pools{{{_CHAIN}}}", "{{chain}} {{state}}"),), stacked=True),
    Panel("Cycles in the graph", (_q(f"ouro_cycles{{{_CHAIN}}}", "{{chain}}"),)),
    Panel(
        "Steps of the search, a second",
        (_q(f"sum by (chain) (rate(ouro_cycles_evaluated_total{{{_CHAIN}}}[5m]))", "{{chain}}"),),
        "ops",
    ),
    Panel(
        "Blocks, a second",
        (_q(f"sum by (chain, result) (rate(ouro_blocks_total{{{_CHAIN}}}[5m]))", "{{chain}} {{result}}"),),
        "ops",
        stacked=True,
    ),
    Panel("From block time to our socket", (_q(f"ouro_block_lag_seconds{{{_CHAIN}}}", "{{chain}}"),), "s"),
    Panel("Block", (_q(f"ouro_block_number{{{_CHAIN}}}", "{{chain}}"),), "none"),
    Panel(
        "Reorganisations and reloads, ten minutes",
        (
            _q(f"sum by (chain) (increase(ouro_rollbacks_total{{{_CHAIN}}}[10m]))", "{{chain}} rolled back"),
            _q(f"sum by (chain) (increase(ouro_sessions_total{{{_CHAIN}}}[10m]))", "{{chain}} loaded anew"),
            _q(f"sum by (chain) (increase(ouro_reversals_total{{{_CHAIN}}}[10m]))", "{{chain}} outcomes withdrawn"),
        ),
    ),
    Panel("Open attempts", (_q(f"ouro_open_attempts{{{_CHAIN}}}", "{{chain}}"),)),
    Panel("State", (_q(f"ouro_chain_state{{{_CHAIN}}} == 1", "{{chain}} {{state}}"),), "none", "state-timeline"),
)

DASHBOARDS: dict[str, tuple[str, tuple[Row, ...]]] = {
    "overview": (
        "Ouro: overview",
        (Row("Is it healthy?", _HEALTH), Row("What did it earn?", _MONEY), Row("Why did it not trade?", _FUNNEL)),
    ),
    "latency": (
        "Ouro: latency",
        (Row("From the socket to the lane", _STAGES), Row("The machine", _MACHINE), Row("The nodes", _NODES)),
    ),
    "risk": ("Ouro: risk", (Row("Limits, breakers, books, gas", _RISK), Row("Does it do as simulated?", _TRUTH))),
    "chain": (
        "Ouro: one chain",
        (
            Row("Health", _HEALTH),
            Row("Blocks and pools", _MARKET),
            Row("Money", _MONEY),
            Row("Funnel", _FUNNEL),
            Row("Latency", _STAGES),
            Row("Nodes", _NODES),
        ),
    ),
}
"""By name of the file: title and rows. ``chain`` is one chain at a time, the others any."""


def dashboard(name: str) -> dict[str, Any]:
    """The JSON document of one dashboard."""
    title, rows = DASHBOARDS[name]
    return {
        "uid": f"ouro-{name}",
        "title": title,
        "tags": ["ouro"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "5s",
        "links": [{"type": "dashboards", "title": "Ouro", "tags": ["ouro"], "asDropdown": False, "keepTime": True}],
        "templating": {"list": [_source_variable(), _chain_variable(several=name != "chain")]},
        "annotations": {"list": [_alert_annotation()]},
        "panels": list(_laid_out(rows)),
    }


def expressions() -> Iterator[str]:
    """Every query of every dashboard."""
    for _, rows in DASHBOARDS.values():
        for row in rows:
            for panel in row.panels:
                yield from (query.expr for query in panel.queries)


def _laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for row in rows:
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, top, left, highest = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left, highest = top + highest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, number, place)
            number, left, highest = number + 1, left + panel.width, max(highest, panel.height)
        top += highest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = list(panel.steps)
    if not steps or steps[0][0] is not None:
        steps.insert(0, (None, _GREEN if panel.steps else _BLUE))
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in steps]},
        "mappings": [
            {"type": "value", "options": {value: {"text": text, "color": colour, "index": k}}}
            for k, (value, text, colour) in enumerate(panel.mappings)
        ],
        "noValue": "–",
    }
    low, high = panel.limits
    defaults |= {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    if panel.kind == "timeseries":
        defaults["custom"] = _lines(panel)
    else:
        defaults["color"] = {"mode": "thresholds"}
    targets = [
        {"refId": chr(ord("A") + k), "datasource": _DATASOURCE, "expr": query.expr, "legendFormat": query.legend}
        | ({"format": "heatmap"} if panel.kind == "heatmap" else {})
        for k, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": targets,
    }


def _lines(panel: Panel) -> dict[str, Any]:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
    }


def _options(kind: str) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if kind == "stat":
        return {"reduceOptions": last, "colorMode": "background", "graphMode": "area", "textMode": "auto"}
    if kind == "bargauge":
        return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}
    if kind == "heatmap":
        return {"calculate": False, "color": {"scheme": "Blues", "mode": "scheme"}, "yAxis": {"unit": "s"}}
    if kind == "state-timeline":
        return {"showValue": "never", "mergeValues": True, "legend": {"showLegend": True}}
    return {
        "tooltip": {"mode": "multi", "sort": "desc"},
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}


def _chain_variable(*, several: bool) -> dict[str, Any]:
    everything = {"text": ["All"], "value": ["$__all"]} if several else {}
    return {
        "name": "chain",
        "label": "Chain",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": "label_values(ouro_chain_state, chain)", "refId": "chains"},
        "definition": "label_values(ouro_chain_state, chain)",
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "current": everything,
    }


def _alert_annotation() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "enable": True,
        "iconColor": _RED,
        "datasource": _DATASOURCE,
        "expr": 'ALERTS{alertname=~"Ouro.*",alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{chain}}",
    }
