"""The heads of all chains at a time, to be kept where whoever could change the chains can't change it."""

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ouro.audit.errors import AuditError
from ouro.audit.verify import AuditReport, verify

_FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``heads``: writer to (sequence, hash). ``digest`` is the SHA-256 of all of it: note it elsewhere."""

    at_ms: int
    heads: dict[str, tuple[int, str]]

    @property
    def digest(self) -> str:
        """One hash that stands for every record of every chain until then."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        heads = {writer: {"sequence": number, "hash": digest} for writer, (number, digest) in self.heads.items()}
        return {"format": _FORMAT, "at_ms": self.at_ms, "chains": heads}

    def to_json(self) -> str:
        """As it is exported."""
        return json.dumps({**self._content(), "digest": self.digest}, indent=1, sort_keys=True) + "\n"


def checkpoint_of(report: AuditReport) -> Checkpoint:
    """The heads of chains that were verified. Raises `AuditError` where one is not whole."""
    if report.problems:
        raise AuditError(f"no checkpoint of chains that are not whole: {report.problems[0]}")
    heads = {chain.writer: (chain.sequence, chain.hash) for chain in report.chains}
    return Checkpoint(time.time_ns() // 1_000_000, heads)


def take_checkpoint(path: Path) -> Checkpoint:
    """Verify the chains under ``path``, then their heads. Raises `AuditError`."""
    return checkpoint_of(verify(path))


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Export to a new file; an older checkpoint is never overwritten. Raises `AuditError`."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(checkpoint.to_json())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise AuditError(f"checkpoint {path}: there is one already; name another file") from None
    except OSError as error:
        raise AuditError(f"checkpoint {path}: {error.strerror or error}; name a file that can be written") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """An exported checkpoint. Raises `AuditError` naming the field that is wrong."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AuditError(f"checkpoint {path}: {(error.strerror or str(error)).lower()}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise AuditError(
            f"checkpoint {path}: it is no JSON ({error}); export one by `ouro audit checkpoint`"
        ) from None
    return _parsed(path, values)


def _parsed(path: Path, values: Any) -> Checkpoint:
    def wrong(field: str, expected: str) -> AuditError:
        return AuditError(f"checkpoint {path}: {field}: {expected}; take a fresh copy of the exported file")

    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise wrong("format", f"{_FORMAT} is expected")
    at_ms, chains = values.get("at_ms"), values.get("chains")
    if type(at_ms) is not int or at_ms < 0:
        raise wrong("at_ms", "unix milliseconds are expected")
    if not isinstance(chains, dict):
        raise wrong("chains", "an object of writers is expected")
    heads: dict[str, tuple[int, str]] = {}
    for writer, head in chains.items():
        sequence = head.get("sequence") if isinstance(head, dict) else None
        digest = head.get("hash") if isinstance(head, dict) else None
        if type(sequence) is not int or sequence < 0:
            raise wrong(f"chains.{writer}.sequence", "a number from 0 is expected")
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise wrong(f"chains.{writer}.hash", "64 hex digits are expected")
        heads[writer] = (sequence, digest)
    checkpoint = Checkpoint(at_ms, heads)
    if values.get("digest") != checkpoint.digest:
        raise wrong("digest", "it is not that of this content, which was changed")
    return checkpoint
