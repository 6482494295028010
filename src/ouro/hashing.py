"""Keccak-256, the one hash the EVM uses."""

import sha3


def keccak(data: bytes) -> bytes:
    """Keccak-256 digest (32 bytes) of ``data``."""
    return sha3.keccak_256(data).digest()


def checksummed(address: str) -> str:
    """The 0x-address in EIP-55's mixed case: a letter is capital where the hash's digit at its place is above 7."""
    digits = address[2:].lower()
    mask = keccak(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(m, 16) > 7 else c for c, m in zip(digits, mask, strict=False))


def has_wrong_checksum(address: str) -> bool:
    """Whether the mixed case of a 0x-address says that a digit is wrong; one case only says nothing."""
    digits = address[2:]
    return digits not in (digits.lower(), digits.upper()) and address[2:] != checksummed(address)[2:]


def topic(signature: str) -> str:
    """First topic of an event, 0x-hex, from its canonical signature such as ``Sync(uint112,uint112)``."""
    return "0x" + keccak(signature.encode()).hex()


def selector(signature: str) -> bytes:
    """Four-byte selector of a function from its canonical signature."""
    return keccak(signature.encode())[:4]
