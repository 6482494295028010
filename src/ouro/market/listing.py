"""Asking factories for their pools at one block, a page after the other; the second way beside creation events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig, DexConfig
from ouro.market.errors import SyncError
from ouro.market.reader import PinnedBlock
from ouro.market.scripts import run_scripts
from ouro.protocols.base import Family
from ouro.protocols.listings import MOST_SILENCE, Listing, Page
from ouro.protocols.reads import Garbage, Script
from ouro.protocols.registry import FAMILIES
from ouro.types import Address, PoolId


@dataclass(frozen=True, slots=True)
class _Told:
    """A family's own way (``Family.listing``): everything from an item on at once."""

    family: Family
    dex: DexConfig
    identity: str = "told"
    grows: bool = True

    def page(self, first: int, number: int) -> Script[Page]:
        """All that comes from item ``first`` on."""
        script = self.family.listing(self.dex, first)
        found = [] if script is None else list((yield from script))
        dated = [replace(pool, created_block=number) for pool in found]
        return Page(dated, following=first + len(found), done=True)


def needs_asking(dex: DexConfig) -> bool:
    """Whether its events alone do not tell all its pools: as configured, or because of what the family's tell."""
    return dex.discovery != "events" or FAMILIES[dex.family].listing(dex, 0) is not None


def asked_tokens(chain: ChainConfig) -> list[Address]:
    """Tokens whose pools are asked for, those with most pools first."""
    named = (chain.wrapped_native, *chain.start_tokens, *chain.stable_tokens, *chain.tokens)
    return list(dict.fromkeys(named))


def listing_for(dex: DexConfig, config: ChainConfig) -> Listing:
    """How a configured factory is asked. Raises ``SyncError`` where it can't be."""
    family = FAMILIES[dex.family]
    if family.listing(dex, 0) is not None:
        return _Told(family, dex)
    if family.lists is None:
        text = f'dex {dex.name!r}: pools of {dex.family} are only found by events: set discovery = "events"'
        raise SyncError(text)
    try:
        return family.lists.listing(dex, asked_tokens(config))
    except ValueError as error:
        raise SyncError(str(error)) from error


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
            upto = page.following - 1
            page.refused[""] = f"{silent} items in a row up to {upto} are no pools: the rest is not read"
            yield page
            return
        yield page
        if page.done:
            return
        first = page.following
