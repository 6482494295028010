"""The demo: local chains with the real contracts, and Ouro against them exactly as against a provider.

The parent (this module) plays the world and the operator's process supervisor: it starts the chains and their
market, writes a configuration and a keystore, starts signer and engine as processes of their own, restarts them
if they die, and reads the result from the books.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from ouro.config.dashboard import DashboardConfig
from ouro.config.gate import GateConfig
from ouro.config.load import config_to_toml
from ouro.config.model import LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.ledger.report import summary
from ouro.process import die_with_parent
from ouro.signer.keys import write_keystore
from ouro.testnet.compositions import profile_of, recording_of
from ouro.testnet.coverage import Kinds, coverage, kinds_of
from ouro.testnet.demo_page import DemoPage
from ouro.testnet.deploy_families import CONTRACTS_OF_KIND
from ouro.testnet.family_contracts import fetch_families
from ouro.testnet.node import anvil_path
from ouro.testnet.owned import OwnedError, disown, own, sweep, temporary_folder
from ouro.testnet.process import end, spawn
from ouro.testnet.testnet import ChainOptions, Testnet
from ouro.types import Mode

PASSWORD_VARIABLE = "OURO_KEYSTORE_PASSWORD"  # noqa: S105 - the name of the variable
_PREFIX = "ouro-demo-"
_RESTARTS = 50
_OPERATORS = 6
_SCRYPT_N = 2**8
"""The password is random and long: opening hundreds of keys need not take a minute."""
_SIGNATURES_PER_MINUTE = 20_000
_COIN = 10**18
_LIMITS = {
    "ethereum": RiskConfig(
        max_notional_wei=500 * _COIN,
        max_gas_cost_wei=_COIN,
        max_daily_loss_wei=10 * _COIN,
        max_wasted_gas_per_hour_wei=5 * _COIN,
    ),
    "fantom": RiskConfig(
        max_notional_wei=2_000_000 * _COIN,
        max_gas_cost_wei=100 * _COIN,
        max_daily_loss_wei=2_000 * _COIN,
        max_wasted_gas_per_hour_wei=1_000 * _COIN,
    ),
}
"""By recording; limits in native coins of about 1,800 and 0.3 USD: what the recorded reserves were worth."""

_MANY_CHAINS = 2
_UNHURRIED_BLOCK_S = 2.0
"""More chains than that share the machine: they get this block time."""

_COVERAGE_EVERY_S = 2.0
_LEAST_BLOCKS = 10
"""On each chain, however soon everything has landed: the gaps that waited for the start are no market."""

_POLL_S = 0.1
_NORMAL_SCREEN = "\x1b[?1049l\x1b[?25h"
"""Away from the second screen, and the cursor is seen."""

_DRAIN_GRACE_S = 90.0
"""Longer than the engine gives itself (``ouro.engine.runner.DRAIN_TIMEOUT_S``)."""


class DemoError(Exception):
    """The demo could not be carried out; the text says what failed and where to look."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person can choose. ``blocks`` None runs until interrupted; ``block_time_s`` None is each chain's own.

    ``state_interval_s`` lets a node be killed and started again (see ``NodeConfig``). ``until_landed`` ends the run
    before ``blocks`` once a cycle has landed through every kind of pool that the chains have. ``operators`` and
    ``max_open_attempts`` are each chain's; ``one_process`` runs all chains in one engine process. ``page`` serves
    the dashboard beside it.
    """

    blocks: int | None = 60
    seed: int = 1
    rivals: int = 0
    mode: Mode = Mode.LIVE
    intensity: float = 1.0
    work_dir: Path | None = None
    state_interval_s: int | None = None
    block_time_s: float | None = None
    chains: tuple[str, ...] = ("ethereum", "fantom")
    until_landed: bool = False
    operators: int = _OPERATORS
    max_open_attempts: int = 8
    one_process: bool = False
    agents: Literal["together", "apart"] = "together"
    page: bool = False


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
    _page: DemoPage | None = None
    _children: dict[str, _Supervised] = field(default_factory=dict)
    _trading: bool = False
    _stop_asked: bool = False

    def run(self) -> dict[str, Any]:
        """Everything from start to summary; always stops what it started.

        Ctrl-C or SIGTERM while it trades ends the run in order: what is under way is followed to its end, and the
        summary is returned as after the last block. Before that, or the second time, it is ``KeyboardInterrupt``.
        """
        with self._signals():
            try:
                self._start_world()
                self._start_ouro()
                self._watch()
                if not (self.work_dir / "ledger.db").exists():
                    raise KeyboardInterrupt
                return self.figures()
            finally:
                self._stop()

    @property
    def testnet(self) -> Testnet:
        """The chains, once they have been started."""
        assert self._testnet is not None, "the chains are not up yet"
        return self._testnet

    @property
    def ledger_url(self) -> str:
        """Where the books are."""
        return f"sqlite:///{self.work_dir / 'ledger.db'}"

    def ask_to_stop(self) -> None:
        """End the run as Ctrl-C does. From any thread."""
        self._stop_asked = True

    def figures(self) -> dict[str, Any]:
        """The summary of all sessions in the demo's books, and what kinds of pools they traded with."""
        books = Books.open(self.ledger_url)
        try:
            return {**summary(books), **coverage(self._kinds(), books.attempts())}
        finally:
            books.close()

    def _kinds(self) -> Kinds:
        return kinds_of(chain.deployment for chain in self.testnet.chains.values())

    def _all_landed(self) -> bool:
        """Whether a cycle has landed through every kind of pool, and every chain has seen some blocks."""
        try:
            books = Books.open(self.ledger_url)
        except LedgerError:
            return False  # not there yet
        try:
            activity = books.activity()
            if any(name not in activity or activity[name].blocks < _LEAST_BLOCKS for name in self.testnet.chains):
                return False
            return not coverage(self._kinds(), books.attempts())["kinds_without_landed"]
        except LedgerError:
            return False
        finally:
            books.close()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(*_: object) -> None:
            if self._stop_asked or not self._trading:
                raise KeyboardInterrupt
            self.ask_to_stop()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # ------------------------------------------------------------------------------------------------ start

    def _start_world(self) -> None:
        options = self.options
        venues = [venue for name in options.chains for venue in profile_of(name).venues]
        needed = dict.fromkeys(name for venue in venues for name in CONTRACTS_OF_KIND.get(venue.kind, ()))
        fetch_families(needed, self.say)
        self.say("starting local chains, deploying the protocols' contracts, seeding recorded reserves")
        began = time.monotonic()
        crowded = _UNHURRIED_BLOCK_S if len(options.chains) > _MANY_CHAINS else None
        self._testnet = Testnet.start(
            self.work_dir,
            chains=options.chains,
            seed=options.seed,
            rivals=options.rivals,
            options=ChainOptions(
                operators=options.operators,
                agents=options.agents,
                intensity=options.intensity,
                block_time_s=options.block_time_s or crowded,
                state_interval_s=options.state_interval_s,
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
        write_keystore(self.work_dir / "operators.json", keys, password, scrypt_n=_SCRYPT_N)
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
        if self.options.page:
            self._page = DemoPage.start(config_path, self.work_dir / "data", quiet, self.say)
        self._children["engine"] = _Supervised("engine", lambda: self._spawn_engine(config_path, quiet))
        self._ensure()

    def _config(self) -> OuroConfig:
        assert self._testnet is not None
        return OuroConfig(
            mode=self.options.mode,
            data_dir=self.work_dir / "data",
            ledger=LedgerConfig(url=self.ledger_url),
            signer=SignerConfig(
                socket=self.work_dir / "signer.sock",
                keystore=self.work_dir / "operators.json",
                password_env=PASSWORD_VARIABLE,
                halt_file=self.work_dir / "halt",
                max_transactions_per_minute=_SIGNATURES_PER_MINUTE,
                gate=GateConfig(max_open_attempts=self.options.max_open_attempts * len(self._testnet.chains)),
            ),
            risk=RiskConfig(kill_file=self.work_dir / "kill"),
            dashboard=DashboardConfig(
                coins={name: profile_of(name).native_symbol.removeprefix("W") for name in self._testnet.chains}
            ),
            chains={
                name: self._testnet.chain_config(name).model_copy(
                    update={"risk": self._limits(recording_of(chain.profile))}
                )
                for name, chain in self._testnet.chains.items()
            },
        )

    def _limits(self, recording: str) -> RiskConfig:
        return _LIMITS[recording].model_copy(update={"max_open_attempts": self.options.max_open_attempts})

    def _spawn_engine(self, config_path: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        command = self._engine_command(config_path)
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
                # Its chains go with this process: there is nothing left that it could finish.
                preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),
            )

    def _engine_command(self, config_path: Path) -> list[str]:
        command = [sys.executable, "-m", "ouro.cli", "run", "--config", str(config_path)]
        return [*command, "--one-process"] if self.options.one_process else command

    def _remaining_blocks(self) -> int | None:
        """Blocks that the chain which is furthest behind has to go; after a restart others get more than asked."""
        if self.options.blocks is None or not (self.work_dir / "ledger.db").exists():
            return self.options.blocks
        assert self._testnet is not None
        try:
            books = Books.open(self.ledger_url)
        except LedgerError:
            return self.options.blocks  # it died before there was a table in it
        try:
            activity = books.activity()
        except LedgerError:
            return self.options.blocks
        finally:
            books.close()
        done = [activity[name].blocks if name in activity else 0 for name in self._testnet.chains]
        return self.options.blocks - min(done)

    # ------------------------------------------------------------------------------------------------ watch

    def _ensure(self) -> None:
        for name, child in self._children.items():
            if not (name == "engine" and self._stop_asked and child.process is not None):
                child.ensure()
        pids = {name: child.process.pid for name, child in self._children.items() if child.process}
        path = self.work_dir / "processes.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(pids))
        temporary.replace(path)

    def _watch(self) -> None:
        """Until the engine ends by itself with code 0, or in order after ``ask_to_stop``."""
        engine = self._children["engine"]
        ending_at: float | None = None
        looked_at = time.monotonic()
        self._trading = True
        while True:
            process = engine.process
            assert process is not None
            code = process.poll()
            if code == 0 or (code is not None and ending_at is not None):
                return
            if code is not None and code > 0:
                raise DemoError(f"the engine ended with code {code}: {self._last_words('engine.log')}")
            if self.options.until_landed and time.monotonic() - looked_at > _COVERAGE_EVERY_S:
                looked_at = time.monotonic()
                if not self._stop_asked and self._all_landed():
                    self.say("a cycle has landed through every kind of pool")
                    self.ask_to_stop()
            if self._stop_asked and ending_at is None:
                self.say("finishing what is under way; once more to stop at once")
                ending_at = time.monotonic()
                process.terminate()
            if ending_at is not None and time.monotonic() - ending_at > _DRAIN_GRACE_S:
                process.kill()
                process.wait()
                self._leave_screen()
                self.say("the engine does not end and is killed")
            elif any(
                child.process is not None and child.process.poll() is not None
                for child in self._children.values()
                if ending_at is None or child is not engine
            ):
                if code is not None:
                    self._leave_screen()
                self.say("a process died and is started again")
                self._ensure()
            time.sleep(_POLL_S)

    def _leave_screen(self) -> None:
        """Put the terminal right after an engine that was killed while it drew on it."""
        if self.view is not None and self.view.isatty():
            self.view.write(_NORMAL_SCREEN)
            self.view.flush()

    def _last_words(self, name: str) -> str:
        path = self.work_dir / name
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else f"see {path}"

    def _stop(self) -> None:
        """Engine, signer, market, chains: nobody is left without what it needs to end. Never leaves one behind."""
        try:
            for name in ("engine", "signer"):
                child = self._children.get(name)
                if child is None or child.process is None or child.process.poll() is not None:
                    continue
                if end(child.process, grace_s=5.0) < 0 and name == "engine":
                    self._leave_screen()
        finally:
            for child in self._children.values():
                if child.process is not None and child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
                    if child.name == "engine":
                        self._leave_screen()
            if self._page is not None:
                self._page.stop()
            if self._testnet is not None:
                self._testnet.stop()


def run_demo(options: DemoOptions, say: Callable[[str], None], view: IO[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its figures (see ``ouro.ledger.report.summary``).

    ``view`` is where the engine may draw. Without ``work_dir`` everything happens in a temporary folder that is
    removed afterwards, unless something failed. Raises ``DemoError`` and the testnet's errors.
    """
    anvil_path()  # before there is a folder to tidy up
    if options.work_dir is not None:
        work_dir = options.work_dir.resolve()
        work_dir.mkdir(parents=True, exist_ok=True)
        try:
            handle = own(work_dir)
        except OwnedError:
            raise DemoError(
                f"another demo runs in {work_dir}: stop that one first, or name another --work-dir"
            ) from None
        try:
            if (work_dir / "ledger.db").exists():
                raise DemoError(f"{work_dir} holds an earlier demo; remove it or name another --work-dir")
            return Demo(options, work_dir, say, view).run()
        finally:
            disown(work_dir, handle)
    for folder in sweep(_PREFIX):
        say(f"removed {folder}, left behind by a demo that was killed")
    work_dir, handle = temporary_folder(_PREFIX)
    demo = Demo(options, work_dir, say, view)
    keep = False
    try:
        return demo.run()
    except Exception:
        keep = any(path.stat().st_size for path in work_dir.rglob("*.log"))
        if keep:
            say(f"logs are kept in {work_dir}")
        raise
    finally:
        disown(work_dir, handle)
        if not keep:
            shutil.rmtree(work_dir, ignore_errors=True)
