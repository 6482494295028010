"""Files of JSON lines that are either whole and unchanged or refused.

Line 1 is the header, then records, then a trailer with the number of records and the SHA-256 of all lines before
it; gzip around it. Written beside the target and renamed, so that a crash leaves the old file.
"""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from ouro.market.errors import SnapshotError

_MAX_PLAIN_BYTES = 4 * 1024**3
_MAX_LINE_BYTES = 64 * 1024**2


def write_sealed(path: Path, kind: str, version: int, header: dict[str, Any], records: Iterable[Any]) -> None:
    """Replace ``path`` atomically. ``header`` gets ``kind`` and ``version`` added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, count = hashlib.sha256(), -1
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=4, mtime=0, filename="") as out:
                for value in ({"kind": kind, "version": version, **header}, *records):
                    line = orjson.dumps(value) + b"\n"
                    digest.update(line)
                    out.write(line)
                    count += 1
                out.write(orjson.dumps({"end": count, "sha256": digest.hexdigest()}) + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_sealed(path: Path, kind: str, version: int) -> tuple[dict[str, Any], list[Any]]:
    """Header and records. Raises ``FileNotFoundError``, or ``SnapshotError`` naming file and place."""
    lines = _lines(path)
    if len(lines) < 2:
        raise SnapshotError(f"{path}: truncated: {len(lines)} lines")
    header = _parsed(path, 1, lines[0])
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise SnapshotError(f"{path}: line 1 is not the header of a {kind} file")
    if header.get("version") != version:
        raise SnapshotError(f"{path}: line 1: version {header.get('version')}; this Ouro reads version {version}")
    trailer = _parsed(path, len(lines), lines[-1])
    if not isinstance(trailer, dict) or "end" not in trailer:
        raise SnapshotError(f"{path}: truncated after line {len(lines)}: the closing line is missing")
    if trailer["end"] != len(lines) - 2:
        raise SnapshotError(f"{path}: {len(lines) - 2} records found, the closing line says {trailer['end']}")
    digest = hashlib.sha256()
    for line in lines[:-1]:
        digest.update(line + b"\n")
    if trailer.get("sha256") != digest.hexdigest():
        raise SnapshotError(f"{path}: the content does not match the checksum in line {len(lines)}: it was changed")
    return header, [_parsed(path, k, line) for k, line in enumerate(lines[1:-1], start=2)]


def _lines(path: Path) -> list[bytes]:
    lines: list[bytes] = []
    total = 0
    with path.open("rb") as raw:
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked, io.BufferedReader(unpacked, 1 << 20) as source:  # type: ignore[arg-type]
                while line := source.readline(_MAX_LINE_BYTES):
                    total += len(line)
                    if not line.endswith(b"\n") or total > _MAX_PLAIN_BYTES:
                        raise SnapshotError(f"{path}: truncated or oversized in line {len(lines) + 1}")
                    lines.append(line[:-1])
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SnapshotError(f"{path}: truncated or damaged after line {len(lines)}: {error}") from error
    return lines


def _parsed(path: Path, number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise SnapshotError(f"{path}: line {number} is not JSON: {error}") from error
