"""Figures of one run: a table on stdout and JSON in a file, each figure with its target and the best known
elsewhere."""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. ``median`` and ``p99`` are wall time in ``unit``, ``cpu`` the median time of the processor."""

    what: str
    median: float
    p99: float
    cpu: float
    unit: str
    target: str = ""
    best_known: str = ""
    note: str = ""


class Record:
    """Rows as they are measured."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def time(
        self,
        what: str,
        action: Callable[[], object],
        repeats: int,
        *,
        unit: str = "ms",
        per_call: int = 1,
        target: str = "",
        best_known: str = "",
        note: str = "",
    ) -> Figure:
        """Measure ``action``; with ``per_call`` things done in a call, the figure is of one of them."""
        action()
        scale = {"ms": 1e-6, "us": 1e-3}[unit] / per_call
        walls, cpus = [], []
        gc.collect()
        gc.disable()
        for _ in range(repeats):
            wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
            action()
            cpus.append((time.thread_time_ns() - cpu) * scale)
            walls.append((time.perf_counter_ns() - wall) * scale)
        gc.enable()
        return self.add(what, walls, cpus, unit, target, best_known, note)

    def add(
        self,
        what: str,
        walls: list[float],
        cpus: list[float],
        unit: str,
        target: str = "",
        best_known: str = "",
        note: str = "",
    ) -> Figure:
        """A figure from durations that were measured elsewhere."""
        ranked = sorted(walls)
        p99 = ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))]
        figure = Figure(
            what, statistics.median(walls), p99, statistics.median(cpus), unit, target, best_known, note
        )
        self.figures.append(figure)
        self.show(figure)
        return figure

    def value(
        self, what: str, value: float, unit: str, target: str = "", best_known: str = "", note: str = ""
    ) -> None:
        """A figure that isn't a time."""
        figure = Figure(what, value, value, value, unit, target, best_known, note)
        self.figures.append(figure)
        self.show(figure)

    def show(self, figure: Figure) -> None:
        """One line of the table."""
        if figure.unit in ("ms", "us"):
            text = f"{figure.median:>10.3f} {figure.p99:>10.3f} {figure.cpu:>10.3f} {figure.unit}"
        else:
            text = f"{figure.median:>10.6g} {'':>10} {'':>10} {figure.unit}"
        sys.stdout.write(
            f"{figure.what:<66} {text:<38} {figure.target:<14} {figure.best_known:<22} {figure.note}\n"
        )
        sys.stdout.flush()

    def head(self) -> None:
        """Names of the columns."""
        sys.stdout.write(
            f"{'what':<66} {'median':>10} {'p99':>10} {'cpu':>10} {'':<5} {'target':<14} {'best known':<22} note\n"
        )

    def save(self, path: Path, machine: str) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"machine": machine, "figures": [asdict(f) for f in self.figures]}, indent=1) + "\n"
        )
