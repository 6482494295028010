"""Where a chain's records are: the file that is being written, and those that were full before it."""

import re
from dataclasses import dataclass
from pathlib import Path

from ouro.audit.errors import AuditError

_WRITER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FULL = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.([0-9]{12,})\.jsonl")
_CURRENT = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.jsonl")


@dataclass(frozen=True, slots=True)
class ChainFiles:
    """Files of one writer in the order of their records; ``full`` ones are named by their first record's number."""

    writer: str
    paths: tuple[Path, ...]


def check_writer(writer: str) -> str:
    """``writer`` if it can be the name of a chain; raises `AuditError`."""
    if not _WRITER.fullmatch(writer):
        raise AuditError(
            f"audit writer {writer!r}: lower-case letters, digits, '-' and '_' are expected, e.g. engine-fantom"
        )
    return writer


def current_file(folder: Path, writer: str) -> Path:
    """The file that ``writer`` appends to."""
    return folder / f"{check_writer(writer)}.jsonl"


def full_file(folder: Path, writer: str, first_sequence: int) -> Path:
    """The name that a full file of ``writer`` gets."""
    return folder / f"{check_writer(writer)}.{first_sequence:012d}.jsonl"


def chains_in(path: Path) -> list[ChainFiles]:
    """The chains of a folder, or the one chain that a file belongs to, by writer. Raises `AuditError`."""
    if not path.exists():
        raise AuditError(f"audit {path}: there is no such file or folder; check the path")
    if path.is_dir():
        return _in_folder(path)
    match = _FULL.fullmatch(path.name) or _CURRENT.fullmatch(path.name)
    if match is None:
        raise AuditError(f"audit {path}: an audit file is named WRITER.jsonl; name such a file or its folder")
    return [chain for chain in _in_folder(path.parent) if chain.writer == match.group(1)]


def _in_folder(folder: Path) -> list[ChainFiles]:
    full: dict[str, list[tuple[int, Path]]] = {}
    current: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _CURRENT.fullmatch(path.name):
            current[match.group(1)] = path
        elif match := _FULL.fullmatch(path.name):
            full.setdefault(match.group(1), []).append((int(match.group(2)), path))
    chains = []
    for writer in sorted({*full, *current}):
        paths = [path for _, path in sorted(full.get(writer, []))]
        chains.append(ChainFiles(writer, (*paths, *([current[writer]] if writer in current else []))))
    return chains
