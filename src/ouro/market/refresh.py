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
from ouro.market.reader import PinnedBlock
from ouro.market.scripts import run_scripts
from ouro.market.sync import describe
from ouro.protocols.base import Garbage
from ouro.protocols.reads import Read, Script, words
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

    def check_block(answer: bytes | None) -> None:
        if words(answer or b"") != [head.number]:
            raise SyncError(f"{market.chain}: the node can't be read at block {head.number} yet")

    scripts = [_script(market, pool) for pool in wanted]
    block = PinnedBlock(head.number, head.hash, head.timestamp, head.base_fee_wei, hex(head.number))
    number = Read(multicall, _BLOCK_NUMBER)
    found = await run_scripts(
        reader, multicall, scripts, block, missed=lambda: None, first=number, check=check_block
    )
    told: dict[PoolId, Any] = {}
    faults: dict[PoolId, str] = {}
    missed: list[PoolId] = []
    for pool, state in zip(wanted, found, strict=True):
        if state is None:
            missed.append(pool)
            continue
        try:
            told[pool] = _checked(market, pool, state)
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


def _script(market: Market, pool: PoolId) -> Script[Any]:
    state = market.states[pool]
    return market.families[state.family].refresh(state, describe(market, pool))


def _checked(market: Market, pool: PoolId, state: Any) -> Any:
    """Foreign values go through the family's own check. Raises ``Garbage`` or ``ValueError``."""
    if isinstance(state, Garbage):
        raise state
    if state is market.states[pool]:
        return state
    family = market.families[state.family]
    return family.from_json(family.to_json(state))
