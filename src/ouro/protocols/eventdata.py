"""Reading event logs word by word. Logs come from a node, so every field is checked before it is believed."""

import re

from ouro.protocols.base import DecodeError
from ouro.types import Address, Log

_WORD_BYTES = 32
_WORD_CHARS = 2 * _WORD_BYTES
_HEX = re.compile(r"0x[0-9a-fA-F]*")


def require_address(log: Log, address: Address) -> None:
    """Refuse a log that another contract emitted."""
    if log.address.lower() != address:
        raise DecodeError(f"log of {log.address} was given to the pool {address}")


def data_words(log: Log, count: int, event: str) -> tuple[int, ...]:
    """The ``count`` unsigned words of ``log.data``; any other length is an error."""
    data = log.data
    if len(data) != 2 + 2 * _WORD_BYTES * count or not _HEX.fullmatch(data):
        size = (len(data) - 2) / 2
        raise DecodeError(f"{event} of {log.address}: {_WORD_BYTES * count} data bytes expected, got {size:g}")
    return tuple([int(data[k : k + _WORD_CHARS], 16) for k in range(2, len(data), _WORD_CHARS)])


def topic_words(log: Log, count: int, event: str) -> tuple[int, ...]:
    """The ``count`` indexed arguments as unsigned words."""
    if len(log.topics) != count + 1:
        raise DecodeError(f"{event} of {log.address}: {count + 1} topics expected, got {len(log.topics)}")
    words = []
    for value in log.topics[1:]:
        if len(value) != 2 + 2 * _WORD_BYTES or not _HEX.fullmatch(value):
            raise DecodeError(f"{event} of {log.address}: topic {value[:80]!r} is not a 32-byte word")
        words.append(int(value, 16))
    return tuple(words)


def uint(word: int, bits: int, field: str) -> int:
    """``word`` as an unsigned integer of ``bits``; Solidity's encoder never sets the bits above."""
    if word >> bits:
        raise DecodeError(f"{field} = {word} does not fit uint{bits}")
    return word


def sint(word: int, bits: int, field: str) -> int:
    """``word`` as a sign-extended signed integer of ``bits``."""
    value = word - (1 << 256) if word >> 255 else word
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise DecodeError(f"{field} = {value} does not fit int{bits}")
    return value


def in_range(value: int, low: int, high: int, field: str) -> int:
    """``value`` where ``low <= value <= high``."""
    if not low <= value <= high:
        raise DecodeError(f"{field} = {value} is outside [{low}, {high}]")
    return value
