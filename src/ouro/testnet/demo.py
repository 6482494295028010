"""The demo: local chains with the real contracts, and Ouro against them exactly as against a provider.

The parent (this module) plays the world and the operator's process supervisor: it starts the chains and their
market, writes a configuration and a keystore, starts signer and engine as processes of their own, restarts them
if they die, and reads the result from the books.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ouro.config.load import config_to_toml
from ouro.config.model import LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.ledger.books import Books
from ouro.ledger.report import summary
from ouro.signer.keys import write_keystore
from ouro.testnet.process import die_with_parent, end, spawn
from ouro.testnet.testnet import ChainOptions, Testnet
from ouro.types import Mode

PASSWORD_VARIABLE = "OURO_KEYSTORE_PASSWORD"  # noqa: S105 - the name of the variable
_RESTARTS = 50
_OPERATORS = 6
_COIN = 10**18
_LIMITS = {
    "ethereum": RiskConfig(max_notional_wei=500 * _COIN, max_gas_cost_wei=_COIN, max_daily_loss_wei=10 * _COIN),
    "fantom": RiskConfig(
        max_notional_wei=2_000_000 * _COIN, max_gas_cost_wei=100 * _COIN, max_daily_loss_wei=2_000 * _COIN
    ),
}
"""Limits in native coins of about 1,800 and 0.3 USD: what the recorded reserves were worth."""

_POLL_S = 0.1
_START_GRACE_S = 120.0


class DemoError(Exception):
    """The demo could not be carried out; the text says what failed and where to look."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person can choose. ``blocks`` None runs until interrupted."""

    blocks: int | None = 60
    seed: int = 1
    rivals: int = 0
    mode: Mode = Mode.LIVE
    intensity: float = 1.0
    work_dir: Path | None = None
    state_interval_s: int | None = None


@dataclass(slots=True)
class _Supervised:
    """A child that is started again when it dies without being asked to."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes] | None" = None
    restarts: int = 0

    def ensure(self) -> None:
        """Start it, or start it again. Raises ``DemoError`` when it keeps dying."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            self.restarts += 1
            if self.restarts > _RESTARTS:
                raise DemoError(f"{self.name} died {self.restarts} times, last with code {self.process.returncode}")
        self.process = self.start()


@dataclass(slots=True)
class Demo:
    """A running demo. Use ``run_demo``; tests reach into it through the files of the work dir."""

    options: DemoOptions
    work_dir: Path
    say: Callable[[str], None]
    view: IO[str] | None = None
    _testnet: Testnet | None = None
    _children: dict[str, _Supervised] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Everything from start to summary; always stops what it started."""
        try:
            self._start_world()
            self._start_ouro()
            self._watch()
            return self.figures()
        finally:
            self._stop()

    def figures(self) -> dict[str, Any]:
        """The summary of all sessions in the demo's books."""
        books = Books.open(self._ledger_url())
        try:
            return summary(books)
        finally:
            books.close()

    # ------------------------------------------------------------------------------------------------ start

    def _start_world(self) -> None:
        options = self.options
        self.say("starting two local chains, deploying the protocols' contracts, seeding recorded reserves")
        began = time.monotonic()
        self._testnet = Testnet.start(
            self.work_dir,
            seed=options.seed,
            rivals=options.rivals,
            options=ChainOptions(
                operators=_OPERATORS, intensity=options.intensity, state_interval_s=options.state_interval_s
            ),
        )
        for name, chain in self._testnet.chains.items():
            self.say(f"{name}: chain id {chain.deployment.chain_id} at {chain.ws_url}")
        self.say(f"chains are up after {time.monotonic() - began:.1f} s")

    def _start_ouro(self) -> None:
        assert self._testnet is not None
        password = secrets.token_urlsafe(24)
        keys = [
            bytes.fromhex(key[2:])
            for chain in self._testnet.chains.values()
            for key in chain.operator_keys.values()
        ]
        write_keystore(self.work_dir / "operators.json", keys, password)
        config_path = self.work_dir / "ouro.toml"
        config_path.write_text(config_to_toml(self._config()))
        environment = {**os.environ, PASSWORD_VARIABLE: password}
        quiet = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
        if self.options.mode is Mode.LIVE:
            signer = [sys.executable, "-m", "ouro.signer", config_path]
            log = self.work_dir / "signer.log"
            self._children["signer"] = _Supervised(
                "signer", lambda: spawn(signer, log=log, environment=environment)
            )
        self._children["engine"] = _Supervised("engine", lambda: self._spawn_engine(config_path, quiet))
        self._ensure()

    def _config(self) -> OuroConfig:
        assert self._testnet is not None
        return OuroConfig(
            mode=self.options.mode,
            data_dir=self.work_dir / "data",
            ledger=LedgerConfig(url=self._ledger_url()),
            signer=SignerConfig(
                socket=self.work_dir / "signer.sock",
                keystore=self.work_dir / "operators.json",
                password_env=PASSWORD_VARIABLE,
                halt_file=self.work_dir / "halt",
            ),
            risk=RiskConfig(kill_file=self.work_dir / "kill"),
            chains={
                name: self._testnet.chain_config(name).model_copy(update={"risk": _LIMITS.get(name)})
                for name in self._testnet.chains
            },
        )

    def _ledger_url(self) -> str:
        return f"sqlite:///{self.work_dir / 'ledger.db'}"

    def _spawn_engine(self, config_path: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "ouro.cli", "run", "--config", str(config_path)]
        remaining = self._remaining_blocks()
        if remaining is not None:
            command += ["--blocks", str(max(1, remaining))]
        parent = os.getpid()
        with (self.work_dir / "engine.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.view if self.view is not None else log,
                stderr=log,
                env=environment,
                process_group=0,
                preexec_fn=lambda: die_with_parent(parent),
            )

    def _remaining_blocks(self) -> int | None:
        if self.options.blocks is None:
            return None
        books = Books.open(self._ledger_url()) if (self.work_dir / "ledger.db").exists() else None
        if books is None:
            return self.options.blocks
        try:
            done = [chain.blocks for chain in books.activity().values()]
        finally:
            books.close()
        return self.options.blocks - min(done, default=0)

    # ------------------------------------------------------------------------------------------------ watch

    def _ensure(self) -> None:
        for child in self._children.values():
            child.ensure()
        pids = {name: child.process.pid for name, child in self._children.items() if child.process}
        path = self.work_dir / "processes.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(pids))
        temporary.replace(path)

    def _watch(self) -> None:
        """Until the engine ends by itself with code 0."""
        engine = self._children["engine"]
        while True:
            process = engine.process
            assert process is not None
            code = process.poll()
            if code == 0:
                return
            if code is not None and code > 0:
                raise DemoError(f"the engine ended with code {code}: {self._last_words('engine.log')}")
            if code is not None or any(
                child.process is not None and child.process.poll() is not None for child in self._children.values()
            ):
                self.say("a process died and is started again")
                self._ensure()
            time.sleep(_POLL_S)

    def _last_words(self, name: str) -> str:
        path = self.work_dir / name
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else f"see {path}"

    def _stop(self) -> None:
        for name in ("engine", "signer"):
            child = self._children.get(name)
            if child is not None and child.process is not None:
                end(child.process, grace_s=90.0 if name == "engine" else 5.0)
        if self._testnet is not None:
            self._testnet.stop()


def run_demo(options: DemoOptions, say: Callable[[str], None], view: IO[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its figures (see ``ouro.ledger.report.summary``).

    ``view`` is where the engine may draw. Without ``work_dir`` everything happens in a temporary folder that is
    removed afterwards, unless something failed. Raises ``DemoError`` and the testnet's errors.
    """
    if options.work_dir is not None:
        work_dir = options.work_dir.resolve()
        work_dir.mkdir(parents=True, exist_ok=True)
        if (work_dir / "ledger.db").exists():
            raise DemoError(f"{work_dir} holds an earlier demo; remove it or name another --work-dir")
        return Demo(options, work_dir, say, view).run()
    work_dir = Path(tempfile.mkdtemp(prefix="ouro-demo-"))
    demo = Demo(options, work_dir, say, view)
    try:
        figures = demo.run()
    except DemoError:
        say(f"logs are kept in {work_dir}")
        raise
    except BaseException:
        shutil.rmtree(work_dir, ignore_errors=True)
        raise
    shutil.rmtree(work_dir, ignore_errors=True)
    return figures
