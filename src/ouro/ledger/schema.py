"""Tables of the books. The migrations create them; a test holds the two together.

Money records (plans, attempts, outcomes, entries, openings) are never deleted or rewritten: a correction is a new
row that names what it reverses. Only an attempt's ``state`` moves (journaled → sent → final), for recovery to find.
A native token is the empty string, because NULL never equals NULL in a unique key. Times are unix milliseconds.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from ouro.ledger.wei import Wei

# Oldest first; the last one is what this code reads and writes.
REVISIONS = ("0001", "0002")

NATIVE = ""
_RowId = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Column("mode", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("code_version", Text, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("plan_id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("chain", Text, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("plan_json", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("chain", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("tx_hash", Text, nullable=False, unique=True),
    Column("raw_tx", LargeBinary, nullable=False),
    Column("lane", Text, nullable=False),
    Column("max_block_number", BigInteger, nullable=False),
    Column("replaces", Text),
    Column("state", Text, nullable=False),
    Column("journaled_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger),
    Column("decided_us", BigInteger),
    Column("signed_us", BigInteger),
    Column("sent_us", BigInteger),
    Index(None, "chain", "operator", "nonce"),
    Index(None, "chain", "state"),
)

# One row per fact: an outcome, or (reverses not NULL) the withdrawal of an earlier one.
outcomes = Table(
    "outcomes",
    metadata,
    Column("outcome_id", _RowId, primary_key=True, autoincrement=True),
    Column("attempt_id", Text, ForeignKey("attempts.attempt_id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("block_number", BigInteger),
    Column("block_hash", Text),
    Column("gas_used", BigInteger, nullable=False),
    Column("gas_cost_wei", Wei, nullable=False),
    Column("l1_fee_wei", Wei, nullable=False, server_default=text("'0'")),
    Column("realised_profit_wei", Wei, nullable=False),
    Column("realised_amounts_json", Text, nullable=False),
    Column("transfers_json", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("reverses", _RowId, ForeignKey("outcomes.outcome_id"), unique=True),
)

balance_entries = Table(
    "balance_entries",
    metadata,
    Column("entry_id", _RowId, primary_key=True, autoincrement=True),
    Column("outcome_id", _RowId, ForeignKey("outcomes.outcome_id"), nullable=False, index=True),
    Column("attempt_id", Text, ForeignKey("attempts.attempt_id"), nullable=False),
    Column("chain", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("change_wei", Wei, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", Text, nullable=False),
    Column("reverses", _RowId, ForeignKey("balance_entries.entry_id"), unique=True),
    Index(None, "chain", "account", "token"),
    Index(None, "chain", "block_number"),
)

openings = Table(
    "openings",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("token", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("amount_wei", Wei, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.session_id"), primary_key=True),
    Column("chain", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("times", BigInteger, nullable=False),
)

refusal_samples = Table(
    "refusal_samples",
    metadata,
    Column("sample_id", _RowId, primary_key=True, autoincrement=True),
    Column("session_id", Text, nullable=False),
    Column("chain", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("plan_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

chain_stats = Table(
    "chain_stats",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.session_id"), primary_key=True),
    Column("chain", Text, primary_key=True),
    Column("blocks", BigInteger, nullable=False),
    Column("blocks_decided", BigInteger, nullable=False),
    Column("opportunities", BigInteger, nullable=False),
    Column("pools", BigInteger, nullable=False),
    Column("cycles", BigInteger, nullable=False),
    Column("last_block", BigInteger, nullable=False),
    Column("native_usd", Text),
    Column("native_usd_source", Text),
)

# Microseconds from socket read to decision, one little-endian uint32 per decided block, thousands of blocks
# per row: exact percentiles over any run at four bytes a block.
latency_chunks = Table(
    "latency_chunks",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.session_id"), primary_key=True),
    Column("chain", Text, primary_key=True),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("decided_us", LargeBinary, nullable=False),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("reconciliation_id", _RowId, primary_key=True, autoincrement=True),
    Column("session_id", Text, ForeignKey("sessions.session_id"), nullable=False),
    Column("chain", Text, nullable=False, index=True),
    Column("block_number", BigInteger, nullable=False),
    Column("checked_at_ms", BigInteger, nullable=False),
    Column("balances_checked", Integer, nullable=False),
    Column("max_abs_difference_wei", Wei, nullable=False),
    Column("differences_json", Text, nullable=False),
)

__all__ = [
    "NATIVE",
    "REVISIONS",
    "attempts",
    "balance_entries",
    "chain_stats",
    "latency_chunks",
    "metadata",
    "openings",
    "outcomes",
    "plans",
    "reconciliations",
    "refusal_samples",
    "refusals",
    "sessions",
]
