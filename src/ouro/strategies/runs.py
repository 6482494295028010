"""Scan results as sorted runs of rows: in memory while they fit, else in temporary files that are merged."""

import heapq
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]


def row_type(max_hops: int) -> np.dtype:
    """A cycle with its exact amounts as words of 64 bits, and what it is sorted by."""
    return np.dtype(
        [
            ("value", "<f8"),
            ("profit_high", "<i8"),
            ("profit_low", "<u8"),
            ("in_high", "<u8"),
            ("in_low", "<u8"),
            ("out_high", "<u8"),
            ("out_low", "<u8"),
            ("hops", "<i1"),
            ("edges", "<i4", (max_hops,)),
        ]
    )


def sort_rows(rows: Rows) -> Rows:
    """Largest value first, then largest exact profit, fewest hops, lowest edges: the same order in every run."""
    edges = rows["edges"]
    keys = (
        *(edges[:, column] for column in reversed(range(edges.shape[1]))),
        rows["hops"],
        ~rows["profit_low"],
        -rows["profit_high"],
        -rows["value"],
    )
    return rows[np.lexsort(keys)]


def _key(row: np.void) -> tuple:
    return (
        -float(row["value"]),
        -(int(row["profit_high"]) << 64) - int(row["profit_low"]),
        int(row["hops"]),
        tuple(row["edges"].tolist()),
    )


class Runs:
    """Sorted runs, merged when they are read. Beyond ``budget_bytes`` they go to files in a temporary folder.

    A context manager: the files are gone when it is left.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._runs: list[Rows] = []
        self._kept_bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.count = 0

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: Rows) -> None:
        """Take one part of the results, in any order."""
        if not len(rows):
            return
        rows = sort_rows(rows)
        self.count += len(rows)
        if self._kept_bytes + rows.nbytes <= self._budget_bytes:
            self._kept_bytes += rows.nbytes
            self._runs.append(rows)
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ouro-scan-")
        path = Path(self._folder.name) / f"{len(self._runs)}.npy"
        np.save(path, rows)
        self._runs.append(np.load(path, mmap_mode="r"))

    def chunks(self, size: int) -> Iterator[Rows]:
        """All rows in order, in arrays of up to ``size``."""
        if len(self._runs) == 1:
            (rows,) = self._runs
            for first in range(0, len(rows), size):
                yield rows[first : first + size]
            return
        merged = heapq.merge(*self._runs, key=_key)
        while part := list(itertools.islice(merged, size)):
            yield np.array(part, dtype=part[0].dtype)
