"""Strict readers for the JSON form of states: a snapshot file may be truncated, edited or hostile."""

import re
from collections.abc import Sequence
from typing import Any

from ouro.types import Address

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_WORD = re.compile(r"0x[0-9a-f]{64}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,78})")


def fields(value: Any, tag: str, names: tuple[str, ...]) -> dict[str, Any]:
    """``value`` as an object with exactly ``names`` plus the ``family`` tag."""
    if not isinstance(value, dict):
        raise ValueError(f"{tag} state: an object is expected, got {type(value).__name__}")
    if value.get("family") != tag:
        raise ValueError(f"family: {tag!r} is expected, got {value.get('family')!r:.80}")
    expected = {"family", *names}
    for name in sorted(expected - value.keys()):
        raise ValueError(f"{name}: missing in a {tag} state")
    for name in sorted(map(str, value.keys() - expected)):
        raise ValueError(f"{name[:80]}: not a field of a {tag} state")
    return value


def integer(value: Any, field: str, low: int, high: int) -> int:
    """A JSON integer or a decimal string within ``[low, high]``."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{field}: an integer is expected, got {value!r:.80}")
    if not low <= value <= high:
        raise ValueError(f"{field}: {value} is outside [{low}, {high}]")
    return value


def address(value: Any, field: str) -> Address:
    """A lower-case 0x address."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(f"{field}: {value!r:.80} is not a lower-case 0x address")
    return value


def token_pair(value: Any, field: str = "tokens") -> tuple[Address, Address]:
    """Two token addresses in the contract's ascending order."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{field}: a list of two addresses is expected, got {value!r:.80}")
    token0, token1 = (address(token, f"{field}[{k}]") for k, token in enumerate(value))
    if token0 >= token1:
        raise ValueError(f"{field}: {token0} must sort below {token1}")
    return token0, token1


def boolean(value: Any, field: str) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        raise ValueError(f"{field}: true or false is expected, got {value!r:.80}")
    return value


def word(value: Any, field: str) -> str:
    """32 bytes as lower-case 0x-hex."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError(f"{field}: {value!r:.80} is not 32 bytes of lower-case 0x-hex")
    return value


def integers(value: Any, field: str, bounds: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """A list with one integer for each of ``bounds``."""
    if not isinstance(value, list | tuple) or len(value) != len(bounds):
        raise ValueError(f"{field}: a list of {len(bounds)} integers is expected, got {value!r:.80}")
    pairs = enumerate(zip(value, bounds, strict=True))
    return tuple(integer(one, f"{field}[{k}]", low, high) for k, (one, (low, high)) in pairs)


def one_of(value: Any, field: str, known: Sequence[str]) -> str:
    """One of the ``known`` words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{field}: one of {', '.join(known)} is expected, got {value!r:.80}")
    return value
