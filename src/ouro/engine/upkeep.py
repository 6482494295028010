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
from ouro.market.errors import MarketError, SyncError
from ouro.market.upkeep import join_pools, repair_pools, save_market
from ouro.protocols.creation import NewPool
from ouro.types import Mode

log = structlog.get_logger(__name__)

REPAIR_EVERY_BLOCKS = 25
SNAPSHOT_EVERY_BLOCKS = 200


class Upkeep:
    """The housekeeping of one chain's state. A failure here costs a retry, never the loop."""

    def __init__(self, state: ChainState, node: Caller, data_dir: Path, mode: Mode = Mode.LIVE) -> None:
        self._state = state
        self._node = node
        self._data_dir = data_dir
        self._waiting: list[NewPool] = []
        self.tokens = TokenWatch(state, node, data_dir, mode)
        self.codes = CodeWatch(state, node, data_dir, self.tokens)
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
        await self.tokens.close()
        await self.codes.close()

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
