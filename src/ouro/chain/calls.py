"""Reading state at one exact block, by hash (EIP-1898) so that a reorg can't mix two states."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.multicall import ContractCall, decode_aggregate3, encode_aggregate3
from ouro.chain.quantity import parse_data, parse_quantity
from ouro.chain.receipts import Receipt, parse_receipt
from ouro.chain.rpc import Caller
from ouro.chain.walk import VanishedError, is_canonical
from ouro.types import Address, Hash

T = TypeVar("T")

_INVALID_PARAMS = (-32602, -32600)
_MULTICALL_CALLS = 500


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block. ``by_hash`` is False for nodes that do not know EIP-1898."""

    number: int
    hash: Hash
    by_hash: bool = True

    @property
    def parameter(self) -> Any:
        """The block parameter of a JSON-RPC call."""
        return {"blockHash": self.hash} if self.by_hash else hex(self.number)


Block: TypeAlias = BlockRef | str
"""A ``BlockRef``, or a tag such as ``latest`` where any recent state will do."""


async def probe_block_ref(node: Caller, number: int, block_hash: Hash) -> BlockRef:
    """A reference in the form that ``node`` understands. Raises ``RpcError`` if it does not have the state."""
    ref = BlockRef(number, block_hash)
    try:
        await node.call("eth_getBalance", ["0x" + "00" * 20, ref.parameter])
    except RpcError as error:
        if error.code not in _INVALID_PARAMS:
            raise
        return BlockRef(number, block_hash, by_hash=False)
    return ref


async def eth_call(node: Caller, to: Address, data: bytes, block: Block, sender: Address | None = None) -> bytes:
    """Return data of a call. Raises ``RpcError`` when it reverts (revert data in ``data``)."""
    transaction = {"to": to, "data": "0x" + data.hex()}
    if sender is not None:
        transaction["from"] = sender
    answer = await _guarded(node, block, lambda: node.call("eth_call", [transaction, _parameter(block)]))
    return _bytes(answer, "eth_call")


async def eth_call_many(node: Caller, calls: Sequence[ContractCall], block: Block) -> list[bytes | RpcError]:
    """Several calls in one batch; a failed one is its ``RpcError``."""
    requests = [("eth_call", [{"to": to, "data": "0x" + data.hex()}, _parameter(block)]) for to, data in calls]
    answers = await _guarded(node, block, lambda: node.batch(requests))
    return [answer if isinstance(answer, RpcError) else _bytes(answer, "eth_call") for answer in answers]


async def get_code(node: Caller, address: Address, block: Block = "latest") -> bytes:
    """Deployed bytecode, empty if none."""
    answer = await _guarded(node, block, lambda: node.call("eth_getCode", [address, _parameter(block)]))
    return _bytes(answer, "eth_getCode")


async def get_balance(node: Caller, address: Address, block: Block = "latest") -> int:
    """Native balance in wei."""
    answer = await _guarded(node, block, lambda: node.call("eth_getBalance", [address, _parameter(block)]))
    return _quantity(answer, "eth_getBalance")


async def get_storage(node: Caller, words: Sequence[tuple[Address, int]], block: Block = "latest") -> list[int]:
    """Storage words, one batch. Raises ``RpcError`` if any can't be read."""
    requests = [("eth_getStorageAt", [address, hex(slot), _parameter(block)]) for address, slot in words]
    answers = await _guarded(node, block, lambda: node.batch(requests))
    return [int.from_bytes(_bytes(_raised(answer), "eth_getStorageAt"), "big") for answer in answers]


async def multicall(
    node: Caller,
    multicall_address: Address,
    calls: Sequence[ContractCall],
    block: Block,
    chunk: int = _MULTICALL_CALLS,
) -> list[bytes | None]:
    """Return data of ``calls`` through Multicall3, None where one reverted; ``chunk`` calls per request.

    A call to an address without code succeeds with empty bytes: check lengths. A chunk that the node refuses as a
    whole (gas cap, size) is halved until it passes. Raises ``RpcError`` if a single call is refused,
    ``MalformedAnswer`` if there is no Multicall3 at the address.
    """
    parts = [calls[start : start + chunk] for start in range(0, len(calls), chunk)]
    answers = await eth_call_many(node, [(multicall_address, encode_aggregate3(part)) for part in parts], block)
    results: list[bytes | None] = []
    for part, answer in zip(parts, answers, strict=True):
        if isinstance(answer, RpcError):
            if len(part) == 1:
                raise answer
            results += await multicall(node, multicall_address, part, block, (len(part) + 1) // 2)
            continue
        try:
            results += decode_aggregate3(answer, len(part))
        except ValueError as error:
            raise MalformedAnswer(f"Multicall3 at {multicall_address}: {error}") from None
    return results


async def get_receipts(node: Caller, tx_hashes: Sequence[Hash]) -> list[Receipt | None]:
    """Receipts in one batch; None where the transaction is not included."""
    answers = await node.batch([("eth_getTransactionReceipt", [tx_hash]) for tx_hash in tx_hashes])
    try:
        return [parse_receipt(_raised(answer), tx) for tx, answer in zip(tx_hashes, answers, strict=True)]
    except ValueError as error:
        raise MalformedAnswer(str(error)) from None


def _parameter(block: Block) -> Any:
    return block if isinstance(block, str) else block.parameter


async def _guarded(node: Caller, block: Block, read: Callable[[], Awaitable[T]]) -> T:
    """By number the chain may change under the read: only trust it if the block is still the same afterwards."""
    result = await read()
    if isinstance(block, BlockRef) and not block.by_hash and not await is_canonical(node, block.number, block.hash):
        raise VanishedError(f"block {block.number} {block.hash} was replaced while its state was read")
    return result


def _raised(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer


def _bytes(answer: Any, method: str) -> bytes:
    try:
        return bytes.fromhex(parse_data(answer)[2:])
    except ValueError as error:
        raise MalformedAnswer(f"{method}: {error}") from None


def _quantity(answer: Any, method: str) -> int:
    try:
        return parse_quantity(answer)
    except ValueError as error:
        raise MalformedAnswer(f"{method}: {error}") from None
