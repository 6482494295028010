"""Where the page listens: taking the port, saying what is wrong in words."""

import errno
import ipaddress
import socket


class DashboardError(Exception):
    """The page can't be shown; the text says why and what to do."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``DashboardError`` naming the address when it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except (OSError, OverflowError) as error:
        listener.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            wrong, todo = "is taken by another program", "name another with --listen, or port 0 for a free one"
        elif number == errno.EACCES:
            wrong, todo = "may not be used by this user", "name one above 1023 with --listen"
        else:
            wrong, todo = f"can't be listened at ({error})", "name an address of this machine with --listen"
        raise DashboardError(f"dashboard: {host}:{port} {wrong}; {todo}") from None
    listener.setblocking(False)
    return listener
