"""Child processes that can't outlive their parent."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from ouro.process import die_with_parent

_Job = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]
_jobs: "queue.Queue[_Job]" = queue.Queue()
_lock = threading.Lock()
_spawner: threading.Thread | None = None


def spawn(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
    working_dir: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start ``arguments`` with output to ``log``; the kernel sends it ``death_signal`` when this process dies.

    Raises ``OSError`` when the program can't be started.
    """
    with log.open("ab") as stream:
        return _in_spawner(lambda: _popen(arguments, stream, death_signal, environment, working_dir))


def end(process: "subprocess.Popen[bytes]", grace_s: float = 5.0) -> int:
    """Ask a child to stop, insist after ``grace_s``; returns its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _popen(
    arguments: Sequence[str | Path],
    stream: IO[bytes],
    death_signal: signal.Signals,
    environment: Mapping[str, str] | None,
    working_dir: Path | None,
) -> "subprocess.Popen[bytes]":
    parent_pid = os.getpid()
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        stdout=stream,
        stderr=stream,
        env=dict(environment) if environment is not None else None,
        cwd=working_dir,
        # Own group: a Ctrl-C at the terminal reaches the parent alone, which stops the children in order.
        process_group=0,
        preexec_fn=lambda: die_with_parent(parent_pid, death_signal),
    )


def _in_spawner(start: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
    """Run ``start`` in one thread that lives as long as the process.

    The kernel's parent-death signal goes by the *thread* that forked, so that a child started from a short-lived
    worker thread would be killed when that thread ends.
    """
    global _spawner
    with _lock:
        if _spawner is None or not _spawner.is_alive():
            _spawner = threading.Thread(target=_serve, name="testnet-spawner", daemon=True)
            _spawner.start()
    result: Future[subprocess.Popen[bytes]] = Future()
    _jobs.put((start, result))
    return result.result()


def _serve() -> None:
    while True:
        start, result = _jobs.get()
        try:
            result.set_result(start())
        except BaseException as error:
            result.set_exception(error)
