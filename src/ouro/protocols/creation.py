"""How pools are announced: the value that discovery passes on, and what reads it from a factory's event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ouro.protocols.errors import DecodeError
from ouro.types import Address, Log, PoolId

_ZERO = "0x" + "00" * 20
MAX_TICK_SPACING = 16_384


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool as its factory announced it: what is needed to read it, nothing that may change.

    ``tokens`` are in the contract's own order, empty where only the pool itself tells them. ``factory`` is the
    announcing contract, for pools inside a manager that manager. ``fee_ppm`` is 0 where the pool tells its fee (for
    ``uniswap_v4`` it is the key's fee field), ``tick_spacing`` 0 where there is none or it changes. ``kind`` is for
    the family alone: which of its pools this is, where the announcement tells.
    """

    dex: str
    family: str
    address: PoolId
    tokens: tuple[Address, ...]
    created_block: int
    factory: Address = ""
    fee_ppm: int = 0
    tick_spacing: int = 0
    stable: bool = False
    hooks: Address = ""
    kind: str = ""


class Factory(Protocol):
    """What a family may know of a configured factory (``config.model.DexConfig``)."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def factory(self) -> Address: ...
    @property
    def fee_ppm(self) -> int | None: ...
    @property
    def fees_ppm(self) -> tuple[int, ...]: ...
    @property
    def pool_keys(self) -> tuple[tuple[int, int], ...]: ...


class Announcement:
    """A creation event taken apart: ``topics`` and ``words`` are hex without 0x, words of 64 digits.

    A missing one raises ``IndexError``, which callers report as malformed.
    """

    def __init__(self, log: Log, dex: Factory) -> None:
        self.log, self.dex = log, dex
        self.topics = [value[2:] for value in log.topics]
        self.words = [log.data[k : k + 64] for k in range(2, len(log.data), 64)]

    def pool(
        self,
        address: PoolId,
        tokens: tuple[Address, ...],
        *,
        fee_ppm: int = 0,
        tick_spacing: int = 0,
        stable: bool = False,
        hooks: Address = "",
        kind: str = "",
    ) -> NewPool:
        """The pool of this event."""
        dex, log = self.dex, self.log
        return NewPool(
            dex.name,
            dex.family,
            address,
            tokens,
            log.block_number,
            factory=log.address,
            fee_ppm=fee_ppm,
            tick_spacing=tick_spacing,
            stable=stable,
            hooks=hooks,
            kind=kind,
        )

    def indexed_pair(self, first: int = 1) -> tuple[Address, Address]:
        """Two tokens in the topics ``first`` and ``first + 1``."""
        return address_of(self.topics[first], "token0"), address_of(self.topics[first + 1], "token1")


CreationReader: TypeAlias = Callable[[Announcement], NewPool | None]
"""Raises ``DecodeError`` (or ``ValueError``, ``LookupError``) for a malformed event. None: an event that announces
something else, or a pool whose address it does not tell (see ``Family.listing``)."""


def address_of(word: str, what: str) -> Address:
    """The non-zero address in a word of 64 hex digits. Raises ``DecodeError``."""
    if len(word) != 64 or word[:24] != "0" * 24:
        raise DecodeError(f"{what} is not an address: 0x{word}")
    address = "0x" + word[24:].lower()
    if address == _ZERO:
        raise DecodeError(f"{what} is the zero address")
    return address


def tick_spacing_of(word: str) -> int:
    """A spacing that pools can have. Raises ``DecodeError``."""
    spacing = int(word, 16)
    if not 0 < spacing < MAX_TICK_SPACING:
        raise DecodeError(f"tick spacing {spacing} is out of range")
    return spacing
