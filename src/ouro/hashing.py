"""Keccak-256, the one hash the EVM uses."""

import sha3


def keccak(data: bytes) -> bytes:
    """Keccak-256 digest (32 bytes) of ``data``."""
    return sha3.keccak_256(data).digest()


def topic(signature: str) -> str:
    """First topic of an event, 0x-hex, from its canonical signature such as ``Sync(uint112,uint112)``."""
    return "0x" + keccak(signature.encode()).hex()


def selector(signature: str) -> bytes:
    """Four-byte selector of a function from its canonical signature."""
    return keccak(signature.encode())[:4]
