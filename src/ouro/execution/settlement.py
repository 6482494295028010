"""From a receipt to an outcome: what happened, what it brought, what it cost. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ouro.execution.swaplogs import realised
from ouro.hashing import topic
from ouro.types import (
    Address,
    Attempt,
    AttemptKind,
    Hash,
    Log,
    Outcome,
    OutcomeKind,
    Plan,
    Transfer,
)

TRANSFER_TOPIC = topic("Transfer(address,address,uint256)")
WRAPPED_TOPIC = topic("Deposit(address,uint256)")
UNWRAPPED_TOPIC = topic("Withdrawal(address,uint256)")
_NOBODY = "0x" + "00" * 20


class ReceiptView(Protocol):
    """The part of a receipt that settlement reads."""

    @property
    def status(self) -> int: ...
    @property
    def block_number(self) -> int: ...
    @property
    def block_hash(self) -> Hash: ...
    @property
    def tx_index(self) -> int: ...
    @property
    def gas_used(self) -> int: ...
    @property
    def effective_gas_price(self) -> int: ...
    @property
    def logs(self) -> tuple[Log, ...]: ...


@dataclass(frozen=True, slots=True)
class Ours:
    """Whose movements count: our ``accounts``, and the ``tokens`` that the configuration trusts to report them.

    Any contract on the way of a trade may log any transfer it likes, so no other token is believed. A unit of one
    that does stay with us shows as a difference from its opening balance. ``wrapped_native`` comes into being and
    ends where a trade wraps and unwraps, which it need not report as transfers.
    """

    accounts: frozenset[Address]
    tokens: frozenset[Address]
    wrapped_native: Address | None = None


PoolsTouched = Mapping[Address, int]
"""Pool → index of the first transaction of a block that touched it."""


def outcome_of(
    attempt: Attempt,
    plan: Plan | None,
    receipt: ReceiptView,
    ours: Ours,
    touched: PoolsTouched | None,
    *,
    orphaned: bool = False,
) -> Outcome:
    """The outcome of an included attempt.

    ``touched`` are the pools that the block's transactions moved, None where the block is not at hand; ``orphaned``
    says that the block whose state it was made for has left the chain. A failed trade is *lost* in that case, when
    somebody ahead of it moved one of its pools, or when it came in later than the block it was made for; and
    *reverted* (a bug, until explained) otherwise. A landed trade's reason is what may have made it bring something
    else than predicted; empty where nothing explains a difference.
    """
    landed = receipt.status == 1
    l1_fee_wei = getattr(receipt, "l1_fee_wei", 0)  # only rollups charge it
    kind, reason = _kind(attempt, plan, receipt, touched, orphaned, landed=landed)
    trade = plan if landed and attempt.kind is AttemptKind.TRADE else None
    transfers = token_transfers(receipt.logs, ours) if landed else ()
    return Outcome(
        attempt_id=attempt.attempt_id,
        kind=kind,
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        gas_used=receipt.gas_used,
        gas_cost_wei=receipt.gas_used * receipt.effective_gas_price + l1_fee_wei,
        realised_profit_wei=realised_profit(trade.profit_token, transfers, ours.accounts) if trade else 0,
        realised_amounts_wei=realised(trade.hops, receipt.logs) if trade else (),
        transfers=transfers,
        reason=reason,
        l1_fee_wei=l1_fee_wei,
    )


def never_included(attempt: Attempt, kind: OutcomeKind, reason: str) -> Outcome:
    """The outcome of an attempt that cost nothing because no block has it."""
    return Outcome(attempt.attempt_id, kind, None, None, 0, 0, 0, (), (), reason)


def token_transfers(logs: Sequence[Log], ours: Ours) -> tuple[Transfer, ...]:
    """Movements of trusted tokens that one of our accounts took part in; wrapping comes from the zero address, and
    unwrapping goes there."""
    found: list[tuple[bool, Transfer]] = []
    for log in logs:
        if log.address not in ours.tokens or len(log.data) < 66:
            continue
        amount = int(log.data[2:66], 16)
        accounts = tuple("0x" + word[-40:] for word in log.topics[1:])
        if len(accounts) == 2 and log.topics[0] == TRANSFER_TOPIC:
            found.append((False, Transfer(log.address, *accounts, amount)))
        elif len(accounts) == 1 and log.address == ours.wrapped_native:
            if log.topics[0] == WRAPPED_TOPIC:
                found.append((True, Transfer(log.address, _NOBODY, accounts[0], amount)))
            elif log.topics[0] == UNWRAPPED_TOPIC:
                found.append((True, Transfer(log.address, accounts[0], _NOBODY, amount)))
    # Some wrapped coins tell of it in both ways, one log beside the other.
    moved = [
        transfer
        for k, (wrapping, transfer) in enumerate(found)
        if not (wrapping and (False, transfer) in (*found[max(0, k - 1) : k], *found[k + 1 : k + 2]))
    ]
    return tuple(t for t in moved if t.source in ours.accounts or t.destination in ours.accounts)


def realised_profit(token: Address, transfers: Sequence[Transfer], owned: frozenset[Address]) -> int:
    """Net change of ``token`` over all owned accounts; movements between them cancel out."""
    gained = sum(t.amount_wei for t in transfers if t.token == token and t.destination in owned)
    paid = sum(t.amount_wei for t in transfers if t.token == token and t.source in owned)
    return gained - paid


def predicted_amounts(plan: Plan) -> tuple[int, ...]:
    """What ``swaplogs.realised`` must equal when the state did not move."""
    return (*(hop.amount_in_wei for hop in plan.hops), plan.hops[-1].amount_out_wei)


def _kind(
    attempt: Attempt,
    plan: Plan | None,
    receipt: ReceiptView,
    touched: PoolsTouched | None,
    orphaned: bool,
    *,
    landed: bool,
) -> tuple[OutcomeKind, str]:
    if attempt.kind is AttemptKind.CANCEL:
        if landed:
            return OutcomeKind.LANDED, ""
        return OutcomeKind.REVERTED, "a cancel failed: it moves nothing and should not be able to"
    if not landed and receipt.block_number > attempt.max_block_number:
        last = attempt.max_block_number
        return OutcomeKind.LOST, f"included in {receipt.block_number}, its last block was {last}"
    if plan is None:
        if landed:
            return OutcomeKind.LANDED, ""
        return OutcomeKind.REVERTED, "its plan is not at hand, so nothing explains the revert"
    moved = _moved(plan, receipt, touched, orphaned)
    if landed:
        return OutcomeKind.LANDED, moved
    return (OutcomeKind.LOST, moved) if moved else (OutcomeKind.REVERTED, "no one moved its pools ahead of it")


def _moved(plan: Plan, receipt: ReceiptView, touched: PoolsTouched | None, orphaned: bool) -> str:
    """Why it met another state than the one that it was made for; empty when nothing says so."""
    if receipt.block_number > plan.found_at_number + 1:
        return "included later than the first block after its state"
    if orphaned:
        return f"its state, block {plan.found_at_number}, was reorganised away"
    ahead = [pool for pool in plan.pools if touched and touched.get(pool, receipt.tx_index) < receipt.tx_index]
    return f"pool {ahead[0]} was moved ahead of it in the same block" if ahead else ""
