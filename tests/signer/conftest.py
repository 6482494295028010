"""A real signer process per test, with keys that exist nowhere else."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ouro.config.load import config_to_toml
from ouro.config.model import OuroConfig
from ouro.signer.client import SignerClient
from ouro.signer.keys import write_keystore
from ouro.signer.messages import SignRequest
from ouro.types import AttemptKind

PASSWORD = "correct horse battery staple"
SECRETS = (bytes([1] * 32), bytes([2] * 32))
EXECUTOR = "0x" + "ee" * 20
CHAIN_ID = 9_300_001


@dataclass
class SignerProcess:
    """Starts, kills and restarts ``python -m ouro.signer`` on one configuration."""

    config: OuroConfig
    file: Path
    operators: tuple[str, ...]
    process: subprocess.Popen[str] | None = None
    clients: list[SignerClient] = field(default_factory=list)

    def start(self, **environment: str) -> "SignerProcess":
        env = {k: v for k, v in os.environ.items() if not k.startswith("OURO_")}
        env |= {"OURO_KEYSTORE_PASSWORD": PASSWORD} | environment
        command = [sys.executable, "-m", "ouro.signer", str(self.file)]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; exit code and everything that the process printed."""
        assert self.process is not None
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out + err

    def wait(self) -> tuple[int, str]:
        """Wait for a process that ends by itself."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out + err

    async def client(self, timeout_ms: int = 30_000) -> SignerClient:
        """A connected client."""
        client = SignerClient(self.config.signer.socket, timeout_ms=timeout_ms)
        self.clients.append(client)
        await client.wait_ready()
        return client

    def request(self, **changes: Any) -> SignRequest:
        """A trade that the signer accepts, with ``changes``."""
        values: dict[str, Any] = {
            "chain": "ethereum",
            "chain_id": CHAIN_ID,
            "operator": self.operators[0],
            "kind": AttemptKind.TRADE,
            "nonce": 0,
            "to": EXECUTOR,
            "gas_limit": 500_000,
            "max_fee_per_gas_wei": 40 * 10**9,
            "max_priority_fee_per_gas_wei": 2 * 10**9,
            "data": b"\x12\x34" * 300,
            "access_list": ((EXECUTOR, ("0x" + "00" * 31 + "01",)),),
        }
        return SignRequest(**(values | changes))

    def cancel(self, **changes: Any) -> SignRequest:
        """A cancel that the signer accepts, with ``changes``."""
        empty = {"kind": AttemptKind.CANCEL, "to": self.operators[0], "gas_limit": 21_000}
        return self.request(**(empty | {"data": b"", "access_list": ()} | changes))


def make_config(folder: Path, operators: tuple[str, ...], **signer: Any) -> OuroConfig:
    chain = {
        "chain_id": CHAIN_ID,
        "profile": "ethereum",
        "endpoints": ["ws://127.0.0.1:1"],
        "block_time_ms": 1000,
        "wrapped_native": "0x" + "aa" * 20,
        "multicall": "0x" + "bb" * 20,
        "executor": EXECUTOR,
        "owner": "0x" + "cc" * 20,
        "operators": list(operators),
        "dexes": [{"name": "v3", "family": "uniswap_v3", "factory": "0x" + "dd" * 20}],
    }
    other = chain | {"chain_id": 9_300_250, "profile": "fantom", "operators": [operators[1]]}
    paths = {
        "socket": folder / "run" / "signer.sock",
        "keystore": folder / "keys.json",
        "halt_file": folder / "halt",
    }
    return OuroConfig.model_validate(
        {
            "mode": "live",
            "data_dir": folder / "data",
            "signer": paths | signer,
            "chains": {"ethereum": chain, "fantom": other},
        }
    )


@pytest.fixture
async def make_signer(tmp_path: Path) -> AsyncIterator[Callable[..., SignerProcess]]:
    made: list[SignerProcess] = []

    def make(**signer: Any) -> SignerProcess:
        folder = tmp_path / "a folder with blanks"
        operators = write_keystore(folder / "keys.json", SECRETS, PASSWORD, scrypt_n=2)
        config = make_config(folder, operators, **signer)
        file = folder / "config.toml"
        file.write_text(config_to_toml(config))
        made.append(SignerProcess(config, file, operators))
        return made[-1]

    yield make
    for signer in made:
        for client in signer.clients:
            await client.close()
        if signer.process is not None and signer.process.poll() is None:
            signer.end(signal.SIGKILL)


@pytest.fixture
def signer(make_signer: Callable[..., SignerProcess]) -> SignerProcess:
    return make_signer().start()
