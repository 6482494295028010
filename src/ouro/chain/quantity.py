"""The hex forms of Ethereum's JSON, checked: nodes are not trusted to keep to them."""

import re
from typing import Any

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def _refuse(value: Any, what: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{shown[:80] + '…' if len(shown) > 80 else shown} where {what} is expected")


def parse_quantity(value: Any) -> int:
    """A 0x-hex unsigned integer of at most 256 bits. Raises ``ValueError``."""
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise _refuse(value, "a 0x-hex number")


def parse_hash(value: Any) -> str:
    """A 32-byte hash in lower case. Raises ``ValueError``."""
    if isinstance(value, str) and _HASH.fullmatch(value):
        return value.lower()
    raise _refuse(value, "a 32-byte hash")


def parse_address(value: Any) -> str:
    """A 20-byte address in lower case. Raises ``ValueError``."""
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return value.lower()
    raise _refuse(value, "an address")


def parse_data(value: Any) -> str:
    """Whole bytes as 0x-hex in lower case. Raises ``ValueError``."""
    if isinstance(value, str) and _DATA.fullmatch(value):
        return value.lower()
    raise _refuse(value, "0x-hex bytes")
