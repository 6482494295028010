"""The signer's request log: append-only lines, each bound to the one before by its hash, in files of bounded size.

A line is in the file before its answer leaves. ``link`` is SHA-256 over the link of the line before and this line
without its own, so that a line that is changed, taken out or moved is found when the log is read again. When a file
is full it is kept under a number, and the next begins with all that has to be remembered.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

STATE = "state"
ANCHOR_LINES = 256
"""So often the newest link goes into the audit chain: what is cut off the end of the log is missed there."""

_GENESIS = "0" * 64
_LINK_BYTES = len(b',"link":""}') + 64


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the request log. ``digest`` identifies the payload; there are no signed bytes in it."""

    at_ns: int
    decision: str
    chain: str = ""
    chain_id: int = 0
    operator: str = ""
    kind: str = ""
    nonce: int = -1
    max_fee_per_gas_wei: int = 0
    digest: str = ""
    tx_hash: str = ""
    reason: str = ""
    detail: str = ""
    gas_gwei: int = 0
    notional_usd_micro: int = 0
    native_usd_micro: int = 0
    epoch: int = 0
    strategy: str = ""
    net_gwei: int = 0
    holder: str = ""
    before: str = ""
    link: str = ""


class LogError(RuntimeError):
    """The request log can't be used; the message names the file."""


class RequestLog:
    """Locked by one process. ``rotate_bytes``: the size from which a new file is begun."""

    def __init__(self, path: Path, rotate_bytes: int = 64_000_000) -> None:
        """Open and lock. Raises LogError when another signer holds it or the folder can't be written."""
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._link = _GENESIS
        self._size = 0
        self._least_bytes = 0
        """What has to be remembered is no more than half of a file, or each line would begin a new one."""
        self.carry: Callable[[], LogEntry] | None = None
        """Asked for the first line of a new file: all that has to be remembered."""
        self.anchor: Callable[[str, str], None] | None = None
        """Told now and then what happened and the newest link, to be kept elsewhere."""
        self._since_anchor = 0
        self._torn = ""
        lock_path = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogError(f"{path}: can't be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LogError(f"{path}: another signer is running on it; stop that one first") from error
        try:
            self._fd = _open(path)
        except OSError as error:
            os.close(self._lock)
            raise LogError(f"{path}: can't be opened ({error.strerror})") from error

    @property
    def head(self) -> str:
        """The link of the last line: who keeps it elsewhere can tell whether anything was cut off the end."""
        return self._link

    def replay(self) -> Iterator[LogEntry]:
        """All entries of the current file. An unfinished last line (its answer never left) is cut off first.

        Raises LogError naming the line that is damaged, changed, or not where it was.
        """
        self._cut_unfinished_line()
        decoder = msgspec.json.Decoder(LogEntry)
        linked = False
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    entry = decoder.decode(line)
                except msgspec.MsgspecError as error:
                    hint = "restore it from a backup; without it a nonce could be signed twice"
                    raise LogError(f"{self.path}: line {number} is damaged ({error}); {hint}") from error
                if not entry.link and linked:
                    raise LogError(f"{self.path}: line {number} is not linked to those before it")
                if entry.link:
                    self._check_link(line, entry, number, first=number == 1)
                    linked = True
                if entry.decision == STATE:
                    self._least_bytes = 2 * len(line)
                yield entry
        self._size = os.fstat(self._fd).st_size

    def _check_link(self, line: bytes, entry: LogEntry, number: int, *, first: bool) -> None:
        body = line.rstrip(b"\n")[:-_LINK_BYTES] + b"}"
        before = entry.before if first else self._link
        if entry.link != _link(before or _GENESIS, body):
            raise LogError(f"{self.path}: line {number} or the one before was changed, taken out or moved")
        self._link = entry.link

    def _cut_unfinished_line(self) -> None:
        end = os.fstat(self._fd).st_size
        keep = end
        while keep > 0:
            start = max(0, keep - 65_536)
            block = os.pread(self._fd, keep - start, start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep != end:
            os.ftruncate(self._fd, keep)

    def append(self, entry: LogEntry, *, durable: bool = False) -> None:
        """Write one line. Raises LogError when it is not wholly in the file (disk full); nothing is left then.

        Without ``durable`` no fsync: the page cache survives the death of the process; on the death of the machine
        the engine's journal and the chain's own nonce remain.
        """
        if self._torn:
            raise LogError(self._torn)
        if self._size >= max(self._rotate_bytes, self._least_bytes) and self.carry is not None:
            self._rotate(self.carry())
        body = msgspec.json.encode(entry)
        link = _link(self._link, body)
        self._write(_line(body, link), durable=durable)
        self._link = link
        self._since_anchor += 1
        if self._since_anchor >= ANCHOR_LINES:
            self._anchor("lines")

    def _anchor(self, event: str) -> None:
        self._since_anchor = 0
        if self.anchor is None:
            return
        try:
            self.anchor(event, self._link)
        except Exception:  # the line is in the log: nothing may come between it and the memory of its nonce
            log.exception("%s: its newest link could not be kept elsewhere", self.path)

    def _write(self, line: bytes, *, durable: bool) -> None:
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(28, "disk full?")
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            self._take_away()
            raise LogError(f"{self.path}: can't be written ({error.strerror})") from error
        self._size += len(line)

    def _take_away(self) -> None:
        """What was written of a line that does not count; if that fails, no line may follow it."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            self._torn = (
                f"{self.path}: a line that failed can't be taken away ({error.strerror}); check the disk, then"
                " start the signer again"
            )
            log.critical("%s", self._torn)

    def _rotate(self, state: LogEntry) -> None:
        """The full file gets a number; the new one is whole before it takes the name, so a kill loses neither."""
        body = msgspec.json.encode(msgspec.structs.replace(state, before=self._link))
        link = _link(self._link, body)
        line = _line(body, link)
        new = self.path.with_name(self.path.name + ".new")
        try:
            new.unlink(missing_ok=True)
            descriptor = _open(new)
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, "disk full?")
                os.fsync(descriptor)
                os.fsync(self._fd)
                os.link(self.path, self._archive())
                new.replace(self.path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise LogError(f"{self.path}: can't begin a new file ({error.strerror})") from error
        os.close(self._fd)
        self._fd, self._size, self._link = descriptor, len(line), link
        self._least_bytes = 2 * len(line)
        self._anchor("new_file")

    def _archive(self) -> Path:
        number = 1
        while (path := self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}")).exists():
            number += 1
        return path

    def close(self) -> None:
        """Release file and lock."""
        os.close(self._fd)
        os.close(self._lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _link(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()


def _line(body: bytes, link: str) -> bytes:
    return body[:-1] + b',"link":"' + link.encode() + b'"}\n'
