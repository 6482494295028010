"""Double-entry profit and loss: every movement of an owned balance against what caused it, to the wei.

A transaction's *asset* postings are its balance entries, which come from the transfers of its receipt. Its
*nominal* postings say why: the spread by the pools' own swap events, the loan's fee and the bribe by the plan's
terms, gas by the receipt. The two sources are independent; per token they cancel, and what is left is posted as
*residual*. It has to be 0 wei of every token; anything else is money that nothing explains.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from ouro.ledger.records import AttemptRecord, BalanceEntry, native_value_wei
from ouro.types import Address, AttemptKind, Outcome, OutcomeKind, Plan

_MILLION = 1_000_000
_NATIVE = "0x" + "00" * 20


class Account(StrEnum):
    """Nominal accounts. Income is negative where assets grew, as it always is in double entry."""

    GROSS_SPREAD = "gross_spread"
    FLASH_FEE = "flash_fee"
    BRIBE = "bribe"
    GAS_L2 = "gas_l2"
    GAS_L1 = "gas_l1"
    BID = "bid"
    FAILED = "failed_attempts"
    RESIDUAL = "residual"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry. ``account`` is nominal, or ``asset:ADDRESS``; ``token`` None is the native coin."""

    account: str
    token: Address | None
    amount_wei: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where results come from, in the chain's native wei; costs are positive.

    ``gas_l2_wei`` is execution without the priority fee, which is ``bid_wei``; ``bribe_wei`` is what the
    executor paid of the profit itself. ``failed_attempts_wei`` is everything that transactions without a result
    paid, cancels included. ``inventory_mark_wei`` is what held tokens gained or lost in price after they were
    booked.
    """

    gross_spread_wei: int = 0
    flash_fee_wei: int = 0
    bribe_wei: int = 0
    gas_l2_wei: int = 0
    gas_l1_wei: int = 0
    bid_wei: int = 0
    failed_attempts_wei: int = 0
    inventory_mark_wei: int = 0
    residual_wei: int = 0

    @property
    def net_wei(self) -> int:
        """What is left of it all."""
        costs = self.flash_fee_wei + self.bribe_wei + self.gas_l2_wei + self.gas_l1_wei + self.bid_wei
        gains = self.gross_spread_wei + self.inventory_mark_wei + self.residual_wei
        return gains - costs - self.failed_attempts_wei

    def __add__(self, other: "Attribution") -> "Attribution":
        return Attribution(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def as_json(self) -> dict[str, int]:
        """Every part, and the net."""
        return {**{item.name: getattr(self, item.name) for item in fields(self)}, "net_wei": self.net_wei}


def total(parts: Iterable[Attribution]) -> Attribution:
    """Their sum."""
    result = Attribution()
    for part in parts:
        result += part
    return result


@dataclass(frozen=True, slots=True)
class Transaction:
    """One attempt in the books: its postings, and the same in native wei. ``residuals`` are per token, all 0 when
    everything is explained."""

    record: AttemptRecord
    postings: tuple[Posting, ...]
    attribution: Attribution
    residuals: tuple[Posting, ...]


def book_transaction(record: AttemptRecord, entries: Sequence[BalanceEntry]) -> Transaction:
    """Double entry of an attempt's standing outcome; empty without one, or where it cost nothing.

    ``entries`` are those that stand (see `ouro.ledger.books.Books.entries`). On paper no balance moved: the asset
    side is then what the outcome claims.
    """
    outcome = record.outcome
    if outcome is None:
        return Transaction(record, (), Attribution(), ())
    nominal = _nominal(record, outcome)
    assets = [Posting(f"asset:{entry.account}", entry.token, entry.change_wei) for entry in entries]
    if not entries:
        assets = _claimed(record, outcome)
    sums: Counter[Address | None] = Counter()
    for posting in (*assets, *nominal):
        sums[posting.token] += posting.amount_wei
    residuals = tuple(
        Posting(Account.RESIDUAL, token, -left)
        for token, left in sorted(sums.items(), key=lambda item: item[0] or "")
        if left
    )
    attribution = _attribution(record, nominal, residuals)
    return Transaction(record, (*assets, *nominal, *residuals), attribution, residuals)


def _nominal(record: AttemptRecord, outcome: Outcome) -> list[Posting]:
    postings: list[Posting] = []
    landed = outcome.kind is OutcomeKind.LANDED and record.attempt.kind is AttemptKind.TRADE
    if not landed:
        postings.append(Posting(Account.FAILED, None, outcome.gas_cost_wei))
    else:
        bid_wei = _bid_wei(record.plan, outcome)
        l1_wei = outcome.l1_fee_wei
        postings.append(Posting(Account.GAS_L2, None, outcome.gas_cost_wei - l1_wei - bid_wei))
        postings.append(Posting(Account.GAS_L1, None, l1_wei))
        postings.append(Posting(Account.BID, None, bid_wei))
        if record.plan is not None:
            gross, fee, bribe = _spread(record.plan, outcome)
            token = record.plan.profit_token
            postings.append(Posting(Account.GROSS_SPREAD, token, -gross))
            postings.append(Posting(Account.FLASH_FEE, token, fee))
            postings.append(Posting(Account.BRIBE, token, bribe))
    return [posting for posting in postings if posting.amount_wei]


def _spread(plan: Plan, outcome: Outcome) -> tuple[int, int, int]:
    """(gross, loan's fee, bribe) in the profit token, by the pools' events and the plan's terms."""
    amounts = outcome.realised_amounts_wei
    fee = plan.loan_fee_wei
    if not amounts or not _is_path(plan) or getattr(plan, "shape", "cycle") != "cycle":
        # Events that can't be read, or a netted batch: its own side of the pools is not in the record. What the
        # treasury got is then all that is known of the spread.
        bribe = plan.bribe_wei if outcome.realised_profit_wei == plan.predicted_profit_wei else 0
        return outcome.realised_profit_wei + fee + bribe, fee, bribe
    gross = amounts[-1] - amounts[0]
    return gross, fee, _bribe_wei(plan, gross - fee)


def _is_path(plan: Plan) -> bool:
    """Whether each hop takes what the one before gives; the native coin stands for its wrapped form."""
    pairs = zip(plan.hops, plan.hops[1:], strict=False)
    return all(
        one.token_out == other.token_in or _NATIVE in (one.token_out, other.token_in) for one, other in pairs
    )


def _bribe_wei(plan: Plan, gain_wei: int) -> int:
    """The executor's share of a gain: the parts per million that made the plan's bribe of the plan's gain."""
    planned_gain = plan.gross_profit_wei - plan.loan_fee_wei
    if plan.bribe_wei <= 0 or planned_gain <= 0 or gain_wei <= 0:
        return 0
    if gain_wei == planned_gain:
        return plan.bribe_wei
    share_ppm = -(-plan.bribe_wei * _MILLION // planned_gain)
    return gain_wei * share_ppm // _MILLION


def _bid_wei(plan: Plan | None, outcome: Outcome) -> int:
    """The priority fee within the gas that was paid; 0 where the chain has none.

    Exact while the base fee left room for it under the maximum, which the plan's maximum is made for.
    """
    if plan is None or plan.fee.legacy or not outcome.gas_used:
        return 0
    price = (outcome.gas_cost_wei - outcome.l1_fee_wei) // outcome.gas_used
    return outcome.gas_used * min(plan.fee.max_priority_fee_per_gas_wei, price)


def _claimed(record: AttemptRecord, outcome: Outcome) -> list[Posting]:
    """What the outcome says the balances did, where no entry was booked."""
    account = f"asset:{record.attempt.operator}"
    claimed = [Posting(account, None, -outcome.gas_cost_wei)]
    if record.plan is not None:
        claimed.append(Posting(account, record.plan.profit_token, outcome.realised_profit_wei))
    return [posting for posting in claimed if posting.amount_wei]


def _attribution(record: AttemptRecord, nominal: Sequence[Posting], residuals: Sequence[Posting]) -> Attribution:
    amounts: dict[str, int] = defaultdict(int)
    for posting in nominal:
        amounts[posting.account] += posting.amount_wei
    gross, fee, bribe = _in_native(
        record.plan, -amounts[Account.GROSS_SPREAD], amounts[Account.FLASH_FEE], amounts[Account.BRIBE]
    )
    left = 0
    for posting in residuals:
        # Money that is there has a negative residual posting; in the results it is a gain that nobody can name.
        if posting.token is None:
            left -= posting.amount_wei
        elif record.plan is not None and posting.token == record.plan.profit_token:
            left += native_value_wei(record.plan, -posting.amount_wei)
    return Attribution(
        gross_spread_wei=gross,
        flash_fee_wei=fee,
        bribe_wei=bribe,
        gas_l2_wei=amounts[Account.GAS_L2],
        gas_l1_wei=amounts[Account.GAS_L1],
        bid_wei=amounts[Account.BID],
        failed_attempts_wei=amounts[Account.FAILED],
        residual_wei=left,
    )


def _in_native(plan: Plan | None, gross: int, fee: int, bribe: int) -> tuple[int, int, int]:
    """Gross, fee and bribe at the plan's price, rounded so that what is left is exactly the worth of the profit."""
    if plan is None:
        return 0, 0, 0
    whole = native_value_wei(plan, gross)
    after_fee = native_value_wei(plan, gross - fee)
    after_bribe = native_value_wei(plan, gross - fee - bribe)
    return whole, whole - after_fee, after_fee - after_bribe
