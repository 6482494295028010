"""Between blocks: pools that were born, pools that fell ill, what the shadow misses, the snapshot on disk."""

import asyncio
from pathlib import Path

import structlog

from ouro.chain.errors import ChainError
from ouro.chain.rpc import Caller
from ouro.engine.chain_state import ChainState
from ouro.engine.code_watch import CodeWatch
from ouro.engine.token_watch import TokenWatch
from ouro.execution.shadow import ShadowError
from ouro.market.discovery import discover
from ouro.market.errors import MarketError, SyncError
from ouro.market.listing import is_asked
from ouro.market.upkeep import join_pools, repair_pools, save_market
from ouro.protocols.creation import NewPool
from ouro.types import Mode

log = structlog.get_logger(__name__)

REPAIR_EVERY_BLOCKS = 25
SNAPSHOT_EVERY_BLOCKS = 200
ASK_EVERY_BLOCKS = 200
"""How often factories that are asked for their pools are asked again."""


class Upkeep:
    """The housekeeping of one chain's state. A failure here costs a retry, never the loop."""

    def __init__(self, state: ChainState, node: Caller, data_dir: Path, mode: Mode = Mode.LIVE) -> None:
        self._state = state
        self._node = node
        self._data_dir = data_dir
        self._waiting: list[NewPool] = []
        self.tokens = TokenWatch(state, node, data_dir, mode)
        self.codes = CodeWatch(state, node, data_dir, self.tokens)
        self._asking: asyncio.Task[None] | None = None
        self._blocks = 0

    def start(self) -> None:
        """Before the first block."""
        self.tokens.tend()

    def born(self, pools: tuple[NewPool, ...]) -> None:
        """Pools that a factory announced; they join with the next ``tend``."""
        self._waiting += pools

    async def refresh(self) -> None:
        """Before a decision: what no log tells, within the time that it may take."""
        try:
            await asyncio.wait_for(self._state.refresh(self._node), self._state.config.refresh_timeout_ms / 1_000)
        except TimeoutError:
            log.warning("refresh_late", chain=self._state.name, pools=len(self._state.unconfirmed))

    async def tend(self) -> None:
        """After a block, when no newer one waits."""
        self._blocks += 1
        for _ in self._state.market.foresee():
            await asyncio.sleep(0)
        self.tokens.tend()
        self.codes.tend()
        self._ask()
        state = self._state
        try:
            if self._waiting:
                await self._join()
            if self._blocks % REPAIR_EVERY_BLOCKS == 0 and state.market.quarantine:
                healed = await repair_pools(state.market, state.config, self._node)
                self.tokens.enforce()
                self._welcome(healed.tolist())
            if self._blocks % REPAIR_EVERY_BLOCKS == 0:
                await self._complete_shadow()
            if state.executor_stirred:
                await state.reread_executor(self._node)
            if self._blocks % SNAPSHOT_EVERY_BLOCKS == 0:
                await save_market(state.name, state.config, state.market, self._data_dir)
        except (ChainError, SyncError, MarketError, ShadowError, OSError) as error:
            log.warning("upkeep_failed", chain=state.name, error=str(error))

    async def close(self) -> None:
        """End what is under way beside the blocks."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self.tokens.close()
        await self.codes.close()

    def _ask(self) -> None:
        """Pools that no event announces are looked for from time to time, beside the blocks."""
        due = self._blocks % ASK_EVERY_BLOCKS == 0 and any(map(is_asked, self._state.config.dexes))
        if due and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._look_for_pools())

    async def _look_for_pools(self) -> None:
        state, market = self._state, self._state.market
        try:
            found = await discover(state.name, state.config, self._node, self._data_dir)
        except (ChainError, SyncError, OSError) as error:
            log.warning("factories_not_asked", chain=state.name, error=str(error))
            return
        waiting = {pool.address for pool in self._waiting}
        known = market.pool_index.keys() | market.announced.keys() | market.rejected.keys() | waiting
        self.born(tuple(pool for address, pool in found.pools.items() if address not in known))

    async def asked(self) -> None:
        """Wait for the factories that are being asked."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _join(self) -> None:
        joined = await join_pools(self._state.market, self._state.config, self._node, self._waiting)
        self._waiting = []
        # The search must know every pool id before the next block touches one; the shadow may follow later.
        self._welcome(joined.tolist())
        self.tokens.enforce()
        await self._complete_shadow()

    def _welcome(self, pool_ids: list[int]) -> None:
        if pool_ids:
            self._state.rebuild_search()
            self._state.carry(pool_ids)
            log.info("pools_joined", chain=self._state.name, count=len(pool_ids))

    async def _complete_shadow(self) -> None:
        """Pools that joined, were rolled back, or had a fault (a token nobody held yet) are read at its block."""
        state = self._state
        if state.shadow is None:
            return
        missing = [pool for address, pool in state.market.states.items() if state.shadow.supports([address])]
        if missing:
            await state.shadow.add(self._node, missing, again=True)
