"""The same books on a real PostgreSQL server."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from ledger_examples import GAS_COST, OPERATOR, OWNER, PROFIT, WETH, attempt, book, journal, landed, plan
from postgres import binaries, running_server, server_user
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, select, text

from ouro.ledger import schema
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import BlockStats
from ouro.ledger.report import summary
from ouro.ledger.wei import LIMIT_WEI, Wei
from ouro.types import Refused

pytestmark = pytest.mark.needs_package
money = Table("money", MetaData(), Column("row", Integer, primary_key=True), Column("amount_wei", Wei))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    tools = binaries()
    missing = ""
    if tools is None:
        missing = "no PostgreSQL server here: apt-get install postgresql"
    elif server_user() is None:
        missing = "root can't start PostgreSQL without the user postgres and setpriv: apt-get install postgresql"
    if missing and os.environ.get("OURO_FORBID_SKIPS"):
        pytest.fail(missing)
    if missing or tools is None:
        pytest.skip(missing)
    with running_server(tools) as url:
        yield url


@pytest.fixture
def engine(server: str) -> Iterator[Engine]:
    """An empty schema for each test."""
    made = create_engine(server)
    with made.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    yield made
    made.dispose()


@pytest.mark.parametrize("amount", [0, -1, 2**63, 2**256 - 1, 1 - 2**256, LIMIT_WEI - 1, None])
def test_wei_come_back_exactly(engine: Engine, amount: int | None) -> None:
    money.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(money.insert().values(row=1, amount_wei=amount))
        assert connection.execute(select(money.c.amount_wei)).scalar_one() == amount
        assert connection.execute(text("SELECT pg_typeof(amount_wei)::text FROM money")).scalar_one() == "numeric"


def test_migrations_make_exactly_the_tables_of_the_code(engine: Engine, server: str) -> None:
    Ledger.open(server).close()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
        connection.commit()
    for opener in (Ledger.open, Books.open):
        with pytest.raises(LedgerError, match="newer Ouro"):
            opener(server)


def test_many_open_a_new_ledger_at_once(engine: Engine, server: str) -> None:
    problems: list[BaseException] = []

    def open_it() -> None:
        try:
            Ledger.open(server).close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_life_of_an_attempt(engine: Engine, server: str) -> None:
    ledger = Ledger.open(server)
    ledger.start_session(mode="live", config_hash="c", code_version="v", session_id="s1")
    made = journal(ledger)
    ledger.journal_attempt(made, plan()).result(30)
    ledger.journal_attempt(attempt("2"), None).result(30)
    with pytest.raises(LedgerError, match="must not be sent"):
        ledger.journal_attempt(replace(made, raw_tx=b"x"), None).result(30)
    ledger.mark_sent(made.attempt_id, sent_us=5)
    ledger.record_opening("ethereum", OWNER, WETH, 10, 2**256 - 1 - PROFIT)
    for _ in range(2):
        book(ledger, landed())
    ledger.reverse_outcome(made.attempt_id, "reorg")
    book(ledger, landed())
    for number in range(5_000):
        ledger.record_block("ethereum", BlockStats(number, 1, 2, 3, number))
        ledger.record_refusal("ethereum", Refused("p", "stale", "old"))
    ledger.flush()
    positions = {(p.account, p.token): p.expected_wei for p in ledger.books.positions("ethereum", 11)}
    assert positions == {(OPERATOR, None): -GAS_COST, (OWNER, WETH): 2**256 - 1}
    figures = summary(ledger.books)["chains"]["ethereum"]
    assert (figures["landed"], figures["gross_profit_wei"], figures["refused"]) == (1, PROFIT, {"stale": 5_000})
    assert figures["latency_ms"]["decided"] == {"p50": 2.499, "p99": 4.949, "max": 4.999}
    assert [a.attempt_id for a in ledger.unresolved_attempts("ethereum")] == ["attempt-2"]
    ledger.close()


def test_a_lost_connection_is_made_anew(engine: Engine, server: str) -> None:
    ledger = Ledger.open(server)
    ledger.start_session(mode="live", config_hash="c", code_version="v")
    journal(ledger)
    with engine.connect() as connection:
        others = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        connection.execute(others)
    book(ledger, landed())
    ledger.journal_attempt(attempt("2", nonce=1), plan("2")).result(30)
    ledger.flush()
    assert ledger.healthy
    assert len(ledger.books.attempts()) == 2
    ledger.close()
