"""An engine's standing with the signer: it keeps the leases of its chains and accounts for what it had signed.

Off the path of any trade. A lease that is lost stays lost: another process has the chain, and this one refuses to
decide on it from then on (the signer would refuse it anyway).
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog

from ouro.ledger.books import Books
from ouro.ledger.ledger import Ledger
from ouro.signer.client import SignerClient, SignerError, SignerRefused
from ouro.signer.messages import BudgetLeft
from ouro.types import Attempt, AttemptKind

log = structlog.get_logger(__name__)

_TELL_EVERY_S = 0.1
_LOOK_EVERY_S = 60.0
_UNKNOWN_AFTER_MS = 60_000
"""A signed trade that the journal does not have for so long was never sent: what is not journaled never is."""

_MOST_REPORTS = 500
_WEI_PER_GWEI = 10**9


class LeaseKeeper:
    """Heartbeats and reports of outcomes for all chains of one process."""

    def __init__(self, signer: SignerClient, ledger: Ledger, chains: Sequence[str], lease_ms: int) -> None:
        self._signer, self._ledger, self._chains = signer, ledger, tuple(chains)
        self._lease_s = lease_ms / 1_000
        self._settled: dict[str, dict[str, int]] = defaultdict(dict)
        self._reopened: dict[str, set[str]] = defaultdict(set)
        self.left: dict[str, BudgetLeft] = {}
        """What all chains together may still use, as last told."""
        self.lost: dict[str, str] = {}
        """Chains whose lease another process has now, and why."""

    async def acquire(self) -> None:
        """Become the holder of every chain; a holder that is just going is waited for. Raises ``SignerError``."""
        for chain in self._chains:
            epoch = await self._signer.acquire(chain, patience_ms=round(2_000 * self._lease_s))
            log.info("lease", chain=chain, epoch=epoch)

    def outcome(self, attempt: Attempt, net_wei: int) -> None:
        """An attempt is final."""
        if attempt.kind is AttemptKind.TRADE and attempt.raw_tx:
            self._reopened[attempt.chain].discard(attempt.tx_hash)
            self._settled[attempt.chain][attempt.tx_hash] = net_wei // _WEI_PER_GWEI

    def reversal(self, attempt: Attempt) -> None:
        """Its outcome was withdrawn: it is in flight again."""
        if attempt.kind is AttemptKind.TRADE and attempt.raw_tx:
            self._settled[attempt.chain].pop(attempt.tx_hash, None)
            self._reopened[attempt.chain].add(attempt.tx_hash)

    async def account(self, chain: str, min_age_ms: int = 0) -> int:
        """Report what the signer still counts and the books know to be over; how many. Raises ``SignerError``.

        After a recovery this returns what a dead process had in flight: each of its attempts is in the journal, and
        final or open, or it was signed and never journaled, and then it was never sent. Only the gas of what is
        over counts here, as a loss: its gain is no allowance.
        """
        outstanding = await self._signer.outstanding(chain, min_age_ms)
        if not outstanding:
            return 0
        await asyncio.to_thread(self._ledger.flush)
        books = self._ledger.books
        open_ones = {record.attempt.tx_hash for record in await asyncio.to_thread(books.unresolved, chain)}
        over = [tx_hash for tx_hash in outstanding if tx_hash not in open_ones]
        for at in range(0, len(over), _MOST_REPORTS):
            chunk = over[at : at + _MOST_REPORTS]
            reports = await asyncio.to_thread(
                lambda names: [(name, -_gas_gwei(books, name)) for name in names], chunk
            )
            self.left[chain] = await self._signer.settled(chain, reports)
        return len(over)

    async def recovered(self, chain: str) -> None:
        """A session of ``chain`` has taken over from the journal. Without a signer this is made up for later."""
        try:
            count = await self.account(chain)
        except SignerError as error:
            log.warning("not_accounted", chain=chain, error=str(error))
        else:
            if count:
                log.info("accounted", chain=chain, attempts=count)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        beat_at = look_at = loop.time()
        while True:
            now = loop.time()
            for chain in self._chains:
                if chain in self.lost:
                    continue
                try:
                    if self._settled[chain] or self._reopened[chain]:
                        await self._tell(chain)
                    elif now >= beat_at:
                        self.left[chain] = await self._signer.heartbeat(chain)
                    if now >= look_at:
                        await self.account(chain, _UNKNOWN_AFTER_MS)
                except SignerRefused as refusal:
                    if refusal.reason == "fenced":
                        self.lost[chain] = refusal.detail
                        log.critical("lease_lost", chain=chain, detail=refusal.detail)
                except SignerError as error:
                    log.warning("signer_unavailable", chain=chain, error=str(error))
                except Exception as error:  # the books' trouble is told by them; the lease must be kept
                    log.warning("not_accounted", chain=chain, error=str(error))
            if now >= beat_at:
                beat_at = now + self._lease_s / 5
            if now >= look_at:
                look_at = now + _LOOK_EVERY_S
            await asyncio.sleep(_TELL_EVERY_S)

    async def finish(self) -> None:
        """The last reports, as far as the signer takes them."""
        for chain in self._chains:
            if chain in self.lost:
                continue
            try:
                await self._tell(chain)
            except SignerError as error:
                log.warning("last_reports_failed", chain=chain, error=str(error))

    async def _tell(self, chain: str) -> None:
        settled = dict(list(self._settled[chain].items())[:_MOST_REPORTS])
        reopened = set(self._reopened[chain])
        if not settled and not reopened:
            return
        self.left[chain] = await self._signer.settled(chain, list(settled.items()), sorted(reopened))
        for tx_hash, net_gwei in settled.items():
            if self._settled[chain].get(tx_hash) == net_gwei:
                del self._settled[chain][tx_hash]
        self._reopened[chain] -= reopened


def _gas_gwei(books: Books, attempt_id: str) -> int:
    history = books.outcome_history(attempt_id)
    if not history or history[-1][1]:
        return 0
    return -(-history[-1][0].gas_cost_wei // _WEI_PER_GWEI)
