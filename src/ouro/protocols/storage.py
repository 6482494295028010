"""Naming storage words: a place is a contract and a slot, because pools inside a manager have their words there."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ouro.hashing import keccak
from ouro.types import Address

Place: TypeAlias = tuple[Address, int]
U256 = (1 << 256) - 1


@dataclass(frozen=True, slots=True)
class StorageWrite:
    """A storage word of a contract, as the EVM will find it."""

    address: Address
    slot: int
    value: int


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A token balance that a delta moved; which storage word that is depends on the token."""

    token: Address
    holder: Address
    change_wei: int


@dataclass(frozen=True, slots=True)
class ViewCall:
    """A call that reads what a swap reads in contracts beside the pool; ``sender`` where it matters."""

    to: Address
    data: bytes
    sender: Address | None = None


@lru_cache(maxsize=1 << 16)
def mapping_slot(key: int, slot: int) -> int:
    """Slot of ``mapping(intN => …)`` at ``slot`` for ``key``, sign-extended."""
    return int.from_bytes(keccak((key & U256).to_bytes(32) + slot.to_bytes(32)))


def account_in(word: int) -> Address:
    """The address in the lower 20 bytes of a word."""
    return "0x" + (word & (1 << 160) - 1).to_bytes(20).hex()
