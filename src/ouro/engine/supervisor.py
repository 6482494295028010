"""Many chains: a process each, started again when it dies, under a small parent that holds nothing of the trading.

What happens to one chain's process (a crash, a hang, a stop by signal) is that chain's alone. The parent only
counts lives, passes signals on and merges what the children tell into one picture.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import structlog

from ouro.config.model import OuroConfig
from ouro.control import ControlError, ControlStore, control_folder
from ouro.engine.errors import EngineError
from ouro.engine.status import ChainStatus
from ouro.engine.status_wire import StatusReceiver, status_pair
from ouro.process import die_with_parent

log = structlog.get_logger(__name__)

EXIT_BAD_INPUT = 2
_STEADY_S = 60.0
"""Who lived that long begins anew with short pauses."""

StatusListener = Callable[[Sequence[ChainStatus]], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the parent waits for what; seconds."""

    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0
    silent_running_s: float = 30.0
    """A chain that ran and says nothing for so long hangs: it is killed and started again."""
    silent_loading_s: float = 600.0
    """The same while it loads: compiling and reading a large market hold up its loop."""
    drain_s: float = 90.0
    """Longer than an engine gives itself."""
    poll_s: float = 0.1
    show_s: float = 0.25


@dataclass(slots=True)
class Child:
    """One chain's process over all its lives."""

    chain: str
    receiver: StatusReceiver
    process: "subprocess.Popen[bytes] | None" = None
    socket: "socket.socket | None" = None
    started_at: float = 0.0
    heard_at: float = 0.0
    again_at: float = 0.0
    pause_s: float = 0.0
    restarts: int = 0
    ran: bool = False
    finished: bool = False
    silent: bool = field(default=False)

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs ``config``'s chains in processes of their own until all are done. One use."""

    def __init__(
        self,
        config: OuroConfig,
        config_file: Path,
        chains: Sequence[str],
        *,
        blocks: int | None = None,
        listener: StatusListener | None = None,
        errors: IO[Any] | None = None,
        command: Callable[[str], list[str]] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """``errors``: where the children log, by default this process's stderr; ``command``: what runs a chain."""
        self._config, self._file, self._blocks = config, config_file, blocks
        self._listener, self._errors = listener, errors
        self._command = command or self._usual_command
        self._patience = patience or Patience()
        self.children = {name: Child(name, StatusReceiver(name)) for name in chains}
        self._stopping_since: float | None = None
        self._killed = False
        self._failed: str | None = None

    async def run(self) -> None:
        """Until every chain has ended by itself or, after SIGTERM or SIGINT, in order; a second signal hurries.

        Raises ``EngineError`` when a chain can't even begin (its process has said why), having ended the others.
        """
        loop = asyncio.get_running_loop()
        signals = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGUSR1: self._halt}
        for number, handler in signals.items():
            loop.add_signal_handler(number, handler)
        shown_at = 0.0
        try:
            while not all(child.finished for child in self.children.values()):
                for child in self.children.values():
                    self._look_after(child)
                if self._listener is not None and time.monotonic() - shown_at >= self._patience.show_s:
                    shown_at = time.monotonic()
                    self._listener(self.statuses())
                await asyncio.sleep(self._patience.poll_s)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            self._end_all()
        if self._listener is not None:
            self._listener(self.statuses())
        if self._failed is not None:
            raise EngineError(self._failed)

    def statuses(self) -> list[ChainStatus]:
        """Each chain as it was last heard of."""
        return [child.receiver.status for child in self.children.values()]

    def stop(self) -> None:
        """Ask every chain to finish what is under way; asked again, at once."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            log.info("stopping", chains=[name for name, child in self.children.items() if child.alive])
        for child in self.children.values():
            if child.process is not None and child.alive:
                child.process.terminate()

    # ------------------------------------------------------------------------------------------ one child

    def _look_after(self, child: Child) -> None:
        self._hear(child)
        now = time.monotonic()
        if child.finished:
            return
        if child.process is None:
            if self._stopping_since is not None:
                child.finished = True
            elif now >= child.again_at:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is None:
            self._watch(child, now)
            return
        self._hear(child)
        self._after_death(child, code, now)

    def _start(self, child: Child, now: float) -> None:
        ours, theirs = status_pair()
        command = [*self._command(child.chain), "--status-fd", str(theirs.fileno())]
        remaining = self._remaining(child)
        if remaining is not None:
            command += ["--blocks", str(remaining)]
        parent = os.getpid()
        try:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._errors if self._errors is not None else sys.stderr,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
                # Own group: a Ctrl-C at the terminal reaches the parent alone, which stops the children in order.
                process_group=0,
                preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),
            )
        except OSError as error:
            ours.close()
            child.again_at = now + self._patience.longest_pause_s
            log.error("not_started", chain=child.chain, error=str(error))
            return
        finally:
            theirs.close()
        child.socket, child.started_at, child.heard_at, child.silent = ours, now, now, False
        self._write_pids()

    def _remaining(self, child: Child) -> int | None:
        return None if self._blocks is None else max(1, self._blocks - child.receiver.status.blocks)

    def _hear(self, child: Child) -> None:
        if child.socket is None or not child.receiver.receive(child.socket):
            return
        child.heard_at = time.monotonic()
        child.ran = child.ran or child.receiver.status.state in ("running", "finishing")
        if child.silent:
            child.silent = False
            log.warning("heard_again", chain=child.chain)

    def _watch(self, child: Child, now: float) -> None:
        patience, quiet_s = self._patience, now - child.heard_at
        if self._stopping_since is not None and now - self._stopping_since > patience.drain_s:
            log.warning("killed", chain=child.chain, detail=f"it does not end within {patience.drain_s:g} s")
            self._kill(child)
            return
        status = child.receiver.status
        running = status.state in ("running", "finishing", "not answering")
        if quiet_s > 2.0 and running and not child.silent:
            child.silent = True
            status.state, status.detail = "not answering", f"process {child.process.pid if child.process else 0}"
            status.freshness = "stale"
            log.warning("not_answering", chain=child.chain)
        if quiet_s > (patience.silent_running_s if running else patience.silent_loading_s):
            log.error("hangs", chain=child.chain, quiet_s=round(quiet_s), detail="it is killed and started again")
            self._kill(child)

    def _kill(self, child: Child) -> None:
        if child.process is not None and child.alive:
            child.process.kill()
            child.process.wait()

    def _after_death(self, child: Child, code: int, now: float) -> None:
        child.process = None
        if child.socket is not None:
            child.socket.close()
            child.socket = None
        status = child.receiver.status
        if code == 0 or self._stopping_since is not None:
            child.finished = True
            if code not in (0, -signal.SIGKILL):
                log.warning("ended", chain=child.chain, code=code)
            return
        if code == EXIT_BAD_INPUT and not child.ran and child.restarts == 0:
            self._failed = f"{child.chain}: its process could not begin; it has said why above"
            child.finished = True
            self.stop()
            return
        child.receiver.next_life()
        if now - child.started_at > _STEADY_S:
            child.pause_s = 0.0
        child.pause_s = min(max(2 * child.pause_s, self._patience.first_pause_s), self._patience.longest_pause_s)
        child.again_at, child.restarts = now + child.pause_s, child.restarts + 1
        status.state, status.detail, status.freshness = "restarting", f"its process ended with code {code}", "stale"
        log.error("process_died", chain=child.chain, code=code, restarts=child.restarts, again_in_s=child.pause_s)

    # ------------------------------------------------------------------------------------------- all of them

    def _usual_command(self, chain: str) -> list[str]:
        command = [sys.executable, "-m", "ouro.cli", "run", "--config", str(self._file)]
        return [*command, "--chain", chain, "--no-view"]

    def _halt(self) -> None:
        try:
            ControlStore(control_folder(self._config.data_dir)).halt_by_signal(None, "the supervisor")
        except ControlError as error:
            log.critical("halt_failed", error=str(error), detail="stopping instead")
            self.stop()

    def _end_all(self) -> None:
        for child in self.children.values():
            self._kill(child)
            if child.socket is not None:
                child.socket.close()
                child.socket = None

    def _write_pids(self) -> None:
        pids: Mapping[str, int] = {c.chain: c.process.pid for c in self.children.values() if c.process is not None}
        path = self._config.data_dir / "processes.json"
        temporary = path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps({"supervisor": os.getpid(), "chains": pids}))
            temporary.replace(path)
        except OSError as error:  # a full disk is no reason to end what runs
            log.warning("pids_not_written", path=str(path), error=str(error))


async def supervise(
    config: OuroConfig,
    config_file: Path,
    chains: Sequence[str],
    *,
    blocks: int | None = None,
    listener: StatusListener | None = None,
    errors: IO[Any] | None = None,
) -> None:
    """Run ``chains`` in a process each. Raises ``EngineError``; see ``Supervisor.run``."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    await Supervisor(config, config_file, chains, blocks=blocks, listener=listener, errors=errors).run()
