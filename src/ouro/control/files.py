"""The store's files: written whole and durably, under one lock for all processes."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ouro.control.errors import ControlError
from ouro.control.model import MODES, Halt
from ouro.flock import lock_within

STATE_NAME, HISTORY_NAME, LOCK_NAME = "halts.json", "history.jsonl", "lock"
_VERSION = 1
_FIELDS = frozenset(Halt.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class State:
    """What is in force, and how often that has changed."""

    sequence: int = 0
    halts: tuple[Halt, ...] = ()


def read_state(folder: Path) -> State:
    """What ``folder`` says. A store that was never written has no halts.

    Raises ``ControlError`` for anything that can't be read whole: a halt could be in it.
    """
    path = folder / STATE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if (folder / HISTORY_NAME).exists():
            raise ControlError(f"{path}: is missing, but {HISTORY_NAME} beside it is not; restore it") from None
        return State()
    except OSError as error:
        raise ControlError(f"{path}: can't be read ({error.strerror})") from error
    try:
        document = json.loads(content)
        body, digest = document["body"], document["sha256"]
        if digest != _digest(body):
            raise ValueError("its checksum is wrong")
        if body["version"] != _VERSION:
            raise ValueError(f"version {body['version']!r} is not known here")
        return State(int(body["sequence"]), tuple(_halt(entry) for entry in body["halts"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(
            f"{path}: is damaged ({error}); everything is halted, begin it anew by `ouro halt --repair`"
        ) from None


def write_state(folder: Path, state: State, event: dict[str, Any]) -> None:
    """Replace the state, the event that led to it first. Raises ``ControlError``; then nothing has changed."""
    body = {"version": _VERSION, "sequence": state.sequence, "halts": [asdict(halt) for halt in state.halts]}
    path = folder / STATE_NAME
    temporary = path.with_suffix(".new")
    try:
        _append(folder / HISTORY_NAME, {"sequence": state.sequence, **event})
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump({"body": body, "sha256": _digest(body)}, stream)
            stream.flush()
            # Later than any state before it, so that readers who compare times of change can't miss it.
            before = path.stat().st_mtime_ns if path.exists() else 0
            now = max(os.fstat(stream.fileno()).st_mtime_ns, before + 1)
            os.utime(stream.fileno(), ns=(now, now))
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(folder)
    except OSError as error:
        raise ControlError(f"{path}: can't be written ({error.strerror})") from error


def read_history(folder: Path) -> Iterator[dict[str, Any]]:
    """All events, oldest first; what a kill left unfinished is passed over. Raises ``ControlError``."""
    path = folder / HISTORY_NAME
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlError(f"{path}: can't be read ({error.strerror})") from error
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Only one writer at a time; makes the folder. Raises ``ControlError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ControlError(f"{folder}: can't be written ({error.strerror})") from error
    try:
        if not _locked(descriptor, folder):
            raise ControlError(
                f"{folder / LOCK_NAME}: another process has held it for seconds; end that one, then try again. To"
                " stop everything meanwhile, create the kill file (signer.halt_file of the configuration)"
            )
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        return lock_within(descriptor)
    except OSError as error:
        raise ControlError(f"{folder / LOCK_NAME}: can't be locked ({error.strerror})") from error


def _halt(entry: dict[str, Any]) -> Halt:
    if set(entry) != _FIELDS:
        raise ValueError(f"a halt with the fields {sorted(entry)}")
    if entry["mode"] not in MODES:
        raise ValueError(f"mode {entry['mode']!r}")
    return Halt(**entry)


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _append(path: Path, event: dict[str, Any]) -> None:
    # A line that a kill left unfinished is ended, so that it spoils nothing but itself.
    line = b"\n" + json.dumps(event).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.removeprefix(b"\n") if os.fstat(descriptor).st_size == 0 else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
