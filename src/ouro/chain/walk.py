"""From a head back to a block that we know, by parent hashes."""

from collections.abc import Sequence
from typing import Any

from ouro.chain.errors import ChainError, RpcError
from ouro.chain.headers import Header, HeadRing, parse_header
from ouro.chain.rpc import Caller
from ouro.types import Hash

_BATCH_GROWTH = (4, 16, 64)


class VanishedError(ChainError):
    """A block was orphaned while it was being read: look at the chain again."""


class ContradictionError(ChainError):
    """The node's answers contradict each other: ask another one."""


class LostError(ChainError):
    """No known block is an ancestor within bounds: the state has to be read anew."""


async def latest_header(node: Caller) -> Header:
    """The head of the node's chain. Raises ``ContradictionError`` when it makes no sense."""
    return _header(await node.call("eth_getBlockByNumber", ["latest", False]), "latest block")


async def header_by_number(node: Caller, number: int) -> Header | None:
    """The canonical block at ``number``, None if there is none."""
    answer = await node.call("eth_getBlockByNumber", [hex(number), False])
    header = None if answer is None else _header(answer, f"block {number}")
    if header is not None and header.number != number:
        raise ContradictionError(f"asked for block {number}, got {header.number}")
    return header


async def header_by_hash(node: Caller, block_hash: Hash) -> Header | None:
    """The block with this hash, canonical or not, None if the node does not know it."""
    answer = await node.call("eth_getBlockByHash", [block_hash, False])
    header = None if answer is None else _header(answer, f"block {block_hash}")
    if header is not None and header.hash != block_hash:
        raise ContradictionError(f"asked for block {block_hash}, got {header.hash}")
    return header


async def is_canonical(node: Caller, number: int, block_hash: Hash) -> bool:
    """True if the node's chain has ``block_hash`` at ``number`` now."""
    header = await header_by_number(node, number)
    return header is not None and header.hash == block_hash


async def path_from_ring(node: Caller, ring: HeadRing, head: Header, max_gap: int) -> list[Header]:
    """The blocks after the newest common ancestor up to ``head``, oldest first; the ancestor is in ``ring``.

    Blocks are fetched by number in batches and only accepted where each is the parent, by hash, of the next; where
    that fails the parent itself is asked for by hash. Raises ``LostError`` beyond the ring or ``max_gap``.
    """
    path = [head]
    tip_number, _ = ring.tip
    if head.number - tip_number - 1 > max_gap:
        raise LostError(f"{head.number - tip_number - 1} blocks were missed, more than {max_gap}")
    growth = iter(_BATCH_GROWTH)
    while path[0].parent_hash not in ring:
        lowest = path[0].number
        if lowest <= ring.oldest_number + 1:
            raise LostError(
                f"block {head.number} {head.hash} has no ancestor among the blocks since {ring.oldest_number}"
            )
        wanted = lowest - 1 - tip_number if lowest - 1 > tip_number else next(growth, _BATCH_GROWTH[-1])
        if len(path) > 1 or wanted > 1:
            _link(path, await _by_numbers(node, max(lowest - wanted, ring.oldest_number + 1), lowest), ring)
        if path[0].number == lowest:
            await _link_parent(node, path)
    if ring.number_of(path[0].parent_hash) != path[0].number - 1:
        raise ContradictionError(f"block {path[0].hash} says number {path[0].number}, its parent says otherwise")
    return path


async def _by_numbers(node: Caller, first: int, end: int) -> list[Header]:
    answers = await node.batch([("eth_getBlockByNumber", [hex(number), False]) for number in range(first, end)])
    return [
        _header(answer, "block") for answer in answers if answer is not None and not isinstance(answer, RpcError)
    ]


def _link(path: list[Header], candidates: Sequence[Header], ring: HeadRing) -> None:
    for header in sorted(candidates, key=lambda candidate: candidate.number, reverse=True):
        if path[0].parent_hash in ring or not _is_parent(header, path[0]):
            return
        path.insert(0, header)


async def _link_parent(node: Caller, path: list[Header]) -> None:
    parent = await header_by_hash(node, path[0].parent_hash)
    if parent is None:
        raise VanishedError(f"block {path[0].parent_hash} is not known to the node any more")
    if not _is_parent(parent, path[0]):
        raise ContradictionError(f"block {path[0].hash} says number {path[0].number}, its parent {parent.number}")
    path.insert(0, parent)


def _is_parent(parent: Header, child: Header) -> bool:
    return parent.hash == child.parent_hash and parent.number == child.number - 1


def _header(answer: Any, what: str) -> Header:
    try:
        return parse_header(answer)
    except ValueError as error:
        raise ContradictionError(f"{what}: {error}") from None
