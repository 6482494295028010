"""After a start: what the journal knows and the chain may still do. Nothing is signed anew here.

Every attempt without an outcome is followed again; one that the node forgot and whose block has not passed is sent
again, the same bytes. Recent inclusions are checked against the chain, because a reorg may have happened unseen.
"""

import asyncio
from dataclasses import dataclass

import structlog

from ouro.chain.accounts import NonceBook
from ouro.chain.calls import get_receipts
from ouro.chain.rpc import Caller
from ouro.chain.transactions import TransactionReader
from ouro.engine.bookkeeping import ChainBooks
from ouro.execution.submit import Submitter
from ouro.execution.tracker import Tracker
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import AttemptRecord

log = structlog.get_logger(__name__)

_RECENT_ATTEMPTS = 500


@dataclass(slots=True)
class Recovered:
    """What was found, for the log."""

    open_attempts: int = 0
    resent: int = 0
    orphaned: int = 0


async def recover(
    chain: str,
    node: Caller,
    ledger: Ledger,
    books: ChainBooks,
    tracker: Tracker,
    nonces: NonceBook,
    submitter: Submitter,
    head_number: int,
    watch_depth: int,
) -> Recovered:
    """Bring tracker and nonces to where the journal and the chain are. Raises chain errors and ``LedgerError``."""
    found = Recovered()
    await nonces.resync(node)
    await asyncio.to_thread(ledger.flush)
    records = [record for record in ledger.books.unresolved(chain) if record.attempt.raw_tx]
    known = await TransactionReader(node).knows([record.attempt.tx_hash for record in records]) if records else []
    for record, is_known in zip(records, known, strict=True):
        attempt = record.attempt
        nonces.restore(attempt.operator, attempt.nonce)
        tracker.add(attempt, record.plan)
        found.open_attempts += 1
        if not is_known and attempt.max_block_number > head_number:
            await submitter.resend(attempt)
            found.resent += 1
    await _watch_recent(chain, node, ledger, books, tracker, nonces, head_number - watch_depth, found)
    if found.open_attempts or found.orphaned:
        log.info("recovered", chain=chain, open=found.open_attempts, resent=found.resent, orphaned=found.orphaned)
    return found


async def _watch_recent(
    chain: str,
    node: Caller,
    ledger: Ledger,
    books: ChainBooks,
    tracker: Tracker,
    nonces: NonceBook,
    since_block: int,
    found: Recovered,
) -> None:
    recent = [record for record in _recent(ledger, chain) if _included_since(record, since_block)]
    if not recent:
        return
    receipts = await get_receipts(node, [record.attempt.tx_hash for record in recent])
    for record, receipt in zip(recent, receipts, strict=True):
        outcome = record.outcome
        if outcome is None:
            continue
        if receipt is not None and receipt.block_hash == outcome.block_hash:
            tracker.add_settled(record.attempt, record.plan, receipt, outcome.kind)
            continue
        books.reversed(record.attempt, "its block was orphaned while nobody watched")
        nonces.restore(record.attempt.operator, record.attempt.nonce)
        tracker.add(record.attempt, record.plan)
        found.orphaned += 1


def _recent(ledger: Ledger, chain: str) -> list[AttemptRecord]:
    return ledger.books.attempts(chain=chain, limit=_RECENT_ATTEMPTS)


def _included_since(record: AttemptRecord, block: int) -> bool:
    outcome = record.outcome
    number = None if outcome is None else outcome.block_number
    return bool(record.attempt.raw_tx) and number is not None and number >= block
