"""The send rule against a plain computation, and what it learns."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from risk_examples import GWEI, landed, lost, outcome_of, plan_of

from ouro.config.model import BidConfig
from ouro.config.risk import SendConfig
from ouro.risk.send_rule import Bidder, Trade, share_of, tip_of
from ouro.types import FeeBid, OutcomeKind, Plan

BID = BidConfig(min_priority_fee_wei=0, max_priority_fee_wei=10**15)
SHARES = (100_000, 500_000, 900_000)


def bidder_of(**values: int) -> Bidder:
    return Bidder(SendConfig.model_validate({"shares_ppm": SHARES, **values}), BID)


def with_share(share_ppm: int) -> Plan:
    """A plan that offers so much of 10^16 wei for 200,000 gas."""
    tip = share_ppm * 10**16 // (1_000_000 * 200_000)
    return plan_of(fee=FeeBid(tip + GWEI, tip, legacy=False))


def test_nothing_is_sent_that_is_not_expected_to_bring_anything() -> None:
    bidder = bidder_of()
    # Even odds, 30 % of the gas on a failure: half of (v - b - c) must pay for half of 0.3·(b + c).
    choice = bidder.choose(Trade(10**16, 200_000, 10 * GWEI))
    assert choice is not None
    assert (choice.share_ppm, choice.win) == (100_000, Fraction(1, 2))
    assert choice.expected_wei == Fraction(10**16 - 10**15 - 2 * 10**15, 2) - Fraction(3 * 3 * 10**15, 20)
    assert bidder.choose(Trade(2 * 10**15, 200_000, 10 * GWEI)) is None
    assert bidder_of(occupied_wei=int(choice.expected_wei)).choose(Trade(10**16, 200_000, 10 * GWEI)) is None
    assert (
        bidder_of(occupied_wei=int(choice.expected_wei) - 1).choose(Trade(10**16, 200_000, 10 * GWEI)) is not None
    )


def test_it_bids_more_where_less_does_not_win_and_stops_where_nothing_does() -> None:
    bidder, trade = bidder_of(), Trade(10**16, 200_000, GWEI)
    for _ in range(20):
        low = with_share(100_000)
        bidder.settle(low, lost(low))
    choice = bidder.choose(trade)
    assert choice is not None
    assert choice.share_ppm == 500_000
    for _ in range(200):
        high = with_share(900_000)
        bidder.settle(high, outcome_of(high, OutcomeKind.EXPIRED, 0, 0))
    assert bidder.choose(trade) is None
    for _ in range(200):
        low = with_share(100_000)
        bidder.settle(low, landed(low))
    choice = bidder.choose(trade)
    assert choice is not None
    assert choice.share_ppm == 100_000


def test_bugs_are_no_competition_but_their_gas_counts() -> None:
    bidder = bidder_of()
    plan = with_share(100_000)
    bidder.settle(plan, outcome_of(plan, OutcomeKind.REVERTED, 1, 0, gas_used=200_000))
    assert bidder.win(0) == Fraction(1, 2)
    choice = bidder.choose(Trade(10**16, 200_000, GWEI))
    assert choice is not None
    assert choice.expected_wei == Fraction(10**16 - 2 * (10**15 + 2 * 10**14), 2)  # a failure costs as much


def test_what_landed_trades_brought_less_is_expected_of_the_next() -> None:
    bidder = bidder_of()
    plan = with_share(100_000)
    bidder.settle(plan, outcome_of(plan, OutcomeKind.LANDED, 0, plan.predicted_profit_wei // 2))
    choice = bidder.choose(Trade(10**16, 200_000, 0))
    assert choice is not None
    assert choice.expected_wei == Fraction(2, 3) * (5 * 10**15 - 10**15) - Fraction(1, 3) * Fraction(3, 10) * 10**15


@given(
    history=st.lists(st.tuples(st.sampled_from(SHARES), st.sampled_from(["won", "lost", "expired"])), max_size=60),
    value=st.integers(0, 10**19),
    gas=st.integers(21_000, 3_000_000),
    base_fee=st.integers(0, 10**12),
)
def test_the_choice_is_the_best_of_all_and_chances_rise_with_the_bid(
    history: list[tuple[int, str]], value: int, gas: int, base_fee: int
) -> None:
    bidder = bidder_of()
    for share, what in history:
        plan = with_share(share)
        kind = OutcomeKind.EXPIRED if what == "expired" else OutcomeKind.LOST
        bidder.settle(plan, landed(plan) if what == "won" else outcome_of(plan, kind, 0, 0))
    chances = [bidder.win(place) for place in range(len(SHARES))]
    assert chances == sorted(chances)
    worth: list[Fraction] = []
    for share, win in zip(SHARES, chances, strict=True):
        price = tip_of(BID, share, value, gas) + base_fee
        worth.append(win * (value - gas * price) - (1 - win) * Fraction(3, 10) * gas * price)
    choice = bidder.choose(Trade(value, gas, base_fee))
    if choice is None:
        assert max(worth) <= 0
    else:
        assert choice.expected_wei == max(worth) > 0


def test_the_share_of_a_plan_is_read_back() -> None:
    for share in SHARES:
        assert abs(share_of(with_share(share)) - share) <= 1
