"""Encode and sign transactions: EIP-1559 (type 2, with access list) and legacy with replay protection (EIP-155).

RLP is written out here: the general library takes a quarter of the signer's time budget on one call's data.
"""

import re
from collections.abc import Sequence
from typing import TypeAlias

import coincurve

from ouro.hashing import keccak
from ouro.signer.messages import AccessList, SignedTransaction, SignRequest

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SLOT = re.compile(r"0x[0-9a-fA-F]{64}")
_TYPE_2 = b"\x02"

Rlp: TypeAlias = "int | bytes | Sequence[Rlp]"


class EncodingError(ValueError):
    """A field can't be part of a transaction; the message names it."""


def rlp_encode(item: Rlp) -> bytes:
    """Recursive length prefix (Yellow Paper, appendix B); integers are big-endian without leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(len(item), 0x80) + item
    return rlp_list(b"".join(rlp_encode(part) for part in item))


def rlp_list(body: bytes) -> bytes:
    """A list whose items are encoded already."""
    return _prefix(len(body), 0xC0) + body


def _prefix(length: int, offset: int) -> bytes:
    if length <= 55:
        return bytes((offset + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((offset + 55 + len(size),)) + size


def address_bytes(address: str, field: str) -> bytes:
    """20 bytes of a 0x-hex address. Raises EncodingError naming ``field``."""
    if not _ADDRESS.fullmatch(address):
        raise EncodingError(f"{field}: {address[:50]!r} is not an address")
    return bytes.fromhex(address[2:])


def _access_list(entries: AccessList) -> bytes:
    """Encoded list of [address, [slots]]; the fixed sizes make their prefixes constants (20 and 32 bytes)."""
    body = b""
    for address, slots in entries:
        encoded = b"\x94" + address_bytes(address, "access_list")
        for slot in slots:
            if not _SLOT.fullmatch(slot):
                raise EncodingError(f"access_list: {slot[:70]!r} is not a 32-byte slot")
        words = b"".join([b"\xa0" + bytes.fromhex(slot[2:]) for slot in slots])
        body += rlp_list(encoded + rlp_list(words))
    return rlp_list(body)


def _unsigned_body(request: SignRequest) -> bytes:
    numbers = ("chain_id", "nonce", "gas_limit", "max_fee_per_gas_wei", "max_priority_fee_per_gas_wei", "value_wei")
    for field in numbers:
        if getattr(request, field) < 0:
            raise EncodingError(f"{field}: {getattr(request, field)} is negative")
    if request.chain_id == 0:
        raise EncodingError("chain_id: 0 would be valid on every chain")
    call: list[Rlp] = [request.gas_limit, address_bytes(request.to, "to"), request.value_wei, request.data]
    if request.legacy:
        if request.access_list:
            raise EncodingError("access_list: a legacy transaction has none")
        return _joined([request.nonce, request.max_fee_per_gas_wei, *call])
    tip, cap = request.max_priority_fee_per_gas_wei, request.max_fee_per_gas_wei
    return _joined([request.chain_id, request.nonce, tip, cap, *call]) + _access_list(request.access_list)


def _joined(fields: list[Rlp]) -> bytes:
    return b"".join([rlp_encode(field) for field in fields])


class UnsignedTransaction:
    """A request encoded once: ``digest`` is what is signed, and identifies the payload."""

    __slots__ = ("_body", "_chain_id", "_legacy", "digest")

    def __init__(self, request: SignRequest) -> None:
        """Raises EncodingError naming the field."""
        self._legacy, self._chain_id = request.legacy, request.chain_id
        self._body = _unsigned_body(request)
        if self._legacy:
            replay_protection = rlp_encode(self._chain_id) + rlp_encode(0) + rlp_encode(0)
            self.digest = keccak(rlp_list(self._body + replay_protection))
        else:
            self.digest = keccak(_TYPE_2 + rlp_list(self._body))

    def sign(self, key: coincurve.PrivateKey) -> SignedTransaction:
        """Sign deterministically (RFC 6979, low s): the same payload always gives the same bytes."""
        signature = key.sign_recoverable(self.digest, hasher=None)
        parity = signature[64]
        v = parity + 35 + 2 * self._chain_id if self._legacy else parity
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        raw = rlp_list(self._body + rlp_encode(v) + rlp_encode(r) + rlp_encode(s))
        if not self._legacy:
            raw = _TYPE_2 + raw
        return SignedTransaction(raw, "0x" + keccak(raw).hex())
