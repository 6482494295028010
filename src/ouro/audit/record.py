"""One line of an audit chain, as bytes.

``{"hash":"<64 hex>","prev":"<64 hex>","seq":7,"at_ms":1700000000000,"kind":"approved","body":{…}}`` and a line
feed. The hash is the SHA-256 of every byte of the line after the hash's own field, ``prev`` (the hash of the record
before it) included; so a changed byte breaks its own record, and a removed, added or moved record breaks the next.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ouro.audit.errors import AuditError

GENESIS = "0" * 64
"""What the first record of a chain names as its predecessor."""

OPENED = "chain_opened"
"""The kind of each chain's first record; its body names the writer, so that chains can't be exchanged."""

_HEAD_CHARS = len('{"hash":"') + 64 + len('",')
_LINE = re.compile(
    rb'\{"hash":"([0-9a-f]{64})","prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,17}),"at_ms":(0|[1-9][0-9]{0,17}),'
    rb'"kind":"([a-z][a-z0-9_.]{0,63})","body":(\{.*\})\}\n'
)
_KIND = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read; ``body_json`` is not parsed until somebody asks."""

    sequence: int
    at_ms: int
    kind: str
    hash: str
    prev: str
    body_json: bytes

    @property
    def body(self) -> dict[str, Any]:
        """What it says."""
        return json.loads(self.body_json)


def encode_body(kind: str, body: Mapping[str, Any]) -> bytes:
    """JSON of ``body``, integers of any size kept whole. Raises `AuditError` for what has no JSON form."""
    if not _KIND.fullmatch(kind):
        raise AuditError(f"audit record kind {kind!r}: lower-case letters, digits, '_' and '.' are expected")
    try:
        try:
            encoded = _encode(body)
        except (OverflowError, ValueError):  # integers above 64 bits
            encoded = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"audit record {kind!r}: its body has no JSON form: {error}") from None
    if not encoded.startswith(b"{"):
        raise AuditError(f"audit record {kind!r}: its body must be an object, not {type(body).__name__}")
    return encoded


def make_line(sequence: int, at_ms: int, kind: str, body_json: bytes, prev: str) -> tuple[str, bytes]:
    """(hash, line) of a record."""
    rest = b'"prev":"%b","seq":%d,"at_ms":%d,"kind":"%b","body":%b}' % (
        prev.encode(),
        sequence,
        at_ms,
        kind.encode(),
        body_json,
    )
    digest = hashlib.sha256(rest).hexdigest()
    return digest, b'{"hash":"%b",%b\n' % (digest.encode(), rest)


def read_line(line: bytes) -> Record | str:
    """The record of ``line`` (with its line feed), or what is wrong with the line by itself."""
    if not line.endswith(b"\n"):
        return "it is cut off: no line feed ends it"
    match = _LINE.fullmatch(line)
    if match is None:
        return "it is no audit record"
    digest, prev, sequence, at_ms, kind, body = match.groups()
    if hashlib.sha256(line[_HEAD_CHARS:-1]).hexdigest().encode() != digest:
        return "its content is not what its hash was made of: it was changed"
    return Record(int(sequence), int(at_ms), kind.decode(), digest.decode(), prev.decode(), body)


def follows(record: Record, sequence: int, prev: str) -> str:
    """Why ``record`` does not follow number ``sequence`` with hash ``prev``; empty when it does."""
    if record.sequence != sequence + 1:
        return (
            f"it is number {record.sequence} where {sequence + 1} must stand: records were removed, added or moved"
        )
    if record.prev != prev:
        return "it does not name the hash of the record before it: that one was replaced"
    return ""
