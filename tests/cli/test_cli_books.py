"""``ouro ledger``, ``report``, ``reconcile`` and ``doctor`` after a real run, with the chain still there."""

import csv
import io
import json
from pathlib import Path

import pytest
from cli_bench import Ouro, Traded

from ouro.config.load import config_to_toml

pytestmark = pytest.mark.node


def test_report_for_machines_and_for_people(ouro: Ouro, traded: Traded) -> None:
    said = ouro("report", "--config", traded.file, "--json")
    assert said.code == 0
    figures = json.loads(said.out)
    chain = figures["chains"]["ethereum"]
    assert chain["landed"] == chain["attempts"] == chain["predicted_equals_executed"] >= 1
    assert chain["success_rate"] == 1.0
    assert chain["net_profit_wei"] > 0
    assert figures["max_abs_reconciliation_difference_wei"] == 0
    assert "ethereum" in ouro("report", "--config", traded.file).out


def test_a_day_and_a_month(ouro: Ouro, traded: Traded, tmp_path: Path) -> None:
    said = ouro("report", "--month", "--config", traded.file, "--format", "json")
    assert said.code == 0, said.err
    figures = json.loads(said.out)
    chain = figures["chains"]["ethereum"]
    assert chain["landed"] >= 1
    assert chain["residual_wei"] == 0
    assert figures["unexplained"] == []
    page = tmp_path / "a day.html"
    said = ouro("report", "--month", "--config", traded.file, "--format", "html", "-o", page)
    assert said.code == 0
    assert "Targets of the operation" in page.read_text()
    rows = list(csv.DictReader(io.StringIO(ouro("report", "--month", "--transactions", "-c", traded.file).out)))
    assert sum(int(row["net_wei"]) for row in rows) == chain["net_wei"]


def test_reports_of_no_day_are_told(ouro: Ouro, traded: Traded) -> None:
    for arguments, told in (
        (("--day", "--month"), "exclude each other"),
        (("--day", "someday"), "write it like 2026-11-23"),
        (("--day", "--format", "pdf"), "md, csv, html, json"),
        (("2026-11-23",), "add --day or --month"),
        (("--format", "md"), "add --day or --month"),
        (("--day", "--session", "x"), "leave it out"),
        (("--day", "--transactions", "--format", "md"), "--format csv"),
    ):
        said = ouro("report", *arguments, "--config", traded.file)
        assert said.code == 2, arguments
        assert told in " ".join(said.err.replace("│", " ").split()), said.err


def test_stages_and_budgets(ouro: Ouro, traded: Traded) -> None:
    shown = json.loads(ouro("stage", "show", "--config", traded.file, "--json").out)
    assert shown["chains"]["ethereum"]["stage"] == "observe"
    said = ouro("stage", "propose", "--config", traded.file)
    assert said.code == 1
    assert "hours in the stage: 0, 1 are wanted" in said.out
    said = ouro("stage", "approve", "--chain", "ethereum", "--by", "Ada", "--why", "x y", "-c", traded.file)
    assert said.code == 2
    assert "nothing is proposed" in said.err
    said = ouro("stage", "show", "--chain", "mars", "--config", traded.file)
    assert said.code == 2
    assert "the configuration has ethereum" in said.err
    assert "no budgets are made yet" in ouro("capital", "show", "--config", traded.file).out
    said = ouro("capital", "apply", "--by", "Ada", "--why", "x", "--config", traded.file)
    assert said.code == 2
    assert "capital_usd_cents" in said.err
    assert ouro("audit", "verify", "--config", traded.file).code == 0


def test_ledger_lists_what_was_sent(ouro: Ouro, traded: Traded) -> None:
    said = ouro("ledger", "--config", traded.file, "--state", "final", "--limit", "3")
    assert said.code == 0
    assert "landed" in said.out
    assert "landed" not in ouro("ledger", "--config", traded.file, "--state", "journaled").out


def test_reconcile_agrees_to_the_wei_and_notices_a_single_one(ouro: Ouro, traded: Traded) -> None:
    said = ouro("reconcile", "--config", traded.file)
    assert said.code == 0, said.out
    # Nothing but the result: no log of connections between the lines.
    assert len(said.out.splitlines()) == 1
    assert "largest difference 0 wei" in said.out
    assert said.err == ""
    operator = traded.config.chains["ethereum"].operators[0]
    with traded.chain.node.client() as client:
        balance = client.balance(operator)
        client.call("anvil_setBalance", operator, hex(balance + 1))
        try:
            said = ouro("reconcile", "--config", traded.file, "--chain", "ethereum")
        finally:
            client.call("anvil_setBalance", operator, hex(balance))
    assert said.code == 1
    assert f"{operator} native: books {balance}, chain {balance + 1}" in said.out
    assert "largest difference 1 wei" in said.out


def test_reconcile_for_machines(ouro: Ouro, traded: Traded) -> None:
    said = ouro("reconcile", "--config", traded.file, "--json")
    assert said.code == 0, said.out
    chain = json.loads(said.out)["chains"]["ethereum"]
    assert chain["balances_compared"] > 0
    assert (chain["max_abs_difference_wei"], chain["differences"]) == (0, [])
    operator = traded.config.chains["ethereum"].operators[0]
    with traded.chain.node.client() as client:
        balance = client.balance(operator)
        client.call("anvil_setBalance", operator, hex(balance + 7))
        try:
            said = ouro("reconcile", "--config", traded.file, "--json")
        finally:
            client.call("anvil_setBalance", operator, hex(balance))
    assert said.code == 1
    chain = json.loads(said.out)["chains"]["ethereum"]
    assert chain["max_abs_difference_wei"] == 7
    [difference] = chain["differences"]
    assert (difference["account"], difference["token"]) == (operator, None)
    assert difference["actual_wei"] - difference["expected_wei"] == 7


def test_doctor_finds_the_copy_exact(ouro: Ouro, traded: Traded) -> None:
    said = ouro("doctor", "--config", traded.file, "--blocks", "1")
    assert said.code == 0, said.out
    assert "0 differ from calls" in said.out.splitlines()[-1]
    assert said.err == ""
    said = ouro("doctor", "--config", traded.file, "--blocks", "0", "--json")
    assert (said.code, said.err) == (0, "")
    chain = json.loads(said.out)["chains"]["ethereum"]
    assert chain["pools"] > 0
    assert (chain["differences"], chain["problem"]) == ([], "")


@pytest.mark.parametrize("command", [["doctor"], ["reconcile"]], ids=lambda command: command[0])
def test_a_node_of_another_chain(ouro: Ouro, traded: Traded, tmp_path: Path, command: list[str]) -> None:
    chain = traded.config.chains["ethereum"].model_copy(update={"chain_id": 1})
    file = tmp_path / "ouro.toml"
    file.write_text(config_to_toml(traded.config.model_copy(update={"chains": {"ethereum": chain}})))
    said = ouro(*command, "--config", file)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert "serves chain id 9300001, but 1 is configured" in said.err


def test_attempts_for_machines(ouro: Ouro, traded: Traded) -> None:
    said = ouro("ledger", "--config", traded.file, "--json")
    entries = json.loads(said.out)
    assert entries
    assert all(isinstance(entry["nonce"], int) and len(entry["tx_hash"]) == 66 for entry in entries)
    rows = list(csv.DictReader(io.StringIO(ouro("ledger", "--config", traded.file, "--csv").out)))
    assert [row["tx_hash"] for row in rows] == [entry["tx_hash"] for entry in entries]
    # Into a pipe every attempt is one line, with its whole hash on request.
    lines = ouro("ledger", "--config", traded.file, "--full").out.splitlines()
    assert all(sum(entry["tx_hash"] in line for line in lines) == 1 for entry in entries)
