"""Help is instant and complete."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from cli_bench import Ouro

COMMANDS = ["demo", "run", "signer", "config", "ledger", "report", "reconcile", "doctor", "keystore"]
HEAVY = ["numpy", "numba", "sqlalchemy", "pyrevm", "pydantic", "websockets", "eth_account"]


def test_help_names_every_command(ouro: Ouro) -> None:
    said = ouro("--help")
    assert said.code == 0
    assert all(command in said.out for command in COMMANDS)


def test_version(ouro: Ouro) -> None:
    said = ouro("--version")
    assert (said.code, said.out, said.err) == (0, f"ouro {version('ouro')}\n", "")


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), ["config", "check"]])
def test_each_command_explains_itself(ouro: Ouro, command: list[str]) -> None:
    said = ouro(*command, "--help")
    assert said.code == 0
    assert "Usage: ouro" in said.out
    assert said.err == ""


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, ouro.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


WRONG = [
    ["fly"],
    ["demo", "--blocks", "0"],
    ["demo", "--mode", "yolo"],
    ["ledger", "--state", "lost"],
    ["run", "-x"],
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_usage_is_exit_code_2_and_says_what(ouro: Ouro, wrong: list[str]) -> None:
    said = ouro(*wrong)
    assert said.code == 2
    assert wrong[-1].strip("-") in said.err or wrong[-2] in said.err
