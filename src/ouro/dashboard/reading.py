"""Reading the books for the pages: once whole, afterwards only what is new. Never writes, never migrates."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import SQLAlchemyError

from ouro.dashboard.trades import Trade, trade_from_rows
from ouro.ledger import schema
from ouro.ledger.books import Books
from ouro.ledger.database import check_version, database_error, ledger_name, open_engine
from ouro.ledger.operations import JOURNALED, SENT
from ouro.ledger.records import AttemptRecord
from ouro.types import Outcome

_PART = 400
_EVER = 2**62
_FULL_CHUNK_BYTES = 4 * 4_096
_ATTEMPT_COLUMNS = (
    "attempt_id",
    "session_id",
    "plan_id",
    "chain",
    "kind",
    "tx_hash",
    "lane",
    "state",
    "journaled_at_ms",
    "sent_at_ms",
    "decided_us",
    "sent_us",
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What the books count rather than list, by chain."""

    blocks: dict[str, int]
    opportunities: dict[str, int]
    pools: dict[str, int]
    last_block: dict[str, int]
    native_usd: dict[str, float]
    refused: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Run:
    """The latest session."""

    session_id: str
    mode: str
    code_version: str
    started_at_ms: int
    last_seen_ms: int
    ended_at_ms: int | None
    sessions: int


@dataclass(frozen=True, slots=True)
class TradeStory:
    """Everything the books say of one attempt."""

    record: AttemptRecord
    history: list[tuple[Outcome, bool]]
    cancels: list[AttemptRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the books say an account holds of a token (None: native)."""

    chain: str
    account: str
    token: str | None
    wei: int


class BooksReader:
    """For one thread. ``news`` is what changed since it was last asked; everything at first."""

    def __init__(self, url: str) -> None:
        """Raises ``LedgerError`` naming what is wrong: no such file, an older or newer schema, no server."""
        self.name = ledger_name(url)
        self._engine = open_engine(url, write=False)
        self._seen_outcome = 0
        self._open: set[str] = set()
        self._chunks: dict[tuple[str, str, int], bytes] = {}
        try:
            check_version(self._engine, self.name)
        except SQLAlchemyError as error:
            raise database_error(self.name, error) from None

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

    def news(self) -> list[Trade]:
        """Attempts that are new, still open, or have another outcome than when last read."""
        table, facts = schema.attempts, schema.outcomes
        columns = [table.c[name] for name in _ATTEMPT_COLUMNS]
        with self._reading() as connection:
            newest = connection.execute(select(func.max(facts.c.outcome_id))).scalar() or 0
            if self._seen_outcome == 0:
                query = select(*columns)
                rows = connection.execute(query).all()
            else:
                still_open = select(*columns).where(table.c.state.in_((JOURNALED, SENT)))
                rows = list(connection.execute(still_open).all())
                changed = select(facts.c.attempt_id).where(facts.c.outcome_id > self._seen_outcome).distinct()
                ids = {row.attempt_id for row in connection.execute(changed)} | self._open
                ids -= {row.attempt_id for row in rows}
                for part in _parts(sorted(ids)):
                    rows += connection.execute(select(*columns).where(table.c.attempt_id.in_(part))).all()
            standing = self._standing(connection, [row.attempt_id for row in rows], whole=self._seen_outcome == 0)
            plans = self._plans(connection, {row.plan_id for row in rows}, whole=self._seen_outcome == 0)
        self._seen_outcome = newest
        trades = [trade_from_rows(row, standing.get(row.attempt_id), plans.get(row.plan_id)) for row in rows]
        self._open = {trade.attempt_id for trade in trades if not trade.is_final}
        return trades

    def _standing(self, connection: Connection, ids: Sequence[str], *, whole: bool) -> dict[str, Row[Any]]:
        table = schema.outcomes
        names = (
            "outcome_id",
            "attempt_id",
            "kind",
            "block_number",
            "gas_cost_wei",
            "realised_profit_wei",
            "reason",
            "recorded_at_ms",
            "reverses",
        )
        columns = [table.c[name] for name in names]
        facts: dict[str, list[Row[Any]]] = defaultdict(list)
        for query in _by_ids(select(*columns).order_by(table.c.outcome_id), table.c.attempt_id, ids, whole=whole):
            for row in connection.execute(query):
                facts[row.attempt_id].append(row)
        result: dict[str, Row[Any]] = {}
        for attempt_id, rows in facts.items():
            withdrawn = {row.reverses for row in rows if row.reverses is not None}
            for row in rows:
                if row.reverses is None and row.outcome_id not in withdrawn:
                    result[attempt_id] = row
        return result

    def _plans(self, connection: Connection, ids: set[str], *, whole: bool) -> dict[str, str]:
        table = schema.plans
        query = select(table.c.plan_id, table.c.plan_json)
        return {
            row.plan_id: row.plan_json
            for part in _by_ids(query, table.c.plan_id, sorted(ids), whole=whole)
            for row in connection.execute(part)
        }

    def counted(self) -> Counted:
        """Counters, gauges and prices."""
        stats, refusals, runs = schema.chain_stats, schema.refusals, schema.sessions
        blocks: dict[str, int] = defaultdict(int)
        opportunities: dict[str, int] = defaultdict(int)
        pools: dict[str, int] = {}
        last_block: dict[str, int] = {}
        prices: dict[str, float] = {}
        refused: dict[str, dict[str, int]] = defaultdict(dict)
        with self._reading() as connection:
            query = select(stats).join(runs, runs.c.session_id == stats.c.session_id)
            for row in connection.execute(query.order_by(runs.c.started_at_ms)):
                blocks[row.chain] += row.blocks
                opportunities[row.chain] += row.opportunities
                pools[row.chain] = row.pools or pools.get(row.chain, 0)
                last_block[row.chain] = max(row.last_block, last_block.get(row.chain, 0))
                if row.native_usd is not None:
                    prices[row.chain] = float(row.native_usd)
            sums = select(refusals.c.chain, refusals.c.reason, func.sum(refusals.c.times).label("times"))
            for row in connection.execute(sums.group_by(refusals.c.chain, refusals.c.reason)):
                refused[row.chain][row.reason] = int(row.times)
        return Counted(dict(blocks), dict(opportunities), pools, last_block, prices, dict(refused))

    def latest_run(self) -> Run | None:
        """The last session that began."""
        table = schema.sessions
        with self._reading() as connection:
            count = connection.execute(select(func.count()).select_from(table)).scalar() or 0
            row = connection.execute(select(table).order_by(table.c.started_at_ms.desc()).limit(1)).first()
        if row is None:
            return None
        return Run(
            row.session_id, row.mode, row.code_version, row.started_at_ms, row.last_seen_ms, row.ended_at_ms, count
        )

    def decided_us(self) -> "dict[str, array[int]]":
        """Every decision latency by chain; chunks that are full are read once."""
        table = schema.latency_chunks
        known = {key for key, data in self._chunks.items() if len(data) >= _FULL_CHUNK_BYTES}
        with self._reading() as connection:
            keys = connection.execute(select(table.c.session_id, table.c.chain, table.c.chunk)).all()
            for key in keys:
                if tuple(key) not in known:
                    query = select(table.c.decided_us).where(
                        table.c.session_id == key.session_id, table.c.chain == key.chain, table.c.chunk == key.chunk
                    )
                    self._chunks[tuple(key)] = bytes(connection.execute(query).scalar() or b"")
        result: dict[str, array[int]] = {}
        for (_, chain, _), data in sorted(self._chunks.items()):
            result.setdefault(chain, array("I")).frombytes(data)
        return result

    def holdings(self, chains: Sequence[str]) -> list[Holding]:
        """Balances that are not nothing, by chain."""
        books = Books(self._engine, self.name)
        return [
            Holding(chain, position.account, position.token, position.expected_wei)
            for chain in chains
            for position in books.positions(chain, _EVER)
            if position.expected_wei
        ]

    def story(self, attempt_id: str) -> TradeStory | None:
        """Everything about one attempt; None where there is none of that name. Opens its own connection."""
        books = Books(self._engine, self.name)
        table = schema.attempts
        with self._reading() as connection:
            row = connection.execute(select(table.c.chain).where(table.c.attempt_id == attempt_id)).first()
            cancels = select(table.c.attempt_id).where(table.c.replaces == attempt_id)
            taken_back = [item.attempt_id for item in connection.execute(cancels)]
        if row is None:
            return None
        records = {each.attempt.attempt_id: each for each in books.attempts(named=[attempt_id, *taken_back])}
        return TradeStory(
            records[attempt_id], books.outcome_history(attempt_id), [records[name] for name in taken_back]
        )


def _by_ids(query: Any, column: Any, ids: Sequence[str], *, whole: bool) -> Iterator[Any]:
    """``query`` for ``ids`` in parts that a database takes, or at once for the whole table."""
    if whole:
        yield query
        return
    for part in _parts(ids):
        yield query.where(column.in_(part))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _PART):
        yield ids[start : start + _PART]
