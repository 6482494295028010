"""Figures of one run: a table on stdout and JSON in a file, each figure with its target and the best known
elsewhere."""

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


def loads() -> str:
    """How busy the machine is: the load of the last minute and of the last five."""
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} (5 min {five:.1f})"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. ``median`` and ``p99`` are wall time in ``unit``, ``cpu`` and ``cpu_p99`` time of the processor.

    ``load``: the load average when the row was done.
    """

    what: str
    median: float
    p99: float
    cpu: float
    cpu_p99: float
    unit: str
    target: str = ""
    best_known: str = ""
    note: str = ""
    load: float = 0.0


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
        figure = Figure(
            what,
            statistics.median(walls),
            _p99(walls),
            statistics.median(cpus),
            _p99(cpus),
            unit,
            target,
            best_known,
            note,
            round(os.getloadavg()[0], 2),
        )
        self.figures.append(figure)
        self.show(figure)
        return figure

    def value(
        self, what: str, value: float, unit: str, target: str = "", best_known: str = "", note: str = ""
    ) -> None:
        """A figure that isn't a time."""
        figure = Figure(what, value, value, value, value, unit, target, best_known, note)
        self.figures.append(figure)
        self.show(figure)

    def show(self, figure: Figure) -> None:
        """One line of the table."""
        if figure.unit in ("ms", "us"):
            times = (figure.median, figure.p99, figure.cpu, figure.cpu_p99)
            text = " ".join(f"{value:>10.3f}" for value in times) + f" {figure.unit}"
        else:
            text = f"{figure.median:>10.6g} {'':>32} {figure.unit}"
        sys.stdout.write(
            f"{figure.what:<76} {text:<48} {figure.target:<14} {figure.best_known:<20} {figure.note}\n"
        )
        sys.stdout.flush()

    def head(self) -> None:
        """Names of the columns."""
        sys.stdout.write(
            f"{'what':<76} {'median':>10} {'p99':>10} {'cpu':>10} {'cpu p99':>10} {'':<4} "
            f"{'target':<14} {'best known':<20} note\n"
        )

    def save(self, path: Path, machine: str) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": machine, "load": loads(), "figures": [asdict(figure) for figure in self.figures]}
        path.write_text(json.dumps(found, indent=1) + "\n")


def _p99(values: list[float]) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))]
