"""Open the database of the books: connections, schema version, migrations."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from ouro.config.redact import redact_text
from ouro.ledger.errors import LedgerError
from ouro.ledger.schema import REVISIONS

_MIGRATIONS = Path(__file__).with_name("migrations")
# Alembic keeps its context in module globals.
_alembic_lock = threading.Lock()
# Any constant will do, as long as every Ouro uses the same one.
_ADVISORY_LOCK = 0x4F75_726F
_BUSY_TIMEOUT_MS = 250


def open_engine(url: str, *, write: bool) -> Engine:
    """An engine on ``url`` (``sqlite:///file`` or ``postgresql+psycopg://…``); nothing is connected yet.

    SQLite: WAL, full synchronisation (a commit survives power loss), foreign keys; a writer takes its lock at
    BEGIN, so that "locked" is known before any work. Raises `LedgerError` for a URL that is no usable database.
    """
    name = ledger_name(url)
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise LedgerError(
                    f"ledger {name}: an in-memory ledger would be lost; name a file: sqlite:///ledger.db"
                )
            return _sqlite_engine(url, Path(parsed.database), write)
        if backend == "postgresql":
            return create_engine(url, pool_pre_ping=True, pool_size=2, isolation_level="READ COMMITTED")
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise LedgerError(
            f"ledger {name}: {redact_text(str(error))}; use sqlite:/// or postgresql+psycopg://"
        ) from None
    raise LedgerError(f"ledger {name}: {backend} is not supported; use sqlite:/// or postgresql+psycopg://")


def ledger_name(url: str) -> str:
    """What people call this ledger: the file's path, or the URL without its password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What can't be parsed could hold a password anywhere.
        return redact_text(url) if "://" in url else "of ledger.url"
    if parsed.get_backend_name() == "sqlite":
        return parsed.database or "(no file)"
    return f"{parsed.get_backend_name()}://{parsed.host or ''}/{parsed.database or ''}"


def migrate(engine: Engine, name: str) -> None:
    """Bring the schema to this code's version, under a lock that other processes respect.

    Raises `LedgerError` when the ledger was written by a newer Ouro, or is not a ledger.
    """
    if _version(engine, name) == REVISIONS[-1]:
        return
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _known_version(connection, name) != REVISIONS[-1]:
            _upgrade(connection)


def bring_up(url: str, *, backup: bool = True) -> tuple[str | None, str, Path | None]:
    """Migrate the ledger of ``url``: its schema before and after, and where the copy of the old file is.

    An SQLite ledger that changes is copied first (``backup``). Raises `LedgerError`.
    """
    name = ledger_name(url)
    engine = open_engine(url, write=True)
    try:
        before = _version(engine, name)
        copy = None
        if (
            backup
            and before not in (None, REVISIONS[-1])
            and engine.dialect.name == "sqlite"
            and engine.url.database
        ):
            copy = _copied(Path(engine.url.database), before or "none")
        migrate(engine, name)
    except SQLAlchemyError as error:
        raise database_error(name, error) from None
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"ledger {name}: {error}; nothing was changed") from None
    finally:
        engine.dispose()
    return before, REVISIONS[-1], copy


def _copied(file: Path, version: str) -> Path:
    """A copy that is whole even while others read: SQLite's own, not the file's."""
    target = file.with_name(f"{file.stem}.schema-{version}{file.suffix}")
    number = 1
    while target.exists():
        target = file.with_name(f"{file.stem}.schema-{version}-{number}{file.suffix}")
        number += 1
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(target)) as kept:
        source.backup(kept)
    return target


def check_version(engine: Engine, name: str) -> None:
    """For readers, which never migrate: raise `LedgerError` unless the schema is exactly this code's."""
    version = _version(engine, name)
    if version != REVISIONS[-1]:
        found = f"has schema {version}" if version else "is not a ledger yet"
        raise LedgerError(
            f"ledger {name}: {found}, this code reads {REVISIONS[-1]}; `ouro migrate` brings it up, and keeps a "
            "copy of the old one"
        )


def is_transient(error: BaseException) -> bool:
    """Whether trying again later can help (locked, disk full, server away), unlike a record that it can't hold."""
    if not isinstance(error, DBAPIError):
        return False
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        return isinstance(origin, sqlite3.OperationalError)
    return error.connection_invalidated or type(origin).__name__ in {
        "OperationalError",
        "AdminShutdown",
        "DiskFull",
        "SerializationFailure",
        "DeadlockDetected",
        "LockNotAvailable",
        "CannotConnectNow",
    }


def _sqlite_engine(url: str, file: Path, write: bool) -> Engine:
    if not write and not file.exists():
        raise LedgerError(
            f"ledger {file}: there is no such file; check ledger.url in the config, or run the engine first"
        )
    if write:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        if write:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _version(engine: Engine, name: str) -> str | None:
    with engine.connect() as connection:
        return _known_version(connection, name)


def _known_version(connection: Connection, name: str) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if tables:
            raise LedgerError(f"ledger {name}: this database belongs to something else; name another in ledger.url")
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if version is not None and version not in REVISIONS:
        raise LedgerError(
            f"ledger {name}: it was written by a newer Ouro (schema {version}, this code knows up to "
            f"{REVISIONS[-1]}); upgrade Ouro, or name another ledger"
        )
    return version


def _upgrade(connection: Connection) -> None:
    # Imported here: a tenth of a second that only a new ledger needs.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The path goes through configparser, where a percent sign would be special.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alembic_lock:
        command.upgrade(config, "head")


def database_error(name: str, error: SQLAlchemyError) -> LedgerError:
    """A `LedgerError` in one line, without the statement, its parameters or the URL."""
    origin = getattr(error, "orig", None) or error
    words = " ".join(redact_text(str(origin)).split())
    todo = (
        "it is retried; close the program that holds it" if "locked" in words else "check the disk and permissions"
    )
    return LedgerError(f"ledger {name}: {words}; {todo}")
