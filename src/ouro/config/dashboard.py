"""The ``[dashboard]`` section."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` (``[::1]:8600`` for IPv6). Raises ``ValueError`` in words."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError(
            f"{text!r} is no address to listen at; write HOST:PORT, like 127.0.0.1:8600 (port 0: a free one)"
        )
    return host, int(port)


def _check_listen(value: str) -> str:
    listen_address(value)
    return value


def _check_explorer(value: str) -> str:
    if not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise ValueError("an explorer is an address that begins with https://")
    return value.rstrip("/")


class DashboardConfig(BaseModel):
    """The page in the browser (``ouro dashboard``).

    ``explorers`` are block explorers by chain: transactions are linked as ``URL/tx/HASH``. ``coins`` is what the
    native coins are called.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_check_listen)] = "127.0.0.1:8600"
    """Address and port; port 0 takes a free one. Others reach anything but loopback: put TLS before it."""
    session_minutes: Annotated[int, Field(gt=0, le=24 * 60)] = 60
    """How long a login lasts without being used."""
    explorers: dict[str, Annotated[str, AfterValidator(_check_explorer)]] = {}
    coins: dict[str, Annotated[str, Field(min_length=1, max_length=8)]] = {}
