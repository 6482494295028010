"""Many contract reads in few requests by Multicall3's ``aggregate3``, robust against what the targets do.

A target may revert, answer rubbish, eat all the gas of the request, or answer with megabytes; so requests are sized
by expected gas, a refused request is split, and calls that failed in company are asked again in smaller company
before they are believed to fail.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from ouro.chain.errors import RpcError
from ouro.chain.multicall import decode_aggregate3, encode_aggregate3
from ouro.chain.quantity import parse_data
from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.errors import SyncError
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently
from ouro.protocols.reads import Read, words
from ouro.types import Address

_MAX_GAS = 12_000_000
_BASE_GAS = 1_000_000
_MAX_CALLS = 400
_PARALLEL = 4
_NO_SUCH_STATE = -32001


def _portions(reads: Sequence[Read], indices: Sequence[int], max_calls: int) -> Iterator[list[int]]:
    portion: list[int] = []
    gas = 0
    for index in indices:
        if portion and (gas + reads[index].gas > _MAX_GAS or len(portion) >= max_calls):
            yield portion
            portion, gas = [], 0
        portion.append(index)
        gas += reads[index].gas
    if portion:
        yield portion


async def read_many(
    reader: Caller, multicall: Address, reads: Sequence[Read], block: PinnedBlock
) -> list[bytes | None]:
    """Answers of all calls at ``block``, in order; None for a call that fails even when asked alone.

    A target without code answers with empty bytes. Raises ``SyncError`` when the node can't be read at all.
    """
    answers: list[bytes | None] = [None] * len(reads)
    gate = asyncio.Semaphore(_PARALLEL)
    open_indices = list(range(len(reads)))
    for max_calls in (_MAX_CALLS, 20, 1):
        portions = list(_portions(reads, open_indices, max_calls))

        async def ask(portion: list[int]) -> None:
            async with gate:
                await _ask(reader, multicall, reads, portion, block, answers)

        # all of them run to their end, so that no request outlives a failed read
        results = await asyncio.gather(*(ask(portion) for portion in portions), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        alone = {portion[0] for portion in portions if len(portion) == 1}
        open_indices = [k for k in open_indices if answers[k] is None and k not in alone]
        if not open_indices:
            break
    return answers


async def _ask(
    reader: Caller,
    multicall: Address,
    reads: Sequence[Read],
    portion: list[int],
    block: PinnedBlock,
    answers: list[bytes | None],
) -> None:
    """Fill ``answers`` for one portion; a refused request leaves them None, to be asked in smaller company."""
    calls = [(reads[k].target, reads[k].data) for k in portion]
    # bounded, so that a target that burns all it gets does not make the node work for minutes
    gas = _BASE_GAS + 2 * sum(reads[k].gas for k in portion)
    request = {"to": multicall, "gas": hex(gas), "data": "0x" + encode_aggregate3(calls).hex()}

    async def ask() -> Any:
        return await reader.call("eth_call", [request, block.tag], READ_TIMEOUT_MS)

    try:
        raw = await patiently(ask, f"multicall at block {block.number}")
    except RpcError as error:
        if len(portion) == 1 and error.code == _NO_SUCH_STATE:
            raise SyncError(f"the node has no state of block {block.number}: {error}") from error
        return
    try:
        found = decode_aggregate3(bytes.fromhex(parse_data(raw)[2:]), len(portion))
    except ValueError as error:
        raise SyncError(f"multicall {multicall}: {error}; is the address right?") from error
    for k, answer in zip(portion, found, strict=True):
        answers[k] = answer


async def require_multicall(reader: Caller, multicall: Address, block: PinnedBlock) -> None:
    """Raise ``SyncError`` unless aggregate3 works there at ``block`` (missing code, or no state at that block)."""
    probe = Read(multicall, selector("getBlockNumber()"))
    [answer] = await read_many(reader, multicall, [probe], block)
    if answer is None or words(answer) != [block.number]:
        shown = None if answer is None else answer.hex()
        raise SyncError(
            f"multicall {multicall} does not answer at block {block.number} (got {shown}): "
            "check chains.*.multicall, and that the node keeps the state of that block"
        )
