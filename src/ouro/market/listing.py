"""Asking factories for their pools at one block, a page after the other; the second way beside creation events."""

from collections.abc import AsyncIterator

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig, DexConfig
from ouro.market.errors import SyncError
from ouro.market.getters import MOST_SILENCE, Listing, Page, Script, T, listing_of
from ouro.market.multicall import read_many
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage
from ouro.types import Address, PoolId


async def run(reader: Caller, multicall: Address, block: PinnedBlock, script: Script[T]) -> T:
    """Drive a script with the answers at ``block``. Raises what it raises, and ``SyncError``."""
    try:
        reads = next(script)
        while True:
            reads = script.send(await read_many(reader, multicall, reads, block))
    except StopIteration as stop:
        return stop.value


def listing_for(dex: DexConfig, config: ChainConfig) -> Listing:
    """How a configured factory is asked. Raises ``SyncError`` where it can't be."""
    try:
        listing = listing_of(dex, config)
    except ValueError as error:
        raise SyncError(str(error)) from error
    if listing is None:
        raise SyncError(
            f'dex {dex.name!r}: pools of {dex.family} are only found by events: set discovery = "events"'
        )
    return listing


async def pages(
    reader: Caller, config: ChainConfig, listing: Listing, block: PinnedBlock, first: int
) -> AsyncIterator[Page]:
    """Every page from ``first`` on. The last one is ``done``, or has a refusal of the whole (under ``""``).

    A pool that comes a second time is refused, and so is a list of which too many items in a row are none.
    """
    seen: set[PoolId] = set()
    silent = 0
    while True:
        try:
            page = await run(reader, config.multicall, block, listing.page(first, block.number))
        except Garbage as garbage:
            yield Page(following=first, refused={"": str(garbage)})
            return
        for pool in page.pools:
            if pool.address in seen:
                page.refused[pool.address] = "it is listed twice"
            seen.add(pool.address)
        silent = page.silent if page.pools else silent + page.silent
        if silent > MOST_SILENCE and not page.done:
            page.refused[""] = (
                f"{silent} items in a row up to {page.following - 1} are no pools: the rest is not read"
            )
            yield page
            return
        yield page
        if page.done:
            return
        first = page.following
