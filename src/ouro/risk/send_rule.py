"""Whether to send at all, and for how much: the bid with the best expected value, if that is positive.

For a bid b, with v what the trade is worth given that it lands:

    p(b)·(v − b − c_success) − (1 − p(b))·c_fail(b) − c_occupied

p comes from the ledger: a share that won would have won with any larger one, and one that lost would have lost with
any smaller one, so p(b) is Beta(prior wins + landed with shares ≤ b, prior losses + missed with shares ≥ b), which
never falls as b rises. A failed attempt pays tip and base fee for the gas that failed ones have used so far. All of
it is exact: probabilities are ratios of counts, money is integers.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ouro.config.model import BidConfig
from ouro.config.risk import SendConfig
from ouro.types import Outcome, OutcomeKind, Plan

_PPM = 1_000_000
_KNOWN = (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.EXPIRED, OutcomeKind.DROPPED)
"""What tells of competition. A bug's revert is no competitor's win."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A bid: its share of the value, the tip per gas that makes it, and what it is expected to bring."""

    share_ppm: int
    tip_per_gas_wei: int
    win: Fraction
    expected_wei: Fraction


@dataclass(frozen=True, slots=True)
class Trade:
    """What is bid for. ``value_wei`` is what it brings if it lands, before gas; the rest is of its transaction."""

    value_wei: int
    gas: int
    base_fee_wei: int


class Record(Protocol):
    """An attempt of the books (`ouro.ledger.records.AttemptRecord`)."""

    @property
    def plan(self) -> Plan | None: ...
    @property
    def outcome(self) -> Outcome | None: ...


def tip_of(bid: BidConfig, share_ppm: int, value_wei: int, gas: int) -> int:
    """The priority fee per gas that offers ``share_ppm`` of the value, within the configured bounds."""
    offered = value_wei * share_ppm // (_PPM * gas)
    return max(bid.min_priority_fee_wei, min(offered, bid.max_priority_fee_wei))


class Bidder:
    """Chooses bids of one chain and learns from what became of them."""

    def __init__(self, send: SendConfig, bid: BidConfig) -> None:
        self._send, self._bid = send, bid
        self._shares = send.shares_ppm
        self._won = [0] * len(self._shares)
        self._missed = [0] * len(self._shares)
        self._failed_gas = self._failed_expected = 0
        self._predicted = self._realised = 0

    def learn(self, records: Iterable[Record]) -> None:
        """From the books, oldest first."""
        for record in records:
            if record.plan is not None and record.outcome is not None:
                self.settle(record.plan, record.outcome)

    def settle(self, plan: Plan, outcome: Outcome) -> None:
        """One attempt's outcome."""
        if outcome.kind in (OutcomeKind.LOST, OutcomeKind.REVERTED) and outcome.gas_used > 0:
            self._failed_gas += outcome.gas_used
            self._failed_expected += plan.expected_gas
        if outcome.kind not in _KNOWN:
            return
        place = min(bisect_left(self._shares, share_of(plan)), len(self._shares) - 1)
        if outcome.kind is OutcomeKind.LANDED:
            self._won[place] += 1
            self._predicted += plan.predicted_profit_wei
            self._realised += min(outcome.realised_profit_wei, plan.predicted_profit_wei)
        else:
            self._missed[place] += 1
        if sum(self._won) + sum(self._missed) > self._send.memory:
            # The older half counts half: rivals change.
            self._won, self._missed = ([count // 2 for count in counts] for counts in (self._won, self._missed))

    def win(self, place: int) -> Fraction:
        """The chance to land with a share."""
        wins = self._send.prior_wins + sum(self._won[: place + 1])
        losses = self._send.prior_losses + sum(self._missed[place:])
        return Fraction(wins, wins + losses)

    def choose(self, trade: Trade) -> Choice | None:
        """The best bid; None where none is expected to bring anything."""
        best: Choice | None = None
        value = self._value_if_landed(trade.value_wei)
        for place, share in enumerate(self._shares):
            tip = tip_of(self._bid, share, trade.value_wei, trade.gas)
            win = self.win(place)
            expected = win * (value - trade.gas * (tip + trade.base_fee_wei)) - self._send.occupied_wei
            expected -= (1 - win) * self._fail_gas(trade.gas) * (tip + trade.base_fee_wei)
            if expected > 0 and (best is None or expected > best.expected_wei):
                best = Choice(share, tip, win, expected)
        return best

    def choose_tip(self, value_wei: int, gas: int, base_fee_wei: int) -> int | None:
        """The tip per gas of the best bid; None where nothing should be sent."""
        choice = self.choose(Trade(value_wei, gas, base_fee_wei))
        return None if choice is None else choice.tip_per_gas_wei

    def _value_if_landed(self, value_wei: int) -> Fraction:
        """Landed trades brought this part of what was predicted; all of it until there are any."""
        if self._predicted <= 0:
            return Fraction(value_wei)
        return Fraction(value_wei * self._realised, self._predicted)

    def _fail_gas(self, gas: int) -> Fraction:
        if self._failed_expected <= 0:
            return Fraction(gas * self._send.fail_gas_ppm, _PPM)
        return Fraction(gas * self._failed_gas, self._failed_expected)


def share_of(plan: Plan) -> int:
    """Which share of its value a plan offered as tip, in ppm."""
    fee, value = plan.fee, plan.predicted_value_native_wei
    tip = fee.max_fee_per_gas_wei if fee.legacy else fee.max_priority_fee_per_gas_wei
    return tip * plan.expected_gas * _PPM // value if value > 0 else _PPM
