"""Reading back our own signed bytes: after a restart they are all that is left of an attempt."""

from typing import Any

import rlp

from ouro.types import FeeBid

DYNAMIC_FEE_TYPE = 2


def fee_of(raw_tx: bytes) -> FeeBid:
    """The fee that signed bytes offer. Raises ``ValueError`` for bytes that are no transaction of ours."""
    try:
        if raw_tx[:1] == bytes([DYNAMIC_FEE_TYPE]):
            fields: Any = rlp.decode(raw_tx[1:])
            return FeeBid(int.from_bytes(fields[3], "big"), int.from_bytes(fields[2], "big"), legacy=False)
        fields = rlp.decode(raw_tx)
        price = int.from_bytes(fields[1], "big")
        return FeeBid(price, price, legacy=True)
    except (rlp.DecodingError, IndexError, TypeError) as error:
        raise ValueError(f"{len(raw_tx)} bytes are not a signed transaction of a known type") from error
