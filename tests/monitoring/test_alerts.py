"""From what is wrong to the person who is told: once, grouped, at the right hour, again until it is taken."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from ouro.config.alerts import AlertsConfig, Destination
from ouro.config.load import load_config
from ouro.config.model import OuroConfig
from ouro.control import ControlStore, Scope, control_folder
from ouro.monitoring.alerts.courier import (
    AlertError,
    Courier,
    address_of,
    backoff_ms,
    is_quiet,
    message,
    ready,
    send,
)
from ouro.monitoring.alerts.sentinel import BYE, Sentinel, problems, sentinel_beside
from ouro.monitoring.alerts.sources import Sources
from ouro.monitoring.alerts.store import Alert, AlertStore, alerts_file
from ouro.monitoring.metrics import FOLDER, Metrics, NullMetrics
from ouro.monitoring.read import read_metrics

from .receiver import Receiver, receiving

EXAMPLE = Path(__file__).parents[2] / "docs" / "ouro.example.toml"
DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS
SECRET = "t0ken-s3cret"


class Clock:
    """Milliseconds that pass when told to."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def destination(folder: Path, address: str, least: str = "warning") -> Destination:
    path = folder / "hook.url"
    path.write_text(f"{address}\n")
    return Destination.model_validate({"name": "ops", "url_file": path, "least": least})


def alert(key: str = "k", severity: str = "warning", title: str = "something is odd") -> Alert:
    return Alert(key, severity, title, "in detail", "base", "docs/runbooks/slow.md")  # type: ignore[arg-type]


def courier(folder: Path, to: Destination, clock: Clock, **settings: object) -> tuple[Courier, AlertStore]:
    store = AlertStore(folder / "alerts.db", clock)
    return Courier(to, AlertsConfig.model_validate({"group_ms": 1_000, **settings}), store, clock_ms=clock), store


def test_what_is_raised_twice_is_told_once_and_again_when_it_still_stands(
    tmp_path: Path, receiver: Receiver
) -> None:
    clock = Clock()
    sender, store = courier(tmp_path, destination(tmp_path, receiver.address), clock, repeat_minutes=10)
    assert store.raise_alert(alert(severity="critical"))
    assert not store.raise_alert(alert(severity="critical", title="the same again"))
    assert sender.round() == 0
    assert sender.round() == 0
    [told] = receiver.messages
    assert told["title"] == "Ouro CRITICAL: something is odd"
    assert "in detail" in told["message"]
    assert "docs/runbooks/slow.md" in told["message"]
    assert told["type"] == "failure"
    clock.now_ms += 10 * 60_000
    sender.round()
    assert len(receiver.messages) == 2
    store.resolve(["k"])
    clock.now_ms += 10 * 60_000
    sender.round()
    assert len(receiver.messages) == 2
    assert store.raise_alert(alert())  # it came again


def test_what_happens_together_is_one_message_the_worst_first(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock()
    sender, store = courier(tmp_path, destination(tmp_path, receiver.address), clock)
    for k in range(30):
        store.raise_alert(alert(f"k{k}", title=f"warning {k}"))
    assert sender.round() == 30
    assert receiver.messages == []
    store.raise_alert(alert("worst", "critical", "the worst"))
    store.raise_alert(alert("note", "info", "of no importance"))
    assert sender.round() == 0
    [told] = receiver.messages
    assert told["title"] == "Ouro CRITICAL: the worst (and 30 more)"
    assert told["message"].startswith("CRITICAL: the worst")
    assert "11 more: ouro alerts list" in told["message"]
    assert "of no importance" not in told["message"]
    store.raise_alert(alert("later"))
    clock.now_ms += 1_000
    assert sender.round() == 0
    assert len(receiver.messages) == 2


def test_quiet_hours_hold_back_all_but_critical(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock(NOW_MS + 23 * 3_600_000)
    to = destination(tmp_path, receiver.address)
    sender, store = courier(tmp_path, to, clock, quiet_hours="22:00-07:00")
    store.raise_alert(alert("a"))
    clock.now_ms += 60_000
    assert sender.round() == 1
    store.raise_alert(alert("b", "critical", "urgent"))
    assert sender.round() == 1
    assert [told["title"] for told in receiver.messages] == ["Ouro CRITICAL: urgent"]
    clock.now_ms += 8 * 3_600_000
    assert sender.round() == 0
    assert len(receiver.messages) == 2


@pytest.mark.parametrize(
    ("hours", "at", "quiet"),
    [
        ("none", 3, False),
        ("22:00-07:00", 22, True),
        ("22:00-07:00", 6, True),
        ("22:00-07:00", 7, False),
        ("12:00-13:00", 12, True),
        ("12:00-13:00", 13, False),
        ("00:00-00:00", 5, False),
    ],
)
def test_hours(hours: str, at: int, quiet: bool) -> None:
    assert is_quiet(AlertsConfig(quiet_hours=hours), NOW_MS + at * 3_600_000) is quiet


def test_hours_are_those_of_the_zone() -> None:
    config = AlertsConfig(quiet_hours="22:00-07:00", zone="Asia/Tokyo")
    assert is_quiet(config, NOW_MS + 14 * 3_600_000)  # 23:00 there
    assert not is_quiet(config, NOW_MS + 23 * 3_600_000)


def test_what_is_not_taken_waits_longer_each_time_and_is_shown(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock()
    sender, store = courier(tmp_path, destination(tmp_path, receiver.address), clock)
    store.raise_alert(alert(severity="critical"))
    receiver.answer = 500
    tries, elapsed = 0, 0
    while elapsed < 120_000:
        due = store.due("ops", "warning", NOW_MS, 10**12)
        tries += bool(due)
        sender.round()
        clock.now_ms, elapsed = clock.now_ms + 1_000, elapsed + 1_000
    assert tries == 6  # after 0, 2, 6, 14, 30 and 62 seconds
    [(_, [shown])] = store.list()
    assert (shown.tries, shown.delivered_ms) == (6, None)
    assert "500" in shown.error
    assert SECRET not in shown.error
    receiver.answer = 200
    # Another process finds what this one left.
    again, _ = courier(tmp_path, destination(tmp_path, receiver.address), clock)
    clock.now_ms += backoff_ms(6)
    assert again.round() == 0
    [(_, [shown])] = store.list()
    assert shown.delivered_ms == clock.now_ms
    assert shown.error == ""


def test_what_was_over_long_before_is_not_told_any_more(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock()
    store = AlertStore(tmp_path / "alerts.db", clock)
    store.raise_alert(alert("old", "critical"))
    store.resolve(["old"])
    clock.now_ms += 2 * 3_600_000
    store.raise_alert(alert("short", "critical", "it was short"))
    store.resolve(["short"])
    sender, _ = courier(tmp_path, destination(tmp_path, receiver.address), clock)
    sender.round()
    [told] = receiver.messages
    assert "it was short" in told["title"]
    assert "It is over" in told["message"]


def test_a_group_waits_for_its_oldest() -> None:
    config = AlertsConfig(group_ms=500)
    young = Alert("a", "warning", "x", raised_ms=NOW_MS - 100)
    old = Alert("b", "info", "x", raised_ms=NOW_MS - 500)
    assert ready([young], config, NOW_MS) == []
    assert ready([young, old], config, NOW_MS) == [young, old]
    assert ready([], config, NOW_MS) == []
    assert message([young, old])[0] == "Ouro WARNING: x (and 1 more)"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "no address that Apprise knows"),
        ("notaservice://t0ken-s3cret", "no address that Apprise knows (notaservice"),
        ("", "is empty"),
    ],
)
def test_a_wrong_address_is_told_without_it(tmp_path: Path, address: str, says: str) -> None:
    with pytest.raises(AlertError) as caught:
        send(destination(tmp_path, address), "t", "b", "info")
    assert says in str(caught.value)
    assert "ops" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_nobody_listening_is_told_without_the_address(tmp_path: Path) -> None:
    with receiving() as gone:
        address = gone.address
    with pytest.raises(AlertError, match="destination ops: not delivered: ") as caught:
        send(destination(tmp_path, address), "t", "b", "info")
    assert SECRET not in str(caught.value)


def test_addresses_come_from_variables_and_files(tmp_path: Path) -> None:
    by_variable = Destination(name="ops", url_env="OURO_OPS_URL")
    assert address_of(by_variable, {"OURO_OPS_URL": " json://x "}) == "json://x"
    with pytest.raises(AlertError, match="OURO_OPS_URL is not set"):
        address_of(by_variable, {})
    with pytest.raises(AlertError, match="No such file"):
        address_of(Destination(name="ops", url_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"quiet_hours": "22-7"}, "22:00-07:00"),
        ({"zone": "Mars/Olympus"}, "is no time zone"),
        ({"destinations": [{"name": "a"}]}, "exactly one of url_env and url_file"),
        ({"destinations": [{"name": "a", "url_env": "A"}, {"name": "a", "url_env": "B"}]}, "there twice"),
        ({"destinations": [{"name": "a", "url": "json://x"}]}, "Extra inputs"),
    ],
)
def test_a_wrong_section_is_refused_by_name(section: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AlertsConfig.model_validate(section)


# ----------------------------------------------------------------------------------------------------- sources


def config_in(folder: Path, address: str = "") -> OuroConfig:
    whole = load_config(EXAMPLE, {})
    url = f"sqlite:///{folder / 'ledger.db'}"
    alerts = AlertsConfig(destinations=(destination(folder, address),)) if address else AlertsConfig()
    ledger = whole.ledger.model_copy(update={"url": url})
    return whole.model_copy(update={"data_dir": folder / "data", "ledger": ledger, "alerts": alerts})


def test_metrics_tell_what_is_wrong_with_a_chain(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    chain = next(iter(config.chains))
    now_s = time.time()
    metrics = Metrics.open(config.data_dir / FOLDER, "engine")
    metrics.inc("ouro_blocks_total", 5, chain, "decided")
    metrics.set("ouro_source_level", 0, chain, "blocks")
    metrics.set("ouro_process_heartbeat_timestamp_seconds", now_s, "engine")
    metrics.set("ouro_gas_reserve_trades", 500, chain)
    metrics.flush()
    sources = Sources(config, since_s=now_s - 100, wall_s=lambda: now_s)
    assert sources.look() == {}
    metrics.set("ouro_source_level", 2, chain, "blocks")
    metrics.set("ouro_gas_reserve_trades", 3, chain)
    metrics.set("ouro_limit_used_ratio", 0.9, chain, "daily_loss")
    metrics.set("ouro_ledger_writable", 0)
    metrics.set("ouro_process_heartbeat_timestamp_seconds", now_s - 30, "engine")
    metrics.set("ouro_process_heartbeat_timestamp_seconds", now_s - 3_000, "engine-of-an-earlier-run")
    found = sources.look()
    assert set(found) == {f"stale:{chain}", f"gas:{chain}", f"loss:{chain}", "ledger", "silent:engine"}
    root = Path(__file__).parents[2]
    assert all((root / item.runbook).is_file() for item in found.values())
    metrics.close()


def test_halts_are_told_and_their_end_is_noted(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    control = ControlStore(control_folder(config.data_dir))
    store = AlertStore(alerts_file(config.data_dir))
    sentinel = Sentinel(config, store, NullMetrics())
    sentinel.look()
    assert store.standing() == {}
    control.halt(chain="base", by="breaker", why="three reverts", source="breaker:reverts")
    control.halt(by="ann", why="lunch")
    sentinel.look()
    told = {item.title: item for item in store.standing().values()}
    assert set(told) == {"base: stop by breaker reverts", "all chains: stop by ann"}
    assert told["base: stop by breaker reverts"].runbook == "docs/runbooks/breaker-tripped.md"
    control.resume(Scope(chain="base"), by="ann", why="explained")
    sentinel.look()
    assert [item.title for item in store.standing().values()] == ["all chains: stop by ann"]


def test_a_store_of_halts_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = control_folder(config.data_dir)
    ControlStore(folder).halt(by="ann", why="lunch")
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".lock":
            file.write_text("{broken")
    found = Sources(config).look()
    assert any(item.severity == "critical" for item in found.values())


# ----------------------------------------------------------------------------------------------------- the process


def write_config(folder: Path, address: str) -> Path:
    text = EXAMPLE.read_text()
    (folder / "hook.url").write_text(address)
    path = folder / "ouro.toml"
    path.write_text(f'{text}\n[[alerts.destinations]]\nname = "ops"\nurl_file = "hook.url"\n')
    return path


def process(config: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "ouro.monitoring.alerts.sentinel", "--config", str(config)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def test_halts_are_delivered_as_they_come_and_then_the_death(tmp_path: Path, receiver: Receiver) -> None:
    path = write_config(tmp_path, receiver.address)
    config = load_config(path)
    running = process(path)
    assert running.stdin is not None
    assert running.stderr is not None
    try:
        # It is up when it tells of itself.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "ouro_alerts_waiting" not in read_metrics(config.data_dir).values:
            time.sleep(0.02)
        for name in ("ann", "bob", "eve"):
            ControlStore(control_folder(config.data_dir)).halt(chain=f"chain-{name}", by=name, why="because")
            receiver.wait_for(f"chain-{name}: stop by {name}")
        running.stdin.close()
        receiver.wait_for("the engine died")
        assert running.wait(90) == 0
        said = running.stderr.read().decode()
    finally:
        running.kill()
        running.wait()
        running.stderr.close()
    assert SECRET not in said
    store = AlertStore(alerts_file(config.data_dir))
    assert "engine" in store.standing()
    assert all(item.delivered_ms for _, told in store.list() for item in told)


def test_an_engine_that_ends_in_order_is_not_mourned(tmp_path: Path, receiver: Receiver) -> None:
    path = write_config(tmp_path, receiver.address)
    config = load_config(path)
    AlertStore(alerts_file(config.data_dir)).raise_alert(Alert("engine", "critical", "the engine died"))
    running = process(path)
    assert running.stdin is not None
    running.stdin.write(BYE)
    running.stdin.close()
    assert running.wait(60) == 0
    assert running.stderr is not None
    running.stderr.close()
    assert "engine" not in AlertStore(alerts_file(config.data_dir)).standing()


def test_a_wrong_destination_is_announced_and_what_runs_beside_it_runs(tmp_path: Path) -> None:
    path = write_config(tmp_path, "nonsense")
    config = load_config(path)
    told: list[str] = []
    with sentinel_beside(config, path, told.append):
        pass
    [text] = told
    assert "destination ops" in text
    assert "trading goes on" in text
    assert problems(config)
    with sentinel_beside(config_in(tmp_path), path, told.append):
        assert len(told) == 1  # nobody to tell: no process either
    assert os.getpid() > 0
