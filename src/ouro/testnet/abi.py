"""Contract calls for scripts: a human-readable signature and arguments in, 0x-hex out."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import rlp
from eth_abi.abi import decode, encode

from ouro.hashing import keccak
from ouro.types import Address


@lru_cache(maxsize=256)
def _parse(signature: str) -> tuple[bytes, tuple[str, ...]]:
    """``name(type,(type,type)[])`` → selector and top-level types."""
    inner = signature[signature.index("(") + 1 : -1]
    types: list[str] = []
    depth, start = 0, 0
    for position, character in enumerate(inner + ","):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            types.append(inner[start:position])
            start = position + 1
    return keccak(signature.encode())[:4], tuple(kind for kind in types if kind)


def call_data(signature: str, *arguments: Any) -> str:
    """Calldata of a call, e.g. ``call_data("approve(address,uint256)", spender, 5)``."""
    selector, types = _parse(signature)
    return "0x" + (selector + encode(types, arguments)).hex()


def call_bytes(signature: str, *arguments: Any) -> bytes:
    """The same as bytes, for calls inside calls."""
    return bytes.fromhex(call_data(signature, *arguments)[2:])


def creation_data(bytecode: bytes, types: Sequence[str], arguments: Sequence[Any]) -> str:
    """Creation code followed by constructor arguments."""
    return "0x" + (bytecode + encode(types, arguments)).hex()


def decode_result(types: Sequence[str], data: str) -> tuple[Any, ...]:
    """Values from the answer of an ``eth_call``. Addresses come out lower-case."""
    return decode(types, bytes.fromhex(data[2:]))


def create_address(sender: Address, nonce: int) -> Address:
    """Where ``sender``'s transaction ``nonce`` deploys."""
    return "0x" + keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()
