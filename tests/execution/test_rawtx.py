"""What our own signed bytes offered."""

from contextlib import suppress
from typing import Any, cast

import coincurve
import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from ouro.execution.rawtx import fee_of
from ouro.signer.keys import KeyRing, address_of
from ouro.signer.messages import SignRequest
from ouro.signer.transactions import UnsignedTransaction
from ouro.types import AttemptKind, FeeBid

KEY = coincurve.PrivateKey(bytes([7] * 32))
FEE = st.integers(0, 2**63 - 1)


def signed(fee: FeeBid, data: bytes = b"") -> bytes:
    """Bytes as the signer makes them."""
    request = SignRequest(
        chain="ethereum",
        chain_id=9_300_001,
        operator=address_of(KEY),
        kind=AttemptKind.TRADE,
        nonce=3,
        to="0x" + "ee" * 20,
        gas_limit=500_000,
        max_fee_per_gas_wei=fee.max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei=fee.max_priority_fee_per_gas_wei,
        legacy=fee.legacy,
        data=data,
    )
    key = KeyRing([KEY.secret]).get(address_of(KEY))
    assert key is not None
    return UnsignedTransaction(request).sign(key).raw


@given(FEE, FEE, st.booleans(), st.binary(max_size=300))
def test_the_bid_is_read_back(fee: int, tip: int, legacy: bool, data: bytes) -> None:
    bid = FeeBid(fee, fee, legacy=True) if legacy else FeeBid(max(fee, tip), min(fee, tip), legacy=False)
    assert fee_of(signed(bid, data)) == bid


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_never_a_crash(raw: bytes) -> None:
    with suppress(ValueError):
        fee_of(raw)


def encoded(fields: list[Any]) -> bytes:
    return cast("bytes", rlp.encode(fields))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x02",
        b"\x02\xc0",
        b"\xc0",
        b"\x01" + encoded([b"\x01"] * 11),
        b"\x02" + encoded([b"\x01", b"\x02", [], [], b"\x05"]),
        encoded([b"\x01", []]),
        (b"\x02" + encoded([b"\x01"] * 12))[:-1],
    ],
)
def test_what_is_no_transaction_of_ours_is_named_as_such(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a signed transaction"):
        fee_of(raw)
