"""What is counted, how it is read back, and that nothing of it can hurt the engine."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ouro.config.monitoring import MonitoringConfig
from ouro.engine.stages import BlockTimes
from ouro.execution.lanes import Handover
from ouro.execution.submit import Submitted
from ouro.monitoring.catalogue import METRICS, SERIES, Kind
from ouro.monitoring.endpoint import forget_dead, serve_metrics, served_at
from ouro.monitoring.metrics import FOLDER, Metrics, NullMetrics
from ouro.monitoring.read import Snapshot, read_metrics
from ouro.types import (
    Attempt,
    AttemptKind,
    BlockUpdate,
    FeeBid,
    Hop,
    Outcome,
    OutcomeKind,
    Plan,
    Rollback,
)

COIN = 10**18
MS = 1_000_000


def block(number: int, received_ns: int) -> BlockUpdate:
    return BlockUpdate("base", number, f"0x{number:064x}", "", 1_700_000_000, 7, 0, 0, (), received_ns)


def plan(found_at: int = 10) -> Plan:
    hop = Hop("0xpool", "uniswap_v2", "0xa", "0xb", 0, 1, 1_000, 2_000)
    return Plan(
        plan_id="p1",
        chain="base",
        hops=(hop,),
        profit_token="0xa",
        gross_profit_wei=2 * COIN,
        min_profit_wei=1,
        value_native_wei=2 * COIN,
        gas_limit=200_000,
        expected_gas=100_000,
        fee=FeeBid(1, 1, False),
        expected_net_native_wei=COIN,
        found_at_number=found_at,
        found_at_hash="0x",
        max_block_number=found_at + 1,
        lane="public",
        calldata=b"",
    )


def attempt(kind: AttemptKind = AttemptKind.TRADE) -> Attempt:
    return Attempt("0xt", "p1", "base", kind, "0xop", 1, "0xt", b"", "public", 11)


def outcome(kind: OutcomeKind, profit: int = 0, gas_used: int = 110_000) -> Outcome:
    return Outcome("0xt", kind, 11, "0xb", gas_used, COIN // 10, profit, (), (), "")


def test_the_life_of_a_trade_is_counted_stage_by_stage(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    chain = metrics.of_chain("base")
    chain.session()
    chain.block(block(10, 0))
    times = BlockTimes(10, received=1, read=2 * MS, applied=3 * MS, found=5 * MS, candidates=4, plans=2)
    chain.decided(times, looked=123, opportunities=3)
    chain.refused("daily_loss")
    chain.submitted(Submitted(attempt(), 6_000, 9_000, Handover.ACCEPTED))
    chain.block(block(11, 500 * MS))
    chain.passed(superseded=True)
    chain.outcome(attempt(), plan(), outcome(OutcomeKind.LANDED, 2 * COIN))
    assert read_metrics(tmp_path).value("ouro_blocks_total", chain="base", result="decided") is None
    metrics.flush()
    seen = read_metrics(tmp_path)
    assert seen.by("ouro_blocks_total", "result") == {"decided": 1, "superseded": 1}
    assert seen.value("ouro_block_number", chain="base") == 11
    assert seen.value("ouro_cycles_evaluated_total", chain="base") == 123
    assert seen.value("ouro_refusals_total", chain="base", reason="daily_loss") == 1
    assert seen.value("ouro_attempts_total", chain="base", lane="public", handover="accepted") == 1
    assert seen.value("ouro_outcomes_total", chain="base", lane="public", outcome="landed") == 1
    assert seen.value("ouro_gross_profit_native_total", chain="base") == pytest.approx(2.0)
    assert seen.value("ouro_gas_spent_native_total", chain="base") == pytest.approx(0.1)
    assert seen.value("ouro_predictions_total", chain="base", result="exact") == 1
    assert seen.value("ouro_profit_error_ratio_sum", chain="base") == 0
    assert seen.value("ouro_gas_error_ratio_sum", chain="base") == pytest.approx(0.1)
    assert seen.value("ouro_stage_step_seconds_sum", chain="base", stage="found") == pytest.approx(0.002)
    assert seen.value("ouro_stage_seconds_sum", chain="base", stage="found") == pytest.approx(0.005)
    assert seen.value("ouro_stage_seconds_sum", chain="base", stage="included") == pytest.approx(0.5)
    assert seen.value("ouro_stage_step_seconds_sum", chain="base", stage="included") == pytest.approx(0.491)
    assert seen.chains() == ["base"]
    metrics.close()


def test_losses_cancels_and_withdrawn_outcomes(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    chain = metrics.of_chain("base")
    chain.outcome(attempt(), plan(), outcome(OutcomeKind.LOST))
    chain.outcome(attempt(), plan(), None)
    chain.outcome(attempt(AttemptKind.CANCEL), None, outcome(OutcomeKind.LANDED))
    chain.outcome(attempt(), plan(), outcome(OutcomeKind.LANDED, COIN))
    chain.rolled_back(Rollback("base", 9, "0x", ()))
    chain.reconciled(COIN // 4)
    metrics.flush()
    seen = read_metrics(tmp_path)
    assert seen.by("ouro_outcomes_total", "outcome") == {"landed": 1, "lost": 1}
    assert seen.value("ouro_wasted_gas_native_total", chain="base") == pytest.approx(0.1)
    assert seen.value("ouro_gas_spent_native_total", chain="base") == pytest.approx(0.3)
    assert seen.value("ouro_reversals_total", chain="base") == 1
    assert seen.value("ouro_predictions_total", chain="base", result="worse") == 1
    assert seen.value("ouro_rollbacks_total", chain="base") == 1
    assert seen.value("ouro_reconciliation_difference_native", chain="base") == 0.25
    metrics.close()


def test_no_more_waits_than_fits_and_what_was_dropped_is_told(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    chain = metrics.of_chain("base")
    for _ in range(65_536 + 5):
        chain.refused("stale")
    metrics.flush()
    seen = read_metrics(tmp_path)
    assert seen.total("ouro_refusals_total") == 65_536
    assert seen.value("ouro_metrics_dropped_total", process="engine") == 5
    metrics.close()


def test_nothing_is_counted_where_metrics_are_off(tmp_path: Path) -> None:
    metrics = NullMetrics()
    chain = metrics.of_chain("base")
    chain.block(block(1, 1))
    chain.decided(BlockTimes(1), 1, 1)
    chain.outcome(attempt(), plan(), outcome(OutcomeKind.LANDED))
    metrics.set("ouro_block_number", 1, "base")
    metrics.flush()
    metrics.close()
    assert read_metrics(tmp_path) == Snapshot()


_CHILD = """
import sys
from pathlib import Path
from ouro.monitoring.metrics import Metrics
metrics = Metrics.open(Path(sys.argv[1]), sys.argv[2])
metrics.inc("ouro_opportunities_total", 5, sys.argv[2])
metrics.inc("ouro_reversals_total", 1, "both")
metrics.set("ouro_block_number", 7, sys.argv[2])
metrics.close()
"""


def test_one_endpoint_serves_the_sum_over_processes(tmp_path: Path) -> None:
    folder = tmp_path / "with blanks" / FOLDER
    with serve_metrics(folder.parent, "127.0.0.1:0") as served:
        for name in ("one", "two"):
            subprocess.run([sys.executable, "-c", _CHILD, str(folder), name], check=True, timeout=60)
        assert served_at(folder.parent) == served.url
        with urllib.request.urlopen(served.url, timeout=30) as answer:  # noqa: S310
            text = answer.read().decode()
        assert 'ouro_opportunities_total{chain="one"} 5.0' in text
        assert 'ouro_block_number{chain="two"} 7.0' in text
        assert 'ouro_reversals_total{chain="both"} 2.0' in text
        assert read_metrics(folder.parent).total("ouro_opportunities_total") == 10
    assert served_at(folder.parent) == ""
    # Both processes are gone, so the next parent begins anew.
    forget_dead(folder)
    assert read_metrics(folder.parent).total("ouro_opportunities_total") == 0


def test_a_taken_port_is_told_and_hurts_nobody(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with serve_metrics(tmp_path, listen, told.append) as served:
            assert served.url == ""
            assert served_at(tmp_path) == ""
    [text] = told
    assert listen in text
    assert "Address already in use" in text
    assert "trading goes on" in text
    assert "monitoring.listen" in text


def test_off_serves_nothing(tmp_path: Path) -> None:
    with serve_metrics(tmp_path, MonitoringConfig(metrics="off").address) as served:
        assert (served.url, served.problem) == ("", "monitoring.listen is off")
    assert list(tmp_path.iterdir()) == []


def test_an_address_file_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for told in ({"url": "http://127.0.0.1:1", "pid": int(gone.stdout)}, {"pid": os.getpid()}, []):
        (folder / "endpoint.json").write_text(json.dumps(told))
        assert served_at(tmp_path) == ""


@pytest.mark.parametrize("listen", ["", "9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80"])
def test_a_wrong_address_is_refused_with_the_form(listen: str) -> None:
    with pytest.raises(ValueError, match="host:port is expected"):
        MonitoringConfig(listen=listen)


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert metric.name.startswith("ouro_")
        assert metric.help.endswith("."), metric.name
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total"), metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert len(metric.labels) <= 3
    assert "ouro_stage_seconds_bucket" in SERIES


def test_many_observations_at_once_are_counted_as_one_by_one(tmp_path: Path) -> None:
    values = [-1.0, -0.5, -0.3, 0.0, 0.0, 1e-6, 0.5, 0.6, 40.0]
    counted: list[Snapshot] = []
    for name, steps in (("once", [values]), ("singly", [[value] for value in values])):
        metrics = Metrics.open(tmp_path / name / FOLDER, "engine")
        for part in steps:
            for value in part:
                metrics.observe("ouro_profit_error_ratio", value, "base")
            metrics.flush()
        counted.append(read_metrics(tmp_path / name))
        metrics.close()
    once, singly = counted
    assert once.buckets("ouro_profit_error_ratio") == singly.buckets("ouro_profit_error_ratio")
    assert once.total("ouro_profit_error_ratio_count") == len(values)
    assert once.total("ouro_profit_error_ratio_sum") == pytest.approx(sum(values))


def test_quantiles_of_a_histogram_lie_in_their_bucket(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path / FOLDER, "engine")
    assert read_metrics(tmp_path).quantile("ouro_stage_seconds", 0.5) is None
    for ms in (1, 2, 3, 4, 100):
        metrics.observe("ouro_stage_seconds", ms / 1_000, "base", "sent")
    metrics.observe("ouro_stage_seconds", 1_000.0, "other", "sent")
    metrics.flush()
    seen = read_metrics(tmp_path)
    middle = seen.quantile("ouro_stage_seconds", 0.5, chain="base", stage="sent")
    assert middle is not None
    assert 0.002 < middle <= 0.003
    assert seen.quantile("ouro_stage_seconds", 1.0, chain="other") == 30.0
    assert sum(times for _, times in seen.buckets("ouro_stage_seconds", chain="base")) == 5
    metrics.close()
