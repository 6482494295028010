"""The queue of alerts: one SQLite file that every process of an instance may write to.

An alert is named by its key and stands until it is resolved. Raising one that stands changes nothing but its text,
so that a condition which is seen every second is told once. Times are unix milliseconds.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ouro.config.alerts import SEVERITIES, Severity

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL, detail TEXT NOT NULL,
    chain TEXT NOT NULL, runbook TEXT NOT NULL, raised_ms INTEGER NOT NULL, resolved_ms INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS standing ON alerts (key) WHERE resolved_ms IS NULL;
CREATE INDEX IF NOT EXISTS by_time ON alerts (raised_ms);
CREATE TABLE IF NOT EXISTS deliveries (
    alert INTEGER NOT NULL REFERENCES alerts (id), destination TEXT NOT NULL, tries INTEGER NOT NULL,
    next_ms INTEGER NOT NULL, delivered_ms INTEGER, error TEXT NOT NULL,
    PRIMARY KEY (alert, destination)
);
"""
_LONGEST_TEXT = 1_000
KEPT_DAYS = 90


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know. ``runbook`` is a path in the checkout; ``id`` 0 before it is stored."""

    key: str
    severity: Severity
    title: str
    detail: str = ""
    chain: str = ""
    runbook: str = ""
    id: int = 0
    raised_ms: int = 0
    resolved_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it stands with one alert at one destination."""

    destination: str
    tries: int
    next_ms: int
    delivered_ms: int | None
    error: str


def alerts_file(data_dir: Path) -> Path:
    """Where the queue of an instance is."""
    return data_dir / "alerts.db"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class AlertStore:
    """The queue. Safe from several processes and threads; every call opens the file for itself.

    Raises ``sqlite3.Error`` or ``OSError`` where the file can't be used.
    """

    def __init__(self, path: Path, clock_ms: Callable[[], int] = _now_ms) -> None:
        self.path, self._clock_ms = path, clock_ms
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(_SCHEMA)
        path.chmod(0o600)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            yield connection
        finally:
            connection.close()

    def raise_alert(self, alert: Alert) -> bool:
        """Queue ``alert``; whether it is new (it does not stand already)."""
        if alert.severity not in SEVERITIES:
            raise ValueError(f"severity {alert.severity!r}: one of {', '.join(SEVERITIES)} is expected")
        values = (
            alert.key,
            alert.severity,
            alert.title[:_LONGEST_TEXT],
            alert.detail[:_LONGEST_TEXT],
            alert.chain,
            alert.runbook,
            self._clock_ms(),
        )
        with self._open() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO alerts (key, severity, title, detail, chain, runbook, raised_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            return added.rowcount == 1

    def resolve(self, keys: Iterable[str]) -> None:
        """These no longer hold."""
        with self._open() as connection:
            connection.executemany(
                "UPDATE alerts SET resolved_ms = ? WHERE key = ? AND resolved_ms IS NULL",
                [(self._clock_ms(), key) for key in keys],
            )

    def standing(self) -> dict[str, Alert]:
        """By key, what was raised and not resolved."""
        return {alert.key: alert for alert, _ in self.list(standing=True, limit=10_000)}

    def due(self, destination: str, least: Severity, since_ms: int, repeat_ms: int) -> "list[Alert]":
        """What ``destination`` has to be told now, oldest first: never delivered, or delivered ``repeat_ms`` ago
        and standing still. What was raised before ``since_ms`` and is over is not told any more."""
        now_ms = self._clock_ms()
        wanted = SEVERITIES[SEVERITIES.index(least) :]
        with self._open() as connection:
            rows = connection.execute(
                "SELECT a.* FROM alerts a LEFT JOIN deliveries d ON d.alert = a.id AND d.destination = ?"
                " WHERE a.severity IN (SELECT value FROM json_each(?))"
                " AND coalesce(d.next_ms, 0) <= ?"
                " AND CASE WHEN d.delivered_ms IS NULL THEN a.resolved_ms IS NULL OR a.raised_ms >= ?"
                "   ELSE a.resolved_ms IS NULL AND d.delivered_ms <= ? END ORDER BY a.id",
                (destination, json.dumps(wanted), now_ms, since_ms, now_ms - repeat_ms),
            ).fetchall()
        return [_alert(row) for row in rows]

    def delivered(self, alerts: Sequence[Alert], destination: str) -> None:
        """``destination`` has taken them."""
        now_ms = self._clock_ms()
        self._note([(alert.id, destination, 0, now_ms, now_ms, "") for alert in alerts])

    def failed(self, alerts: Sequence[Alert], destination: str, error: str, backoff: Callable[[int], int]) -> None:
        """It has not; ``backoff`` tells the pause (ms) after so many tries."""
        now_ms = self._clock_ms()
        with self._open() as connection:
            kept = {
                row["alert"]: row
                for row in connection.execute("SELECT * FROM deliveries WHERE destination = ?", (destination,))
            }
        rows = []
        for alert in alerts:
            before = kept.get(alert.id)
            tries = (before["tries"] if before else 0) + 1
            last_ms = before["delivered_ms"] if before else None
            rows.append((alert.id, destination, tries, now_ms + backoff(tries), last_ms, error[:_LONGEST_TEXT]))
        self._note(rows)

    def retry_now(self) -> None:
        """Forget the pauses of what was not delivered."""
        with self._open() as connection:
            connection.execute("UPDATE deliveries SET next_ms = 0 WHERE error <> ''")

    def _note(self, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?)", rows)

    def list(
        self, *, standing: bool = False, limit: int = 50, offset: int = 0
    ) -> "list[tuple[Alert, list[Delivery]]]":
        """The newest alerts first, each with its deliveries."""
        where = "WHERE resolved_ms IS NULL" if standing else ""
        with self._open() as connection:
            alerts = connection.execute(
                f"SELECT * FROM alerts {where} ORDER BY id DESC LIMIT ? OFFSET ?",  # noqa: S608 - no outside text
                (limit, offset),
            ).fetchall()
            deliveries: dict[int, list[Delivery]] = {}
            for row in connection.execute("SELECT * FROM deliveries ORDER BY destination"):
                told = Delivery(row["destination"], row["tries"], row["next_ms"], row["delivered_ms"], row["error"])
                deliveries.setdefault(row["alert"], []).append(told)
        return [(_alert(row), deliveries.get(row["id"], [])) for row in alerts]

    def forget_old(self) -> None:
        """Remove what was over long ago."""
        before_ms = self._clock_ms() - KEPT_DAYS * 86_400_000
        with self._open() as connection:
            old = "SELECT id FROM alerts WHERE resolved_ms < ?"
            connection.execute(f"DELETE FROM deliveries WHERE alert IN ({old})", (before_ms,))  # noqa: S608
            connection.execute("DELETE FROM alerts WHERE resolved_ms < ?", (before_ms,))


def _alert(row: sqlite3.Row) -> Alert:
    names = ("key", "severity", "title", "detail", "chain", "runbook", "id", "raised_ms", "resolved_ms")
    return Alert(**{name: row[name] for name in names})
