"""After a start: what the journal knows and the chain may still do. Nothing is signed anew here.

Every attempt without an outcome is followed again; one that the node forgot and whose block has not passed is sent
again, the same bytes. Recent inclusions are checked against the chain, because a reorg may have happened unseen.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

import structlog

from ouro.chain.accounts import NonceBook
from ouro.chain.calls import get_receipts
from ouro.chain.errors import MalformedAnswer
from ouro.chain.quantity import parse_quantity
from ouro.chain.rpc import Caller
from ouro.chain.transactions import TransactionReader
from ouro.engine.bookkeeping import ChainBooks
from ouro.execution.settlement import never_included
from ouro.execution.submit import Submitter
from ouro.execution.tracker import Tracker
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import AttemptRecord
from ouro.types import Address, Attempt, OutcomeKind

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
    may_send: bool,
) -> Recovered:
    """Bring tracker and nonces to where the journal and the chain are. Raises chain errors and ``LedgerError``.

    ``head_number`` is the block that the state was read at, below the chain's newest. Without ``may_send`` (kill
    file) nothing is sent again.
    """
    found = Recovered()
    newest = max(head_number, await _newest_block(node))
    await nonces.resync(node)
    await asyncio.to_thread(ledger.flush)
    unresolved = await asyncio.to_thread(ledger.books.unresolved, chain)
    records = [record for record in unresolved if record.attempt.raw_tx]
    known = await TransactionReader(node).knows([record.attempt.tx_hash for record in records]) if records else []
    for record, is_known in zip(records, known, strict=True):
        attempt = record.attempt
        _restore(nonces, attempt)
        tracker.add(attempt, record.plan)
        found.open_attempts += 1
        # Too late for its block it could only revert, and pay for that.
        if not is_known and attempt.max_block_number > newest and may_send:
            await submitter.resend(attempt)
            found.resent += 1
    await _watch_recent(chain, node, ledger, books, tracker, nonces, head_number - watch_depth, newest, found)
    if found.open_attempts or found.orphaned:
        log.info("recovered", chain=chain, open=found.open_attempts, resent=found.resent, orphaned=found.orphaned)
    return found


async def close_paper(chain: str, ledger: Ledger, books: ChainBooks) -> None:
    """Paper attempts whose next block nobody looked at: nothing of them is anywhere but in the books."""
    await asyncio.to_thread(ledger.flush)
    for record in await asyncio.to_thread(ledger.books.unresolved, chain):
        if not record.attempt.raw_tx:
            reason = "the engine stopped before its block"
            books.outcome(record.attempt, record.plan, never_included(record.attempt, OutcomeKind.EXPIRED, reason))


async def _watch_recent(
    chain: str,
    node: Caller,
    ledger: Ledger,
    books: ChainBooks,
    tracker: Tracker,
    nonces: NonceBook,
    since_block: int,
    newest_block: int,
    found: Recovered,
) -> None:
    # An account gets at most one transaction into a block, and at most one other is lost to it.
    most = max(_RECENT_ATTEMPTS, 2 * len(nonces.operators) * (newest_block - since_block + 1))
    settled = await asyncio.to_thread(ledger.books.attempts, chain=chain, limit=most)
    recent = [record for record in settled if _included_since(record, since_block)]
    if not recent:
        return
    replaced: dict[tuple[Address, int], list[AttemptRecord]] = defaultdict(list)
    for record in settled:
        if record.outcome is not None and record.outcome.block_number is None and record.attempt.raw_tx:
            replaced[record.attempt.operator, record.attempt.nonce].append(record)
    receipts = await get_receipts(node, [record.attempt.tx_hash for record in recent])
    for record, receipt in zip(recent, receipts, strict=True):
        attempt, outcome = record.attempt, record.outcome
        if outcome is None:
            continue
        losers = replaced.get((attempt.operator, attempt.nonce), [])
        if receipt is not None and receipt.block_hash == outcome.block_hash:
            tracker.add_settled(attempt, record.plan, receipt, outcome.kind)
            for loser in losers:
                if loser.outcome is not None:
                    tracker.add_replaced(loser.attempt, loser.plan, loser.outcome.kind, receipt.block_number)
            continue
        _restore(nonces, attempt)
        for gone in (record, *losers):
            books.reversed(gone.attempt, "its block was orphaned while nobody watched")
            tracker.add(gone.attempt, gone.plan)
            found.orphaned += 1


def _restore(nonces: NonceBook, attempt: Attempt) -> None:
    if attempt.operator in nonces.operators:
        nonces.restore(attempt.operator, attempt.nonce)
    else:
        # Its outcome is followed all the same; its nonce is nobody's concern here any more.
        log.warning("operator_gone", operator=attempt.operator, attempt=attempt.attempt_id)


async def _newest_block(node: Caller) -> int:
    answer = await node.call("eth_blockNumber", [])
    try:
        return parse_quantity(answer)
    except ValueError as error:
        raise MalformedAnswer(f"eth_blockNumber: {error}") from None


def _included_since(record: AttemptRecord, block: int) -> bool:
    outcome = record.outcome
    number = None if outcome is None else outcome.block_number
    return bool(record.attempt.raw_tx) and number is not None and number >= block
