"""What the documents promise exists: files, commands, options, targets, an example that passes its own check."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ouro.cli.main import app
from ouro.config.load import load_config

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SOURCES = [path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.py")]
IDS = [path.name for path in DOCUMENTS]
_TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)


def code_blocks(text: str) -> list[str]:
    """Lines of the shell blocks, without comments."""
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def ouro_commands(text: str) -> list[list[str]]:
    """Arguments of every ``ouro …`` in shell blocks."""
    words = [shlex.split(line) for line in code_blocks(text)]
    return [line[1:] for line in words if line and line[0] in (".venv/bin/ouro", "ouro")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    missing = [link for link in targets if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_files_that_are_named_exist(document: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)*[\w*]+\.(?:py|sol|toml|json|lock))`", document.read_text())
    names = {name for name in named if "*" not in name}
    # A file may be named by the end of its path; what a run makes (its configuration, its books) is in no checkout.
    made_by_a_run = {"ouro.toml", "processes.json", "operators.json", "proofs.json", "budgets.json"}
    missing = [
        name
        for name in sorted(each for each in names if Path(each).name not in made_by_a_run)
        if not any(source.endswith("/" + name) for source in SOURCES) and not any(ROOT.glob(f"**/{name}"))
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_commands_and_their_options_exist(document: Path) -> None:
    root = typer.main.get_command(app)
    for arguments in ouro_commands(document.read_text()):
        group, command = root, root
        rest = list(arguments)
        while rest and rest[0] in getattr(group, "commands", {}):
            command = group = group.commands[rest.pop(0)]  # type: ignore[attr-defined]
        assert command is not root, arguments
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= known, arguments


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_make_targets_exist(document: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text()))
    text = document.read_text()
    asked = {line.split()[1] for line in code_blocks(text) if line.startswith("make ")}
    asked |= set(re.findall(r"`make ([a-z0-9-]+)", text))
    assert asked <= targets


def test_the_options_of_the_demo_in_the_readme_exist() -> None:
    demo = typer.main.get_command(app).commands["demo"]  # type: ignore[attr-defined]
    known = {name for parameter in demo.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options = re.findall(r'make demo ARGS="([^"]*)"', (ROOT / "README.md").read_text())
    assert options
    assert {word for line in options for word in line.split() if word.startswith("-")} <= known


def test_the_readme_begins_with_the_two_commands_and_is_two_screens() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    blocks = code_blocks("\n".join(lines))
    assert [line.split()[:2] for line in blocks[:2]] == [["make", "demo"], ["make", "test"]]
    assert len(lines) <= 100


def test_the_example_configuration_passes_its_own_check() -> None:
    config = load_config(ROOT / "docs" / "ouro.example.toml", {})
    assert config.chains
