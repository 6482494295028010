"""The hex forms of Ethereum's JSON, checked: nodes are not trusted to keep to them.

Hashes, addresses and short numbers repeat a lot within a block (200 logs of 30 transactions on 25 pools), so the
checks of well-sized strings are cached; sizes are tested first so that nothing large is ever kept.
"""

import re
from functools import lru_cache
from typing import Any

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_DATA = re.compile(r"0x[0-9a-fA-F]*")

_HASH_CHARS = 66
_ADDRESS_CHARS = 42
_SHORT_CHARS = 18


def _refuse(value: Any, what: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{shown[:80] + '…' if len(shown) > 80 else shown} where {what} is expected")


@lru_cache(maxsize=16_384)
def _lower_hex(text: str) -> str | None:
    return text.lower() if _HEX.fullmatch(text) else None


@lru_cache(maxsize=4_096)
def _short_number(text: str) -> int | None:
    return int(text, 16) if _HEX.fullmatch(text) else None


def parse_quantity(value: Any) -> int:
    """A 0x-hex unsigned integer of at most 256 bits. Raises ``ValueError``."""
    if type(value) is str:
        if len(value) <= _SHORT_CHARS:
            number = _short_number(value)
            if number is not None:
                return number
        elif _QUANTITY.fullmatch(value):
            return int(value, 16)
    raise _refuse(value, "a 0x-hex number")


def parse_hash(value: Any) -> str:
    """A 32-byte hash in lower case. Raises ``ValueError``."""
    if type(value) is str and len(value) == _HASH_CHARS and (text := _lower_hex(value)) is not None:
        return text
    raise _refuse(value, "a 32-byte hash")


def parse_address(value: Any) -> str:
    """A 20-byte address in lower case. Raises ``ValueError``."""
    if type(value) is str and len(value) == _ADDRESS_CHARS and (text := _lower_hex(value)) is not None:
        return text
    raise _refuse(value, "an address")


def parse_data(value: Any) -> str:
    """Whole bytes as 0x-hex in lower case. Raises ``ValueError``."""
    if type(value) is str and len(value) % 2 == 0 and _DATA.fullmatch(value):
        return value.lower()
    raise _refuse(value, "0x-hex bytes")
