"""Asking factories for their pools at one block, a page after the other; the second way beside creation events."""

from collections.abc import AsyncIterator

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig, DexConfig
from ouro.market.errors import SyncError
from ouro.market.reader import PinnedBlock
from ouro.market.scripts import run_scripts
from ouro.protocols.base import Garbage
from ouro.protocols.listings import MOST_SILENCE, Listing, Page
from ouro.protocols.registry import FAMILIES
from ouro.types import Address, PoolId


def is_asked(dex: DexConfig) -> bool:
    """Whether a factory is asked: as configured, or because its events don't name its pools."""
    return dex.discovery != "events" or not FAMILIES[dex.family].told_by_events


def asked_tokens(chain: ChainConfig) -> list[Address]:
    """Tokens whose pools are asked for, those with most pools first."""
    named = (chain.wrapped_native, *chain.start_tokens, *chain.stable_tokens, *chain.tokens)
    return list(dict.fromkeys(named))


def listing_for(dex: DexConfig, config: ChainConfig) -> Listing:
    """How a configured factory is asked. Raises ``SyncError`` where it can't be."""
    try:
        listing = FAMILIES[dex.family].listing(dex, asked_tokens(config))
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
        [page] = await run_scripts(reader, config.multicall, [listing.page(first, block.number)], block)
        if isinstance(page, Garbage):
            yield Page(following=first, refused={"": str(page)})
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
