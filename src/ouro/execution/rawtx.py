"""Reading back our own signed bytes: after a restart they are all that is left of an attempt."""

from typing import Any, TypeAlias

import rlp

from ouro.execution.access_list import AccessList
from ouro.types import FeeBid

DYNAMIC_FEE_TYPE = 2
_EIP155_OFFSET = 35


def fee_of(raw_tx: bytes) -> FeeBid:
    """The fee that signed bytes offer. Raises ``ValueError`` for bytes that are no transaction of ours."""
    try:
        if raw_tx[:1] == bytes([DYNAMIC_FEE_TYPE]):
            fields: Any = rlp.decode(raw_tx[1:])
            return FeeBid(_number(fields[3]), _number(fields[2]), legacy=False)
        price = _number(rlp.decode(raw_tx)[1])
        return FeeBid(price, price, legacy=True)
    except (rlp.DecodingError, IndexError, TypeError) as error:
        raise ValueError(f"{len(raw_tx)} bytes are not a signed transaction of a known type") from error


AskedFields: TypeAlias = tuple[int, int, int, str, int, bytes, AccessList]


def asked_fields(raw_tx: bytes) -> AskedFields:
    """Chain id, nonce, gas limit, destination, value, data and access list of signed bytes. Raises as `fee_of`."""
    try:
        if raw_tx[:1] == bytes([DYNAMIC_FEE_TYPE]):
            fields: Any = rlp.decode(raw_tx[1:])
            chain_id, rest, listed = _number(fields[0]), [fields[1], *fields[4:8]], _access_list(fields[8])
        else:
            fields = rlp.decode(raw_tx)
            chain_id, rest, listed = (_number(fields[6]) - _EIP155_OFFSET) // 2, [fields[0], *fields[2:6]], ()
        nonce, gas, to, value, data = rest
        return chain_id, _number(nonce), _number(gas), "0x" + to.hex(), _number(value), bytes(data), listed
    except (rlp.DecodingError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{len(raw_tx)} bytes are not a signed transaction of a known type") from error


def is_as_asked(raw_tx: bytes, fee: FeeBid, asked: AskedFields) -> bool:
    """Whether signed bytes are exactly this transaction with a signature behind it: what was asked for is written
    down and compared, which is quicker than to read what came. False also where it can't be said.
    """
    chain_id, nonce, gas, to, value, data, listed = asked
    destination = bytes.fromhex(to[2:])
    if fee.legacy:
        head, start = [nonce, fee.max_fee_per_gas_wei, gas], 0
        tail = b""
    else:
        head = [chain_id, nonce, fee.max_priority_fee_per_gas_wei, fee.max_fee_per_gas_wei, gas]
        start = 1
        tail = _list(
            b"".join(_list(_hex_item(who) + _list(b"".join(map(_hex_item, slots)))) for who, slots in listed)
        )
    content = b"".join([_item(_big_endian(number)) for number in head])
    content += _item(destination) + _item(_big_endian(value)) + _item(data) + tail
    if start and raw_tx[:1] != bytes([DYNAMIC_FEE_TYPE]):
        return False
    body = _list_content(raw_tx, start)
    if body is None or not raw_tx.startswith(content, body):
        return False
    signature = _short_items(raw_tx, body + len(content))
    if signature is None or len(signature) != 3:
        return False
    return start == 1 or (int.from_bytes(signature[0], "big") - _EIP155_OFFSET) // 2 == chain_id


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _item(content: bytes) -> bytes:
    if len(content) == 1 and content[0] < 0x80:
        return content
    return _length(0x80, len(content)) + content


def _hex_item(text: str) -> bytes:
    return _item(bytes.fromhex(text[2:]))


def _list(content: bytes) -> bytes:
    return _length(0xC0, len(content)) + content


def _length(kind: int, size: int) -> bytes:
    if size < 56:
        return bytes([kind + size])
    digits = _big_endian(size)
    return bytes([kind + 55 + len(digits)]) + digits


def _list_content(raw: bytes, at: int) -> int | None:
    """Where the content of a list begins that fills ``raw`` from ``at`` to its end."""
    first = raw[at] if at < len(raw) else 0
    if first < 0xC0:
        return None
    digits = max(0, first - 0xF7)
    begin = at + 1 + digits
    size = int.from_bytes(raw[at + 1 : begin], "big") if digits else first - 0xC0
    return begin if begin + size == len(raw) else None


def _short_items(raw: bytes, at: int) -> list[bytes] | None:
    """The items from ``at`` to the end, each shorter than 56 bytes."""
    found = []
    while at < len(raw):
        first = raw[at]
        size = 0 if first < 0x80 else first - 0x80
        if size > 55:
            return None
        found.append(raw[at : at + 1] if first < 0x80 else raw[at + 1 : at + 1 + size])
        at += 1 + size
    return found if at == len(raw) else None


def _access_list(field: Any) -> AccessList:
    return tuple(("0x" + address.hex(), tuple("0x" + slot.hex() for slot in slots)) for address, slots in field)


def _number(field: Any) -> int:
    if not isinstance(field, bytes):
        raise TypeError("a list where a number belongs")
    return int.from_bytes(field, "big")
