"""Find what an id names: an attempt, a transaction, a plan, or something that was refused."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, or_, select
from sqlalchemy.exc import SQLAlchemyError

from ouro.ledger import schema
from ouro.ledger.books import Books
from ouro.ledger.database import check_version, database_error, ledger_name, open_engine
from ouro.ledger.records import AttemptRecord, plan_from_json
from ouro.types import Outcome, Plan

AUDIT_FOLDER = "audit"
_FEWEST_CHARS = 4
_MANY = 10
_CHUNK_BYTES = 1 << 20


class NotFoundError(Exception):
    """No record of that id; says where was looked and what to try."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """When and why something was not sent."""

    reason: str
    detail: str
    at_ms: int | None


@dataclass(slots=True)
class Found:
    """Everything that books and audit trail say of one plan; parts are missing where nothing is known."""

    plan_id: str
    chain: str = ""
    plan: Plan | None = None
    records: list[AttemptRecord] = field(default_factory=list)
    histories: dict[str, list[tuple[Outcome, bool]]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    decided_at_ms: int | None = None
    opportunity: dict[str, Any] | None = None
    expected_net_wei: int | None = None
    approved: bool = False


Progress = Callable[[int, int], None]


def find(url: str, data_dir: Path, wanted: str, progress: Progress = lambda done, whole: None) -> Found:
    """What ``wanted`` (attempt, transaction or plan, whole or its beginning) names.

    The books are asked first; then the audit trail, which has every refusal, is read through (``progress`` hears
    bytes done and in all). Raises ``NotFoundError``, ``LedgerError``.
    """
    if len(wanted.removeprefix("0x")) < _FEWEST_CHARS:
        raise NotFoundError(f"{wanted!r} is too short to name anything: {_FEWEST_CHARS} characters at least")
    engine = open_engine(url, write=False)
    name = ledger_name(url)
    try:
        try:
            check_version(engine, name)
            found = _in_books(engine, name, wanted)
        except SQLAlchemyError as error:
            raise database_error(name, error) from None
    finally:
        engine.dispose()
    trail = list(_in_trail(data_dir / AUDIT_FOLDER, found.plan_id if found else wanted, progress))
    if found is None:
        ids = {plan for record in trail for plan in _plans_in(record, wanted)}
        if len(ids) > 1:
            raise NotFoundError(f"{wanted} is the beginning of {_listed(ids)}; give more of it")
        if not ids:
            raise NotFoundError(
                f"nothing named {wanted} in the ledger {name} nor in {data_dir / AUDIT_FOLDER}; "
                "`ouro trades` lists attempts, `ouro trades --refused` what was refused"
            )
        found = Found(ids.pop())
    for record in trail:
        _take(found, record)
    if not found.chain:
        found.chain = found.plan_id.rsplit("-", 2)[0]
    return found


def _in_books(engine: Engine, name: str, wanted: str) -> Found | None:
    books = Books(engine, name)
    attempts, plans, samples = schema.attempts, schema.plans, schema.refusal_samples
    with engine.connect() as connection:
        matches = or_(
            attempts.c.attempt_id.startswith(wanted, autoescape=True),
            attempts.c.tx_hash.startswith(wanted, autoescape=True),
            attempts.c.plan_id.startswith(wanted, autoescape=True),
        )
        ids = set(connection.execute(select(attempts.c.plan_id).where(matches).limit(_MANY)).scalars())
        for table in (plans, samples):
            query = (
                select(table.c.plan_id)
                .where(table.c.plan_id.startswith(wanted, autoescape=True))
                .distinct()
                .limit(_MANY)
            )
            ids |= set(connection.execute(query).scalars())
        ids = {wanted} if wanted in ids else ids
        if len(ids) > 1:
            raise NotFoundError(f"{wanted} is the beginning of {_listed(ids)}; give more of it")
        if not ids:
            return None
        found = Found(ids.pop())
        row = connection.execute(select(plans).where(plans.c.plan_id == found.plan_id)).first()
        if row is not None:
            found.plan, found.chain = plan_from_json(row.plan_json), row.chain
        for sample in connection.execute(select(samples).where(samples.c.plan_id == found.plan_id)):
            found.chain = sample.chain
            found.refusals.append(Refusal(sample.reason, sample.detail, sample.at_ms))
        mine = select(attempts.c.attempt_id).where(attempts.c.plan_id == found.plan_id)
        names = list(connection.execute(mine).scalars())
    if names:
        found.records = books.attempts(named=names)
        found.chain = found.records[0].attempt.chain
        found.histories = {name: books.outcome_history(name) for name in names}
        found.plan = found.plan or found.records[0].plan
    return found


def _listed(ids: set[str]) -> str:
    shown = sorted(ids)[:_MANY]
    return ", ".join(shown) + (" and more" if len(ids) >= _MANY else "")


def _in_trail(folder: Path, wanted: str, progress: Progress) -> Iterator[dict[str, Any]]:
    """Records in which ``wanted`` occurs, newest file first. A line that can't be read is passed over: that is for
    `ouro audit verify` to tell."""
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    whole = sum(path.stat().st_size for path in files)
    needle, done = json.dumps(wanted)[1:-1].encode(), 0
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                done += len(line)
                if done % _CHUNK_BYTES < len(line):
                    progress(done, whole)
                if needle in line:
                    try:
                        yield json.loads(line)
                    except ValueError:
                        continue
    progress(whole, whole)


def _plans_in(record: dict[str, Any], wanted: str) -> Iterator[str]:
    body = record.get("body")
    if not isinstance(body, dict):
        return
    named = [body.get("plan"), *(item.get("plan") for item in body.get("plans", ()) if isinstance(item, dict))]
    if wanted in (body.get("attempt"), body.get("tx_hash")):
        yield str(body.get("plan"))
    yield from (plan for plan in named if isinstance(plan, str) and plan.startswith(wanted))


def _take(found: Found, record: dict[str, Any]) -> None:
    body, at_ms = record.get("body"), record.get("at_ms")
    if not isinstance(body, dict) or not isinstance(at_ms, int | None):
        return
    kind = record.get("kind")
    if kind == "refused" and body.get("plan") == found.plan_id:
        refusal = Refusal(str(body.get("reason", "")), str(body.get("detail", "")), at_ms)
        if all(known.reason != refusal.reason for known in found.refusals):
            found.refusals.append(refusal)
        found.chain = found.chain or str(body.get("chain", ""))
    elif kind == "decided":
        _take_decision(found, body, at_ms)


def _take_decision(found: Found, body: dict[str, Any], at_ms: int | None) -> None:
    plans, opportunities = body.get("plans") or [], body.get("opportunities") or []
    for place, plan in enumerate(plans):
        if isinstance(plan, dict) and plan.get("plan") == found.plan_id:
            found.decided_at_ms, found.chain = at_ms, found.chain or str(body.get("chain", ""))
            found.expected_net_wei = int(plan.get("expected_net_wei", 0))
            found.approved = any(item.get("plan") == found.plan_id for item in body.get("approved") or ())
            # They are told side by side unless one of them could not be encoded.
            if len(plans) == len(opportunities):
                found.opportunity = opportunities[place]
