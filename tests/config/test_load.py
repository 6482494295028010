"""The configuration file, its overrides and its errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.config.load import ConfigError, config_to_toml, load_config
from ouro.config.model import OuroConfig
from ouro.config.redact import redact_text, redact_url
from ouro.types import Mode

A, B, C = ("0x" + digit * 40 for digit in "abc")

GOOD = f"""
mode = "observe"
data_dir = "state dir"
[ledger]
url = "sqlite:///books.db"
[chains.ethereum]
chain_id = 9300001
profile = "ethereum"
endpoints = ["ws://127.0.0.1:1/secretkey", "node.ipc"]
block_time_ms = 1000
wrapped_native = "{A}"
multicall = "{B}"
[[chains.ethereum.dexes]]
name = "uni"
family = "uniswap_v2"
factory = "{C}"
fee_ppm = 3000
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ouro.toml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), environ or {})
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with blanks"
    config = load_config(write(folder, GOOD), {})
    assert config.data_dir == folder / "state dir"
    assert config.ledger.url == f"sqlite:///{folder}/books.db"
    assert config.risk.kill_file == folder / "kill"
    assert config.signer.socket == folder / "signer.sock"
    assert config.signer.keystore is None
    assert config.chains["ethereum"].endpoints == ("ws://127.0.0.1:1/secretkey", str(folder / "node.ipc"))


def test_round_trip(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, GOOD), {"OURO_RISK__MAX_NOTIONAL_WEI": str(10**30), "OURO_MODE": "observe"}
    )
    again = load_config(write(tmp_path / "elsewhere", config_to_toml(config)), {})
    assert again == config
    assert again.risk.max_notional_wei == 10**30


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12),
    profile=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20),
    notional=st.integers(1, 2**256),
)
def test_round_trip_of_any_text(
    tmp_path_factory: pytest.TempPathFactory, name: str, profile: str, notional: int
) -> None:
    base = load_config(write(tmp_path_factory.getbasetemp() / "any", GOOD), {}).model_dump()
    base["chains"] = {name: {**base["chains"]["ethereum"], "profile": profile}}
    base["risk"]["max_notional_wei"] = notional
    config = OuroConfig.model_validate(base)
    file = write(tmp_path_factory.getbasetemp() / "any", config_to_toml(config))
    assert load_config(file, {}) == config


def test_environment_overrides_nested_fields(tmp_path: Path) -> None:
    environ = {
        "OURO_CHAINS__ETHEREUM__CHAIN_ID": "77",
        "ouro_risk__max_open_attempts": "3",
        "OURO_CHAINS__ETHEREUM__ENDPOINTS": '["http://127.0.0.1:2"]',
        "OURO_KEYSTORE_PASSWORD": "not a field",
        "OURO_ANVIL": "/somewhere/anvil",
    }
    config = load_config(write(tmp_path, GOOD), environ)
    assert config.chains["ethereum"].chain_id == 77
    assert config.risk.max_open_attempts == 3
    assert config.chains["ethereum"].endpoints == ("http://127.0.0.1:2",)
    assert config.mode is Mode.OBSERVE


def test_wrong_variable_is_named(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD, {"OURO_RISK__MAX_OPEN_ATTEMPTS": "many"})
    assert line.startswith("environment variable OURO_RISK__MAX_OPEN_ATTEMPTS: risk.max_open_attempts: ")
    (line,) = problems(tmp_path, GOOD, {"OURO_CHAINS__ETHEREUM__ENDPOINTS": '["ws://host/key"'})
    assert "not valid JSON" in line
    assert "key" not in line
    (line,) = problems(tmp_path, GOOD, {"OURO_RISKS__MAX_OPEN_ATTEMPTS": "1"})
    assert "did you mean 'risk'?" in line


@pytest.mark.parametrize(
    ("find", "replace", "field", "words"),
    [
        ("chain_id = 9300001", "chain_id = 0", "chains.ethereum.chain_id", "greater than 0"),
        ("chain_id = 9300001", "", "chains.ethereum.chain_id", "is missing; add it"),
        ("block_time_ms", "blok_time_ms", "chains.ethereum.blok_time_ms", "did you mean 'block_time_ms'?"),
        ("fee_ppm = 3000", "fee = 3000", "chains.ethereum.dexes.0.fee", "'fee_ppm'"),
        ("fee_ppm = 3000", "", "chains.ethereum.dexes.0", "fee_ppm is needed"),
        ('mode = "observe"', 'mode = "yolo"', "mode", "'observe', 'paper' or 'live'"),
        ('mode = "observe"', 'mode = "live"', "(whole file)", "executor, owner, operators needed"),
        (f'"{A}"', '"0x12"', "chains.ethereum.wrapped_native", "is not an address"),
        ("fee_ppm = 3000", "fee_ppm = true", "chains.ethereum.dexes.0.fee_ppm", "no field is a truth value"),
        ("block_time_ms = 1000", "block_time_ms = 1e30", "chains.ethereum.block_time_ms", "integer in full"),
        ("ws://127.0.0.1:1/secretkey", "ftp://h/secretkey", "chains.ethereum.endpoints.0", "scheme 'ftp'"),
        (
            'endpoints = ["ws://127.0.0.1:1/secretkey", "node.ipc"]',
            "endpoints = []",
            "chains.ethereum.endpoints",
            "add",
        ),
    ],
)
def test_each_problem_is_one_line_that_names_the_field(
    tmp_path: Path, find: str, replace: str, field: str, words: str
) -> None:
    lines = problems(tmp_path, GOOD.replace(find, replace))
    matching = [line for line in lines if line.startswith(f"{tmp_path}/ouro.toml: {field}: ")]
    assert matching, lines
    assert words in matching[0]
    assert "secretkey" not in str(lines)


def test_several_problems_are_all_told(tmp_path: Path) -> None:
    text = GOOD.replace("9300001", "-1").replace("3000", '"much"').replace('"ethereum"\n', "7\n")
    assert len(problems(tmp_path, text)) == 3


@pytest.mark.parametrize(
    "value", ['"ws://host/SECRET"', '["ws://host/SECRET", 7]', '{ a = "ws://host/SECRET" }', '["x://u:SECRET@h"]']
)
def test_keys_in_endpoints_never_show(tmp_path: Path, value: str) -> None:
    text = GOOD.replace('["ws://127.0.0.1:1/secretkey", "node.ipc"]', value)
    assert "SECRET" not in str(problems(tmp_path, text))


@pytest.mark.parametrize("text", ["mode = ", "\x00", "a = " + "9" * 5000, "x = " + "[" * 100_000])
def test_what_is_no_toml_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (line,) = problems(tmp_path, text)
    assert line.startswith(f"{tmp_path}/ouro.toml: ")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.toml", {})


def test_redaction() -> None:
    assert redact_url("https://user:pw@host.org:8545/v3/KEY?a=KEY") == "https://host.org:8545/…"
    assert redact_url("ws://127.0.0.1:8545") == "ws://127.0.0.1:8545"
    assert redact_url("sqlite:////tmp/a b/ledger.db") == "sqlite:////tmp/a b/ledger.db"
    assert redact_url("postgresql+psycopg://ouro:pw@db/books") == "postgresql+psycopg://db/…"
    assert redact_text("can't reach wss://h/KEY, giving up") == "can't reach wss://h/…, giving up"


def test_a_chains_limits_are_the_common_ones_but_for_what_it_sets(tmp_path: Path) -> None:
    common = "[risk]\nmax_daily_loss_wei = 500\nmax_open_attempts = 4\n"
    config = load_config(write(tmp_path, GOOD + common + "[chains.ethereum.risk]\nmax_open_attempts = 2\n"), {})
    assert config.limits_of("ethereum") == config.risk.model_copy(update={"max_open_attempts": 2})
    assert config.limits_of("ethereum").max_daily_loss_wei == 500
    assert config.risk.max_open_attempts == 4
    assert load_config(write(tmp_path / "again", config_to_toml(config)), {}) == config


def test_a_chains_kill_file_is_taken_from_the_files_folder(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + '[chains.ethereum.risk]\nkill_file = "kill-ethereum"\n'), {})
    assert config.limits_of("ethereum").kill_file == tmp_path / "kill-ethereum"
    assert config.risk.kill_file == tmp_path / "kill"


def test_a_bid_whose_minimum_breaks_its_maximum_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD + "[chains.ethereum.bid]\nmax_priority_fee_wei = 5\n")
    assert "chains.ethereum.bid: min_priority_fee_wei (1000000000) is above max_priority_fee_wei (5)" in line


def test_a_mistyped_address_is_refused_by_its_checksum(tmp_path: Path) -> None:
    good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    for fine in (good, good.lower(), "0x" + good[2:].upper()):
        config = load_config(write(tmp_path, GOOD.replace(C, fine)), {})
        assert config.chains["ethereum"].dexes[0].factory == good.lower()
    for key in ("owner", "executor"):
        text = GOOD.replace("[[chains", f'{key} = "{good[:-1]}c"\n[[chains')
        (line,) = problems(tmp_path, text)
        assert f"chains.ethereum.{key}: {good[:-1]}c has a wrong checksum" in line


def test_the_profile_is_a_note_that_may_be_left_out(tmp_path: Path) -> None:
    assert (
        load_config(write(tmp_path, GOOD.replace('profile = "ethereum"', "")), {}).chains["ethereum"].profile == ""
    )


def test_a_mistyped_variable_is_refused_by_its_own_name(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD, {"OURO_MOED": "live"})
    assert line.startswith("environment variable OURO_MOED: moed: is not a known key; did you mean OURO_MODE?")
    (line,) = problems(tmp_path, GOOD, {"OURO_CHAINS__ETHERUM__CHAIN_ID": "5"})
    assert line.startswith("environment variable OURO_CHAINS__ETHERUM__CHAIN_ID: chains.etherum.chain_id: ")
    assert "did you mean 'ethereum'?" in line
    lines = problems(tmp_path, GOOD, {"OURO_CHAINS__BSC__CHAIN_ID": "56"})
    assert lines
    assert all(line.startswith("environment variable OURO_CHAINS__BSC__CHAIN_ID: chains.bsc.") for line in lines)
    others = {"OURO_ANVIL": "/anvil", "OURO_KEYSTORE_PASSWORD": "x", "OURO_BUILD": "7"}
    assert load_config(write(tmp_path, GOOD), others).mode is Mode.OBSERVE


def test_what_the_start_would_refuse_is_refused_here(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD.replace('"sqlite:///books.db"', '"mysql://user:secret@host/books"'))
    assert "ledger.url: is no database for the books; use sqlite:///FILE" in line
    assert "secret" not in line
    (line,) = problems(tmp_path, GOOD.replace("[[chains", f'operators = ["{A}", "{B}", "{A}"]\n[[chains'))
    assert f"chains.ethereum: operators: {A} is named twice" in line
