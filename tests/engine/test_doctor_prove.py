"""`ouro doctor --prove`, the command itself, against a node with deployed pools; and what it says to bad input."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from curvechain import curve_venue
from eth_abi.abi import encode
from familychain import CHAIN_ID, config_of
from tests.differential import sources
from tests.differential.chain import OWNER

from ouro.cli.main import main
from ouro.config.load import config_to_toml
from ouro.config.model import OuroConfig
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode
from ouro.types import Mode

pytestmark = pytest.mark.node

Doctor = Callable[..., tuple[int, str, str]]
NOBODY = "0x" + "dd" * 20
TAKES_A_TENTH = """
contract FeeVault is OffsetVault {
    constructor(address underlying) OffsetVault(underlying, 0) {}
    function previewRedeem(uint256 shares) public view override returns (uint256) {
        return super.previewRedeem(shares) * 9 / 10;
    }
}
"""


def as_a_process(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OURO_")}
    command = [sys.executable, "-m", "ouro.cli", "doctor", "--config", str(config), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Doctor:
    """The same in this process, which is quicker: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(config: Path, *arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["ouro", "doctor", "--config", str(config), *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert isinstance(stop.value.code, int)
        return stop.value.code, out, err

    return call


def taxing_vault(folder: Path) -> bytes:
    """Creation code of a vault that keeps a tenth of what it gives back."""
    source = (sources.ROOT / "src/ouro/testnet/vaults/OffsetVault.sol").read_text()
    (folder / "FeeVault.sol").write_text(source + TAKES_A_TENTH)
    roots = {"": folder, "@openzeppelin/contracts/": sources.package_dir("@openzeppelin/contracts")}
    return sources.compiled(roots, {"FeeVault": "FeeVault.sol"}, None, "cancun")["FeeVault"].bytecode


def test_pools_are_proven_by_the_command(node: AnvilNode, client: Client, tmp_path: Path, doctor: Doctor) -> None:
    """Vaults and a Balancer pool with their own views; a vault with a fee, a token and nothing at all are not."""
    venue = curve_venue("erc4626", client, random.Random(3))
    rng = random.Random(4)
    for _ in range(20):
        venue.act(rng)
    taxing = venue.chain.deploy(taxing_vault(tmp_path) + encode(["address"], [venue.token]))
    chain = config_of(node, client, [venue])
    config = OuroConfig(mode=Mode.OBSERVE, data_dir=tmp_path / "data", chains={"local": chain})
    file = tmp_path / "with blanks.toml"
    file.write_text(config_to_toml(config))

    done = as_a_process(file, "--prove", "erc4626", "--pools", ", ".join(venue.pools))
    assert done.returncode == 0, done.stdout + done.stderr
    for pool in venue.pools:
        assert f"local: {pool}: 32 quotes" in done.stdout or f"local: {pool}: 16 quotes" in done.stdout
    assert done.stdout.count(" 0 differences") == len(venue.pools)
    kept = json.loads((tmp_path / "data" / "proofs.json").read_text())["erc4626"][str(CHAIN_ID)]
    assert set(kept) == set(venue.pools)
    assert all(proof["cases"] and not proof["differences"] for proof in kept.values())

    code, out, _ = doctor(
        file, "--prove", "erc4626", "--pools", f"{taxing},{venue.token},{NOBODY},{venue.pools[0]}"
    )
    assert code == 1
    assert f"{taxing}: not compared: its previews are not those of its totals" in out
    assert f"{venue.token}: not compared:" in out
    assert f"{NOBODY}: not compared: no configured chain has code there" in out
    assert out.count(" 0 differences") == 1
    kept = json.loads((tmp_path / "data" / "proofs.json").read_text())["erc4626"][str(CHAIN_ID)]
    assert set(kept) == {*venue.pools, taxing, venue.token}

    for arguments, reason in (
        (("--prove", "curve", "--pools", NOBODY), "is not a family"),
        (("--prove", "erc4626"), "name at least one pool"),
        (("--prove", "erc4626", "--pools", f"{OWNER},0x12"), "is not an address"),
        (("--pools", NOBODY), "--prove"),
    ):
        code, _, said = doctor(file, *arguments)
        assert code == 2
        assert reason in said
    (tmp_path / "data" / "proofs.json").write_text("[1")
    code, _, said = doctor(file, "--prove", "erc4626", "--pools", venue.pools[0])
    assert code not in (0, 1)
    assert "proofs.json holds no proofs any more" in said


@pytest.mark.parametrize("family", ["balancer_v2_weighted", "saddle"])
def test_curves_are_proven_by_their_views(
    family: str, node: AnvilNode, client: Client, tmp_path: Path, doctor: Doctor
) -> None:
    venue = curve_venue(family, client, random.Random(5), 2)
    chain = config_of(node, client, [venue])
    config = OuroConfig(mode=Mode.OBSERVE, data_dir=tmp_path / "data", chains={"local": chain})
    (tmp_path / "ouro.toml").write_text(config_to_toml(config))
    code, out, err = doctor(tmp_path / "ouro.toml", "--prove", family, "--pools", ",".join(venue.pools))
    assert code == 0, out + err
    assert out.count(" 0 differences") == len(venue.pools)
