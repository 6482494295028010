"""Money columns are exact, on both databases (PostgreSQL's part is in test_postgres)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, func, select
from sqlalchemy.exc import StatementError

from ouro.ledger.errors import LedgerError
from ouro.ledger.wei import LIMIT_WEI, Wei

money = Table("money", MetaData(), Column("row", Integer, primary_key=True), Column("amount_wei", Wei))
EDGES = (0, 1, -1, 2**63, -(2**63), 2**64 + 1, 10**18 + 1, 2**255, 2**256 - 1, 1 - 2**256, LIMIT_WEI - 1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    made = create_engine(f"sqlite:///{tmp_path_factory.mktemp('wei')}/wei.db")
    money.metadata.create_all(made)
    return made


def store_and_read(engine: Engine, amount: Any) -> Any:
    with engine.connect() as connection:
        connection.execute(money.insert().values(row=1, amount_wei=amount))
        found = connection.execute(select(money.c.row).where(money.c.amount_wei == amount)).scalar()
        assert amount is None or found == 1
        return connection.execute(select(money.c.amount_wei)).scalar_one()


@pytest.mark.parametrize("amount", [*EDGES, None])
def test_edges_come_back_exactly(engine: Engine, amount: int | None) -> None:
    assert store_and_read(engine, amount) == amount


@given(st.integers(1 - 2**256, 2**256 - 1))
def test_any_amount_comes_back_exactly(engine: Engine, amount: int) -> None:
    assert store_and_read(engine, amount) == amount


@pytest.mark.parametrize("amount", [1.0, True, "1", Decimal(1), LIMIT_WEI, -LIMIT_WEI])
def test_what_is_no_exact_integer_is_refused(engine: Engine, amount: Any) -> None:
    with pytest.raises(StatementError, match="wei amount"):
        store_and_read(engine, amount)


def test_sql_arithmetic_is_refused(engine: Engine) -> None:
    column: Any = money.c.amount_wei
    for expression in (lambda: column + 1, lambda: column < 5, lambda: column * 2, lambda: -column):
        with pytest.raises(TypeError, match="never compared or added in SQL"):
            expression()
    with engine.begin() as connection:
        connection.execute(money.insert().values(row=1, amount_wei=2**256 - 1))
        with pytest.raises(LedgerError, match="no exact integer"):
            connection.execute(select(func.sum(column))).scalar_one()
        connection.rollback()


def test_a_float_that_got_into_the_file_is_not_taken_for_money(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO money VALUES (1, '1e18')")
        with pytest.raises(LedgerError, match="1e18"):
            connection.execute(select(money.c.amount_wei)).scalar_one()
        connection.rollback()
