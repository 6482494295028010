"""Signed bytes become durable here first: one append and one flush for all that wait, before the database has them.

A folder beside the database. Each process claims a pair of files in it by a lock, writes one of them from the
front, and goes on in the other when that is full and the database has taken over what it held. A record counts only
with its checksum, which covers the file's generation, so what is left of an earlier use is not read as new.

File: ``magic, generation, checksum``; then records ``length, sequence, checksum, payload``; zeros where nothing has
been written. The space is written in advance, so that a flush moves data and no file-system structures.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

log = logging.getLogger(__name__)

CAPACITY_BYTES = 1 << 20
_MAGIC = b"OUROAHD1"
_HEADER = struct.Struct(">8sQ16s")
_RECORD = struct.Struct(">IQ16s")
_LONGEST_BYTES = 1 << 24
_SIDES = ("a", "b")


def _digest(generation: int, sequence: int, payload: bytes) -> bytes:
    return hashlib.blake2b(struct.pack(">QQ", generation, sequence) + payload, digest_size=16).digest()


def _header(generation: int) -> bytes:
    return _HEADER.pack(_MAGIC, generation, _digest(generation, 0, _MAGIC))


def records_in(content: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Generation of a file (0 where it has none) and its records ``(sequence, payload)``.

    Reading ends where no length makes sense. A record that does not match its checksum is left out and the next
    one looked at: of several that were handed to the disk together before a power cut, any may have arrived, and
    none of them was relied on.
    """
    if len(content) < _HEADER.size:
        return 0, []
    magic, generation, digest = _HEADER.unpack_from(content)
    if magic != _MAGIC or digest != _digest(generation, 0, _MAGIC):
        return 0, []
    found: list[tuple[int, bytes]] = []
    at = _HEADER.size
    while at + _RECORD.size <= len(content):
        length, sequence, digest = _RECORD.unpack_from(content, at)
        start = at + _RECORD.size
        if not 0 < length <= _LONGEST_BYTES or start + length > len(content):
            break
        payload = content[start : start + length]
        if _digest(generation, sequence, payload) == digest:
            found.append((sequence, payload))
        at = start + length
    return generation, found


class _File:
    """One of the two: written from the front, flushed as a whole."""

    def __init__(self, path: Path, capacity: int) -> None:
        self.path = path
        self.generation = self.at = self.last_sequence = 0
        self._capacity = capacity
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size < capacity:
            os.pwrite(self._descriptor, bytes(capacity), 0)
            os.fsync(self._descriptor)

    def begin(self, generation: int) -> None:
        """Forget what it held, durably, and start anew."""
        # The first record's place is cleared as well: an empty file reads as empty without a checksum's help.
        os.pwrite(self._descriptor, _header(generation) + bytes(_RECORD.size), 0)
        os.fdatasync(self._descriptor)
        self.generation, self.at, self.last_sequence = generation, _HEADER.size, 0

    def has_room(self, size: int) -> bool:
        """Whether so many bytes fit into what was written in advance."""
        return self.at + size <= self._capacity

    def append(self, records: list[tuple[int, bytes]]) -> None:
        """Write and flush; returns when they are on the disk."""
        parts = []
        for sequence, payload in records:
            parts += [
                _RECORD.pack(len(payload), sequence, _digest(self.generation, sequence, payload)),
                payload,
            ]
        joined = b"".join(parts)
        if os.pwrite(self._descriptor, joined, self.at) != len(joined):
            raise OSError(f"{self.path}: written in part only")
        os.fdatasync(self._descriptor)
        self.at += len(joined)
        self.last_sequence = records[-1][0]

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class WriteAhead:
    """Durable records on their way into a database. ``found`` are those that earlier owners left, in order.

    ``append`` may be called from any thread; ``taken_over`` says what the database has. Numbers go on from
    ``found``: its first record is number 1.
    """

    def __init__(self, folder: Path, *, capacity: int = CAPACITY_BYTES) -> None:
        """Claim a pair of files and read all that nobody owns any more. Raises ``OSError``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._capacity = folder, capacity
        self._locks: list[int] = []
        self._inherited: list[Path] = []
        self._sequence = self._taken = 0
        self._done: set[int] = set()
        self.found: list[bytes] = []
        self.flushes = 0
        own = self._claim()
        generation = self._read_leftovers(own)
        # what was found is numbered before all that comes
        self._sequence = self._inherited_until = len(self.found)
        name = self._fresh_name(own)
        self._files = [_File(folder / f"{name}.{side}", capacity) for side in _SIDES]
        self._active = self._files[0]
        self._active.begin(generation + 1)
        self._generation = generation + 1
        _flush_folder(folder)
        self._waiting: deque[tuple[int, bytes, Future[int]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-ahead", daemon=True)
        self._thread.start()

    # ----------------------------------------------------------------------------------------------- at the start

    def _claim(self) -> int:
        """The lowest number that no living process has."""
        for number in range(1_000):
            if self._lock(number):
                return number
        raise OSError(f"{self._folder}: a thousand writers hold it")

    def _lock(self, number: int) -> bool:
        descriptor = os.open(self._folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks.append(descriptor)
        return True

    def _fresh_name(self, number: int) -> str:
        """One that no file has: what is left under this number stays until the database has it."""
        used = {path.stem for path in self._folder.glob(f"{number}-*.[ab]")}
        return next(name for k in range(len(used) + 1) if (name := f"{number}-{k}") not in used)

    def _read_leftovers(self, own: int) -> int:
        """Records of all files whose owner is gone; the newest generation among them."""
        newest, claimed = 0, {own}
        read: list[tuple[int, int, bytes]] = []
        for path in sorted(self._folder.glob("*-*.[ab]")):
            number = int(path.stem.split("-")[0])
            if number not in claimed and not self._lock(number):
                continue
            claimed.add(number)
            content = path.read_bytes()
            generation, records = records_in(content)
            if not generation and content.strip(b"\0"):
                log.warning("%s: its start can't be read; it was being begun when its writer died", path)
            newest = max(newest, generation)
            read += [(generation, sequence, payload) for sequence, payload in records]
            self._inherited.append(path)
        read.sort(key=lambda record: record[:2])
        self.found = [payload for _, _, payload in read]
        return newest

    # ------------------------------------------------------------------------------------------- from then on

    def append(self, payload: bytes) -> "Future[int]":
        """Resolves to the record's sequence number once it is durable, to ``OSError`` if it can't be."""
        future: Future[int] = Future()
        with self._wake:
            if self._closing:
                raise OSError(f"{self._folder}: closed")
            self._sequence += 1
            self._waiting.append((self._sequence, payload, future))
            self._wake.notify()
        return future

    def taken_over(self, sequence: int) -> None:
        """Record ``sequence`` is durable in the database. A file is used again when all of its records are."""
        with self._wake:
            self._done.add(sequence)
            while self._taken + 1 in self._done:
                self._taken += 1
                self._done.remove(self._taken)
            inherited = self._inherited if self._taken >= self._inherited_until else []
            if inherited:
                self._inherited = []
        for path in inherited:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: can't be removed (%s); the next start takes it over again", path, error.strerror)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._closing):
                    self._wake.wait()
                if not self._waiting:
                    return
                group = list(self._waiting)
                self._waiting.clear()
            try:
                self._write([(sequence, payload) for sequence, payload, _ in group])
            except OSError as error:
                for sequence, _, future in group:
                    self.taken_over(sequence)  # it is nowhere, so nobody will
                    _settle(future, lambda future, error=error: future.set_exception(error))
            else:
                for sequence, _, future in group:
                    _settle(future, lambda future, sequence=sequence: future.set_result(sequence))

    def _write(self, records: list[tuple[int, bytes]]) -> None:
        size = sum(_RECORD.size + len(payload) for _, payload in records)
        if not self._active.has_room(size):
            self._turn()
        self._active.append(records)
        self.flushes += 1

    def _turn(self) -> None:
        """Go on in the other file, if the database has all of it; else this one grows."""
        other = self._files[1] if self._active is self._files[0] else self._files[0]
        if other.last_sequence <= self._taken:
            self._generation += 1
            other.begin(self._generation)
            self._active = other

    def close(self) -> None:
        """Write what waits. Files of which the database has everything are removed, others left to be read."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        for file in self._files:
            file.close()
            if file.last_sequence <= self._taken:
                file.path.unlink(missing_ok=True)
        for descriptor in self._locks:
            os.close(descriptor)
        self._locks.clear()


def _settle(future: "Future[int]", give: "Callable[[Future[int]], None]") -> None:
    if future.set_running_or_notify_cancel():
        give(future)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
