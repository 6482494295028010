"""What tokens that were earned gained or lost in price since, in native wei.

Prices are those that plans were made with, so they are of the books; the latest plan of a token in the period says
what it is worth at the end. The wrapped native coin is always worth itself.
"""

from collections import defaultdict
from collections.abc import Sequence

from ouro.ledger.books import gross_native_wei
from ouro.ledger.records import AttemptRecord, native_value_wei
from ouro.types import Address, Plan


def inventory_marks(records: Sequence[AttemptRecord]) -> dict[str, int]:
    """By chain: the worth of what ``records`` earned at the latest prices, minus its worth when it was earned."""
    latest: dict[tuple[str, Address], tuple[int, Plan]] = {}
    for record in records:
        plan = record.plan
        if plan is None or plan.gross_profit_wei <= 0:
            continue
        key = (record.attempt.chain, plan.profit_token)
        if key not in latest or latest[key][0] <= record.journaled_at_ms:
            latest[key] = (record.journaled_at_ms, plan)
    earned: dict[tuple[str, Address], int] = defaultdict(int)
    booked: dict[tuple[str, Address], int] = defaultdict(int)
    for record in records:
        if record.plan is None or record.outcome is None:
            continue
        key = (record.attempt.chain, record.plan.profit_token)
        earned[key] += record.outcome.realised_profit_wei
        booked[key] += gross_native_wei(record)
    marks: dict[str, int] = defaultdict(int)
    for (chain, token), (_, plan) in latest.items():
        if plan.value_native_wei == plan.gross_profit_wei:
            continue  # one to one: nothing to mark, and no rounding to book
        marks[chain] += native_value_wei(plan, earned[chain, token]) - booked[chain, token]
    return dict(marks)
