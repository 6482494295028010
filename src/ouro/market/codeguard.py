"""Pools whose own code, or that of a token of theirs, is not what it was are out until the operator has looked."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig
from ouro.market.codes import CodeBook
from ouro.market.errors import SnapshotError
from ouro.market.market import Market
from ouro.market.reader import PinnedBlock
from ouro.market.venues import NATIVE
from ouro.protocols.base import home_of
from ouro.types import Address, PoolId


def guarded(states: Iterable[Any]) -> list[Address]:
    """Contracts whose code pools depend on: those that hold them, and their tokens."""
    found = dict.fromkeys(address for state in states for address in (home_of(state), *state.tokens))
    return [address for address in found if address != NATIVE]


def quarantine_changed(market: Market, changed: Mapping[Address, str]) -> list[PoolId]:
    """Take out, for good, every pool of a changed contract. The pools that were not out for good yet."""
    found: list[PoolId] = []
    if not changed:
        return found
    for pool, state in list(market.states.items()):
        for address in (home_of(state), *state.tokens):
            held = market.quarantine.get(pool)
            if address not in changed or (held is not None and held.final):
                continue
            who = "its contract" if address == home_of(state) else f"its token {address}"
            market.set_quarantine(pool, f"{who} {changed[address]}", final=True)
            found.append(pool)
    return found


async def check_codes(
    market: Market,
    config: ChainConfig,
    reader: Caller,
    path: Path,
    block: PinnedBlock,
    report: Callable[[str], None],
) -> None:
    """At the start: compare all code with the prints in ``path``, note what is new, take out what has changed.

    Raises ``SyncError`` when the node can't be read.
    """
    book = CodeBook(config.accepted_code)
    await load_book(book, path, config.chain_id, report)
    changed = await book.check(reader, config.multicall, guarded(market.states.values()), block)
    for pool in quarantine_changed(market, changed):
        report(f"{market.chain}: pool {pool} is out: {market.quarantine[pool].reason}")
    await asyncio.to_thread(book.save, path, config.chain_id)


async def load_book(book: CodeBook, path: Path, chain_id: int, report: Callable[[str], None]) -> None:
    """Read the prints in ``path``, where there are any."""
    try:
        await asyncio.to_thread(book.load, path, chain_id)
    except FileNotFoundError:
        pass
    except (SnapshotError, OSError) as error:
        report(f"the code of all contracts is taken as it is now: {error}")
