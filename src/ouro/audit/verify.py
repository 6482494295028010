"""Whether chains are whole: every record, offline, from the files alone.

Without a checkpoint a chain can't tell that its end was cut off, nor that somebody wrote all of it anew; the
checkpoint, kept elsewhere, tells both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ouro.audit.errors import AuditError
from ouro.audit.files import ChainFiles, chains_in
from ouro.audit.record import GENESIS, OPENED, Record, follows, read_line

Heads = Mapping[str, tuple[int, str]]
"""Writer to (sequence, hash) of a record, usually the last at that time."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where. ``line`` counts from 1; 0 is the file as a whole."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One chain: its records up to the first problem, and the head that they lead to (-1 without records)."""

    writer: str
    files: int
    records: int
    sequence: int
    hash: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All chains that were asked for."""

    chains: tuple[ChainReport, ...]
    missing: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong."""
        return (*(problem for chain in self.chains for problem in chain.problems), *self.missing)

    @property
    def ok(self) -> bool:
        """Whether nothing is."""
        return not self.problems

    @property
    def records(self) -> int:
        """How many records were found whole."""
        return sum(chain.records for chain in self.chains)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "records": self.records,
            "chains": {
                chain.writer: {
                    "files": chain.files,
                    "records": chain.records,
                    "sequence": chain.sequence,
                    "hash": chain.hash,
                }
                for chain in self.chains
            },
            "problems": [
                {"file": str(problem.file), "line": problem.line, "what": problem.what} for problem in self.problems
            ],
        }


def verify(path: Path, heads: Heads | None = None) -> AuditReport:
    """Check every chain under the folder ``path`` (or the one that the file ``path`` belongs to).

    ``heads`` of a checkpoint: each chain must hold these records with these hashes. Raises `AuditError` where
    ``path`` is no audit folder or can't be read.
    """
    try:
        chains = chains_in(path)
        reports = tuple(_verify_chain(chain, (heads or {}).get(chain.writer)) for chain in chains)
    except OSError as error:
        raise AuditError(
            f"audit {error.filename or path}: {error.strerror or error}; check its permissions"
        ) from None
    known = {chain.writer for chain in chains}
    folder = path if path.is_dir() else path.parent
    lost = [
        Problem(folder, 0, f"chain {writer!r} is of the checkpoint (up to number {sequence}) and is not here")
        for writer, (sequence, _) in sorted((heads or {}).items())
        if writer not in known and path.is_dir()
    ]
    if not chains and not lost:
        raise AuditError(f"audit {path}: there is no audit chain in it; name the data_dir's audit folder")
    return AuditReport(reports, tuple(lost))


def read_chain(chain: ChainFiles) -> Iterator[tuple[Path, int, Record | str]]:
    """Each line of a chain with its file and number: a record, or what is wrong with it. Ends after a wrong one."""
    sequence, prev = -1, GENESIS
    for path in chain.paths:
        line = 0
        with path.open("rb") as file:
            for line, raw in enumerate(file, 1):
                record = read_line(raw)
                wrong = record if isinstance(record, str) else follows(record, sequence, prev)
                if not wrong and isinstance(record, Record) and record.sequence == 0:
                    wrong = _wrong_beginning(record, chain.writer)
                if wrong or isinstance(record, str):
                    yield path, line, wrong or "it is no audit record"
                    return
                sequence, prev = record.sequence, record.hash
                yield path, line, record
        if line == 0 and path != chain.paths[-1]:
            yield path, 0, "it is empty, and another file follows it"
            return


def _wrong_beginning(record: Record, writer: str) -> str:
    if record.kind != OPENED:
        return f"a chain begins with {OPENED}, not with {record.kind}"
    named = record.body.get("writer")
    return "" if named == writer else f"it is the beginning of chain {named!r}, in a file of {writer!r}"


def _verify_chain(chain: ChainFiles, head: tuple[int, str] | None) -> ChainReport:
    records, sequence, digest = 0, -1, GENESIS
    problems: list[Problem] = []
    at_head = ""
    place = (chain.paths[-1], 0)
    for path, line, found in read_chain(chain):
        if isinstance(found, str):
            problems.append(Problem(path, line, found))
            break
        records, sequence, digest, place = records + 1, found.sequence, found.hash, (path, line)
        if head is not None and found.sequence == head[0]:
            at_head = found.hash
            if at_head != head[1]:
                problems.append(
                    Problem(path, line, "it is not the record of the checkpoint: the chain was written anew")
                )
                break
    if head is not None and not at_head and not problems:
        what = f"it ends at number {sequence}, the checkpoint has number {head[0]}: its end was cut off"
        problems.append(Problem(*place, what))
    if records == 0 and not problems:
        problems.append(Problem(chain.paths[-1], 0, "it holds no record: its content was removed"))
    return ChainReport(chain.writer, len(chain.paths), records, sequence, digest, tuple(problems))
