"""EIP-2930 access lists for plans: only what is touched, and only where it saves gas.

A listed account costs 2400 and saves 2500 on its first touch; a listed word costs 1900 and saves 2000 on a first
read, 2100 on a first write. Accounts that a transaction warms anyway (sender, target, fee recipient, precompiles)
save nothing themselves: listing such an account for its words pays from 25 words on. A word that is listed and not
touched costs 1900, so a list is made only of what surely is touched.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ouro.execution.slots import BalanceSlot
from ouro.protocols.base import home_of
from ouro.protocols.registry import FAMILIES
from ouro.protocols.steps import Shape
from ouro.types import Address, Hop

AccessList: TypeAlias = tuple[tuple[Address, tuple[str, ...]], ...]
"""As ``SignRequest`` has it: addresses and slots as 0x-hex."""

ADDRESS_COST, ADDRESS_SAVING = 2_400, 2_500
SLOT_COST, SLOT_SAVING = 1_900, 2_000
"""A first write without a read before saves 2100; swaps read every word that they write."""


@lru_cache(maxsize=1 << 16)
def slot_hex(slot: int) -> str:
    """A slot as access lists write it."""
    return f"0x{slot:064x}"


def pruned(touched: Mapping[Address, Iterable[int]], warm: Iterable[Address]) -> AccessList:
    """The list that saves most, of accounts and words that are surely touched; empty when nothing does.

    ``warm`` are the accounts that need no entry. Sorted, so that the same plan gives the same bytes.
    """
    without_entry = {address.lower() for address in warm}
    entries = []
    for address in sorted(touched):
        slots = sorted(set(touched[address]))
        saving = len(slots) * (SLOT_SAVING - SLOT_COST) - ADDRESS_COST
        saving += 0 if address.lower() in without_entry else ADDRESS_SAVING
        if saving > 0:
            entries.append((address.lower(), tuple(slot_hex(slot) for slot in slots)))
    return tuple(entries)


def saved_gas(access_list: AccessList, warm: Iterable[Address]) -> int:
    """What the list saves on a transaction that touches, reading first, all that it names."""
    without_entry = {address.lower() for address in warm}
    return sum(
        len(slots) * (SLOT_SAVING - SLOT_COST) - ADDRESS_COST + (0 if address in without_entry else ADDRESS_SAVING)
        for address, slots in access_list
    )


def of_node(answer: Mapping[str, Any], warm: Iterable[Address]) -> AccessList:
    """The list in an answer of ``eth_createAccessList``, less what does not pay. Raises ValueError when
    malformed."""
    try:
        touched = {
            str(entry["address"]).lower(): [int(slot, 16) for slot in entry["storageKeys"]]
            for entry in answer["accessList"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an answer of eth_createAccessList: {error!r}") from error
    return pruned(touched, warm)


def of_plan(
    hops: Sequence[Hop],
    states: Mapping[Address, Any],
    balance_slots: Mapping[Address, BalanceSlot],
    executor: Address,
    treasury: Address,
    profit_token: Address | None = None,
) -> AccessList:
    """The list of a plan, from the pools' states alone: no node is asked.

    Only words that the plan touches whatever the amounts are. Of pools without a state here, of families whose
    layout isn't known here, and of tokens without a known balance slot, the words are left out. ``profit_token`` is
    by default what the first hop takes.
    """
    touched: dict[Address, set[int]] = {}

    def holds(token: Address, holders: Iterable[Address]) -> None:
        place = balance_slots.get(token)
        if place is not None:
            touched.setdefault(token, set()).update(place.slot(holder) for holder in holders)

    books: dict[Address, Counter[Address]] = {}
    for hop in hops:
        family, state = FAMILIES.get(hop.family), states.get(hop.pool)
        if family is not None and state is not None:
            for address, slot in family.swap_places(state, hop.i, hop.j):
                touched.setdefault(address, set()).add(slot)
        shape = None if family is None else family.shape
        if shape is Shape.MANAGED and state is not None:
            net = books.setdefault(home_of(state), Counter())
            net[hop.token_in] -= hop.amount_in_wei
            net[hop.token_out] += hop.amount_out_wei
        if shape in _HOLDING:
            # A pool's own balance of both its tokens changes, whoever stands before and after it.
            touched.setdefault(hop.pool, set())
            for token in (hop.token_in, hop.token_out):
                holds(token, (hop.pool,))
    for manager, net in books.items():
        # Only what is left over of all swaps inside moves in or out.
        for token, amount in net.items():
            if amount:
                holds(token, (manager,))
    holds(profit_token or hops[0].token_in, (treasury, executor))
    return pruned(touched, (executor,))


_HOLDING = frozenset((Shape.PAIR, Shape.CONCENTRATED, Shape.BINS))
"""Shapes whose pools are contracts of their own that hold both tokens."""
