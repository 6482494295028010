"""Tokens are tried before their pools are traded, off the hot path; what was seen is kept with them on disk."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import structlog

from ouro.chain.errors import ChainError
from ouro.chain.rpc import Caller
from ouro.engine.chain_state import ChainState
from ouro.market.errors import SnapshotError, SyncError
from ouro.market.reader import pin
from ouro.market.token_probe import TokenBook, TokenReport, Verdict, admit, quarantine_refused, tokens_path
from ouro.market.venues import NATIVE
from ouro.types import Address, Mode

log = structlog.get_logger(__name__)

AGAIN_AFTER_BLOCKS, AGAIN_AT_MOST = 10, 500
"""Blocks that a token without a verdict waits for its second trial; ten times as long for each further one."""


class TokenWatch:
    """One chain's trials. ``probe_tokens`` says whether a token has to be admitted, or only must not be refused."""

    def __init__(self, state: ChainState, node: Caller, data_dir: Path, mode: Mode = Mode.LIVE) -> None:
        config = state.config
        self._state, self._node, self._path = state, node, tokens_path(data_dir, state.name)
        self._how = config.probe_tokens
        if self._how == "auto":
            self._how = "off" if mode is Mode.OBSERVE else "admit"
        self._book = TokenBook([NATIVE, config.wrapped_native, *config.start_tokens])
        self._task: asyncio.Task[None] | None = None
        self._due: dict[Address, int] = {}
        self._pause: dict[Address, int] = {}
        self._tokens: set[Address] = set()
        self._counted = self._blocks = 0
        self._loaded = False

    @property
    def book(self) -> TokenBook:
        """What was seen."""
        return self._book

    def tend(self) -> None:
        """After a block: begin trials where tokens have none; never waits for them."""
        if self._how == "off":
            return
        self._blocks += 1
        if not self._loaded:
            self.enforce()
        if (self._task is None or self._task.done()) and (not self._loaded or self._wanted() - self._resting()):
            self._task = asyncio.create_task(self._try())

    def _wanted(self) -> set[Address]:
        """Tokens without a verdict. Looked for only where there are new pools, for they may be many."""
        states = self._state.market.states
        if len(states) != self._counted:
            self._counted = len(states)
            self._tokens = {token for state in states.values() for token in state.tokens}
        return set(self._book.missing(self._tokens))

    def _resting(self) -> set[Address]:
        return {token for token, due in self._due.items() if due > self._blocks}

    def enforce(self) -> None:
        """Refused tokens' pools are out; where tokens have to be admitted, pools of the others wait."""
        if self._how == "off":
            return
        state = self._state
        quarantine_refused(state.market, self._book)
        if self._how != "admit":
            return
        waiting = {pool: self._book.waits_for(one.tokens) for pool, one in state.market.states.items()}
        before = state.unadmitted
        state.unadmitted = {pool: reason for pool, reason in waiting.items() if reason}
        state.carry(state.market.pool_index[pool] for pool in before.keys() - state.unadmitted.keys())

    def forget(self, tokens: Collection[Address]) -> None:
        """Verdicts on tokens that are not what they were; they are tried anew."""
        for token in tokens:
            self._book.reports.pop(token, None)
            self._due.pop(token, None)
        if tokens:
            self.enforce()

    async def _try(self) -> None:
        state = self._state
        try:
            if not self._loaded:
                await self._load()
                self.enforce()
            head = state.market.head
            if head is None:
                return
            block = await pin(self._node, head.number, state.config.multicall)
            reports = await admit(
                self._node,
                dict(state.market.states),
                self._book,
                block,
                state.config.chain_id,
                skip=self._resting(),
                heard=self._heard,
            )
            if reports:
                await self._book.save(self._path, state.config.chain_id)
        except (ChainError, SyncError, OSError) as error:
            log.warning("token_trials_failed", chain=state.name, error=str(error))

    def _heard(self, report: TokenReport) -> None:
        """What a trial said counts at once, not when all others are over."""
        if report.verdict is Verdict.UNKNOWN:
            pause = self._pause.get(report.token, AGAIN_AFTER_BLOCKS)
            self._due[report.token] = self._blocks + pause
            self._pause[report.token] = min(10 * pause, AGAIN_AT_MOST)
        if report.verdict is not Verdict.ADMITTED:
            log.warning("token", chain=self._state.name, **_told(report.token, report.verdict, report.reason))
        self.enforce()

    async def _load(self) -> None:
        self._loaded = True
        try:
            await self._book.load(self._path, self._state.config.chain_id)
        except FileNotFoundError:
            pass
        except SnapshotError as error:
            log.warning("token_reports_lost", chain=self._state.name, error=str(error))

    async def finished(self) -> None:
        """Wait for the trials under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """End the trials under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._task, return_exceptions=True)


def _told(token: Address, verdict: Verdict, reason: str) -> dict[str, str]:
    return {"token": token, "verdict": verdict.value, "reason": reason}
