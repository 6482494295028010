"""Metrics as values, for those who show them: straight from the files of an instance's processes.

Reading costs milliseconds and disturbs nobody: the files are memory maps that the processes go on writing.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ouro.monitoring.metrics import FOLDER

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All series at one moment; ``values[name][labels]``."""

    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float | None:
        """The series with exactly these labels; None where there is none."""
        return self.values.get(name, {}).get(frozenset(labels.items()))

    def total(self, name: str, **labels: str) -> float:
        """The sum over every series that has these labels."""
        return sum(value for _, value in self._matching(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sum per value of ``label``, of the series that have ``labels``; sorted by that value."""
        found: dict[str, float] = {}
        for series, value in self._matching(name, labels):
            key = dict(series).get(label, "")
            found[key] = found.get(key, 0.0) + value
        return dict(sorted(found.items()))

    def chains(self) -> list[str]:
        """Every chain that something was told of."""
        names = {dict(series).get("chain", "") for kept in self.values.values() for series in kept}
        return sorted(names - {""})

    def buckets(self, name: str, **labels: str) -> list[tuple[float, float]]:
        """A histogram: (upper bound, observations in this bucket alone), the last bound infinite."""
        sums: dict[float, float] = {}
        for series, value in self._matching(f"{name}_bucket", labels):
            bound = float(dict(series)["le"])
            sums[bound] = sums.get(bound, 0.0) + value
        found, before = [], 0.0
        for bound in sorted(sums):
            found.append((bound, sums[bound] - before))
            before = sums[bound]
        return found

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """Of a histogram, as Prometheus estimates it: linear inside the bucket; None without observations."""
        buckets = self.buckets(name, **labels)
        count = sum(times for _, times in buckets)
        if count <= 0:
            return None
        rank, seen, lower = q * count, 0.0, 0.0
        for bound, times in buckets:
            if times and seen + times >= rank:
                if math.isinf(bound):
                    return lower
                low = min(lower, bound) if bound > 0 else bound
                return low + (bound - low) * (rank - seen) / times
            seen, lower = seen + times, bound
        return lower

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterable[tuple[Labels, float]]:
        wanted = labels.items()
        return [item for item in self.values.get(name, {}).items() if wanted <= item[0]]


def read_metrics(data_dir: Path) -> Snapshot:
    """Everything that the processes of the instance under ``data_dir`` have told; empty where there is nothing."""
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return Snapshot()
    from prometheus_client.multiprocess import MultiProcessCollector

    # None: no registry is needed for one look.
    collector: Any = MultiProcessCollector(None, str(folder))
    for attempt in range(3):
        try:
            return _collected(collector)
        except (OSError, ValueError):  # a file went away, or was being made, while it was read
            if attempt == 2:
                raise
    return Snapshot()


def _collected(collector: Any) -> Snapshot:
    values: dict[str, dict[Labels, float]] = {}
    for metric in collector.collect():
        for sample in metric.samples:
            values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return Snapshot(values)
