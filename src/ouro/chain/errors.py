"""What can go wrong between us and a node. No text here ever carries a URL's credentials or a raw transaction."""

from typing import Any


class ChainError(Exception):
    """Base of everything this room raises on purpose."""


class RpcError(ChainError):
    """The node answered, and the answer is an error.

    ``code`` and ``message`` are the node's own, ``data`` is kept whole (revert data lives there). The parameters
    of the call are not part of it: they may be a signed transaction.
    """

    def __init__(self, code: int, message: str, data: Any = None, method: str = "") -> None:
        where = f"{method}: " if method else ""
        super().__init__(f"{where}node answered error {code}: {message}")
        self.code = code
        self.message = message
        self.data = data
        self.method = method


class TransportError(ChainError):
    """No usable answer: not connected, timed out, closed, malformed or oversized. The request may have arrived."""


class CallTimeout(TransportError):  # noqa: N818 - reads as what happened
    """The node did not answer in time; the connection itself may be fine."""


class RateLimited(TransportError):  # noqa: N818 - reads as what happened
    """The provider refuses for now. ``retry_after_ms`` is its own wish, or None."""

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class MalformedAnswer(TransportError):  # noqa: N818 - reads as what happened
    """Bytes that are not a JSON-RPC answer, or an answer that lacks what the method promises."""


class WrongChain(TransportError):  # noqa: N818 - reads as what happened
    """The node serves another chain than the configuration names."""

    def __init__(self, url: str, expected: int, got: int) -> None:
        super().__init__(
            f"{url} serves chain id {got}, but {expected} is configured: correct the endpoint or chain_id"
        )
        self.url = url
        self.expected = expected
        self.got = got


class NotARead(ChainError):  # noqa: N818 - reads as what happened
    """A call that must not travel in a batch."""
