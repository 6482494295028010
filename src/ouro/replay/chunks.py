"""The container of a recording: chunks of zstd-packed MessagePack, each bound to all before it.

File: 8 bytes magic, 2 bytes version (big-endian), then chunks. A chunk: 1 byte kind, 4 bytes length of the packed
payload, 4 bytes length unpacked (both big-endian), 16 bytes BLAKE2b of the previous chunk's digest, these nine
bytes and the packed payload; then the payload. The last chunk is of kind ``END`` and has the counts, so that a file
that was cut off between two chunks is noticed as well.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from ouro.replay.errors import RecordingError

MAGIC = b"OUROREC\n"
VERSION = 2
"""2: with the node's answers to what was read beside the blocks. 1 is still read; it has none."""
_READ = frozenset((1, 2))
HEADER, STATES, WORDS, CODES, EVENTS, END = b"H", b"S", b"W", b"C", b"E", b"Z"
_KINDS = frozenset((HEADER, STATES, WORDS, CODES, EVENTS, END))
_VERSION = struct.Struct(">H")
_HEAD = struct.Struct(">cII")
_DIGEST_BYTES = 16
MAX_CHUNK_BYTES = 1 << 28
"""Beyond this a length is taken for damage, so that a broken file can't ask for all memory."""


def _digest(previous: bytes, head: bytes, packed: bytes) -> bytes:
    return hashlib.blake2b(previous + head + packed, digest_size=_DIGEST_BYTES).digest()


class ChunkWriter:
    """Writes beside the target and renames at the end: a recording that was not closed is never taken for one."""

    def __init__(self, path: Path, level: int = 3) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._file = self._draft.open("wb")
        self._file.write(MAGIC + _VERSION.pack(VERSION))
        self._previous = b""
        self._packer = zstandard.ZstdCompressor(level=level)
        self._encoder = msgspec.msgpack.Encoder()

    def put(self, kind: bytes, value: Any) -> None:
        """Append one chunk."""
        plain = self._encoder.encode(value)
        if len(plain) > MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of {len(plain):,} bytes is larger than {MAX_CHUNK_BYTES:,}")
        packed = self._packer.compress(plain)
        head = _HEAD.pack(kind, len(packed), len(plain))
        self._previous = _digest(self._previous, head, packed)
        self._file.write(head + self._previous + packed)

    def flush(self) -> None:
        """Hand what was written to the system: a killed recorder leaves the ``.part`` file readable up to here."""
        self._file.flush()

    def finish(self, counts: dict[str, int]) -> Path:
        """Close with the counts and put the file in its place."""
        self.put(END, counts)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self.path)
        return self.path

    def abandon(self) -> None:
        """Close without an end; the draft is removed."""
        self._file.close()
        self._draft.unlink(missing_ok=True)


def read_chunks(path: Path) -> Iterator[tuple[int, bytes, Any]]:
    """``(offset, kind, value)`` of every chunk, checked one by one; the last one is ``END``.

    Raises ``RecordingError`` naming the place where the file is cut off, was changed, or is of another version,
    ``OSError`` where it can't be opened.
    """
    with path.open("rb") as file:
        _check_start(path, file.read(len(MAGIC) + _VERSION.size))
        unpacker = zstandard.ZstdDecompressor()
        previous = b""
        ended = False
        while True:
            offset = file.tell()
            head = file.read(_HEAD.size + _DIGEST_BYTES)
            if not head:
                break
            if ended:
                raise RecordingError(f"{path}: byte {offset}: something was appended after the end")
            kind, packed_bytes, plain_bytes = _chunk_head(path, offset, head)
            packed = file.read(packed_bytes)
            if len(packed) < packed_bytes:
                raise RecordingError(
                    f"{path}: byte {offset}: cut off: {len(packed)} of {packed_bytes} bytes of the chunk are there"
                )
            expected = head[_HEAD.size :]
            previous = _digest(previous, head[: _HEAD.size], packed)
            if previous != expected:
                raise RecordingError(
                    f"{path}: byte {offset}: the chunk does not match its checksum: it was changed"
                )
            yield offset, kind, _unpacked(path, offset, unpacker, packed, plain_bytes)
            ended = kind == END
        if not ended:
            raise RecordingError(f"{path}: byte {offset}: cut off: the closing chunk is missing")


def _check_start(path: Path, start: bytes) -> None:
    if start[: len(MAGIC)] != MAGIC[: len(start)] or len(start) < len(MAGIC):
        raise RecordingError(f"{path}: byte 0: not a recording of Ouro")
    if len(start) < len(MAGIC) + _VERSION.size:
        raise RecordingError(f"{path}: byte {len(start)}: cut off in the version")
    (version,) = _VERSION.unpack(start[len(MAGIC) :])
    if version not in _READ:
        age = "newer: upgrade Ouro" if version > VERSION else "older: record it again"
        raise RecordingError(
            f"{path}: byte {len(MAGIC)}: schema {version}, this Ouro reads schemas 1 to {VERSION}; the file is"
            f" {age}"
        )


def _chunk_head(path: Path, offset: int, head: bytes) -> tuple[bytes, int, int]:
    if len(head) < _HEAD.size + _DIGEST_BYTES:
        raise RecordingError(f"{path}: byte {offset}: cut off within the head of a chunk")
    kind, packed_bytes, plain_bytes = _HEAD.unpack(head[: _HEAD.size])
    if kind not in _KINDS or max(packed_bytes, plain_bytes) > MAX_CHUNK_BYTES:
        raise RecordingError(f"{path}: byte {offset}: no chunk begins here: the file was changed")
    return kind, packed_bytes, plain_bytes


def _unpacked(
    path: Path, offset: int, unpacker: zstandard.ZstdDecompressor, packed: bytes, plain_bytes: int
) -> Any:
    try:
        plain = unpacker.decompress(packed, max_output_size=plain_bytes)
        if len(plain) != plain_bytes:
            raise RecordingError(f"{path}: byte {offset}: {len(plain)} bytes unpacked, {plain_bytes} announced")
        return msgspec.msgpack.decode(plain)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise RecordingError(f"{path}: byte {offset}: the chunk can't be read: {error}") from error
