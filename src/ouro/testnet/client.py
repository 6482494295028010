"""A small synchronous JSON-RPC client for set-up scripts and market agents.

Deliberately not ``ouro.chain``: the market that tests the engine must not share its code.
"""

import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from ouro.types import Address, Hash

# Loopback only, never TLS; without this each client would load the system's certificates (30 ms).
_UNUSED_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

TRANSPORT_ERRORS = (httpx.HTTPError, OSError)


class NodeError(Exception):
    """The node answered with an error."""

    def __init__(self, method: str, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class TransactionFailed(Exception):  # noqa: N818 - reads as the event it is
    """A transaction was mined and reverted, or never mined."""


class Client:
    """One keep-alive connection to one node."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url = url
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, verify=_UNUSED_TLS)
        self._headers = {"content-type": "application/json"}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(self, method: str, *params: Any) -> Any:
        """One request. Raises ``NodeError`` or one of ``TRANSPORT_ERRORS``."""
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return _result(method, answer)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Several reads in one request. Sends are refused: the node runs a batch's sends concurrently."""
        if any(method.startswith("eth_send") for method, _ in calls):
            raise ValueError("transactions can't go into a batch: the node would run them out of order")
        if not calls:
            return []
        body = [
            {"jsonrpc": "2.0", "id": position, "method": method, "params": params}
            for position, (method, params) in enumerate(calls)
        ]
        answers = sorted(self._post(body), key=lambda answer: answer["id"])
        return [_result(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]

    def read(self, to: Address, data: str, block: str = "latest") -> str:
        """``eth_call``; returns 0x-hex."""
        return self.call("eth_call", {"to": to, "data": data}, block)

    def block_number(self) -> int:
        """Height of the head."""
        return int(self.call("eth_blockNumber"), 16)

    def nonce(self, account: Address, block: str = "latest") -> int:
        """Transactions that ``account`` has sent as of ``block``."""
        return int(self.call("eth_getTransactionCount", account, block), 16)

    def balance(self, account: Address) -> int:
        """Native balance at the head."""
        return int(self.call("eth_getBalance", account, "latest"), 16)

    def receipt(self, tx_hash: Hash, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait for a receipt of success. Raises ``TransactionFailed``."""
        deadline = time.monotonic() + timeout_s
        while (found := self.call("eth_getTransactionReceipt", tx_hash)) is None:
            if time.monotonic() > deadline:
                raise TransactionFailed(f"transaction {tx_hash} was not mined within {timeout_s:.0f} s")
            time.sleep(0.01)
        if found["status"] != "0x1":
            raise TransactionFailed(f"transaction {tx_hash} reverted in block {int(found['blockNumber'], 16)}")
        return found

    def _post(self, body: Any) -> Any:
        response = self._http.post(self.url, content=orjson.dumps(body), headers=self._headers)
        return orjson.loads(response.content)


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is not None:
        raise NodeError(method, error.get("code", 0), error.get("message", ""), error.get("data"))
    return answer["result"]
