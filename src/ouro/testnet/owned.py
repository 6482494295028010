"""Folders that belong to a process: held against others while it lives, swept when it died without tidying up.

The lock of a file inside tells: the kernel drops it however the process ends, and no process number can be mistaken
for another's.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = "owner.lock"


class OwnedError(Exception):
    """Somebody else's process holds the folder."""


def own(folder: Path) -> int:
    """Hold ``folder``; returns what `disown` wants. Raises ``OwnedError`` where another process holds it."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise OwnedError(f"{folder} is held by another process") from None
    return handle


def disown(folder: Path, handle: int) -> None:
    """Give ``folder`` back: from now on it is nobody's, and no later run removes it."""
    (folder / _LOCK).unlink(missing_ok=True)
    os.close(handle)


def temporary_folder(prefix: str, parent: Path | None = None) -> tuple[Path, int]:
    """A new folder for this process, and the handle that holds it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)  # a sweep that looks in right now holds it for a moment
    os.write(handle, str(os.getpid()).encode())
    return folder, handle


def sweep(prefix: str, parent: Path | None = None) -> list[Path]:
    """Remove the folders of ``temporary_folder`` whose process died without doing so; returns which."""
    removed = []
    with contextlib.suppress(OSError):
        for folder in (parent or Path(tempfile.gettempdir())).glob(f"{prefix}*"):
            if _is_left_behind(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_left_behind(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # given back, or never ours: not for us to judge
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_size > 0  # an empty one is being made just now
    except OSError:
        return False
    finally:
        os.close(handle)
