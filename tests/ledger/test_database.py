"""Opening: schema versions, foreign files, URLs that are no ledger."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from ouro.ledger import database, schema
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger


def test_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    Ledger.open(url).close()
    with create_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        indexes = {index.name for table in schema.metadata.tables.values() for index in table.indexes}
        rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars()
        assert indexes <= set(rows)


def test_the_code_knows_every_migration() -> None:
    scripts = ScriptDirectory(str(Path(database.__file__).with_name("migrations")))
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == schema.REVISIONS


def test_wal_and_full_synchronisation(ledger: Ledger, url: str) -> None:
    with create_engine(url).connect() as other:
        assert other.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    with ledger._engine.connect() as mine:
        assert mine.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert mine.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_ledger_opens_again_and_again(url: str) -> None:
    for _ in range(3):
        Ledger.open(url).close()
    Books.open(url).close()


def test_many_open_a_new_ledger_at_once(url: str) -> None:
    problems: list[BaseException] = []

    def open_it() -> None:
        try:
            Ledger.open(url, give_up_s=30).close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path, url: str) -> None:
    Ledger.open(url).close()
    with sqlite3.connect(tmp_path / "a ledger.db") as file:
        file.execute("UPDATE alembic_version SET version_num = '0999'")
    file.close()
    before = (tmp_path / "a ledger.db").read_bytes()
    for opener in (Ledger.open, Books.open):
        with pytest.raises(LedgerError, match=r"a ledger\.db: .*newer Ouro .*0999.*upgrade Ouro"):
            opener(url)
    assert (tmp_path / "a ledger.db").read_bytes() == before


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as file:
        file.execute("CREATE TABLE customers (name TEXT)")
    file.close()
    with pytest.raises(LedgerError, match="belongs to something else"):
        Ledger.open(f"sqlite:///{tmp_path}/other.db")


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("these are not the books you are looking for" * 50)
    with pytest.raises(LedgerError, match=r"text\.db: file is not a database"):
        Ledger.open(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(LedgerError, match=r"none\.db: there is no such file"):
        Books.open(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(LedgerError, match="unable to open database file"):
        Ledger.open(f"sqlite:///{tmp_path}", give_up_s=0.1)
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerError, match="not a ledger yet"):
        Books.open(f"sqlite:///{tmp_path}/empty.db")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("mysql://u:SECRET@h/books", "mysql"),
        ("nonsense:SECRET", "use sqlite"),
        ("oracle+nothing://u:SECRET@h/b", "use sqlite"),
    ],
)
def test_urls_that_are_no_ledger(wrong: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words) as caught:
        Ledger.open(wrong)
    assert "SECRET" not in str(caught.value)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(LedgerError, match=r"postgresql://127\.0\.0\.1/books") as caught:
        Ledger.open("postgresql+psycopg://u:SECRET@127.0.0.1:1/books?connect_timeout=1", give_up_s=0.1)
    assert "SECRET" not in str(caught.value)
