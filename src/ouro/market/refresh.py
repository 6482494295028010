"""Reading again, at each block, what no log tells: fees that factories, modules or hooks set, pauses.

One batch of calls at the head. Until it has come back a pool with such fields is not ``tradable``. One that does
not answer waits for the next block, a few times; one whose answers make no sense goes into quarantine.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.errors import MarketError, SyncError
from ouro.market.market import Market
from ouro.market.multicall import Read, read_many, words
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage
from ouro.market.sync import describe
from ouro.market.venues import VENUES
from ouro.types import Address, PoolId

MOST_MISSES = 5
"""Blocks in a row in which a pool may fail to answer; a node that lags looks the same for a moment."""

_NONE = np.zeros(0, np.int32)
_BLOCK_NUMBER = selector("getBlockNumber()")


async def refresh_market(market: Market, multicall: Address, reader: Caller) -> npt.NDArray[np.int32]:
    """Bring every pool with such fields up to the head. Returns the ids of pools that changed.

    When the head moves on meanwhile nothing is taken over: ask again for the new one. Raises ``SyncError`` when the
    node can't be read at the head.
    """
    head, wanted = market.head, market.to_confirm
    if head is None or not wanted:
        return _NONE
    states = {pool: market.states[pool] for pool in wanted}
    asked = {pool: _reads(market, pool) for pool in wanted}
    reads = [Read(multicall, _BLOCK_NUMBER), *(read for reads in asked.values() for read in reads)]
    block = PinnedBlock(head.number, head.hash, head.timestamp, head.base_fee_wei, hex(head.number))
    answers = iter(await read_many(reader, multicall, reads, block))
    if words(next(answers) or b"") != [head.number]:
        raise SyncError(f"{market.chain}: the node can't be read at block {head.number} yet")
    told: dict[PoolId, Any] = {}
    faults: dict[PoolId, str] = {}
    missed: list[PoolId] = []
    for pool, state in states.items():
        found = [next(answers) for _ in asked[pool]]
        take = VENUES[state.family].told
        assert take is not None
        if None in found:
            missed.append(pool)
            continue
        try:
            told[pool] = _checked(market, take(state, found))
        except (Garbage, ValueError) as error:
            faults[pool] = str(error)
    try:
        changed = market.confirm(told, head.hash)
    except MarketError:
        return _NONE
    faults |= dict.fromkeys(market.missed(missed, MOST_MISSES), f"{MOST_MISSES} blocks without an answer")
    for pool, reason in faults.items():
        market.set_quarantine(pool, f"read again at block {head.number}: {reason}")
    return changed


def _reads(market: Market, pool: PoolId) -> list[Read]:
    state = market.states[pool]
    ask = VENUES[state.family].reads
    assert ask is not None
    return ask(state, describe(market, pool))


def _checked(market: Market, state: Any) -> Any:
    """Foreign values go through the family's own check. Raises ``ValueError``."""
    if state is market.states[state.address]:
        return state
    family = market.families[state.family]
    return family.from_json(family.to_json(state))
