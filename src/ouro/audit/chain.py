"""Appending to an audit chain: hashed at once and in order, written by a thread of its own."""

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from ouro.audit.errors import AuditError
from ouro.audit.files import check_writer, current_file, full_file
from ouro.audit.record import OPENED, encode_body, make_line
from ouro.audit.tail import Tail, last_record

log = logging.getLogger(__name__)

FORMAT = 1
_ROTATE_BYTES = 64 * 1024 * 1024
_LOCK_WAIT_S = 10.0
_RETRY_S = 0.25
_POLL_S = 0.05
_WAITING_LIMIT = 200_000
_FLUSH_S = 30.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class AuditChain:
    """The chain of one writing process. Every method may be called from any thread.

    What was appended is on its way to the disk at once, and there for certain after ``durable=True``, `flush` or
    `close`. A disk that can't be written shows in ``problem``; records wait in memory and are tried again.
    """

    def __init__(self, folder: Path, writer: str, lock: BinaryIO, tail: Tail, rotate_bytes: int) -> None:
        """For `open`."""
        self._folder, self._writer, self._lock_file, self._rotate_bytes = folder, writer, lock, rotate_bytes
        self._path = current_file(folder, writer)
        self._sequence, self._hash = tail.sequence, tail.hash
        self._first_in_file = tail.first_in_file
        self._file = _append_to(self._path)
        self._file_bytes = self._path.stat().st_size
        self._half_written = False
        self._wake = threading.Condition()
        self._later: deque[tuple[str, int, Callable[[], Mapping[str, Any]]]] = deque()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._written = self._synced = self._sequence
        self._sync_wanted = self._failed = -1
        self._closing = False
        self._problem: AuditError | None = None
        self._thread = threading.Thread(target=self._run, name=f"audit-{writer}", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: Path, *, writer: str, rotate_bytes: int = _ROTATE_BYTES, wait_s: float = _LOCK_WAIT_S
    ) -> Self:
        """The chain of ``writer`` in the folder ``path`` (or in the file ``path``, which must be named so).

        Created if it is new; its tail is verified, and a last line that a crash cut off is taken away, which a
        record of its own tells. Another process that writes the same chain is waited for up to ``wait_s``. Raises
        `AuditError` for a damaged chain, and where the folder can't be written.
        """
        folder = path
        if path.suffix == ".jsonl":
            folder = path.parent
            if path.name != current_file(folder, writer).name:
                raise AuditError(f"audit {path}: the file of writer {writer!r} is named {writer}.jsonl")
        check_writer(writer)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder / f"{writer}.lock", writer, wait_s)
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            tail = last_record(folder, writer)
            chain = cls(folder, writer, lock, tail, rotate_bytes)
        except OSError as error:
            lock.close()
            raise _unwritable(folder, error) from None
        except AuditError:
            lock.close()
            raise
        if tail.sequence < 0:
            chain.append(OPENED, {"writer": writer, "format": FORMAT}, durable=True)
        if tail.torn:
            torn = {"bytes": len(tail.torn), "sha256": hashlib.sha256(tail.torn).hexdigest()}
            chain.append("torn_line_removed", torn, durable=True)
        return chain

    @property
    def head(self) -> tuple[int, str]:
        """(sequence, hash) of the newest record."""
        with self._wake:
            self._make_later()
            return self._sequence, self._hash

    @property
    def writer(self) -> str:
        """Whose chain it is."""
        return self._writer

    @property
    def problem(self) -> AuditError | None:
        """Why nothing can be written just now, if so: no decision should be made that can't be recorded."""
        if self._problem is None and len(self._waiting) > _WAITING_LIMIT:
            return AuditError(
                f"audit {self._path}: {len(self._waiting)} records wait to be written; it is too slow"
            )
        return self._problem

    def append(self, kind: str, body: Mapping[str, Any], *, durable: bool = False) -> str:
        """Add a record; its hash. ``durable`` waits until it is on the disk.

        Raises `AuditError` for a body that has no JSON form, for a closed chain, and if a durable record could not
        be written (it is tried again, and may come to be written later).
        """
        encoded = encode_body(kind, body)
        with self._wake:
            self._refuse_if_closed()
            self._make_later()
            sequence = self._add(kind, _now_ms(), encoded)
            digest = self._hash
            if durable:
                self._sync_wanted = sequence
            self._wake.notify_all()
        if durable:
            self._wait_synced(sequence, _FLUSH_S, patient=False)
        return digest

    def append_later(self, kind: str, body: Callable[[], Mapping[str, Any]]) -> None:
        """Add a record in its order whose ``body`` is made on the writer's thread: for the hot path.

        What ``body`` looks at must not change any more. One that fails is recorded as such, never dropped silently.
        """
        self._refuse_if_closed()
        self._later.append((kind, _now_ms(), body))

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Wait until everything appended so far is on the disk; raises `AuditError` if that takes longer."""
        with self._wake:
            self._make_later()
            sequence = self._sync_wanted = self._sequence
            self._wake.notify_all()
        self._wait_synced(sequence, timeout_s, patient=True)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write everything and let go of the chain. Closing again does nothing. Raises `AuditError` if it can't."""
        if self._closing:
            return
        try:
            self.flush(timeout_s)
        finally:
            with self._wake:
                self._closing = True
                self._wake.notify_all()
            self._thread.join()
            self._file.close()
            self._lock_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ the thread

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise AuditError(f"audit {self._path}: it is closed")

    def _add(self, kind: str, at_ms: int, encoded: bytes) -> int:
        self._sequence += 1
        self._hash, line = make_line(self._sequence, at_ms, kind, encoded, self._hash)
        self._waiting.append((self._sequence, line))
        return self._sequence

    def _make_later(self) -> None:
        while self._later:
            kind, at_ms, body = self._later.popleft()
            try:
                self._add(kind, at_ms, encode_body(kind, body()))
            except Exception as error:
                log.exception("audit record %s could not be made", kind)
                self._add(
                    "record_failed", at_ms, encode_body("record_failed", {"kind": kind, "error": repr(error)})
                )

    def _wait_synced(self, sequence: int, timeout_s: float, *, patient: bool) -> None:
        deadline = time.monotonic() + timeout_s
        with self._wake:
            while self._synced < sequence:
                left = deadline - time.monotonic()
                given_up = left <= 0 or not self._thread.is_alive()
                if self._problem is not None and (given_up or (not patient and self._failed >= sequence)):
                    raise self._problem
                if given_up:
                    raise AuditError(f"audit {self._path}: not written within {timeout_s:.0f} s; check the disk")
                self._wake.wait(left)

    def _run(self) -> None:
        while True:
            with self._wake:
                if not (self._waiting or self._later or self._closing or self._sync_wanted > self._synced):
                    # Whatever comes by `append_later` wakes nobody: the hot path pays for no notification.
                    self._wake.wait(_POLL_S)
                self._make_later()
                batch = list(self._waiting)
                sync = self._sync_wanted > self._synced
                if self._closing and not batch:
                    return
            if batch or sync:
                self._write(batch, sync)

    def _write(self, batch: list[tuple[int, bytes]], sync: bool) -> None:
        try:
            if batch:
                self._write_lines(batch)
                self._written = batch[-1][0]
                with self._wake:
                    for _ in batch:
                        self._waiting.popleft()
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            problem = _unwritable(self._path, error)
            with self._wake:
                if self._problem is None:
                    log.error("%s", problem)
                self._problem = problem
                self._failed = batch[-1][0] if batch else self._written
                self._wake.notify_all()
                self._wake.wait(_RETRY_S)
                if self._closing:
                    self._waiting.clear()
            return
        with self._wake:
            self._problem = None
            if sync:
                self._synced = self._written
            self._wake.notify_all()

    def _write_lines(self, batch: list[tuple[int, bytes]]) -> None:
        if self._half_written:
            self._file.truncate(self._file_bytes)
            self._half_written = False
        if self._file_bytes >= self._rotate_bytes:
            self._rotate(batch[0][0])
        data = b"".join(line for _, line in batch)
        view = memoryview(data)
        self._half_written = True
        while view:
            view = view[self._file.write(view) :]
        self._half_written = False
        self._file_bytes += len(data)

    def _rotate(self, next_sequence: int) -> None:
        os.fsync(self._file.fileno())
        full = full_file(self._folder, self._writer, self._first_in_file)
        if not full.exists():
            self._path.rename(full)
        elif not os.path.samestat(full.stat(), os.fstat(self._file.fileno())):
            raise FileExistsError(17, "a full audit file of this name is there already", str(full))
        # else it has its name since an earlier try, which could not begin the new file
        fresh = _append_to(self._path)
        self._file.close()
        self._file, self._file_bytes, self._first_in_file = fresh, 0, next_sequence
        _sync_folder(self._folder)


def note(folder: Path, kind: str, body: Mapping[str, Any], *, writer: str = "operator") -> str:
    """Append one durable record and let go: for commands that live shortly. Its hash. Raises `AuditError`."""
    with AuditChain.open(folder, writer=writer) as chain:
        return chain.append(kind, body, durable=True)


def _append_to(path: Path) -> Any:
    fresh = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "ab", buffering=0)
    try:
        if fresh:
            _sync_folder(path.parent)
    except OSError:
        file.close()
        raise
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path, writer: str, wait_s: float) -> BinaryIO:
    lock = path.open("ab")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                lock.close()
                raise AuditError(
                    f"audit {path.parent}: another process writes the chain {writer!r}; stop it, or try again"
                ) from None
            time.sleep(0.02)
        else:
            return lock


def _unwritable(path: Path, error: OSError) -> AuditError:
    return AuditError(
        f"audit {error.filename or path}: can't be written ({error.strerror or error}); check disk and permissions"
    )
