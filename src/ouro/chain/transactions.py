"""What a node knows of transactions: the questions that tracking asks, batched."""

from collections.abc import Sequence
from typing import Any

from ouro.chain.calls import get_receipts
from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.quantity import parse_quantity
from ouro.chain.receipts import Receipt
from ouro.chain.rpc import Caller
from ouro.types import Address, Hash


class TransactionReader:
    """Receipts, nonces and mempool presence over any ``Caller``. Raises ``RpcError``, ``TransportError``."""

    def __init__(self, node: Caller) -> None:
        self._node = node

    async def receipts(self, hashes: Sequence[Hash]) -> list[Receipt | None]:
        """Receipts in the order of ``hashes``; None where the transaction is not included."""
        return await get_receipts(self._node, hashes)

    async def nonces(self, operators: Sequence[Address]) -> list[int]:
        """Next nonce of each account at the latest block."""
        calls = [("eth_getTransactionCount", [operator, "latest"]) for operator in operators]
        answers = await self._node.batch(calls)
        try:
            return [parse_quantity(_raised(answer)) for answer in answers]
        except ValueError as error:
            raise MalformedAnswer(f"eth_getTransactionCount: {error}") from None

    async def knows(self, hashes: Sequence[Hash]) -> list[bool]:
        """Whether the node has each transaction, included or pending."""
        answers = await self._node.batch([("eth_getTransactionByHash", [tx_hash]) for tx_hash in hashes])
        return [_raised(answer) is not None for answer in answers]


def _raised(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
