"""A family that is not proven is off by default, and live only under somebody's name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from ouro.cli.main import app
from ouro.config.load import config_to_toml, load_config
from ouro.config.model import ChainConfig
from ouro.engine.errors import EngineError
from ouro.engine.proofs import allowed_dexes, why_off
from ouro.protocols.registry import FAMILIES, PROVEN_CASES, Proof, proof_of
from ouro.types import Mode

A, B, C = ("0x" + digit * 40 for digit in "abc")
SIGNED = {"by": "A. Person", "date": "2026-11-22", "reason": "tried by hand on the test chain"}


@pytest.fixture(autouse=True)
def _solidly_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(FAMILIES["solidly"]), "proof", Proof(PROVEN_CASES - 1))


def chain(**solidly: Any) -> ChainConfig:
    dexes = (
        {"name": "sure", "family": "uniswap_v3", "factory": A},
        {"name": "new", "family": "solidly", "factory": B, **solidly},
    )
    return ChainConfig.model_validate(
        {
            "chain_id": 1,
            "profile": "ethereum",
            "endpoints": ("ws://127.0.0.1:1",),
            "block_time_ms": 1000,
            "wrapped_native": A,
            "multicall": C,
            "dexes": dexes,
        }
    )


@pytest.mark.parametrize(
    ("more", "watched", "live"),
    [
        ({}, False, False),
        ({"unproven": "watch"}, True, False),
        ({"sign_off": SIGNED}, False, False),
        ({"unproven": "watch", "sign_off": SIGNED}, True, True),
    ],
)
def test_off_unless_asked_for_and_live_only_signed_off(more: dict[str, Any], watched: bool, live: bool) -> None:
    for mode, wanted in ((Mode.OBSERVE, watched), (Mode.PAPER, watched), (Mode.LIVE, live)):
        kept, reasons = allowed_dexes(chain(**more), mode)
        assert [dex.name for dex in kept.dexes] == (["sure", "new"] if wanted else ["sure"])
        assert bool(reasons) is not wanted
        assert wanted or "99,999 of 100,000" in reasons["new"]


def test_mismatches_and_silence_prove_nothing() -> None:
    assert not Proof(10**9, mismatches=1).whole
    assert not proof_of("nobody knows it").whole
    assert proof_of("uniswap_v3").whole
    assert why_off(chain().dexes[0], Mode.LIVE) is None


def test_a_chain_without_any_factory_left_says_why() -> None:
    only = chain().model_copy(update={"dexes": chain().dexes[1:]})
    with pytest.raises(EngineError, match="not proven"):
        allowed_dexes(only, Mode.LIVE)


@pytest.mark.parametrize("wrong", [{"by": ""}, {"date": "soon"}, {"reason": "why not"}])
def test_a_sign_off_has_a_name_a_day_and_a_reason(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        chain(sign_off=SIGNED | wrong)


def test_config_check_shows_the_proofs(tmp_path: Path) -> None:
    text = config_to_toml(
        load_config(Path(__file__).parents[2] / "docs" / "ouro.example.toml", {}).model_copy(
            update={"chains": {"one": chain(unproven="watch", sign_off=SIGNED)}}
        )
    )
    file = tmp_path / "ouro.toml"
    file.write_text(text)
    assert load_config(file, {}).chains["one"] == chain(unproven="watch", sign_off=SIGNED)
    shown = CliRunner().invoke(app, ["config", "check", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "sure: uniswap_v3, proven: 100,000 cases, 0 mismatches" in shown.output
    assert "signed off by A. Person on 2026-11-22" in shown.output
    file.write_text(text.replace('unproven = "watch"', ""))
    assert (
        "new: off: family solidly is not proven" in CliRunner().invoke(app, ["config", "check", str(file)]).output
    )
