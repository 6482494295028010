"""From what a receipt shows to changes of our balances."""

from collections import Counter
from collections.abc import Collection

from ouro.ledger.records import INCLUDED, BalanceEntry, check_outcome
from ouro.types import Address, Outcome, OutcomeKind

GAS = "gas"
TRADE = "trade"


def balance_entries(outcome: Outcome, operator: Address, owned: Collection[Address]) -> tuple[BalanceEntry, ...]:
    """Every change of an owned balance that ``outcome`` made; amounts that cancel out leave no entry.

    ``operator`` paid the gas, whatever became of an included transaction; tokens move only if it succeeded. What is
    not owned (pools, rivals) has no entries: only our side of a movement is booked. Raises ValueError for an
    outcome that contradicts itself or an operator that is not owned.
    """
    check_outcome(outcome)
    if operator not in owned:
        raise ValueError(f"operator {operator} is not among the owned accounts")
    if outcome.kind not in INCLUDED:
        return ()
    entries: list[BalanceEntry] = []
    if outcome.gas_cost_wei:
        entries.append(BalanceEntry(operator, None, -outcome.gas_cost_wei, GAS))
    if outcome.kind is not OutcomeKind.LANDED:
        return tuple(entries)
    changes: Counter[tuple[Address, Address | None]] = Counter()
    for transfer in outcome.transfers:
        if transfer.source in owned:
            changes[transfer.source, transfer.token] -= transfer.amount_wei
        if transfer.destination in owned:
            changes[transfer.destination, transfer.token] += transfer.amount_wei
    ordered = sorted(changes.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    entries += [BalanceEntry(account, token, change, TRADE) for (account, token), change in ordered if change]
    return tuple(entries)
