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


def _access_list(field: Any) -> AccessList:
    return tuple(("0x" + address.hex(), tuple("0x" + slot.hex() for slot in slots)) for address, slots in field)


def _number(field: Any) -> int:
    if not isinstance(field, bytes):
        raise TypeError("a list where a number belongs")
    return int.from_bytes(field, "big")
