"""Small files that must be whole whenever they are read: replaced at once, synced, serialised over processes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ouro.capital.errors import CapitalError
from ouro.flock import lock_within


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One writer at a time; makes the folder. Raises `CapitalError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("ab")
    except OSError as error:
        raise _problem(folder, error, "written") from None
    with lock:
        try:
            free = lock_within(lock)
        except OSError as error:
            raise _problem(folder / ".lock", error, "locked") from None
        if not free:
            raise CapitalError(
                f"{folder / '.lock'}: another process has held it for seconds; end that one, then try again"
            )
        yield


def replace_file(path: Path, text: str) -> None:
    """Durable when it returns; a crash leaves the old file or the new one. Raises `CapitalError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _problem(path, error, "written") from None


def read_json(path: Path) -> Any | None:
    """What is in it; None without the file. Raises `CapitalError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _problem(path, error, "read") from None
    except (ValueError, RecursionError) as error:
        raise CapitalError(f"{path}: it is damaged ({error}); restore it or remove it") from None


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None without it."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat costs more than the check
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _problem(path: Path, error: OSError, done: str) -> CapitalError:
    return CapitalError(f"{error.filename or path}: can't be {done} ({error.strerror or error}); check permissions")
