"""The command as a person calls it, in this process so that it is quick; and one engine's run to look at."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_bench import Ouro, Said, Traded

from ouro.cli.main import main
from ouro.config.load import config_to_toml
from ouro.config.model import LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.ledger.books import Books
from ouro.signer.keys import write_keystore
from ouro.testnet.process import end, spawn
from ouro.testnet.testnet import ChainOptions, Testnet
from ouro.types import Mode

COIN = 10**18


@pytest.fixture
def ouro(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ouro:
    """``ouro("report", "--json")`` → exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["ouro", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in out + err
        return Said(code, out, err)

    return call


_RUNS = 10


def _has_attempts(config: OuroConfig) -> bool:
    with closing(Books.open(config.ledger.url)) as books:
        return bool(books.attempts())


@pytest.fixture(scope="session")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traded]:
    """Signer and engine as processes, four blocks; the chain still runs afterwards."""
    folder = tmp_path_factory.mktemp("a run")
    with Testnet.start(
        folder, ("ethereum",), agents=False, options=ChainOptions(operators=4, block_time_s=0.5)
    ) as testnet:
        chain = testnet.chains["ethereum"]
        write_keystore(
            folder / "keys.json", [bytes.fromhex(k[2:]) for k in chain.operator_keys.values()], "secret", scrypt_n=2
        )
        limits = RiskConfig(
            max_notional_wei=500 * COIN,
            max_gas_cost_wei=COIN,
            max_daily_loss_wei=100 * COIN,
            kill_file=folder / "kill",
        )
        config = OuroConfig(
            mode=Mode.LIVE,
            data_dir=folder / "data",
            ledger=LedgerConfig(url=f"sqlite:///{folder / 'ledger.db'}"),
            signer=SignerConfig(
                socket=folder / "signer.sock", keystore=folder / "keys.json", halt_file=folder / "halt"
            ),
            risk=limits,
            chains={"ethereum": testnet.chain_config("ethereum")},
        )
        file = folder / "ouro.toml"
        file.write_text(config_to_toml(config))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OURO_")}
        cli = [sys.executable, "-m", "ouro.cli"]
        signer = spawn(
            [*cli, "signer", "--config", file],
            log=folder / "signer.log",
            environment={**environment, "OURO_KEYSTORE_PASSWORD": "secret"},
        )
        try:
            for _ in range(_RUNS):  # on a busy machine the blocks of a run may be over before one is decided on
                run = subprocess.run(
                    [*cli, "run", "--config", str(file), "--blocks", "4"],
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=150,
                    check=False,
                )
                assert run.returncode == 0, run.stderr[-2_000:]
                if _has_attempts(config):
                    break
        finally:
            end(signer)
        yield Traded(chain, config, file)
