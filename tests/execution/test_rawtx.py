"""What our own signed bytes offered."""

from contextlib import suppress
from typing import Any, cast

import coincurve
import pytest
import rlp
from eth_account import Account
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from ouro.execution.rawtx import asked_fields, fee_of, is_as_asked
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


@given(
    legacy=st.booleans(),
    nonce=st.integers(0, 2**40),
    price=st.integers(1, 2**60),
    data=st.binary(max_size=400),
    listed=st.lists(
        st.tuples(
            st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex()),
            st.lists(st.binary(min_size=32, max_size=32).map(lambda b: "0x" + b.hex()), max_size=4).map(tuple),
        ),
        max_size=4,
    ).map(tuple),
    flip=st.integers(0, 10**9),
)
def test_what_was_asked_is_recognised_and_nothing_else(
    legacy: bool, nonce: int, price: int, data: bytes, listed: tuple, flip: int
) -> None:
    to = "0x" + "ab" * 20
    fields: dict[str, Any] = {
        "chainId": 9_300_001,
        "nonce": nonce,
        "gas": 200_000,
        "to": to_checksum_address(to),
        "value": 0,
        "data": data,
    }
    if legacy:
        listed = ()
        fields |= {"gasPrice": price}
    else:
        fields |= {"maxFeePerGas": price, "maxPriorityFeePerGas": price // 3, "type": 2}
        fields |= {"accessList": [{"address": who, "storageKeys": list(slots)} for who, slots in listed]}
    raw = bytes(Account.sign_transaction(fields, "0x" + "11" * 32).raw_transaction)
    fee = FeeBid(price, price if legacy else price // 3, legacy)
    asked = (9_300_001, nonce, 200_000, to, 0, data, listed)
    assert is_as_asked(raw, fee, asked)
    assert asked_fields(raw) == asked
    at = flip % len(raw)
    changed = raw[:at] + bytes([raw[at] ^ (1 + flip % 255)]) + raw[at + 1 :]
    if is_as_asked(changed, fee, asked):
        # only the signature may be another, which is the node's to judge
        assert asked_fields(changed) == asked
    assert not is_as_asked(raw, fee, (*asked[:1], nonce + 1, *asked[2:]))
    assert not is_as_asked(raw[:-1], fee, asked)
