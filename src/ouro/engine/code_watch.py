"""Code is compared with what it was, some contracts after each block, off the hot path."""

import asyncio
from collections import deque
from contextlib import suppress
from pathlib import Path

import structlog

from ouro.chain.errors import ChainError
from ouro.chain.rpc import Caller
from ouro.engine.chain_state import ChainState
from ouro.engine.token_watch import TokenWatch
from ouro.market.codeguard import guarded, load_book, quarantine_changed
from ouro.market.codes import CodeBook, codes_path
from ouro.market.errors import SyncError
from ouro.market.reader import pin
from ouro.types import Address

log = structlog.get_logger(__name__)

SAVE_EVERY_CHECKS = 50


class CodeWatch:
    """One chain's turns. What is compared is final: a reorg can't make a contract look changed."""

    def __init__(self, state: ChainState, node: Caller, data_dir: Path, tokens: TokenWatch) -> None:
        self._state, self._node, self._tokens = state, node, tokens
        self._path = codes_path(data_dir, state.name)
        self._book = CodeBook(state.config.accepted_code)
        self._turns: deque[Address] = deque()
        self._task: asyncio.Task[None] | None = None
        self._loaded = False
        self._checks = self._saved = 0

    def tend(self) -> None:
        """After a block: begin the next turn; never waits for it."""
        if self._state.config.code_checks_per_block and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._check())

    async def _check(self) -> None:
        state = self._state
        try:
            if not self._loaded:
                self._loaded = True
                await load_book(self._book, self._path, state.config.chain_id, self._report)
                self._saved = len(self._book.prints)
            number = state.head_number - state.config.finality_depth
            turn = self._next_turn()
            if number < 0 or not turn:
                return
            block = await pin(self._node, number, state.config.multicall)
            changed = await self._book.check(self._node, state.config.multicall, turn, block)
            for pool in quarantine_changed(state.market, changed):
                log.error("code_changed", chain=state.name, pool=pool, reason=state.market.quarantine[pool].reason)
            self._tokens.forget(changed)
            self._checks += 1
            if self._checks % SAVE_EVERY_CHECKS == 0:
                await self._save()
        except (ChainError, SyncError, OSError) as error:
            log.warning("code_check_failed", chain=state.name, error=str(error))

    def _next_turn(self) -> list[Address]:
        """Contracts never seen before come first."""
        if not self._turns:
            every = guarded(self._state.market.states.values())
            self._turns.extend(sorted(every, key=lambda address: address in self._book.prints))
        budget = min(self._state.config.code_checks_per_block, len(self._turns))
        return [self._turns.popleft() for _ in range(budget)]

    async def _save(self) -> None:
        if len(self._book.prints) != self._saved:
            self._saved = len(self._book.prints)
            await asyncio.to_thread(self._book.save, self._path, self._state.config.chain_id)

    def _report(self, text: str) -> None:
        log.warning("codes_lost", chain=self._state.name, error=text)

    async def finished(self) -> None:
        """Wait for the turn under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """End the turn under way and keep what was seen."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._task, return_exceptions=True)
        with suppress(OSError):
            await self._save()
