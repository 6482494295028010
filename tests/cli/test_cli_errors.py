"""What a person did wrong, or what is not there: one line that names it, exit code 2, never a traceback."""

import tempfile
from pathlib import Path

import pytest
from cli_bench import Ouro, Said

from ouro.cli.errors import exit_code
from ouro.config.load import config_to_toml, load_config
from ouro.ledger.ledger import Ledger

EXAMPLE = Path(__file__).parents[2] / "docs" / "ouro.example.toml"


def problem(said: Said) -> str:
    """The one line of an error."""
    assert (said.code, said.out) == (2, ""), said
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("ouro: ")
    return lines[0]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A good file in a folder with a blank, of a chain whose node nobody runs."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    loaded = load_config(EXAMPLE, {})
    [name, *_] = loaded.chains
    chain = loaded.chains[name].model_copy(update={"endpoints": ("ws://127.0.0.1:1",)})
    chosen = loaded.model_copy(
        update={
            "data_dir": folder / "data",
            "ledger": loaded.ledger.model_copy(update={"url": f"sqlite:///{folder / 'ledger.db'}"}),
            "chains": {name: chain},
        }
    )
    file = folder / "ouro.toml"
    file.write_text(config_to_toml(chosen))
    return file


def test_a_good_file(ouro: Ouro, config: Path) -> None:
    said = ouro("config", "check", config)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{config}: fine; mode ")
    [name] = load_config(config, {}).chains
    config.write_text(config.read_text() + f"\n[chains.{name}.risk]\nmax_open_attempts = 2\n")
    said = ouro("config", "check", config)
    assert f"{name}: limits: " in said.out
    assert "max_open_attempts 2," in said.out
    assert "max_daily_loss_wei 500000000000000000," in said.out


COMMANDS = [["run"], ["signer"], ["ledger"], ["report"], ["reconcile"], ["doctor"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_missing_file(ouro: Ouro, command: list[str], tmp_path: Path) -> None:
    missing = tmp_path / "nothing here.toml"
    assert f"{missing}: there is no such file" in problem(ouro(*command, "--config", missing))


@pytest.mark.parametrize("command", [["config", "check"], *([*each, "--config"] for each in COMMANDS)])
def test_a_malformed_file(ouro: Ouro, command: list[str], config: Path) -> None:
    config.write_text(config.read_text().replace("[", "[[[", 1))
    assert f"{config}: is not TOML" in problem(ouro(*command, config))


def test_every_wrong_field_is_a_line(ouro: Ouro, config: Path) -> None:
    config.write_text(
        config.read_text().replace("chain_id =", "chain_idd =").replace("max_hops = ", "max_hops = 9")
    )
    said = ouro("config", "check", config)
    assert said.code == 2
    lines = said.err.strip().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"ouro: {config}: ") for line in lines)
    assert any("chain_idd" in line and "did you mean 'chain_id'?" in line for line in lines)


def test_a_wrong_variable(ouro: Ouro, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURO_MODE", "yolo")
    assert "environment variable OURO_MODE: mode" in problem(ouro("config", "check", config))


@pytest.mark.parametrize("command", [["doctor"], ["reconcile"]], ids=lambda command: command[0])
def test_an_unreachable_node(ouro: Ouro, command: list[str], config: Path) -> None:
    line = problem(ouro(*command, "--config", config))
    assert "ws://127.0.0.1:1" in line
    [name] = load_config(config, {}).chains
    assert name in line


@pytest.mark.parametrize("command", [["report"], ["ledger"]], ids=lambda command: command[0])
def test_no_books_yet(ouro: Ouro, command: list[str], config: Path) -> None:
    line = problem(ouro(*command, "--config", config))
    assert str(config.parent / "ledger.db") in line
    assert "run the engine first" in line
    assert not (config.parent / "ledger.db").exists()


def test_books_that_are_none(ouro: Ouro, config: Path) -> None:
    (config.parent / "ledger.db").write_bytes(b"something else altogether " * 100)
    assert str(config.parent / "ledger.db") in problem(ouro("report", "--config", config))


@pytest.mark.parametrize("command", [["run"], ["ledger"], ["reconcile"]], ids=lambda command: command[0])
def test_a_chain_that_is_not_configured(ouro: Ouro, command: list[str], config: Path) -> None:
    assert "mars" in problem(ouro(*command, "--config", config, "--chain", "mars"))


def test_a_session_that_is_not_in_the_books(ouro: Ouro, config: Path) -> None:
    Ledger.open(f"sqlite:///{config.parent / 'ledger.db'}").close()
    assert "'yesterday'" in problem(ouro("report", "--config", config, "--session", "yesterday"))
    assert "it has none yet" in problem(ouro("report", "--config", config, "--session", "yesterday"))
    # Empty books are no error.
    assert ouro("report", "--config", config).code == 0


def test_a_wrong_session_names_the_latest(ouro: Ouro, config: Path) -> None:
    now = [0]
    for number in range(7):
        ledger = Ledger.open(f"sqlite:///{config.parent / 'ledger.db'}", clock_ms=lambda: now[0])
        ledger.start_session(mode="paper", config_hash="c", code_version="v", session_id=f"run-{number}")
        ledger.close()
        now[0] += 1_000
    line = problem(ouro("report", "--config", config, "--session", "yesterday"))
    assert "the latest are run-6 (paper, 1970-01-01 00:00:06 UTC), run-5" in line
    assert "run-1" not in line
    assert ouro("report", "--config", config, "--session", "run-0").code == 0


def test_a_wrong_state_or_chain_names_the_right_ones(ouro: Ouro, config: Path) -> None:
    said = ouro("ledger", "--config", config, "--state", "bogus")
    assert said.code == 2
    assert all(state in said.err for state in ("bogus", "journaled", "sent", "final"))
    [name] = load_config(config, {}).chains
    assert f"it has {name}" in problem(ouro("ledger", "--config", config, "--chain", "mars"))


def test_no_anvil(ouro: Ouro, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OURO_ANVIL", str(tmp_path / "no anvil"))
    said = ouro("demo", "--json", "--work-dir", tmp_path / "demo")
    assert (said.code, said.out) == (2, "")
    assert said.err.strip().splitlines()[-1].startswith("ouro: OURO_ANVIL names")
    assert str(tmp_path / "no anvil") in said.err
    assert not (tmp_path / "demo").exists()


def test_no_anvil_leaves_no_folder(ouro: Ouro, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OURO_ANVIL", str(tmp_path / "no anvil"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = ouro("demo", "--json")
    assert (said.code, said.out) == (2, "")
    assert "logs are kept" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_without_logs_leaves_no_folder(
    ouro: Ouro, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    anvil = tmp_path / "anvil"
    anvil.write_text("no program")
    monkeypatch.setenv("OURO_ANVIL", str(anvil))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    said = ouro("demo", "--json")
    assert said.code == 2
    assert "logs are kept" not in said.err
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_work_dir_that_holds_an_earlier_demo(ouro: Ouro, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    line = problem(ouro("demo", "--work-dir", tmp_path))
    assert str(tmp_path) in line
    assert "--work-dir" in line


def test_a_folder_that_cannot_be_made(ouro: Ouro, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in problem(ouro("demo", "--work-dir", tmp_path / "file" / "below"))


def test_exit_codes_tell_a_difference_from_what_could_not_be_compared() -> None:
    assert [exit_code(*counts) for counts in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 1, 2, 1]


def test_a_missing_file_says_what_to_do(ouro: Ouro, tmp_path: Path) -> None:
    line = problem(ouro("scan", tmp_path / "nope.csv"))
    assert line == f"ouro: {tmp_path / 'nope.csv'}: no such file or directory; check the path"
