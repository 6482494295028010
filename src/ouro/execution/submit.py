"""Approved plans become signed, journaled, sent transactions; stuck ones are taken back. In that order, always.

The signed bytes are durable before any lane sees them, so whatever dies, recovery finds every transaction that can
exist. A nonce is signed once; after that only for a cancel of itself.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from ouro.config.model import ChainConfig
from ouro.execution.access_list import AccessList
from ouro.execution.lanes import Handover, Lane
from ouro.execution.rawtx import asked_fields, fee_of, is_as_asked
from ouro.risk.approved import Approved, require_approved
from ouro.signer.client import SignerError, SignerNotReached, SignerRefused, SignerUnavailable
from ouro.signer.messages import SignedTransaction, SignRequest
from ouro.types import Address, Attempt, AttemptKind, FeeBid, Plan, Refused

log = structlog.get_logger(__name__)

CANCEL_GAS_LIMIT = 21_000
CANCEL_LIFE_BLOCKS = 3
# Nodes ask a replacement to pay at least a tenth more; an eighth passes all known rules.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8
_MOST_RAISES = 110


class Signer(Protocol):
    """The part of the signer's client that sending needs."""

    async def sign(self, request: SignRequest) -> SignedTransaction: ...


class Journal(Protocol):
    """Where signed bytes become durable. Raises when they are not; then they must not be sent."""

    async def attempt(
        self, attempt: Attempt, plan: Plan | None, decided_us: int | None, signed_us: int
    ) -> None: ...
    def sent(self, attempt_id: str, sent_us: int | None) -> None: ...


class NonceLease(Protocol):
    """An account and a nonce that are ours to use."""

    @property
    def operator(self) -> Address: ...
    @property
    def nonce(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that may be included, with its times since the socket read."""

    attempt: Attempt
    signed_us: int
    sent_us: int
    handover: Handover
    journaled_us: int = 0


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing left this process. ``nonce_burnt``: bytes may exist that use the nonce, so it needs a cancel."""

    refused: Refused
    nonce_burnt: bool


class Submitter:
    """Signs, journals and sends for one chain."""

    def __init__(
        self,
        chain: str,
        config: ChainConfig,
        signer: Signer,
        journal: Journal,
        lane: Lane,
        halted: Callable[[str], str] = lambda strategy: "",
    ) -> None:
        """``halted``: what stops a strategy now, empty when nothing does; asked once more before bytes leave."""
        self._halted = halted
        self._chain = chain
        self._config = config
        self._signer = signer
        self._journal = journal
        self._lane = lane
        self._patience_us = config.block_time_ms * config.inclusion_blocks * 1_000

    async def submit(
        self,
        approved: Approved,
        lease: NonceLease,
        received_ns: int,
        decided_us: int,
        follow: Callable[[Attempt], None],
        access_list: AccessList = (),
    ) -> Submitted | NotSent:
        """Carry out ``approved`` from ``lease``'s account, with the ``access_list`` that pre-flight found to pay.

        ``follow`` is told of the attempt once it is durable, before it is sent: from then on it can land. Where
        signer or books took so long that its last block has passed, it is not sent: it could only revert, for gas.
        Nor is it where a halt has come meanwhile.
        """
        began_ns = time.monotonic_ns()
        plan = require_approved(approved).plan
        request = self._request(
            lease,
            AttemptKind.TRADE,
            self._config.executor or "",
            plan.gas_limit,
            plan.fee,
            plan.calldata,
            access_list,
            plan,
        )
        try:
            signed = await self._sign(request)
        except SignerError as error:
            return NotSent(*_signer_refusal(plan.plan_id, error))
        signed_us = _since_us(received_ns)
        attempt = self._attempt(
            lease, AttemptKind.TRADE, plan.plan_id, signed, self._lane.name, plan.max_block_number, None
        )
        try:
            await self._journal.attempt(attempt, plan, decided_us, signed_us)
        except Exception as error:  # whatever the books' trouble is: unwritten bytes are never sent
            return NotSent(Refused(plan.plan_id, "journal", f"the attempt could not be journaled: {error}"), True)
        journaled_us = _since_us(received_ns)
        follow(attempt)
        waited_us = _since_us(began_ns)
        halted = self._halted(plan.strategy)  # since it was signed, which can be long ago where a disk was slow
        if halted or waited_us > self._patience_us:
            log.warning("withheld", attempt=attempt.attempt_id, waited_ms=waited_us // 1_000, why=halted or "late")
            return Submitted(attempt, signed_us, _since_us(received_ns), Handover.WITHHELD, journaled_us)
        handover = await self._hand_over(attempt)
        sent_us = _since_us(received_ns)
        if handover in (Handover.ACCEPTED, Handover.KNOWN):
            self._journal.sent(attempt.attempt_id, sent_us)
        return Submitted(attempt, signed_us, sent_us, handover, journaled_us)

    async def resend(self, attempt: Attempt) -> Handover:
        """Hand the same bytes over again (recovery, reorg)."""
        return await self._hand_over(attempt)

    async def cancel(self, stuck: Attempt, head_number: int, fee: FeeBid, *, known: bool = True) -> Attempt | None:
        """Take ``stuck``'s nonce back with an empty transaction that outbids it; None if that can't be done now.

        A cancel that the node does not know (``known`` False: refused for want of funds, or forgotten) is handed
        over again as it is: bidding against nobody would only climb to the signer's cap.
        ``fee`` is what a fresh transaction would offer; the cancel offers at least an eighth more than ``stuck``.
        """
        unknown_cancel = stuck.kind is AttemptKind.CANCEL and not known
        if unknown_cancel and await self._hand_over(stuck) is not Handover.UNDERPRICED:
            return None
        return await self._empty(stuck, head_number, _outbid(fee_of(stuck.raw_tx), fee), stuck.attempt_id)

    async def clear_nonce(self, lease: NonceLease, head_number: int, fee: FeeBid) -> Attempt | None:
        """Use up a nonce for which lost bytes may exist (signed, but never journaled) with an empty transaction."""
        return await self._empty(lease, head_number, fee, None)

    async def _empty(
        self, lease: NonceLease, head_number: int, fee: FeeBid, replaces: str | None
    ) -> Attempt | None:
        signed = await self._sign_outbidding(lease, fee)
        if signed is None:
            return None
        until = head_number + CANCEL_LIFE_BLOCKS
        plan_id = f"cancel-{lease.operator}-{lease.nonce}"
        attempt = self._attempt(lease, AttemptKind.CANCEL, plan_id, signed, self._lane.name, until, replaces)
        try:
            await self._journal.attempt(attempt, None, None, 0)
        except Exception as error:  # tried again with the next block
            log.warning("cancel_not_journaled", operator=lease.operator, nonce=lease.nonce, error=str(error))
            return None
        handover = await self._hand_over(attempt)
        self._journal.sent(attempt.attempt_id, None)
        log.info("cancel_sent", operator=lease.operator, nonce=lease.nonce, handover=handover.value)
        return attempt

    async def _sign_outbidding(self, lease: NonceLease, fee: FeeBid) -> SignedTransaction | None:
        """The signer remembers higher bids for this nonce than we may know of: raise until it agrees.

        What nobody but the signer has seen can be anything up to its cap, and each block starts anew from the
        market's price: the steps are wide enough to reach the cap from a single wei.
        """
        for _ in range(_MOST_RAISES):
            request = self._request(lease, AttemptKind.CANCEL, lease.operator, CANCEL_GAS_LIMIT, fee, b"")
            try:
                return await self._sign(request)
            except SignerRefused as refusal:
                if refusal.reason != "cancel_fee_too_low":
                    log.error("cancel_refused", operator=lease.operator, nonce=lease.nonce, reason=refusal.reason)
                    return None
                fee = _raised(fee)
            except SignerError as error:
                log.error("signer_unavailable", error=str(error))
                return None
        return None

    async def _sign(self, request: SignRequest) -> SignedTransaction:
        """What was asked for and nothing else: other bytes in its place would be booked under wrong names."""
        signed = await self._signer.sign(request)
        asked = (
            request.chain_id,
            request.nonce,
            request.gas_limit,
            request.to,
            request.value_wei,
            request.data,
            request.access_list,
        )
        fee = FeeBid(request.max_fee_per_gas_wei, request.max_priority_fee_per_gas_wei, request.legacy)
        if is_as_asked(signed.raw, fee, asked):
            return signed
        try:
            matches = asked_fields(signed.raw) == asked
        except ValueError:
            matches = False
        if not matches:
            raise SignerUnavailable(f"the signer answered nonce {request.nonce} with another transaction's bytes")
        return signed

    async def _hand_over(self, attempt: Attempt) -> Handover:
        result = await self._lane.send(attempt.raw_tx)
        if not result.may_be_pending:
            log.warning(
                "handover_refused", attempt=attempt.attempt_id, answer=result.handover.value, detail=result.detail
            )
        return result.handover

    def _request(
        self,
        lease: NonceLease,
        kind: AttemptKind,
        to: Address,
        gas_limit: int,
        fee: FeeBid,
        data: bytes,
        access_list: AccessList = (),
        plan: Plan | None = None,
    ) -> SignRequest:
        return SignRequest(
            chain=self._chain,
            chain_id=self._config.chain_id,
            operator=lease.operator,
            kind=kind,
            nonce=lease.nonce,
            to=to,
            gas_limit=gas_limit,
            max_fee_per_gas_wei=fee.max_fee_per_gas_wei,
            max_priority_fee_per_gas_wei=fee.max_priority_fee_per_gas_wei,
            legacy=fee.legacy,
            data=data,
            access_list=access_list,
            strategy="" if plan is None else plan.strategy,
            notional_gwei=0 if plan is None else plan.notional_gwei,
        )

    def _attempt(
        self,
        lease: NonceLease,
        kind: AttemptKind,
        plan_id: str,
        signed: SignedTransaction,
        lane: str,
        max_block_number: int,
        replaces: str | None,
    ) -> Attempt:
        return Attempt(
            attempt_id=signed.tx_hash,
            plan_id=plan_id,
            chain=self._chain,
            kind=kind,
            operator=lease.operator,
            nonce=lease.nonce,
            tx_hash=signed.tx_hash,
            raw_tx=signed.raw,
            lane=lane,
            max_block_number=max_block_number,
            replaces=replaces,
        )


def bumped(fee: FeeBid) -> FeeBid:
    """The least that replaces a transaction offering ``fee``."""
    return FeeBid(_eighth_more(fee.max_fee_per_gas_wei), _eighth_more(fee.max_priority_fee_per_gas_wei), fee.legacy)


def _raised(fee: FeeBid) -> FeeBid:
    """Half more. The tip stays where it is apart from the price: the signer asks for the ceiling alone."""
    ceiling = fee.max_fee_per_gas_wei * 3 // 2 + 1
    return FeeBid(ceiling, ceiling if fee.legacy else fee.max_priority_fee_per_gas_wei, fee.legacy)


def _outbid(stuck: FeeBid, fresh: FeeBid) -> FeeBid:
    least = bumped(stuck)
    return FeeBid(
        max(least.max_fee_per_gas_wei, fresh.max_fee_per_gas_wei),
        max(least.max_priority_fee_per_gas_wei, fresh.max_priority_fee_per_gas_wei),
        stuck.legacy,
    )


def _eighth_more(value: int) -> int:
    return value * _BUMP_NUMERATOR // _BUMP_DENOMINATOR + 1


def _since_us(received_ns: int) -> int:
    return (time.monotonic_ns() - received_ns) // 1_000


def _signer_refusal(plan_id: str, error: SignerError) -> tuple[Refused, bool]:
    if isinstance(error, SignerRefused):
        burnt = error.reason == "nonce_used"
        return Refused(plan_id, f"signer_{error.reason}", error.detail), burnt
    if isinstance(error, SignerNotReached):
        return Refused(plan_id, "signer_not_reached", str(error)), False
    # Without an answer the signer may have signed: the same nonce must not be offered for anything else.
    return Refused(plan_id, "signer_unavailable", str(error)), True
