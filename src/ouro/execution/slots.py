"""Which storage words a swap reads: the pools' own layouts, and where a token keeps balances (found by probing)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ouro.hashing import keccak
from ouro.types import Address

PROBED_SLOTS = 60
PLAIN_TOKEN_SLOTS = 20
"""Words of a token read without knowing why: totals, pause flags, owners, fee settings."""

V2_SLOTS = range(14)
V2_FROM_LOGS = frozenset((6, 7, 8, 9, 10, 12))
V3_SLOTS = range(5)
V3_FROM_LOGS = frozenset((0, 4))
V3_OBSERVATIONS_SLOT = 8
MAX_OBSERVATIONS = 64
"""Entries of a V3 oracle ring that are loaded around the current one. Others read as zero, which changes no
amount; a swap that writes one is then estimated 15 000 gas too high."""

_TICKS_SLOT, _BITMAP_SLOT, _TICK_WORDS = 5, 6, 4
_U256 = (1 << 256) - 1
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


def pool_slots(state: Any) -> tuple[int, ...]:
    """Words of a pool that a swap may touch, without the V3 oracle ring (see ``observation_slots``)."""
    if state.family == "uniswap_v2":
        return tuple(V2_SLOTS)
    if state.family == "uniswap_v3":
        return (*V3_SLOTS, *_bitmap_slots(state), *_tick_slots(state, range(_TICK_WORDS)))
    raise ValueError(f"{state.address}: no storage layout for family {state.family!r}")


def slots_from_logs(state: Any) -> tuple[int, ...]:
    """The words that events keep exact. Fee growth and a tick's outside values, for example, are not: they change
    no amount."""
    if state.family == "uniswap_v2":
        return tuple(V2_FROM_LOGS)
    return (*V3_FROM_LOGS, *_bitmap_slots(state), *_tick_slots(state, (0,)))


def paid_fee_slot(state: Any, delta: Any) -> int | None:
    """The fee-growth word that a V3 swap made non-zero. Its value is not in the event, but overwriting zero would
    cost 17 100 gas more than overwriting anything else."""
    if state.family != "uniswap_v3" or not hasattr(delta, "sqrt_price_x96") or not hasattr(delta, "amount0"):
        return None
    return 1 if delta.amount0 > 0 else 2


def observation_slots(slot0: int) -> tuple[int, ...]:
    """The current entry of a V3 pool's oracle ring and those that follow it."""
    index, cardinality = slot0 >> 184 & 0xFFFF, slot0 >> 200 & 0xFFFF
    size = max(cardinality, slot0 >> 216 & 0xFFFF, 1)
    return tuple(V3_OBSERVATIONS_SLOT + (index + k) % size for k in range(min(size, MAX_OBSERVATIONS)))


def _bitmap_slots(state: Any) -> Iterator[int]:
    words = {tick // state.tick_spacing >> 8 for tick in state.ticks}
    return (_mapping(word, _BITMAP_SLOT) for word in sorted(words))


def _tick_slots(state: Any, words: range | tuple[int, ...]) -> Iterator[int]:
    for tick in state.ticks:
        base = _mapping(tick, _TICKS_SLOT)
        yield from ((base + word) & _U256 for word in words)


def _mapping(key: int, slot: int) -> int:
    return int.from_bytes(keccak((key & _U256).to_bytes(32, "big") + slot.to_bytes(32, "big")), "big")
