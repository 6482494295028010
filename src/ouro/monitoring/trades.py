"""Attempts and refusals by filter, page by page, from the books."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from ouro.ledger import schema
from ouro.ledger.books import Books
from ouro.ledger.database import check_version, database_error, ledger_name, open_engine
from ouro.ledger.records import AttemptRecord
from ouro.types import OutcomeKind

OPEN = "open"
OUTCOMES = (*(kind.value for kind in OutcomeKind), OPEN)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class FilterError(Exception):
    """A filter that can't be used; says what is expected."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which attempts: all of these at once; None and empty filter nothing. Times are unix milliseconds."""

    chain: str | None = None
    outcomes: tuple[str, ...] = ()
    lane: str | None = None
    session: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page, the newest first, and how many there are in all."""

    records: list[AttemptRecord]
    total: int


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A refusal whose sample was kept. ``times`` counts all of its reason and hour, kept or not."""

    at_ms: int
    chain: str
    plan_id: str
    reason: str
    detail: str


def moment_ms(text: str, now_ms: int | None = None) -> int:
    """``2h`` (that long ago; s, m, h, d) or an ISO date and time, UTC unless it says otherwise.

    Raises ``FilterError``.
    """
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    if ago is not None:
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return now - int(ago[1]) * _UNITS_S[ago[2]] * 1_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FilterError(f"{text!r} is no moment: 30m, 2h or 7d ago, or 2026-01-31T12:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def trades(url: str, wanted: Filter, *, limit: int, offset: int = 0) -> Page:
    """Attempts that ``wanted`` lets through. Raises ``LedgerError``."""
    table, facts = schema.attempts, schema.outcomes
    withdrawn = facts.alias("withdrawn")
    standing = (
        select(facts.c.attempt_id, facts.c.kind)
        .where(facts.c.reverses.is_(None))
        .where(~select(withdrawn.c.outcome_id).where(withdrawn.c.reverses == facts.c.outcome_id).exists())
        .subquery("standing")
    )
    query = select(table.c.attempt_id).outerjoin(standing, standing.c.attempt_id == table.c.attempt_id)
    query = _filtered(query, wanted, standing)
    count = select(func.count()).select_from(query.subquery())
    newest = query.order_by(table.c.journaled_at_ms.desc(), table.c.attempt_id.desc()).limit(limit).offset(offset)
    engine, name = _opened(url)
    try:
        with engine.connect() as connection:
            total = connection.execute(count).scalar_one()
            ids: Sequence[str] = connection.execute(newest).scalars().all()
        records = Books(engine, name).attempts(named=ids) if ids else []
    except SQLAlchemyError as error:
        raise database_error(name, error) from None
    finally:
        engine.dispose()
    return Page(records[::-1], total)


def _filtered(query: Select[Any], wanted: Filter, standing: Any) -> Select[Any]:
    table = schema.attempts
    for column, value in ((table.c.chain, wanted.chain), (table.c.lane, wanted.lane)):
        query = query if value is None else query.where(column == value)
    if wanted.session is not None:
        query = query.where(table.c.session_id == wanted.session)
    if wanted.since_ms is not None:
        query = query.where(table.c.journaled_at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        query = query.where(table.c.journaled_at_ms < wanted.until_ms)
    if not wanted.cancels:
        query = query.where(table.c.kind == "trade")
    if wanted.outcomes:
        unknown = [name for name in wanted.outcomes if name not in OUTCOMES]
        if unknown:
            raise FilterError(f"outcome {unknown[0]!r}: one of {', '.join(OUTCOMES)} is expected")
        closed = [name for name in wanted.outcomes if name != OPEN]
        condition = standing.c.kind.in_(closed)
        if OPEN in wanted.outcomes:
            condition = condition | standing.c.kind.is_(None)
        query = query.where(condition)
    return query


def refused(url: str, wanted: Filter, *, reason: str | None, limit: int, offset: int = 0) -> list[RefusedLine]:
    """Kept samples of refusals, the newest first. Raises ``LedgerError``."""
    table = schema.refusal_samples
    query = select(table).order_by(table.c.at_ms.desc(), table.c.sample_id.desc()).limit(limit).offset(offset)
    conditions = (
        (table.c.chain, wanted.chain),
        (table.c.reason, reason),
        (table.c.session_id, wanted.session),
    )
    for column, value in conditions:
        query = query if value is None else query.where(column == value)
    if wanted.since_ms is not None:
        query = query.where(table.c.at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        query = query.where(table.c.at_ms < wanted.until_ms)
    engine, name = _opened(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(query).all()
    except SQLAlchemyError as error:
        raise database_error(name, error) from None
    finally:
        engine.dispose()
    return [RefusedLine(row.at_ms, row.chain, row.plan_id, row.reason, row.detail) for row in rows]


def _opened(url: str) -> tuple[Any, str]:
    engine, name = open_engine(url, write=False), ledger_name(url)
    try:
        check_version(engine, name)
    except SQLAlchemyError as error:
        raise database_error(name, error) from None
    return engine, name
