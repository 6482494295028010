"""Multicall3's ``aggregate3``, encoded and decoded without an ABI library: the layout is fixed."""

from collections.abc import Sequence
from typing import TypeAlias

from ouro.hashing import selector
from ouro.types import Address

ContractCall: TypeAlias = tuple[Address, bytes]

_SELECTOR = selector("aggregate3((address,bool,bytes)[])")
_WORD = 32


def _word(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _WORD)


def encode_aggregate3(calls: Sequence[ContractCall]) -> bytes:
    """Calldata that runs ``calls``, each allowed to fail."""
    heads, tails, offset = [], [], _WORD * len(calls)
    for target, data in calls:
        body = _word(int(target, 16)) + _word(1) + _word(3 * _WORD) + _word(len(data)) + _padded(data)
        heads.append(_word(offset))
        tails.append(body)
        offset += len(body)
    return _SELECTOR + _word(_WORD) + _word(len(calls)) + b"".join(heads) + b"".join(tails)


def decode_aggregate3(data: bytes, count: int) -> list[bytes | None]:
    """Return data of each of ``count`` calls, None where the call reverted.

    Raises ``ValueError`` when ``data`` is not such an answer (no contract there, cut short, another count).
    """
    start = _read(data, 0)
    if _read(data, start) != count:
        raise ValueError(f"aggregate3 answered {_read(data, start)} results for {count} calls")
    base = start + _WORD
    results: list[bytes | None] = []
    for index in range(count):
        item = base + _read(data, base + index * _WORD)
        success = _read(data, item)
        at = item + _read(data, item + _WORD)
        length = _read(data, at)
        if success > 1 or at + _WORD + length > len(data):
            raise ValueError(f"aggregate3 result {index} is malformed")
        results.append(data[at + _WORD : at + _WORD + length] if success else None)
    return results


def _read(data: bytes, at: int) -> int:
    if at + _WORD > len(data):
        raise ValueError(f"aggregate3 answer is cut at byte {len(data)}")
    return int.from_bytes(data[at : at + _WORD], "big")
