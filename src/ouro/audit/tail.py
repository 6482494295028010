"""The end of a chain, as a writer that takes it up finds it."""

import os
from dataclasses import dataclass
from pathlib import Path

from ouro.audit.errors import AuditError
from ouro.audit.files import chains_in, current_file
from ouro.audit.record import GENESIS, Record, follows, read_line

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the next record goes: after ``sequence`` and ``hash`` (-1 and the genesis of a new chain).

    ``first_in_file`` numbers the first record of the file that is written; ``torn`` is what a crash left behind the
    last whole line, which is no longer in the file.
    """

    sequence: int
    hash: str
    first_in_file: int
    torn: bytes


def last_record(folder: Path, writer: str) -> Tail:
    """The tail of a chain, verified as far as one read goes; a torn last line is cut off. Raises `AuditError`."""
    chain = next((each for each in chains_in(folder) if each.writer == writer), None)
    if chain is None:
        return Tail(-1, GENESIS, 0, b"")
    path = current_file(folder, writer)
    torn, first = b"", 0
    if path in chain.paths:
        torn = _cut_torn(path)
        with path.open("rb") as file:
            begin = file.readline()
        if begin:
            newest = _newest(path)
            return Tail(newest.sequence, newest.hash, _record(path, 1, begin).sequence, torn)
    full = [each for each in chain.paths if each != path]
    if not full:
        return Tail(-1, GENESIS, 0, torn)
    newest = _newest(full[-1])
    first = newest.sequence + 1
    return Tail(newest.sequence, newest.hash, first, torn)


def _cut_torn(path: Path) -> bytes:
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        start, tail = size, b""
        while start > 0 and b"\n" not in tail:
            start = max(0, start - _READ_BYTES)
            file.seek(start)
            tail = file.read(size - start)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if torn:
            file.truncate(size - len(torn))
            os.fsync(file.fileno())
    return torn


def _newest(path: Path) -> Record:
    """The last record of a file that ends with a line feed; every link that was read with it holds."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start, tail = size, b""
        while start > 0 and tail.count(b"\n") < 2:
            start = max(0, start - _READ_BYTES)
            file.seek(start)
            tail = file.read(size - start)
    lines = tail.splitlines(keepends=True)
    if start > 0:
        lines = lines[1:]  # its beginning was not read
    last: Record | None = None
    for number, line in enumerate(lines, 1 - len(lines)):
        record = _record(path, number, line)
        if last is not None and (wrong := follows(record, last.sequence, last.hash)):
            raise _damaged(path, number, wrong)
        last = record
    if last is None:
        raise _damaged(path, 0, "it holds no record")
    return last


def _record(path: Path, number: int, line: bytes) -> Record:
    record = read_line(line)
    if isinstance(record, str):
        raise _damaged(path, number, record)
    return record


def _damaged(path: Path, number: int, what: str) -> AuditError:
    where = "its last record" if number == 0 else f"record {-number} before its last" if number < 0 else "line 1"
    return AuditError(
        f"audit {path}: {where} is damaged: {what}; look at it by `ouro audit verify`, keep the folder as it is, "
        "and move it away to begin a new chain"
    )
