"""A pool's state kept from its logs alone, and checked word by word against the contract's storage."""

from collections.abc import Set
from typing import Any

from tests.differential.chain import Chain

from ouro.protocols.base import BalanceChange, Family, StorageWrite
from ouro.types import Address


class Mismatch(AssertionError):  # noqa: N818 - reads better where it is raised
    """Our integers differ from the contract's."""


class Mirror:
    """Follows one pool: ``state`` after every log, ``words`` as ``storage_writes`` predicts them."""

    def __init__(self, chain: Chain, family: Family, state: Any) -> None:
        self.chain, self.family, self.state = chain, family, state
        self.emitter = getattr(state, "manager", state.address)  # of the pool's logs, holder of its storage
        self.words: dict[tuple[Address, int], int] = {}
        self.balances: dict[Address, int] = dict.fromkeys(state.tokens, 0)
        self.compared = 0

    def follow(self) -> None:
        """Apply the logs of the chain's last call and compare what they wrote."""
        written: set[tuple[Address, int]] = set()
        for log in self.chain.logs(self.emitter):
            delta = self.family.decode(self.state, log, self.chain.timestamp)
            if delta is None:
                continue
            for write in self.family.storage_writes(self.state, delta):
                if isinstance(write, StorageWrite):
                    place = write.address, write.slot
                    self.words[place] = write.value
                    written.add(place)
                elif isinstance(write, BalanceChange):
                    self.balances[write.token] += write.change_wei
            self.state = self.family.apply(self.state, delta)
        self._compare_words(written)

    def compare_all(self, except_slots: Set[int] = frozenset()) -> None:
        """Every word ever written, and both balances."""
        self._compare_words({place for place in self.words if place[1] not in except_slots})
        for token, predicted in self.balances.items():
            self.expect(f"balance of {token}", predicted, self.chain.balance(token, self.state.address))

    def _compare_words(self, places: set[tuple[Address, int]]) -> None:
        for address, slot in places:
            theirs = self.chain.slot(address, slot)
            self.expect(f"slot {slot:#x} of {address}", self.words[address, slot], theirs)

    def expect(self, what: str, ours: object, theirs: object) -> None:
        """Raise ``Mismatch`` naming ``what`` unless the two are equal."""
        self.compared += 1
        if ours != theirs:
            raise Mismatch(f"{what}: ours {ours}, the contract's {theirs} ({self.family.to_json(self.state)})")
