"""Rules, dashboards, runbooks and containers: generated, complete, and about metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ouro.config.monitoring import split_address
from ouro.monitoring.catalogue import BY_NAME, METRICS, SERIES, Kind
from ouro.monitoring.generate import files, main
from ouro.monitoring.grafana import DASHBOARDS, dashboard, expressions
from ouro.monitoring.rules import ALERTS, RECORDINGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = ROOT / "docs" / "runbooks"
_RECORDED = re.compile(r"[a-z_]+:[a-z_]+:[a-z0-9_]+")
_SERIES = re.compile(r"(?<![:\w])ouro_[a-z0-9_]+")
_SELECTOR = re.compile(r"(?<![:\w])(ouro_[a-z0-9_]+)\{([^}]*)\}")
RULE_EXPRESSIONS = [rule.expr for rule in RECORDINGS] + [alert.expr for alert in ALERTS]


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_files_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path), "--runbooks", "https://wiki/x"]) == 0
    alerts = tmp_path / "prometheus" / "rules" / "alerts.yml"
    assert "https://wiki/x/chain-stale.md" in alerts.read_text()
    assert main(["--output", str(tmp_path), "--runbooks", "https://wiki/x", "--check"]) == 0
    alerts.write_text("groups: []\n")
    assert main(["--output", str(tmp_path), "--check"]) == 1
    assert "alerts.yml" in capsys.readouterr().err


@pytest.mark.parametrize("expression", [*RULE_EXPRESSIONS, *expressions()])
def test_every_series_that_is_asked_for_exists(expression: str) -> None:
    recorded = set(_RECORDED.findall(expression))
    assert recorded <= {rule.record for rule in RECORDINGS}
    assert set(_SERIES.findall(_RECORDED.sub("", expression))) <= SERIES
    for name, selector in _SELECTOR.findall(expression):
        metric = BY_NAME.get(name) or BY_NAME[re.sub(r"_(bucket|sum|count)$", "", name)]
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= {*metric.labels, "le"}, (name, selector)


def test_every_metric_is_shown_or_watched() -> None:
    text = " ".join([*RULE_EXPRESSIONS, *expressions()])
    unused = {metric.name for metric in METRICS if not any(series in text for series in metric.series)}
    # For the command line and for people who look for themselves.
    assert unused <= {
        "ouro_block_timestamp_seconds",
        "ouro_native_usd",
        "ouro_process_start_timestamp_seconds",
    }


def test_every_recorded_series_is_used() -> None:
    text = " ".join([*RULE_EXPRESSIONS, *expressions()])
    assert {rule.record for rule in RECORDINGS} == set(_RECORDED.findall(text))


def test_rates_are_taken_of_counters_only() -> None:
    for expression in [*RULE_EXPRESSIONS, *expressions()]:
        for name in re.findall(r"(?:rate|increase)\((ouro_\w+)", expression):
            metric = BY_NAME.get(name) or BY_NAME[name.removesuffix("_bucket")]
            assert metric.kind is not Kind.GAUGE, name


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_each_alert_has_its_page(alert: Any) -> None:
    page = (RUNBOOKS / alert.runbook).read_text(encoding="utf-8")
    assert page.startswith(f"# {alert.name}\n\nSeverity: {alert.severity}.\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What it means", "Look here", "Do this"]
    assert f"[{alert.runbook.removesuffix('.md')}]" in (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([\w-]+\.md)\)", page):
        assert (RUNBOOKS / link).is_file(), link


def test_no_page_is_without_its_alert() -> None:
    assert {page.name for page in RUNBOOKS.glob("*.md")} == {"README.md", *(alert.runbook for alert in ALERTS)}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    document = dashboard(name)
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(target["expr"] for panel in document["panels"] for target in panel.get("targets", ()))
    assert json.loads(files()[f"grafana/dashboards/{name}.json"]) == document


@pytest.mark.needs_package("prometheus", "promtool")
def test_prometheus_accepts_the_rules() -> None:
    said = promtool("check", "rules", *sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")))
    assert f"{len(ALERTS)} rules found" in said
    assert f"{len(RECORDINGS)} rules found" in said
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.needs_package("prometheus", "promtool")
def test_the_rules_fire_when_they_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", DEPLOY / "prometheus" / "tests" / "alerts.yml")


@pytest.mark.needs_package("prometheus", "promtool")
def test_every_query_of_the_dashboards_is_promql(tmp_path: Path) -> None:
    queries = [expression.replace("$__rate_interval", "1m").replace("$chain", ".*") for expression in expressions()]
    rules = [{"record": f"check:{k}", "expr": query} for k, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", path)


def test_what_runs_in_containers_is_complete_and_closed() -> None:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    services = composed["services"]
    assert set(services) == {"signer", "ouro", "postgres", "prometheus", "alertmanager", "grafana"}
    for name, service in services.items():
        assert "build" in service or re.search(r":[\w.-]*\d", service["image"]), f"{name}: no version"
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:"), f"{name} would be reachable from outside: {published}"
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("./deploy"):
                assert (ROOT / source).is_dir(), source
            elif not source.startswith("."):
                assert source in composed["volumes"], source
        assert set(service.get("secrets", ())) <= composed["secrets"].keys()
        assert set(service.get("depends_on", ())) <= services.keys()
    assert services["signer"]["network_mode"] == "none"
    assert "healthcheck" in services["postgres"]


def test_prometheus_and_grafana_ask_where_the_services_are() -> None:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = prometheus["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    host, port = split_address(target)
    assert job["job_name"] == "ouro"
    assert str(port) in composed[host]["expose"]
    [alerting] = prometheus["alerting"]["alertmanagers"]
    assert split_address(alerting["static_configs"][0]["targets"][0])[0] in composed
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/ouro.yml").read_text())
    mounted = [mount.split(":") for mount in composed["grafana"]["volumes"]]
    places = {inside: Path(outside) for outside, inside, *_ in mounted}
    shown = places[provider["providers"][0]["options"]["path"]]
    assert {path.stem for path in (ROOT / shown).glob("*.json")} == set(DASHBOARDS)
    receivers = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    names = {receiver["name"] for receiver in receivers["receivers"]}
    routes = [receivers["route"], *receivers["route"]["routes"]]
    assert {route["receiver"] for route in routes} <= names
    inhibited = " ".join(str(rule) for rule in receivers["inhibit_rules"])
    assert set(re.findall(r"Ouro\w+", inhibited)) <= {alert.name for alert in ALERTS}


def test_the_image_copies_what_exists() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(rule.removeprefix("!")) for rule in kept if rule.startswith("!")), source
    assert "USER ouro" in dockerfile
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    ):
        done = subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
