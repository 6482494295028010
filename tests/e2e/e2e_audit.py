"""Books against chain, read independently of the engine: by plain JSON-RPC, block by block."""

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ouro.audit import verify
from ouro.chain.pool import EndpointPool
from ouro.ledger.books import Books
from ouro.ledger.pnl import book_transaction
from ouro.ledger.reconcile import reconcile
from ouro.ledger.records import INCLUDED, AttemptRecord
from ouro.testnet.testnet import LocalChain
from ouro.types import Address, AttemptKind, Hash, OutcomeKind


@dataclass(slots=True)
class ChainFacts:
    """What a chain holds of our operators, and where its head is."""

    head: int
    included: dict[Hash, tuple[Address, int, int]] = field(default_factory=dict)
    """Transaction → (operator, nonce, block number)."""
    statuses: dict[Hash, int] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)


def read_chain(chain: LocalChain) -> ChainFacts:
    """Every transaction of our operators on the canonical chain."""
    operators = set(chain.deployment.operators)
    with chain.node.client() as client:
        facts = ChainFacts(int(client.call("eth_blockNumber"), 16))
        for number in range(facts.head + 1):
            block = client.call("eth_getBlockByNumber", hex(number), True)
            for transaction in block["transactions"] if block else ():
                sender = transaction["from"].lower()
                if sender in operators:
                    entry = (sender, int(transaction["nonce"], 16), number)
                    facts.included[transaction["hash"].lower()] = entry
        for tx_hash in facts.included:
            facts.statuses[tx_hash] = int(client.call("eth_getTransactionReceipt", tx_hash)["status"], 16)
        for operator in operators:
            facts.nonces[operator] = int(client.call("eth_getTransactionCount", operator, "latest"), 16)
    return facts


def audit(ledger_url: str, chains: dict[str, LocalChain], work_dir: Path) -> dict[str, ChainFacts]:
    """Assert everything that must hold at the end of any run, whatever happened in it."""
    books = Books.open(ledger_url)
    try:
        facts = {name: read_chain(chain) for name, chain in chains.items()}
        for name, chain in chains.items():
            records = books.attempts(chain=name)
            assert_one_trade_a_nonce(records)
            assert_books_match(records, facts[name])
            assert_reconciled(books, name, chain, facts[name].head)
            assert_explained(books, records)
    finally:
        books.close()
    assert_signed_once(work_dir / "data" / "signer.jsonl")
    assert verify(work_dir / "data" / "audit").problems == ()
    return facts


def assert_explained(books: Books, records: list[AttemptRecord]) -> None:
    """Double entry of every transaction leaves nothing over."""
    entries = books.entries([record.attempt.attempt_id for record in records])
    for record in records:
        booked = book_transaction(record, entries.get(record.attempt.attempt_id, ()))
        assert booked.residuals == (), record.attempt


def assert_one_trade_a_nonce(records: list[AttemptRecord]) -> None:
    """The journal holds at most one trade for a nonce; everything else for it is a cancel."""
    trades: dict[tuple[Address, int], set[Hash]] = defaultdict(set)
    for record in records:
        if record.attempt.kind is AttemptKind.TRADE:
            trades[record.attempt.operator, record.attempt.nonce].add(record.attempt.tx_hash)
    assert {nonce: hashes for nonce, hashes in trades.items() if len(hashes) > 1} == {}


def assert_books_match(records: list[AttemptRecord], facts: ChainFacts) -> None:
    """Every attempt is final, and says of the chain what the chain says of it; nothing of ours is unknown to us."""
    by_hash = {record.attempt.tx_hash: record for record in records}
    assert len(by_hash) == len(records)
    assert set(facts.included) - set(by_hash) == set(), "transactions on the chain that the journal does not have"
    for tx_hash, record in by_hash.items():
        outcome = record.outcome
        assert outcome is not None, f"no final outcome: {record.attempt}"
        if outcome.kind not in INCLUDED:
            assert tx_hash not in facts.included, f"included, but the books say {outcome.kind}: {outcome.reason}"
            continue
        assert tx_hash in facts.included, f"not on the chain, but the books say {outcome.kind}"
        assert facts.included[tx_hash] == (record.attempt.operator, record.attempt.nonce, outcome.block_number)
        assert (outcome.kind is OutcomeKind.LANDED) == (facts.statuses[tx_hash] == 1)
    used = defaultdict(list)
    for operator, nonce, _ in facts.included.values():
        used[operator].append(nonce)
    for operator, count in facts.nonces.items():
        assert sorted(used[operator]) == list(range(count)), f"nonces of {operator}"


def assert_reconciled(books: Books, name: str, chain: LocalChain, block_number: int) -> None:
    """A comparison of its own, at the head."""

    async def compare() -> None:
        async with EndpointPool([chain.ws_url], chain.deployment.chain_id, name=name) as node:
            result = await reconcile(books, name, node, block_number)
        assert result.differences == ()
        assert result.balances_checked > len(chain.deployment.operators)

    asyncio.run(compare())


def assert_signed_once(log: Path) -> None:
    """By the signer's own memory: one trade payload for each nonce, ever."""
    payloads: dict[tuple[int, str, int], set[str]] = defaultdict(set)
    for line in log.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["decision"] == "signed" and entry["kind"] == "trade":
            payloads[entry["chain_id"], entry["operator"], entry["nonce"]].add(entry["digest"])
    assert payloads
    assert {nonce: digests for nonce, digests in payloads.items() if len(digests) > 1} == {}
