"""Reading the books. Sums are made here, in Python integers."""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, Select, select
from sqlalchemy.exc import SQLAlchemyError

from ouro.ledger import schema
from ouro.ledger.database import check_version, database_error, ledger_name, open_engine
from ouro.ledger.operations import JOURNALED, SENT
from ouro.ledger.records import (
    AttemptRecord,
    BalanceEntry,
    Opening,
    SessionInfo,
    attempt_from_row,
    native_value_wei,
    outcome_from_row,
    plan_from_json,
)
from ouro.types import PAPER_LANE, Address, Outcome, Plan

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Position:
    """What the books say an account holds of a token (None: native)."""

    account: Address
    token: Address | None
    expected_wei: int


@dataclass(frozen=True, slots=True)
class ChainActivity:
    """Sums over sessions of one chain; ``pools``, ``cycles`` and the price are those of the latest session."""

    blocks: int
    blocks_decided: int
    opportunities: int
    pools: int
    cycles: int
    native_usd: float | None
    native_usd_source: str | None


@dataclass(frozen=True, slots=True)
class Realised:
    """Net result of one final attempt in native wei (profit at the plan's price, minus gas), when it was booked."""

    chain: str
    attempt_id: str
    at_ms: int
    net_native_wei: int


@dataclass(frozen=True, slots=True)
class LastReconciliation:
    """The latest comparison of a chain's balances with the books; without balances it says nothing."""

    block_number: int
    max_abs_difference_wei: int
    differences: list[dict[str, Any]]
    balances_checked: int


class Books:
    """Read access; safe from any thread. Times are unix milliseconds, ``session`` None means all sessions."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self.name = engine, name

    @classmethod
    def open(cls, url: str) -> Self:
        """Open for reading; nothing is created or migrated. Raises `LedgerError`."""
        name = ledger_name(url)
        engine = open_engine(url, write=False)
        try:
            check_version(engine, name)
        except SQLAlchemyError as error:
            raise database_error(name, error) from None
        return cls(engine, name)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise database_error(self.name, error) from None

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._reading() as connection:
            return connection.execute(query).all()

    def sessions(self) -> list[SessionInfo]:
        """Every run, oldest first."""
        table = schema.sessions
        rows = self._rows(select(table).order_by(table.c.started_at_ms, table.c.session_id))
        names = SessionInfo.__slots__
        return [SessionInfo(**{name: getattr(row, name) for name in names}) for row in rows]

    def attempts(
        self,
        *,
        chain: str | None = None,
        session: str | None = None,
        states: Sequence[str] = (),
        booked_since_ms: int | None = None,
        limit: int | None = None,
        named: Sequence[str] | None = None,
    ) -> list[AttemptRecord]:
        """Attempts with plan and standing outcome, oldest first; ``limit`` keeps the latest.

        ``booked_since_ms`` selects those of which any outcome was booked since; ``named`` those of these ids.
        """
        table = schema.attempts
        query = select(table).order_by(table.c.journaled_at_ms.desc(), table.c.attempt_id.desc())
        if chain is not None:
            query = query.where(table.c.chain == chain)
        if session is not None:
            query = query.where(table.c.session_id == session)
        if states:
            query = query.where(table.c.state.in_(states))
        if booked_since_ms is not None:
            facts_table = schema.outcomes
            recent = select(facts_table.c.attempt_id).where(facts_table.c.recorded_at_ms >= booked_since_ms)
            query = query.where(table.c.attempt_id.in_(recent))
        if named is not None:
            query = query.where(table.c.attempt_id.in_(named))
        with self._reading() as connection:
            rows = connection.execute(query if limit is None else query.limit(limit)).all()
            ids = [row.attempt_id for row in rows]
            facts = _facts(connection, ids)
            plans = _plans(connection, {row.plan_id for row in rows})
        rows = sorted(rows, key=lambda row: (row.journaled_at_ms, row.attempt_id))
        return [_record(row, facts.get(row.attempt_id, []), plans.get(row.plan_id)) for row in rows]

    def entries(self, attempt_ids: Sequence[str]) -> dict[str, list[BalanceEntry]]:
        """Balance entries that stand, by attempt: those that nothing withdrew."""
        table = schema.balance_entries
        found: dict[str, list[BalanceEntry]] = defaultdict(list)
        with self._reading() as connection:
            for part in _parts(attempt_ids):
                query = select(table).where(table.c.attempt_id.in_(part)).order_by(table.c.entry_id)
                rows = connection.execute(query).all()
                withdrawn = {row.reverses for row in rows if row.reverses is not None}
                for row in rows:
                    if row.reverses is None and row.entry_id not in withdrawn:
                        entry = BalanceEntry(row.account, row.token or None, row.change_wei, row.cause)
                        found[row.attempt_id].append(entry)
        return found

    def unresolved(self, chain: str) -> list[AttemptRecord]:
        """Attempts without a final outcome, oldest first."""
        return self.attempts(chain=chain, states=(JOURNALED, SENT))

    def outcome_history(self, attempt_id: str) -> list[tuple[Outcome, bool]]:
        """Every outcome record of an attempt in order, with whether it is the withdrawal of an earlier one."""
        with self._reading() as connection:
            return [
                (outcome_from_row(row), row.reverses is not None)
                for row in _facts(connection, [attempt_id])[attempt_id]
            ]

    def openings(self, chain: str) -> list[Opening]:
        """Opening balances of a chain."""
        table = schema.openings
        rows = self._rows(select(table).where(table.c.chain == chain))
        return [Opening(r.chain, r.account, r.token or None, r.block_number, r.amount_wei) for r in rows]

    def positions(self, chain: str, block_number: int) -> list[Position]:
        """Opening plus entries up to ``block_number``, for every balance that was opened or booked by then.

        An entry at or below its opening's block is inside the opening already.
        """
        entries = schema.balance_entries
        with self._reading() as connection:
            query = select(schema.openings).where(schema.openings.c.chain == chain)
            opened = {(row.account, row.token): row for row in connection.execute(query)}
            query = select(entries.c.account, entries.c.token, entries.c.block_number, entries.c.change_wei)
            rows = connection.execute(query.where(entries.c.chain == chain, entries.c.block_number <= block_number))
            expected = {key: row.amount_wei for key, row in opened.items() if row.block_number <= block_number}
            for row in rows:
                key = (row.account, row.token)
                opening = opened.get(key)
                if opening is None or row.block_number > opening.block_number:
                    expected[key] = expected.get(key, 0) + row.change_wei
        return [Position(account, token or None, wei) for (account, token), wei in sorted(expected.items())]

    def changes(self, chain: str, after_block: int, to_block: int) -> list[Position]:
        """Sums of the balance entries in blocks above ``after_block`` up to ``to_block``, openings left out.

        An entry at or below its opening's block is inside the opening and not counted.
        """
        entries = schema.balance_entries
        with self._reading() as connection:
            query = select(schema.openings).where(schema.openings.c.chain == chain)
            opened = {(row.account, row.token): row.block_number for row in connection.execute(query)}
            query = select(entries.c.account, entries.c.token, entries.c.block_number, entries.c.change_wei).where(
                entries.c.chain == chain,
                entries.c.block_number > after_block,
                entries.c.block_number <= to_block,
            )
            sums: dict[tuple[str, str], int] = {}
            for row in connection.execute(query):
                key = (row.account, row.token)
                if row.block_number > opened.get(key, -1):
                    sums[key] = sums.get(key, 0) + row.change_wei
        return [Position(account, token or None, wei) for (account, token), wei in sorted(sums.items())]

    def refusals(self, chain: str | None = None, session: str | None = None) -> dict[str, dict[str, int]]:
        """Counts by chain and reason."""
        table = schema.refusals
        query = _filtered(select(table), table, chain, session)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self._rows(query.order_by(table.c.chain, table.c.reason)):
            counts[row.chain][row.reason] = counts[row.chain].get(row.reason, 0) + row.times
        return dict(counts)

    def refusals_between(self, from_ms: int, to_ms: int) -> dict[str, dict[str, int]]:
        """Counts by chain and reason of the hours that begin in a period."""
        table = schema.refusals
        first, last = -(-from_ms // _HOUR_MS), -(-to_ms // _HOUR_MS)
        query = select(table).where(table.c.hour >= first, table.c.hour < last)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self._rows(query.order_by(table.c.chain, table.c.reason)):
            counts[row.chain][row.reason] = counts[row.chain].get(row.reason, 0) + row.times
        return dict(counts)

    def spans(self, from_ms: int, to_ms: int) -> dict[str, list[tuple[int, int]]]:
        """By chain, when runs that watched it began and ended, as far as they reach into a period.

        Before the first of a chain there is nothing; if it began before the period, (from, from) stands for it.
        """
        runs, stats = schema.sessions, schema.chain_stats
        query = select(stats.c.chain, runs.c.started_at_ms, runs.c.ended_at_ms, runs.c.last_seen_ms).join(
            runs, runs.c.session_id == stats.c.session_id
        )
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row in self._rows(query.where(runs.c.started_at_ms < to_ms)):
            start, end = row.started_at_ms, row.ended_at_ms or row.last_seen_ms
            found[row.chain].append((start, end) if end > from_ms else (from_ms, from_ms))
        return dict(found)

    def reconciled_between(self, from_ms: int, to_ms: int) -> dict[str, dict[str, int]]:
        """By chain: comparisons that were kept, those with differences, and the largest difference."""
        table = schema.reconciliations
        query = select(table).where(table.c.checked_at_ms >= from_ms, table.c.checked_at_ms < to_ms)
        found: dict[str, dict[str, int]] = {}
        for row in self._rows(query.order_by(table.c.chain)):
            sums = found.setdefault(row.chain, {"comparisons": 0, "broken": 0, "max_abs_difference_wei": 0})
            sums["comparisons"] += 1
            sums["broken"] += bool(json.loads(row.differences_json))
            sums["max_abs_difference_wei"] = max(sums["max_abs_difference_wei"], row.max_abs_difference_wei)
        return found

    def refusal_samples(
        self, chain: str | None = None, session: str | None = None
    ) -> list[tuple[str, str, int, str, str]]:
        """Kept samples: (chain, reason, at_ms, plan_id, detail), oldest first."""
        table = schema.refusal_samples
        rows = self._rows(
            _filtered(select(table), table, chain, session).order_by(table.c.at_ms, table.c.sample_id)
        )
        return [(row.chain, row.reason, row.at_ms, row.plan_id, row.detail) for row in rows]

    def activity(self, session: str | None = None) -> dict[str, ChainActivity]:
        """Block counters by chain."""
        table, runs = schema.chain_stats, schema.sessions
        query = select(table).join(runs, runs.c.session_id == table.c.session_id)
        result: dict[str, ChainActivity] = {}
        for row in self._rows(_filtered(query, table, None, session).order_by(runs.c.started_at_ms)):
            old = result.get(row.chain)
            result[row.chain] = ChainActivity(
                blocks=row.blocks + (old.blocks if old else 0),
                blocks_decided=row.blocks_decided + (old.blocks_decided if old else 0),
                opportunities=row.opportunities + (old.opportunities if old else 0),
                pools=row.pools or (old.pools if old else 0),
                cycles=row.cycles or (old.cycles if old else 0),
                native_usd=float(row.native_usd)
                if row.native_usd is not None
                else (old.native_usd if old else None),
                native_usd_source=row.native_usd_source or (old.native_usd_source if old else None),
            )
        return result

    def decided_latencies_us(self, chain: str, session: str | None = None) -> "array[int]":
        """Every decision latency of a chain."""
        table = schema.latency_chunks
        query = _filtered(select(table.c.decided_us), table, chain, session)
        values = array("I")
        for row in self._rows(query.order_by(table.c.session_id, table.c.chunk)):
            values.frombytes(bytes(row.decided_us))
        return values

    def realised(self, since_ms: int, *, paper: bool = False) -> list[Realised]:
        """Net results booked since, oldest first: what the daily loss limit starts from after a restart.

        Real results, or those of ``paper``; one is no allowance for the other.
        """
        records = [
            record
            for record in self.attempts(booked_since_ms=since_ms)
            if (record.outcome_at_ms or 0) >= since_ms and (record.attempt.lane == PAPER_LANE) == paper
        ]
        results = [
            Realised(
                record.attempt.chain, record.attempt.attempt_id, record.outcome_at_ms or 0, net_native_wei(record)
            )
            for record in records
        ]
        return sorted(results, key=lambda item: item.at_ms)

    def last_reconciliations(self, session: str | None = None) -> dict[str, LastReconciliation]:
        """By chain, the latest comparison."""
        table = schema.reconciliations
        query = _filtered(select(table), table, None, session).order_by(table.c.reconciliation_id)
        return {
            row.chain: LastReconciliation(
                row.block_number,
                row.max_abs_difference_wei,
                json.loads(row.differences_json),
                row.balances_checked,
            )
            for row in self._rows(query)
        }


def gross_native_wei(record: AttemptRecord) -> int:
    """Realised profit in native wei before gas; 0 without a standing outcome."""
    if record.outcome is None or record.plan is None:
        return 0
    return native_value_wei(record.plan, record.outcome.realised_profit_wei)


def net_native_wei(record: AttemptRecord) -> int:
    """Realised profit minus gas, in native wei."""
    return gross_native_wei(record) - (record.outcome.gas_cost_wei if record.outcome else 0)


def _filtered(query: Select[Any], table: Any, chain: str | None, session: str | None) -> Select[Any]:
    if chain is not None:
        query = query.where(table.c.chain == chain)
    return query if session is None else query.where(table.c.session_id == session)


def _facts(connection: Connection, attempt_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    table = schema.outcomes
    facts: dict[str, list[Row[Any]]] = defaultdict(list)
    for part in _parts(attempt_ids):
        query = select(table).where(table.c.attempt_id.in_(part)).order_by(table.c.outcome_id)
        for row in connection.execute(query):
            facts[row.attempt_id].append(row)
    return facts


def _plans(connection: Connection, plan_ids: set[str]) -> dict[str, Plan]:
    table = schema.plans
    plans: dict[str, Plan] = {}
    for part in _parts(sorted(plan_ids)):
        query = select(table.c.plan_id, table.c.plan_json).where(table.c.plan_id.in_(part))
        plans |= {row.plan_id: plan_from_json(row.plan_json) for row in connection.execute(query)}
    return plans


def _parts(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    # SQLite bounds the parameters of a statement.
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _record(row: Row[Any], facts: list[Row[Any]], plan: Plan | None) -> AttemptRecord:
    reversed_ids = {fact.reverses for fact in facts if fact.reverses is not None}
    standing = next((f for f in facts if f.reverses is None and f.outcome_id not in reversed_ids), None)
    return AttemptRecord(
        attempt=attempt_from_row(row),
        session_id=row.session_id,
        state=row.state,
        journaled_at_ms=row.journaled_at_ms,
        sent_at_ms=row.sent_at_ms,
        decided_us=row.decided_us,
        signed_us=row.signed_us,
        sent_us=row.sent_us,
        plan=plan,
        outcome=outcome_from_row(standing) if standing is not None else None,
        outcome_at_ms=standing.recorded_at_ms if standing is not None else None,
        reversals=len(reversed_ids),
    )
