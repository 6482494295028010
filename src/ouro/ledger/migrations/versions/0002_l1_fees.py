"""What rollups charge for the data of a transaction stands apart from the gas of its execution; and balance
entries are found by block, for the comparison with the chain while running."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WEI = sa.Numeric(78, 0).with_variant(sa.String(80), "sqlite")


def upgrade() -> None:
    """Outcomes booked before had none."""
    op.add_column("outcomes", sa.Column("l1_fee_wei", _WEI, nullable=False, server_default=sa.text("'0'")))
    op.create_index(
        op.f("ix_balance_entries_chain_block_number"), "balance_entries", ["chain", "block_number"], unique=False
    )
