"""Reading a node at one pinned block: headers, logs by range, and the form of the block argument."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ouro.chain.errors import RpcError, TransportError
from ouro.chain.logs import parse_log
from ouro.chain.quantity import parse_hash, parse_quantity
from ouro.chain.rpc import Caller
from ouro.market.errors import SyncError
from ouro.types import Address, Hash, Log

READ_TIMEOUT_MS = 30_000
_TRIES = 4
_FIRST_PAUSE_S = 0.25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PinnedBlock:
    """A block that everything is read at. ``tag`` is the block argument of ``eth_call`` for it."""

    number: int
    hash: Hash
    timestamp: int
    base_fee_wei: int | None
    tag: Any


async def patiently(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Ask again, a few times with growing pauses, where no usable answer came. Raises ``SyncError`` after that."""
    pause_s = _FIRST_PAUSE_S
    for left in range(_TRIES - 1, -1, -1):
        try:
            return await ask()
        except TransportError as error:
            if not left:
                raise SyncError(f"{what}: {error}") from error
        await asyncio.sleep(pause_s)
        pause_s *= 2
    raise AssertionError("unreachable")


async def read_block(reader: Caller, number: int | str) -> PinnedBlock:
    """Header of a block by number or tag (``latest``); its ``tag`` is the number. Raises ``SyncError``."""
    wanted = hex(number) if isinstance(number, int) else number

    async def ask() -> Any:
        return await reader.call("eth_getBlockByNumber", [wanted, False], READ_TIMEOUT_MS)

    try:
        header = await patiently(ask, f"block {number}")
    except RpcError as error:
        raise SyncError(f"block {number}: {error}") from error
    if not isinstance(header, dict):
        raise SyncError(f"block {number}: the node does not have it")
    try:
        found = parse_quantity(header.get("number"))
        base_fee = header.get("baseFeePerGas")
        return PinnedBlock(
            number=found,
            hash=parse_hash(header.get("hash")),
            timestamp=parse_quantity(header.get("timestamp")),
            base_fee_wei=None if base_fee is None else parse_quantity(base_fee),
            tag=hex(found),
        )
    except ValueError as error:
        raise SyncError(f"block {number}: malformed header: {error}") from error


async def pin(reader: Caller, number: int, probe: Address) -> PinnedBlock:
    """Block ``number``, pinned by hash where the node takes that (EIP-1898), else by number.

    ``probe`` is any contract. Reads pinned by number need ``still_canonical`` afterwards.
    """
    block = await read_block(reader, number)
    by_hash = {"blockHash": block.hash}

    async def ask() -> Any:
        return await reader.call("eth_getCode", [probe, by_hash], READ_TIMEOUT_MS)

    try:
        await patiently(ask, f"block {number}")
    except RpcError:
        return block
    return PinnedBlock(block.number, block.hash, block.timestamp, block.base_fee_wei, by_hash)


async def still_canonical(reader: Caller, number: int, block_hash: Hash) -> bool:
    """Whether the node's chain has this hash at this height (False also where it has no such block yet)."""
    try:
        return (await read_block(reader, number)).hash == block_hash
    except SyncError as error:
        if "does not have it" in str(error):
            return False
        raise


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Every matching log of the blocks ``first..last``, in chain order; ``timestamps`` where the node told them."""

    first: int
    last: int
    logs: tuple[Log, ...]
    timestamps: dict[int, int]


async def scan_logs(
    reader: Caller,
    first: int,
    last: int,
    *,
    topics: Sequence[Any],
    addresses: Sequence[Address] = (),
    max_range: int = 2_000,
) -> AsyncIterator[LogChunk]:
    """Logs of ``first..last`` in chunks of at most ``max_range`` blocks.

    The range is halved when the provider refuses it and grows again when it doesn't; one block that is refused
    raises ``SyncError`` with the provider's reason.
    """
    span = max_range
    while first <= last:
        end = min(last, first + span - 1)
        query: dict[str, Any] = {"fromBlock": hex(first), "toBlock": hex(end), "topics": list(topics)}
        if addresses:
            query["address"] = list(addresses)
        try:
            chunk = await _ask_logs(reader, query, first, end)
        except RpcError as error:
            if end == first:
                raise SyncError(f"logs of block {first}: {error}") from error
            span = max(1, (end - first + 1) // 2)
            continue
        yield chunk
        first = end + 1
        span = min(max_range, span * 2)


async def _ask_logs(reader: Caller, query: dict[str, Any], first: int, end: int) -> LogChunk:
    async def ask() -> Any:
        return await reader.call("eth_getLogs", [query], READ_TIMEOUT_MS)

    answer = await patiently(ask, f"logs of blocks {first}..{end}")
    if not isinstance(answer, list):
        raise SyncError(f"logs of blocks {first}..{end}: a list is expected, got {str(answer)[:80]!r}")
    logs: list[Log] = []
    timestamps: dict[int, int] = {}
    for value in answer:
        try:
            log = parse_log(value)
            stamp = value.get("blockTimestamp")  # newer nodes tell it; it saves reading the headers
            timestamp = None if stamp is None else parse_quantity(stamp)
        except ValueError as error:
            raise SyncError(f"logs of blocks {first}..{end}: {error}") from error
        if not first <= log.block_number <= end:
            raise SyncError(f"logs of blocks {first}..{end}: got one of block {log.block_number}")
        logs.append(log)
        if timestamp is not None:
            timestamps[log.block_number] = timestamp
    logs.sort(key=lambda log: (log.block_number, log.log_index))
    return LogChunk(first, end, tuple(logs), timestamps)


async def read_timestamps(reader: Caller, numbers: Iterable[int]) -> dict[int, int]:
    """Timestamps of blocks, in batches. Raises ``SyncError`` where one can't be had."""
    wanted = sorted(set(numbers))
    found: dict[int, int] = {}
    for k in range(0, len(wanted), 100):
        part = wanted[k : k + 100]
        calls = [("eth_getBlockByNumber", [hex(number), False]) for number in part]

        async def ask(calls: list[tuple[str, list[Any]]] = calls) -> list[Any]:
            return await reader.batch(calls, READ_TIMEOUT_MS)

        for number, header in zip(part, await patiently(ask, f"headers from {part[0]}"), strict=True):
            if not isinstance(header, dict):
                raise SyncError(f"block {number}: no header ({header})")
            found[number] = parse_quantity(header.get("timestamp"))
    return found
