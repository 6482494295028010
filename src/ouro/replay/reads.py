"""What a node was asked beside the blocks, and its answers: kept in a recording, given again in a replay.

Fields that no log tells are read again at each block, pools that were born are read when they join. The recorder
takes the same steps as the engine in a replay, so the same questions are asked at the same blocks, and a question
is found by what it is.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from ouro.chain.errors import ChainError, RpcError
from ouro.chain.rpc import Caller
from ouro.chain.wire import Call
from ouro.engine.chain_state import ChainState
from ouro.execution.shadow import ShadowError
from ouro.market.errors import MarketError, SyncError
from ouro.market.upkeep import join_pools
from ouro.protocols.creation import NewPool
from ouro.types import Hash

log = structlog.get_logger(__name__)

_KEY_BYTES = 16
_BLOCKS_KEPT = 256


def key_of(method: str, params: list[Any]) -> bytes:
    """What a question is found by."""
    return hashlib.blake2b(orjson.dumps([method, params]), digest_size=_KEY_BYTES).digest()


class Tap:
    """A node whose answers are kept; ``take`` hands over those since the last time."""

    def __init__(self, node: Caller) -> None:
        self._node = node
        self._kept: dict[bytes, bytes] = {}

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """As the node answers."""
        try:
            answer = await self._node.call(method, params, timeout_ms)
        except RpcError as error:
            self._keep(method, params, error)
            raise
        self._keep(method, params, answer)
        return answer

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """As the node answers."""
        answers = await self._node.batch(calls, timeout_ms)
        for (method, params), answer in zip(calls, answers, strict=True):
            self._keep(method, params, answer)
        return answers

    def _keep(self, method: str, params: list[Any], answer: Any) -> None:
        failed = [answer.code, str(answer)] if isinstance(answer, RpcError) else None
        self._kept[key_of(method, params)] = orjson.dumps([None, failed] if failed else [answer])

    def take(self) -> dict[bytes, bytes]:
        """Answers by key."""
        kept, self._kept = self._kept, {}
        return kept


class RecordedNode:
    """Answers what was recorded at the block that it stands at; anything else it does not know."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[Hash, dict[bytes, bytes]] = OrderedDict()
        self._current: dict[bytes, bytes] = {}

    def learn(self, block_hash: Hash, answers: dict[bytes, bytes]) -> None:
        """The answers at a block that is read from the file, some blocks before it is played."""
        self._blocks[block_hash] = answers
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)

    def stand_at(self, block_hash: Hash) -> bool:
        """Answer for this block from now on; whether anything was asked at it."""
        self._current = self._blocks.get(block_hash, {})
        return bool(self._current)

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        """Raises ``RpcError`` where the recorder did not ask this."""
        del timeout_ms
        answer = self._answer(method, params)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call], timeout_ms: int | None = None) -> list[Any]:
        """One after the other."""
        del timeout_ms
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: list[Any]) -> Any:
        found = self._current.get(key_of(method, params))
        if found is None:
            return RpcError(-32601, "this was not asked when the recording was made", None, method)
        value = orjson.loads(found)
        return value[0] if len(value) == 1 else RpcError(int(value[1][0]), str(value[1][1]), None, method)


class Reads:
    """What is read beside the blocks, while recording and in a replay: one order of steps for both."""

    def __init__(self, state: ChainState, node: Caller, *, searching: bool) -> None:
        self._state, self._node, self._searching = state, node, searching
        self._waiting: tuple[NewPool, ...] = ()
        self.joined = 0

    async def refresh(self) -> None:
        """What no log tells, at the head."""
        if self._state.wants_refresh:
            await self._state.refresh(self._node)

    def born(self, pools: tuple[NewPool, ...]) -> None:
        """They join with the next ``tend``."""
        self._waiting += pools

    async def tend(self) -> None:
        """Pools that were born join, the executor's own words are read again where it spoke."""
        state = self._state
        try:
            if state.executor_stirred and state.shadow is not None:
                await state.reread_executor(self._node)
            if self._waiting:
                await self._join()
        except (ChainError, SyncError, MarketError, ShadowError) as error:
            log.warning("reads_failed", chain=state.name, error=str(error))

    async def _join(self) -> None:
        state = self._state
        joined = (await join_pools(state.market, state.config, self._node, self._waiting)).tolist()
        self._waiting = ()
        self.joined += len(joined)
        if not joined:
            return
        if self._searching:
            state.rebuild_search()
        state.carry(joined)
        if state.shadow is not None:
            fresh = [state.market.states[state.market.addresses[pool_id]] for pool_id in joined]
            await state.shadow.add(self._node, fresh, again=True)
