"""Where a token keeps balances, found by probing. Pools' words are known to their families."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ouro.hashing import keccak
from ouro.types import Address

PROBED_SLOTS = 60
PLAIN_TOKEN_SLOTS = 20
"""Words of a token read without knowing why: totals, pause flags, owners, fee settings."""

_ERC7201_ERC20 = 0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00
_SOLADY_SEED = (0x87A211A2).to_bytes(12, "big")
PROXY_SLOTS = tuple(
    int.from_bytes(keccak(name.encode()), "big") - offset
    for name, offset in (
        ("eip1967.proxy.implementation", 1),
        ("eip1967.proxy.beacon", 1),
        ("eip1967.proxy.admin", 1),
        ("org.zeppelinos.proxy.implementation", 0),
        ("org.zeppelinos.proxy.admin", 0),
    )
)
"""Where proxies keep what they delegate to."""

SlotOf = Callable[[Address], int]


@dataclass(frozen=True, slots=True)
class BalanceSlot:
    """Where a token keeps a holder's balance, and how it was found (``style`` and mapping position)."""

    style: str
    position: int

    def slot(self, holder: Address) -> int:
        """Storage slot of ``holder``'s balance."""
        return _balance_slot(self.style, self.position, holder)


@lru_cache(maxsize=1 << 16)
def _balance_slot(style: str, position: int, holder: Address) -> int:
    """Kept: the same few pools and accounts are asked for with every block."""
    account = bytes.fromhex(holder[2:])
    place = position.to_bytes(32, "big")
    if style == "solady":
        return int.from_bytes(keccak(account + _SOLADY_SEED), "big")
    padded = bytes(12) + account
    return int.from_bytes(keccak(place + padded if style == "vyper" else padded + place), "big")


def balance_slot_candidates() -> Iterator[BalanceSlot]:
    """Every place that is probed, the usual ones first."""
    for position in range(PROBED_SLOTS):
        yield BalanceSlot("solidity", position)
    for position in range(PROBED_SLOTS):
        yield BalanceSlot("vyper", position)
    yield BalanceSlot("solidity", _ERC7201_ERC20)
    yield BalanceSlot("solady", 0)


def holds(word: int, balance_wei: int) -> bool:
    """Whether a word is this balance; some tokens keep a flag in its top bit (USDC: blacklisted)."""
    return word in (balance_wei, balance_wei | 1 << 255)
