"""The first books.

A migration is frozen: it names its own column types and never imports the tables of today's code.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WEI = sa.Numeric(78, 0).with_variant(sa.String(80), "sqlite")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "refusal_samples",
        sa.Column("sample_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_refusal_samples")),
    )
    op.create_index(op.f("ix_refusal_samples_at_ms"), "refusal_samples", ["at_ms"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("raw_tx", sa.LargeBinary(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("max_block_number", sa.BigInteger(), nullable=False),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("journaled_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_us", sa.BigInteger(), nullable=True),
        sa.Column("signed_us", sa.BigInteger(), nullable=True),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_attempts_session_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("tx_hash", name=op.f("uq_attempts_tx_hash")),
    )
    op.create_index(
        op.f("ix_attempts_chain_operator_nonce"), "attempts", ["chain", "operator", "nonce"], unique=False
    )
    op.create_index(op.f("ix_attempts_chain_state"), "attempts", ["chain", "state"], unique=False)
    op.create_table(
        "chain_stats",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("blocks", sa.BigInteger(), nullable=False),
        sa.Column("blocks_decided", sa.BigInteger(), nullable=False),
        sa.Column("opportunities", sa.BigInteger(), nullable=False),
        sa.Column("pools", sa.BigInteger(), nullable=False),
        sa.Column("cycles", sa.BigInteger(), nullable=False),
        sa.Column("last_block", sa.BigInteger(), nullable=False),
        sa.Column("native_usd", sa.Text(), nullable=True),
        sa.Column("native_usd_source", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_chain_stats_session_id")),
        sa.PrimaryKeyConstraint("session_id", "chain", name=op.f("pk_chain_stats")),
    )
    op.create_table(
        "latency_chunks",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decided_us", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_latency_chunks_session_id")),
        sa.PrimaryKeyConstraint("session_id", "chain", "chunk", name=op.f("pk_latency_chunks")),
    )
    op.create_table(
        "openings",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("amount_wei", _WEI, nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_openings_session_id")),
        sa.PrimaryKeyConstraint("chain", "account", "token", name=op.f("pk_openings")),
    )
    op.create_table(
        "plans",
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_plans_session_id")),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_plans")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("reconciliation_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("checked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("balances_checked", sa.Integer(), nullable=False),
        sa.Column("max_abs_difference_wei", _WEI, nullable=False),
        sa.Column("differences_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_reconciliations_session_id")
        ),
        sa.PrimaryKeyConstraint("reconciliation_id", name=op.f("pk_reconciliations")),
    )
    op.create_index(op.f("ix_reconciliations_chain"), "reconciliations", ["chain"], unique=False)
    op.create_table(
        "refusals",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"], name=op.f("fk_refusals_session_id")),
        sa.PrimaryKeyConstraint("session_id", "chain", "reason", "hour", name=op.f("pk_refusals")),
    )
    op.create_table(
        "outcomes",
        sa.Column("outcome_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.Text(), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=False),
        sa.Column("gas_cost_wei", _WEI, nullable=False),
        sa.Column("realised_profit_wei", _WEI, nullable=False),
        sa.Column("realised_amounts_json", sa.Text(), nullable=False),
        sa.Column("transfers_json", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("reverses", _ROW_ID, nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_outcomes_attempt_id")),
        sa.ForeignKeyConstraint(["reverses"], ["outcomes.outcome_id"], name=op.f("fk_outcomes_reverses")),
        sa.PrimaryKeyConstraint("outcome_id", name=op.f("pk_outcomes")),
        sa.UniqueConstraint("reverses", name=op.f("uq_outcomes_reverses")),
    )
    op.create_index(op.f("ix_outcomes_attempt_id"), "outcomes", ["attempt_id"], unique=False)
    op.create_table(
        "balance_entries",
        sa.Column("entry_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("outcome_id", _ROW_ID, nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("change_wei", _WEI, nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("reverses", _ROW_ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_balance_entries_attempt_id")
        ),
        sa.ForeignKeyConstraint(
            ["outcome_id"], ["outcomes.outcome_id"], name=op.f("fk_balance_entries_outcome_id")
        ),
        sa.ForeignKeyConstraint(
            ["reverses"], ["balance_entries.entry_id"], name=op.f("fk_balance_entries_reverses")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_balance_entries")),
        sa.UniqueConstraint("reverses", name=op.f("uq_balance_entries_reverses")),
    )
    op.create_index(
        op.f("ix_balance_entries_chain_account_token"),
        "balance_entries",
        ["chain", "account", "token"],
        unique=False,
    )
    op.create_index(op.f("ix_balance_entries_outcome_id"), "balance_entries", ["outcome_id"], unique=False)
