"""JSON-RPC 2.0 messages: bytes out, checked values in. No I/O."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import orjson

from ouro.chain.errors import MalformedAnswer, NotARead, RpcError
from ouro.chain.redact import scrub

Call: TypeAlias = tuple[str, list[Any]]

_NOT_READS = ("eth_send", "eth_sign", "eth_submit", "personal_", "miner_", "admin_", "engine_", "evm_mine")


def encode_request(request_id: int, method: str, params: list[Any]) -> bytes:
    """One request. Raises ``ValueError`` when the parameters are not JSON (big integers must be 0x-hex)."""
    try:
        return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
    except (TypeError, orjson.JSONEncodeError) as error:
        raise ValueError(f"{method}: parameters can't be written as JSON ({error})") from None


def encode_batch(first_id: int, calls: Sequence[Call]) -> bytes:
    """A JSON array of requests numbered upwards from ``first_id``."""
    return (
        b"["
        + b",".join(encode_request(first_id + k, method, params) for k, (method, params) in enumerate(calls))
        + b"]"
    )


def refuse_writes(calls: Sequence[Call]) -> None:
    """Nodes run the calls of a batch concurrently and retry them at will, so only reads may be batched.

    Raises ``NotARead`` naming the first method that isn't one.
    """
    for method, _ in calls:
        if method.startswith(_NOT_READS):
            raise NotARead(f"{method} can't be batched: order is not kept and a retry may repeat it; use call()")


def chunks(calls: Sequence[Call], size: int) -> Iterator[Sequence[Call]]:
    """``calls`` in runs of at most ``size``."""
    for start in range(0, len(calls), size):
        yield calls[start : start + size]


def decode(payload: bytes | bytearray | memoryview, label: str) -> Any:
    """Parsed JSON, or ``MalformedAnswer`` naming the endpoint."""
    try:
        return orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"{label}: answer is not JSON ({len(payload)} bytes, {error.args[0]})") from None


def outcome(message: dict[str, Any], method: str, secrets: tuple[str, ...], params: Any) -> Any:
    """The result of an answer; its error as a returned ``RpcError`` (batches hold those as values)."""
    error = message.get("error")
    if error is not None:
        return _rpc_error(error, method, secrets, params)
    if "result" not in message:
        return MalformedAnswer(f"{method}: answer has neither result nor error")
    return message["result"]


def _rpc_error(error: Any, method: str, secrets: tuple[str, ...], params: Any) -> RpcError:
    if not isinstance(error, dict):
        return RpcError(0, scrub(str(error), secrets, params), None, method)
    code, text = error.get("code"), error.get("message")
    return RpcError(
        code if isinstance(code, int) else 0,
        scrub(text if isinstance(text, str) else repr(text), secrets, params),
        error.get("data"),
        method,
    )
