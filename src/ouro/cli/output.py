"""Tables for people, that a pipe gets in whole lines."""

from rich.console import Console

_NO_LIMIT = 1_000


def console() -> "Console":
    """As wide as the terminal; elsewhere so wide that nothing is cut."""
    found = Console()
    return found if found.is_terminal else Console(width=_NO_LIMIT)
