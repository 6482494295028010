"""Books against chain while running, off the hot path: what was booked up to a block must be there at that block.

A difference is told only when the next look, at a later block, still has one: a block that was reorganised away
between two questions is no broken ledger.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from ouro.chain.errors import ChainError
from ouro.engine.world import Shared
from ouro.ledger.books import Position
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.reconcile import Reader, Reconciliation, compare
from ouro.ledger.running import RunningPositions
from ouro.types import BlockUpdate, Mode

log = structlog.get_logger(__name__)

ReconciledListener = Callable[[str, Reconciliation], None]
"""Told of each comparison that is certain: with no differences, or with those that stayed."""

_BALANCES_A_LOOK = 100
_KEEP_EVERY = 100
_FLUSH_S = 10.0


def reconciler_of(chain: str, shared: Shared, node: Reader, listener: ReconciledListener) -> "Reconciler | None":
    """The one of a live chain; None where no balance moves or the configuration wants none."""
    every_blocks = shared.config.ledger.reconcile_every_blocks
    if shared.config.mode is not Mode.LIVE or not every_blocks:
        return None
    depth = shared.config.chains[chain].reorg_ring_depth
    return Reconciler(chain, shared.ledger, node, every_blocks=every_blocks, final_depth=depth, listener=listener)


class Reconciler:
    """Compares one chain's books every ``every_blocks`` blocks (0: never) and tells ``listener`` on the loop."""

    def __init__(
        self,
        chain: str,
        ledger: Ledger,
        node: Reader,
        *,
        every_blocks: int,
        final_depth: int,
        listener: ReconciledListener,
    ) -> None:
        """``final_depth``: how far below the head no entry is booked or withdrawn any more."""
        self._chain, self._ledger, self._node, self._listener = chain, ledger, node, listener
        self._every_blocks = every_blocks
        self._positions = RunningPositions(ledger.books, chain, final_depth)
        self._next_block = 0
        self._suspected = False
        self._kept = 0
        self._task: asyncio.Task[None] | None = None

    def due(self, update: BlockUpdate) -> None:
        """Like `settled`, beside what goes on; while a comparison runs, no other begins."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._guarded(update))

    async def _guarded(self, update: BlockUpdate) -> None:
        try:
            await self.settled(update)
        except Exception:
            log.exception("reconciler_failed", chain=self._chain, block=update.number)

    async def close(self) -> None:
        """End a comparison that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def settled(self, update: BlockUpdate) -> None:
        """Every attempt included up to ``update`` is booked: compare, if it is due."""
        if not self._every_blocks or (update.number < self._next_block and not self._suspected):
            return
        self._next_block = update.number + self._every_blocks
        try:
            result = await self._compare(update.number)
        except (ChainError, LedgerError) as error:
            log.warning("not_reconciled", chain=self._chain, block=update.number, error=str(error))
            return
        unread = [each for each in result.differences if each.actual_wei is None]
        if unread:
            # A node that does not answer says nothing of the books.
            text = unread[0].problem
            log.warning("not_reconciled", chain=self._chain, block=update.number, unread=len(unread), error=text)
            known = tuple(each for each in result.differences if each.actual_wei is not None)
            result = replace(result, differences=known, balances_checked=result.balances_checked - len(unread))
            if not result.balances_checked:
                return
        if result.differences and not self._suspected:
            self._suspected = True
            return
        self._suspected = False
        self._keep(result)
        self._listener(self._chain, result)

    async def _compare(self, block_number: int) -> Reconciliation:
        def expected() -> list[Position]:  # on a thread: it waits for the writer and reads the database
            self._ledger.flush(_FLUSH_S)
            return self._positions.at(block_number)

        positions = await asyncio.to_thread(expected)
        if not self._suspected:
            positions = self._positions.pick(positions, _BALANCES_A_LOOK)
        return await compare(self._chain, positions, self._node, block_number)

    def _keep(self, result: Reconciliation) -> None:
        """Into the books: every difference, and now and then that there is none."""
        if result.differences or self._kept % _KEEP_EVERY == 0:
            self._ledger.record_reconciliation(self._chain, result)
        self._kept += 1
        for difference in result.differences:
            log.error("books_differ", chain=self._chain, block=result.block_number, **difference.as_json())
