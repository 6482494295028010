"""``ouro status`` and ``ouro migrate``: an instance as it lies there, running or not, whole or not."""

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from ouro.config.load import load_config
from ouro.control import ControlStore, control_folder
from ouro.ledger.database import bring_up
from ouro.ledger.schema import REVISIONS
from ouro.monitoring.alerts.store import Alert, AlertStore, alerts_file
from ouro.monitoring.metrics import FOLDER, Metrics

from .conftest import EXAMPLE, GAS_WEI, Instance, Ouro


def picture(instance: Instance, chain: str, **changed: Any) -> None:
    folder = instance.config.data_dir / "status"
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "process": "running",
        "pid": os.getpid(),
        "at_ms": time.time_ns() // 1_000_000 + 600_000,  # not old for as long as the test takes
        "state": "running",
        "freshness": "ready",
        "block_number": 11,
        "block_age_ms": 40,
        "pools": 53,
        "cycles": 700,
    }
    (folder / f"{chain}.json").write_text(json.dumps(values | changed))


def asked(ouro: Ouro, instance: Instance) -> tuple[int, dict[str, Any]]:
    said = ouro("status", "--config", instance.file, "--json")
    return said.code, json.loads(said.out)


def test_without_an_engine_it_tells_what_the_books_know(ouro: Ouro, instance: Instance) -> None:
    code, told = asked(ouro, instance)
    assert (code, told["verdict"]) == (3, "stopped")
    chain = told["chains"][instance.chain]
    assert (chain["attempts"], chain["landed"]) == (5, 2)
    assert chain["net_profit_wei"] == 9 * 10**15 + 5 * 10**15 - 4 * GAS_WEI
    assert chain["refused"] == {"max_daily_loss": 1}
    shown = ouro("status", "--config", instance.file).out
    assert "STOPPED" in shown
    assert "the day's loss could have passed its limit" in shown


def test_healthy_then_stale_then_halted(ouro: Ouro, instance: Instance) -> None:
    for name in instance.config.chains:
        picture(instance, name)
    code, told = asked(ouro, instance)
    assert (code, told["verdict"], told["problems"]) == (0, "healthy", [])
    picture(instance, instance.chain, freshness="stale")
    code, told = asked(ouro, instance)
    assert code == 1
    assert told["problems"] == [f"{instance.chain} is stale: nothing newer than block 11"]
    ControlStore(control_folder(instance.config.data_dir)).halt(chain=instance.chain, by="ann", why="lunch")
    said = ouro("status", "--config", instance.file)
    assert said.code == 1
    assert "stop by ann (person): lunch" in said.out
    assert "halted" in said.out


def test_metrics_and_alerts_are_part_of_it(ouro: Ouro, instance: Instance) -> None:
    for name in instance.config.chains:
        picture(instance, name)
    metrics = Metrics.open(instance.config.data_dir / FOLDER, "engine")
    metrics.set("ouro_rpc_up", 1, instance.chain, "0")
    metrics.set("ouro_rpc_up", 0, instance.chain, "1")
    metrics.set("ouro_gas_reserve_trades", 4.0, instance.chain)
    metrics.set("ouro_limit_used_ratio", 0.9, instance.chain, "daily_loss")
    metrics.close()
    store = AlertStore(alerts_file(instance.config.data_dir))
    store.raise_alert(Alert("k", "critical", "t"))
    store.failed(list(store.standing().values()), "ops", "gone", lambda tries: 1_000)
    code, told = asked(ouro, instance)
    assert code == 1
    text = "\n".join(told["problems"])
    assert "endpoint 1 of 2 is down" in text
    assert "can pay 4.0 more transactions" in text
    assert "90% of the limit daily_loss" in text
    assert "1 alerts could not be delivered" in text
    listed = ouro("alerts", "list", "--config", instance.file)
    assert listed.code == 1
    assert "ops: 1 tries: gone" in listed.out


def test_books_that_are_missing_are_told_with_the_next_step(ouro: Ouro, tmp_path: Path) -> None:
    file = tmp_path / "ouro.toml"
    file.write_text(EXAMPLE.read_text())
    said = ouro("status", "--config", file)
    assert said.code == 3
    assert "no such file" in said.out
    for command in (("trades",), ("why", "0x12345678")):
        said = ouro(*command, "--config", file)
        assert said.code == 2
        assert "run the engine first" in said.err
    assert ouro("alerts", "list", "--config", file).out == "no alerts\n"
    said = ouro("alerts", "test", "--config", file)
    assert said.code == 2
    assert "no destination" in said.err


def test_older_books_are_brought_up_and_a_copy_is_kept(ouro: Ouro, tmp_path: Path) -> None:
    file = tmp_path / "ouro.toml"
    file.write_text(EXAMPLE.read_text())
    url = load_config(file).ledger.url
    bring_up(url)
    path = Path(url.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE alembic_version")
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not table.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{table}"')
    connection.close()
    said = ouro("trades", "--config", file)
    assert said.code == 2
    assert "ouro migrate" in said.err
    said = ouro("migrate", "--config", file, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["after"] == REVISIONS[-1]
    assert ouro("trades", "--config", file).code == 0
    assert "nothing to do" in ouro("migrate", "--config", file).out
