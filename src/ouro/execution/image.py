"""A shadow EVM as plain values, and made again from them: what a recording keeps of it, no node asked."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ouro.execution.shadow import ShadowEvm
from ouro.execution.slots import BalanceSlot
from ouro.types import Address, PoolId


@dataclass(slots=True)
class ShadowImage:
    """Everything that a ``ShadowEvm`` holds after block ``number``, but for its roll-back journal.

    ``accounts`` maps an address to its code and native balance; ``pools`` are those that were read.
    """

    number: int
    executor: Address
    treasury: Address
    balance_slots: dict[Address, BalanceSlot] = field(default_factory=dict)
    faults: dict[Address | PoolId, str] = field(default_factory=dict)
    pools: list[PoolId] = field(default_factory=list)
    accounts: dict[Address, tuple[bytes, int]] = field(default_factory=dict)
    words: dict[Address, dict[int, int]] = field(default_factory=dict)


def image_of(shadow: ShadowEvm, pools: Iterable[PoolId]) -> ShadowImage:
    """What ``shadow`` holds now; ``pools`` are those to name if they were read."""
    shadow.catch_up()
    database = shadow.database
    image = ShadowImage(shadow.number, shadow.executor, shadow.treasury)
    image.balance_slots = dict(shadow.balance_slots)
    image.faults = dict(shadow.faults)
    image.pools = [pool for pool in pools if shadow.has(pool)]
    image.accounts = {who: (code, database.balances.get(who, 0)) for who, code in database.codes.items()}
    for (address, slot), value in database.words.items():
        image.words.setdefault(address, {})[slot] = value
    return image


def shadow_from(
    image: ShadowImage,
    chain: str,
    chain_id: int,
    ring_depth: int,
    states: Iterable[Any],
    *,
    spec_id: str = "Cancun",
) -> ShadowEvm:
    """A shadow that holds ``image``; ``states`` are the market's, of which those in the image are followed."""
    shadow = ShadowEvm(chain, chain_id, ring_depth=ring_depth, spec_id=spec_id)
    for address, (code, balance_wei) in image.accounts.items():
        shadow.database.set_account(address, code, balance_wei)
    for address, words in image.words.items():
        for slot, value in words.items():
            shadow.database.write(address, slot, value)
    shadow.balance_slots.update(image.balance_slots)
    shadow.faults.update(image.faults)
    known = set(image.pools)
    shadow.adopt(image.number, image.executor, image.treasury, (s for s in states if s.address in known))
    return shadow
