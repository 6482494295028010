"""Each thing that is written, as one idempotent step inside a transaction: writing it twice books it once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ouro.ledger import schema
from ouro.ledger.errors import LedgerError
from ouro.ledger.records import BalanceEntry, Opening, SessionInfo, outcome_values, plan_from_json, plan_to_json
from ouro.types import Attempt, AttemptKind, Outcome, Plan

JOURNALED, SENT, FINAL = "journaled", "sent", "final"
_ATTEMPT_SCHEMA = 1


class Operation(Protocol):
    """One step of the books."""

    def apply(self, connection: Connection) -> None:
        """Write it; raises LedgerError when it contradicts what is booked."""
        ...


def insert_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert unless the key is there already; whether a row was added."""
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return connection.execute(build(table).values(**values).on_conflict_do_nothing()).rowcount == 1


@dataclass(frozen=True, slots=True)
class StartSession:
    """The row that everything else of a run names."""

    info: SessionInfo

    def apply(self, connection: Connection) -> None:
        """Write it."""
        names = [column.name for column in schema.sessions.columns]
        insert_new(connection, schema.sessions, {name: getattr(self.info, name) for name in names})


@dataclass(frozen=True, slots=True)
class EndSession:
    """The books of a run are closed."""

    session_id: str
    at_ms: int

    def apply(self, connection: Connection) -> None:
        """Write it."""
        row = schema.sessions
        values = {"ended_at_ms": self.at_ms, "last_seen_ms": self.at_ms}
        connection.execute(update(row).where(row.c.session_id == self.session_id).values(values))


@dataclass(frozen=True, slots=True)
class JournalAttempt:
    """Signed bytes, before they are sent."""

    session_id: str
    attempt: Attempt
    plan: Plan | None
    at_ms: int
    decided_us: int | None
    signed_us: int | None
    plan_form: str | None = field(default=None, compare=False, repr=False)
    """The plan as JSON, where it was made before."""

    def plan_json(self) -> str | None:
        """The plan as JSON."""
        return plan_to_json(self.plan) if self.plan_form is None and self.plan is not None else self.plan_form

    def apply(self, connection: Connection) -> None:
        """Write it; LedgerError if the id or the transaction hash is booked with other bytes."""
        attempt = self.attempt
        if self.plan is not None:
            plan_row = {
                "plan_id": self.plan.plan_id,
                "session_id": self.session_id,
                "chain": self.plan.chain,
                "recorded_at_ms": self.at_ms,
                "plan_json": self.plan_json(),
            }
            insert_new(connection, schema.plans, plan_row)
        values = {
            "attempt_id": attempt.attempt_id,
            "session_id": self.session_id,
            "plan_id": attempt.plan_id,
            "chain": attempt.chain,
            "kind": attempt.kind.value,
            "operator": attempt.operator,
            "nonce": attempt.nonce,
            "tx_hash": attempt.tx_hash,
            "raw_tx": attempt.raw_tx,
            "lane": attempt.lane,
            "max_block_number": attempt.max_block_number,
            "replaces": attempt.replaces,
            "state": JOURNALED,
            "journaled_at_ms": self.at_ms,
            "decided_us": self.decided_us,
            "signed_us": self.signed_us,
        }
        if insert_new(connection, schema.attempts, values):
            return
        table = schema.attempts
        query = select(table.c.tx_hash, table.c.raw_tx).where(table.c.attempt_id == attempt.attempt_id)
        row = connection.execute(query).first()
        if row is None or row.tx_hash != attempt.tx_hash or bytes(row.raw_tx) != attempt.raw_tx:
            raise LedgerError(
                f"attempt {attempt.attempt_id} (transaction {attempt.tx_hash}): its id or its transaction is "
                "already booked for another one; it was not journaled and must not be sent"
            )


def encode_attempt(operation: JournalAttempt) -> bytes:
    """Everything of it, for the write-ahead file."""
    attempt = operation.attempt
    values = {
        "schema": _ATTEMPT_SCHEMA,
        "session": operation.session_id,
        "at_ms": operation.at_ms,
        "decided_us": operation.decided_us,
        "signed_us": operation.signed_us,
        "attempt": [
            attempt.attempt_id,
            attempt.plan_id,
            attempt.chain,
            attempt.kind.value,
            attempt.operator,
            attempt.nonce,
            attempt.tx_hash,
            attempt.raw_tx.hex(),
            attempt.lane,
            attempt.max_block_number,
            attempt.replaces,
        ],
        "plan": operation.plan_json(),
    }
    return json.dumps(values, separators=(",", ":")).encode()


def decode_attempt(payload: bytes) -> JournalAttempt:
    """Inverse of `encode_attempt`. Raises ``ValueError``."""
    try:
        values = json.loads(payload)
        if values["schema"] != _ATTEMPT_SCHEMA:
            raise ValueError(f"schema {values['schema']}, this code reads {_ATTEMPT_SCHEMA}")
        name, plan_id, chain, kind, operator, nonce, tx_hash, raw, lane, until, replaces = values["attempt"]
        attempt = Attempt(
            name,
            plan_id,
            chain,
            AttemptKind(kind),
            operator,
            nonce,
            tx_hash,
            bytes.fromhex(raw),
            lane,
            until,
            replaces,
        )
        plan = None if values["plan"] is None else plan_from_json(values["plan"])
        return JournalAttempt(
            values["session"], attempt, plan, values["at_ms"], values["decided_us"], values["signed_us"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a field is missing or of another kind: {error}") from None


@dataclass(frozen=True, slots=True)
class MarkSent:
    """A lane took the bytes. Only the first time counts."""

    attempt_id: str
    at_ms: int
    sent_us: int | None

    def apply(self, connection: Connection) -> None:
        """Write it; an attempt that is already final keeps its state."""
        table = schema.attempts
        mine = table.c.attempt_id == self.attempt_id
        first = {"sent_at_ms": self.at_ms, "sent_us": self.sent_us}
        connection.execute(update(table).where(mine, table.c.sent_at_ms.is_(None)).values(first))
        connection.execute(update(table).where(mine, table.c.state == JOURNALED).values(state=SENT))


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of an attempt, with its balance entries.

    The same outcome again changes nothing. A different one withdraws the one that stood: a later look at the
    chain is the better one.
    """

    outcome: Outcome
    entries: Sequence[BalanceEntry]
    at_ms: int

    def apply(self, connection: Connection) -> None:
        """Write it; LedgerError if the attempt is unknown."""
        attempt_id = self.outcome.attempt_id
        attempts = schema.attempts
        chain = connection.execute(select(attempts.c.chain).where(attempts.c.attempt_id == attempt_id)).scalar()
        if chain is None:
            raise LedgerError(f"outcome of attempt {attempt_id}: no such attempt was journaled")
        values = outcome_values(self.outcome)
        standing = standing_outcome(connection, attempt_id)
        if standing is not None:
            if all(standing[name] == value for name, value in values.items() if name != "reason"):
                return
            _withdraw(connection, standing, "superseded by a later look at the chain", self.at_ms)
        statement = schema.outcomes.insert().values(**values, recorded_at_ms=self.at_ms)
        outcome_id = connection.execute(statement.returning(schema.outcomes.c.outcome_id)).scalar_one()
        for entry in self.entries:
            row = {
                "outcome_id": outcome_id,
                "attempt_id": attempt_id,
                "chain": chain,
                "account": entry.account,
                "token": entry.token or schema.NATIVE,
                "cause": entry.cause,
                "change_wei": entry.change_wei,
                "block_number": self.outcome.block_number,
                "block_hash": self.outcome.block_hash,
            }
            connection.execute(schema.balance_entries.insert().values(**row))
        _set_state(connection, attempt_id, FINAL)


@dataclass(frozen=True, slots=True)
class ReverseOutcome:
    """The standing outcome is no longer true (its block was orphaned); the attempt is open again."""

    attempt_id: str
    reason: str
    at_ms: int

    def apply(self, connection: Connection) -> None:
        """Write it; nothing happens if no outcome stands."""
        standing = standing_outcome(connection, self.attempt_id)
        if standing is not None:
            _withdraw(connection, standing, self.reason, self.at_ms)
            _set_state(connection, self.attempt_id, SENT)


def standing_outcome(connection: Connection, attempt_id: str) -> Mapping[str, Any] | None:
    """The row of the attempt's outcome that nothing reversed, if any."""
    table = schema.outcomes
    later = table.alias("later")
    query = (
        select(table)
        .outerjoin(later, later.c.reverses == table.c.outcome_id)
        .where(table.c.attempt_id == attempt_id, table.c.reverses.is_(None), later.c.outcome_id.is_(None))
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else {str(name): value for name, value in row.items()}


def _withdraw(connection: Connection, standing: Mapping[str, Any], reason: str, at_ms: int) -> None:
    table, entries = schema.outcomes, schema.balance_entries
    row = {name: value for name, value in standing.items() if name != "outcome_id"}
    row |= {"reverses": standing["outcome_id"], "reason": reason, "recorded_at_ms": at_ms}
    reversal_id = connection.execute(table.insert().values(**row).returning(table.c.outcome_id)).scalar_one()
    query = select(entries).where(entries.c.outcome_id == standing["outcome_id"])
    for entry in connection.execute(query).mappings().all():
        mirrored = {name: value for name, value in entry.items() if name != "entry_id"}
        mirrored |= {"outcome_id": reversal_id, "change_wei": -entry["change_wei"], "reverses": entry["entry_id"]}
        connection.execute(entries.insert().values(**mirrored))


def _set_state(connection: Connection, attempt_id: str, state: str) -> None:
    table = schema.attempts
    connection.execute(update(table).where(table.c.attempt_id == attempt_id).values(state=state))


@dataclass(frozen=True, slots=True)
class RecordOpening:
    """The balance of a newly owned account; the first one stands for ever."""

    session_id: str
    opening: Opening

    def apply(self, connection: Connection) -> None:
        """Write it."""
        opening = self.opening
        row = {
            "chain": opening.chain,
            "account": opening.account,
            "token": opening.token or schema.NATIVE,
            "session_id": self.session_id,
            "block_number": opening.block_number,
            "amount_wei": opening.amount_wei,
        }
        insert_new(connection, schema.openings, row)


@dataclass(frozen=True, slots=True)
class RecordReconciliation:
    """Result of comparing books and chain at one block; ``differences`` are JSON objects."""

    session_id: str
    chain: str
    block_number: int
    at_ms: int
    balances_checked: int
    max_abs_difference_wei: int
    differences: Sequence[Mapping[str, Any]]

    def apply(self, connection: Connection) -> None:
        """Write it."""
        row = {
            "session_id": self.session_id,
            "chain": self.chain,
            "block_number": self.block_number,
            "checked_at_ms": self.at_ms,
            "balances_checked": self.balances_checked,
            "max_abs_difference_wei": self.max_abs_difference_wei,
            "differences_json": json.dumps(list(self.differences)),
        }
        connection.execute(schema.reconciliations.insert().values(**row))
