"""Chains with further families: a cycle lands through every kind of pool, as predicted, and the books agree."""

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_cli import PATIENCE_S, DemoCommand
from e2e_running import assert_sound

from ouro.testnet.compositions import all_names

pytestmark = [pytest.mark.e2e, pytest.mark.node]

KINDS = {
    "algebra_adaptive",
    "algebra_integral",
    "balancer_v2_stable",
    "balancer_v2_weighted",
    "bscswap",
    "pancake_v2",
    "pancakeswap_v3",
    "saddle",
    "slipstream",
    "solidly_stable",
    "solidly_volatile",
    "sushiswap_v2",
    "swapr",
    "trader_joe",
    "uniswap_v2",
    "uniswap_v3",
    "uniswap_v4",
    "uniswap_v4_native",
}


NEW = {"algebra_integral", "balancer_v2_stable", "balancer_v2_weighted", "saddle", "swapr", "uniswap_v4_native"}


def checked(demo: DemoCommand, chains: set[str], kinds: set[str], patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """The figures of a run that ended well, with cycles landed through ``kinds``."""
    code = demo.wait(patience_s)
    assert code == 0, demo.stderr[-1_500:]
    figures = json.loads(demo.stdout)
    assert set(figures["chains"]) == chains
    assert_sound(figures)
    assert not kinds & set(figures["kinds_without_landed"])
    for kind, row in figures["kinds"].items():
        assert all(cell["predicted_equals_executed"] == cell["landed"] for cell in row.values()), kind
    assert demo.left_behind() == set()
    return figures


@pytest.mark.timeout(400)
def test_two_chains_of_new_families(tmp_path: Path) -> None:
    """However many blocks it takes until each kind has had its chance."""
    with DemoCommand(tmp_path, "--chains", "arbitrum,avalanche", "--until-landed", "--no-view") as demo:
        checked(demo, {"arbitrum", "avalanche"}, NEW, patience_s=350.0)


def test_an_unknown_chain_is_named_before_anything_starts(tmp_path: Path) -> None:
    with DemoCommand(tmp_path, "--chains", "arbitrum,moon") as demo:
        assert demo.wait() == 2
        assert "moon" in demo.stderr
        assert not demo.work_dir.exists()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_what_has_not_landed_in_time_is_a_failure(tmp_path: Path) -> None:
    arguments = ("--chains", "arbitrum", "--until-landed", "--blocks", "2", "--no-view", "--mode", "observe")
    with DemoCommand(tmp_path, *arguments) as demo:
        assert demo.wait() == 1
        assert "no cycle landed through algebra_integral" in demo.stderr
        assert "algebra_integral" in json.loads(demo.stdout)["kinds_without_landed"]


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_every_chain_and_every_family(tmp_path: Path) -> None:
    with DemoCommand(tmp_path, "--chains", "all", "--no-view") as demo:
        figures = checked(demo, set(all_names()), KINDS, patience_s=1_700.0)
    assert set(figures["kinds"]) == KINDS
