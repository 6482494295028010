"""Run by Alembic inside the transaction that `ouro.ledger.database` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
