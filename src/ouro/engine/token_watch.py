"""Tokens are tried before their pools are traded, off the hot path; what was seen is kept with them on disk."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from ouro.chain.errors import ChainError
from ouro.chain.rpc import Caller
from ouro.engine.chain_state import ChainState
from ouro.market.errors import SnapshotError, SyncError
from ouro.market.reader import pin
from ouro.market.token_probe import TokenBook, Verdict, admit, quarantine_refused, tokens_path
from ouro.market.venues import NATIVE
from ouro.types import Address, PoolId

log = structlog.get_logger(__name__)

AGAIN_EVERY_BLOCKS = 500
"""How long a token that no trial gave a verdict on waits for the next one."""


class TokenWatch:
    """One chain's trials. ``probe_tokens`` says whether a token has to be admitted, or only must not be refused."""

    def __init__(self, state: ChainState, node: Caller, data_dir: Path) -> None:
        config = state.config
        self._state, self._node, self._path = state, node, tokens_path(data_dir, state.name)
        self._book = TokenBook([NATIVE, config.wrapped_native, *config.start_tokens, *config.stable_tokens])
        self._task: asyncio.Task[None] | None = None
        self._tried: set[Address] = set()
        self._waited = 0
        self._loaded = False

    @property
    def book(self) -> TokenBook:
        """What was seen."""
        return self._book

    def tend(self) -> None:
        """After a block: begin trials where tokens have none; never waits for them."""
        if self._state.config.probe_tokens == "off":
            return
        self.enforce()
        self._waited += 1
        if self._waited >= AGAIN_EVERY_BLOCKS:
            self._waited = 0
            self._tried.clear()
        if self._task is None or self._task.done():
            tokens = {token for state in self._state.market.states.values() for token in state.tokens}
            if not self._loaded or set(self._book.missing(tokens)) - self._tried:
                self._task = asyncio.create_task(self._try())

    def enforce(self) -> None:
        """Refused tokens' pools are out; where tokens have to be admitted, pools of the others wait."""
        if self._state.config.probe_tokens == "off":
            return
        quarantine_refused(self._state.market, self._book)
        if self._state.config.probe_tokens == "admit":
            self._state.unadmitted = frozenset(
                pool
                for pool, state in self._state.market.states.items()
                if not all(self._is_admitted(token) for token in state.tokens)
            )

    def forget(self, tokens: Iterable[Address]) -> None:
        """Verdicts on tokens that are not what they were; they are tried anew."""
        for token in tokens:
            self._book.reports.pop(token, None)
            self._tried.discard(token)

    def _is_admitted(self, token: Address) -> bool:
        report = self._book.reports.get(token)
        return token in self._book.trusted or (report is not None and report.verdict is Verdict.ADMITTED)

    async def _try(self) -> None:
        state = self._state
        try:
            if not self._loaded:
                await self._load()
            head = state.market.head
            if head is None:
                return
            block = await pin(self._node, head.number, state.config.multicall)
            before = frozenset[PoolId](state.unadmitted)
            reports = await admit(self._node, dict(state.market.states), self._book, block, state.config.chain_id)
            self._tried |= {report.token for report in reports}
            for report in reports:
                if report.verdict is not Verdict.ADMITTED:
                    log.warning("token", chain=state.name, **_told(report.token, report.verdict, report.reason))
            self.enforce()
            state.carry(state.market.pool_index[pool] for pool in before - state.unadmitted)
            if reports:
                await self._book.save(self._path, state.config.chain_id)
        except (ChainError, SyncError, OSError) as error:
            log.warning("token_trials_failed", chain=state.name, error=str(error))

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
