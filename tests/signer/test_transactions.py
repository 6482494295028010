"""Encoding and signing equal eth-account's, byte for byte."""

import coincurve
import pytest
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.signer.messages import SignRequest
from ouro.signer.transactions import EncodingError, UnsignedTransaction, rlp_encode
from ouro.types import AttemptKind

u64 = st.integers(0, 2**63 - 1)
address = st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
slot = st.binary(min_size=32, max_size=32).map(lambda b: "0x" + b.hex())
entry = st.tuples(address, st.lists(slot, max_size=3).map(tuple))
secret = st.integers(1, 2**255).map(lambda n: n.to_bytes(32, "big"))


@st.composite
def requests(draw: st.DrawFn) -> SignRequest:
    legacy = draw(st.booleans())
    return SignRequest(
        chain="c",
        chain_id=draw(st.integers(1, 2**40)),
        operator="0x" + "00" * 20,
        kind=AttemptKind.TRADE,
        nonce=draw(u64),
        to=draw(address),
        gas_limit=draw(u64),
        max_fee_per_gas_wei=draw(u64),
        max_priority_fee_per_gas_wei=draw(u64),
        legacy=legacy,
        value_wei=draw(u64),
        data=draw(st.binary(max_size=400)),
        access_list=() if legacy else draw(st.lists(entry, max_size=3).map(tuple)),
    )


def as_eth_account(request: SignRequest) -> dict[str, object]:
    common: dict[str, object] = {
        "chainId": request.chain_id,
        "nonce": request.nonce,
        "to": bytes.fromhex(request.to[2:]),
        "gas": request.gas_limit,
        "value": request.value_wei,
        "data": request.data,
    }
    if request.legacy:
        return common | {"gasPrice": request.max_fee_per_gas_wei}
    return common | {
        "type": 2,
        "maxFeePerGas": request.max_fee_per_gas_wei,
        "maxPriorityFeePerGas": request.max_priority_fee_per_gas_wei,
        "accessList": [{"address": a, "storageKeys": list(slots)} for a, slots in request.access_list],
    }


@settings(max_examples=150, deadline=None)
@given(requests(), secret)
def test_equals_eth_account(request: SignRequest, key: bytes) -> None:
    signed = UnsignedTransaction(request).sign(coincurve.PrivateKey(key))
    expected = Account.sign_transaction(as_eth_account(request), key)
    assert signed.raw == bytes(expected.raw_transaction)
    assert signed.tx_hash == "0x" + expected.hash.hex().removeprefix("0x")


nested = st.recursive(st.binary(max_size=80) | st.integers(0, 2**256 - 1), lambda s: st.lists(s, max_size=6))


@given(nested)
def test_rlp_equals_the_reference(item: object) -> None:
    assert rlp_encode(item) == rlp.encode(item)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [54, 55, 56, 57, 255, 256, 257, 65_535, 65_536])
def test_rlp_length_boundaries(size: int) -> None:
    for item in (b"\x01" * size, [b"\x01" * size], [1] * size):
        assert rlp_encode(item) == rlp.encode(item)


BASE = {
    "chain": "c",
    "chain_id": 1,
    "operator": "0x" + "00" * 20,
    "kind": AttemptKind.TRADE,
    "nonce": 0,
    "to": "0x" + "11" * 20,
    "gas_limit": 21_000,
    "max_fee_per_gas_wei": 2,
    "max_priority_fee_per_gas_wei": 1,
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": "0x12"}, "to"),
        ({"to": "0x" + "é" * 40}, "to"),
        ({"nonce": -1}, "nonce"),
        ({"value_wei": -1}, "value_wei"),
        ({"chain_id": 0}, "chain_id"),
        ({"access_list": (("0x" + "11" * 20, ("0x01",)),)}, "access_list"),
        ({"access_list": (("x", ()),)}, "access_list"),
        ({"legacy": True, "access_list": (("0x" + "11" * 20, ()),)}, "access_list"),
    ],
)
def test_errors_name_the_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(EncodingError, match=f"^{field}: "):
        UnsignedTransaction(SignRequest(**(BASE | changes)))  # type: ignore[arg-type]
