"""One asynchronous interface to a node over WebSocket, IPC or HTTP.

``connect`` picks by the endpoint: ``ws://``/``wss://``, ``http://``/``https://``, ``ipc:///path`` or a plain path.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from ouro.chain.errors import MalformedAnswer, RpcError, TransportError, WrongChain
from ouro.chain.http import HttpTransport
from ouro.chain.ipc import connect_ipc
from ouro.chain.quantity import parse_quantity
from ouro.chain.redact import endpoint_label
from ouro.chain.websocket import connect_websocket
from ouro.chain.wire import Call

__all__ = ["Caller", "Pushes", "RpcError", "Transport", "TransportError", "WrongChain", "connect"]

DEFAULT_TIMEOUT_MS = 5_000
DEFAULT_BATCH_SIZE = 100
DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Pushes(Protocol):
    """What ``subscribe`` gives: ``(received_ns, result)`` in arrival order."""

    def __aiter__(self) -> AsyncIterator[tuple[int, Any]]: ...

    async def __anext__(self) -> tuple[int, Any]: ...

    def pending(self) -> int: ...

    async def close(self) -> None: ...


class Caller(Protocol):
    """Anything that answers calls: a transport, a pool, one endpoint of a pool."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any: ...

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]: ...


class Transport(Caller, Protocol):
    """One connection to one node."""

    label: str
    supports_subscriptions: bool

    @property
    def closed(self) -> bool: ...

    async def wait_closed(self) -> TransportError: ...

    async def call_timed(
        self, method: str, params: list[Any], timeout_ms: int | None = None
    ) -> tuple[int, Any]: ...

    async def subscribe(self, kind: str, params: Any | None = None) -> Pushes: ...

    async def close(self) -> None: ...


async def connect(
    url: str,
    *,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
    chain_id: int | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> Transport:
    """Connect to ``url`` and, when ``chain_id`` is given, check it.

    Raises ``TransportError`` (unreachable), ``WrongChain``, or ``ValueError`` for a URL of no known kind.
    """
    transport = await _open(url, timeout_ms, batch_size, max_message_bytes)
    if chain_id is None:
        return transport
    try:
        await check_chain(transport, chain_id)
    except BaseException:
        await transport.close()
        raise
    return transport


async def check_chain(transport: Transport, chain_id: int) -> None:
    """Raise ``WrongChain`` unless the node's ``eth_chainId`` is ``chain_id``."""
    try:
        got = parse_quantity(await transport.call("eth_chainId", []))
    except RpcError as error:
        raise TransportError(f"{transport.label}: eth_chainId can't be read ({error.message})") from None
    except ValueError as error:
        raise MalformedAnswer(f"{transport.label}: eth_chainId answered {error}") from None
    if got != chain_id:
        raise WrongChain(transport.label, chain_id, got)


async def _open(url: str, timeout_ms: int, batch_size: int, max_message_bytes: int) -> Transport:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return await connect_ipc(url, timeout_ms, batch_size, max_message_bytes)
    match scheme.lower():
        case "ws" | "wss":
            return await connect_websocket(url, timeout_ms, batch_size, max_message_bytes)
        case "http" | "https":
            return HttpTransport(url, timeout_ms, batch_size, max_message_bytes)
        case "ipc" | "unix":
            return await connect_ipc(rest, timeout_ms, batch_size, max_message_bytes)
    raise ValueError(
        f"endpoint {endpoint_label(url)}: ws://, wss://, http://, https://, ipc:// or a path is expected"
    )
