"""Unix sockets that only their owner can use, at paths of any length."""

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_PATH_BYTES = 100  # sun_path holds 108
_CREDENTIALS = struct.Struct("3i")


class SocketError(RuntimeError):
    """The socket can't be made; the message names the path."""


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket address, valid inside the block."""
    if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600 at ``path``; replaces one that nobody listens on.

    Raises SocketError when somebody does, or when everybody can write the folder.
    """
    _prepare_folder(path)
    if path.is_symlink() or path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SocketError(f"{path}: is there and is not a socket; move it or change signer.socket")
        if _is_live(path):
            raise SocketError(f"{path}: another signer is listening; stop that one first")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with reachable(path) as name:
            listener.bind(name)
    except OSError as error:
        listener.close()
        raise SocketError(f"{path}: can't be bound ({error.strerror})") from error
    finally:
        os.umask(mask)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end, as the kernel knows it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(data)[1]


def _prepare_folder(path: Path) -> None:
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        raise SocketError(f"{folder}: can't be made ({error.strerror})") from error
    # Group-writable is common (umask 002) and harmless: both ends check the uid of the other.
    if status.st_uid != os.geteuid() or status.st_mode & 0o002:
        raise SocketError(f"{folder}: has to be yours and not writable by everybody (chmod 700)")


def _is_live(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(path) as name:
        probe.settimeout(2.0)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return False
        except TimeoutError:
            return True
    return True
