"""A local anvil node: started on a free port, killed and restarted with its state, never orphaned."""

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import orjson

from ouro.testnet.client import TRANSPORT_ERRORS, Client, NodeError
from ouro.testnet.owned import disown, sweep, temporary_folder
from ouro.testnet.process import end, spawn

_LISTENING = re.compile(rb"Listening on 127\.0\.0\.1:(\d+)")
_IPC_PREFIX = "ouro-ipc-"
_RESTART_TRIES = 5
_FREEZE_S = 30.0
_WHOLE_STATE_S = 10.0


class NodeStartError(Exception):
    """anvil could not be started."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How a node behaves.

    ``block_time_s`` may be fractional; None mines each transaction at once. ``state_interval_s`` writes the state
    regularly, so that even a SIGKILLed node can be restarted; it costs time that grows with the chain's length.
    ``historical_states`` keeps calls at old blocks possible after a restart. ``code_size_limit`` takes contracts
    that are larger than a real chain would.
    """

    chain_id: int
    block_time_s: float | None = None
    order: str = "fees"
    hardfork: str | None = None
    gas_limit: int = 30_000_000
    base_fee_wei: int = 1_000_000_000
    accounts: int = 10
    state_interval_s: int | None = None
    historical_states: bool = False
    code_size_limit: int | None = None


def anvil_path() -> Path:
    """The anvil binary: ``OURO_ANVIL``, or the repository's npm package. Raises ``NodeStartError``."""
    override = os.environ.get("OURO_ANVIL")
    if override:
        path = Path(override)
        if not path.is_file():
            raise NodeStartError(f"OURO_ANVIL names {path}, which is not a file")
        return path
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil"
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        if (folder / package).is_file():
            return folder / package
    raise NodeStartError(f"anvil was not found ({package}): run `make setup`, or set OURO_ANVIL to its path")


class AnvilNode:
    """One node. Its port, IPC path and state file stay the same over restarts."""

    def __init__(self, config: NodeConfig, work_dir: Path, name: str = "node") -> None:
        self.config = config
        self.name = name
        self.work_dir = work_dir
        self.log_path = work_dir / f"{name}.log"
        self.state_path = work_dir / f"{name}-state.json"
        self._good_state = work_dir / f"{name}-state.good.json"
        # Unix socket paths are limited to 107 bytes, and a work dir may be deep.
        sweep(_IPC_PREFIX, _short_temp_dir())
        self._ipc_dir, owner = temporary_folder(_IPC_PREFIX, _short_temp_dir())
        self._ipc_owner: int | None = owner
        self.ipc_path = self._ipc_dir / "n.ipc"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        """For JSON-RPC over HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """For JSON-RPC over WebSocket."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start and wait until it answers; with the state of the last run, if there is one.

        Raises ``NodeStartError`` with the end of the node's log.
        """
        if self.running:
            return self
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self._restore_good_state()
        binary = anvil_path()
        # Only a restart asks for a certain port, which may be taken for a moment.
        for attempt in range(_RESTART_TRIES if self.port else 1):
            if self._try_start(binary):
                return self
            time.sleep(0.1 * (attempt + 1))
        raise NodeStartError(f"{self.name}: anvil did not start; end of {self.log_path}:\n{self._log_tail()}")

    def stop(self) -> None:
        """SIGTERM: the node writes its state, so that ``start`` goes on from here."""
        if self.process is not None:
            end(self.process, grace_s=15.0)
            self.process = None

    def kill(self) -> None:
        """SIGKILL; what happened since the last written state is lost (all of it without ``state_interval_s``)."""
        if self.process is None:
            return
        self._keep_good_state()
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self) -> Self:
        """``stop`` and ``start``."""
        self.stop()
        return self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered, as behind a broken network."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)
        # The signal is only pending at first: on a busy machine the node's threads answer for a while yet.
        deadline = time.monotonic() + _FREEZE_S
        while not _stopped(self.process.pid) and time.monotonic() < deadline:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop for good and remove the socket's folder."""
        if self.process is not None:
            # Nobody will read the state again: no need to wait for it to be written.
            self.process.kill()
            self.process.wait()
            self.process = None
        if self._ipc_owner is not None:
            disown(self._ipc_dir, self._ipc_owner)
            self._ipc_owner = None
        shutil.rmtree(self._ipc_dir, ignore_errors=True)

    def set_gas_limit(self, client: Client, gas_limit: int) -> None:
        """Block gas limit from the next block on, and after restarts."""
        client.call("anvil_setBlockGasLimit", hex(gas_limit))
        self.config = replace(self.config, gas_limit=gas_limit)

    def client(self) -> Client:
        """A new client of this node."""
        return Client(self.http_url)

    def _try_start(self, binary: Path) -> bool:
        self._ipc_dir.mkdir(exist_ok=True)
        self.ipc_path.unlink(missing_ok=True)
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.process = spawn(self._arguments(binary), log=self.log_path, working_dir=self.work_dir)
        port = self._wait_for_port(offset)
        if port is None:
            end(self.process, grace_s=1.0)
            self.process = None
            return False
        self.port = port
        self._quieten()
        return True

    def _arguments(self, binary: Path) -> list[str | Path]:
        config = self.config
        arguments: list[str | Path] = [
            binary, "--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(config.chain_id),
            "--order", config.order, "--gas-limit", str(config.gas_limit), "--accounts", str(config.accounts),
            "--base-fee", str(config.base_fee_wei), "--ipc", self.ipc_path, "--state", self.state_path,
            "--cache-path", self.work_dir / f"{self.name}-cache", "--color", "never", "--no-request-size-limit",
        ]  # fmt: skip
        if config.block_time_s is not None:
            arguments += ["--block-time", f"{config.block_time_s:g}"]
        if config.hardfork is not None:
            arguments += ["--hardfork", config.hardfork]
        if config.code_size_limit is not None:
            arguments += ["--code-size-limit", str(config.code_size_limit)]
        if config.state_interval_s is not None:
            arguments += ["--state-interval", str(config.state_interval_s)]
        if config.historical_states:
            arguments.append("--preserve-historical-states")
        return arguments

    def _wait_for_port(self, log_offset: int, timeout_s: float = 20.0) -> int | None:
        """The port that this very process says it listens on; with ``--port 0`` the system chose it, race-free."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self.log_path.open("rb") as stream:
                stream.seek(log_offset)
                found = _LISTENING.search(stream.read())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                return None
            time.sleep(0.005)
        return None

    def _quieten(self) -> None:
        """Wait for an answer and switch the log of every request off."""
        deadline = time.monotonic() + 10.0
        with self.client() as client:
            while True:
                try:
                    client.call("anvil_setLoggingEnabled", False)
                    return
                except TRANSPORT_ERRORS:
                    if time.monotonic() > deadline or not self.running:
                        raise
                    time.sleep(0.01)
                except NodeError:
                    return

    def _keep_good_state(self) -> None:
        """The node rewrites its state in place: stop it at a moment at which the file is whole, and keep a copy.

        It stays frozen, so that nothing is written between the copy and the kill that follows.
        """
        deadline = time.monotonic() + _WHOLE_STATE_S
        while True:
            self.freeze()
            if not self.state_path.exists():
                return
            content = self.state_path.read_bytes()
            if _is_json(content):
                self._good_state.write_bytes(content)
                return
            if time.monotonic() > deadline or not self.running:
                return  # the copy of before, if there is one, will have to do
            self.thaw()
            time.sleep(0.02)

    def _restore_good_state(self) -> None:
        if self.state_path.exists() and not _is_json(self.state_path.read_bytes()):
            if not self._good_state.exists():
                raise NodeStartError(f"{self.state_path} is damaged: remove it to start an empty chain")
            shutil.copyfile(self._good_state, self.state_path)

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.log_path.read_text(errors="replace")[-1_000:]
        return "(no log)"


def _short_temp_dir() -> Path | None:
    default = tempfile.gettempdir()
    return Path("/tmp") if len(default) > 60 and Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp is private


def _stopped(pid: int) -> bool:
    """Whether every thread stands still; True where the system does not tell."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread ended while we were looking
        return False
    return all(stat.rsplit(")", 1)[1].split()[0] in "TtZX" for stat in stats)


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True
