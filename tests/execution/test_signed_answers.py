"""The signer's answer is compared with what it was asked, whatever mixed them up."""

import pytest
from eth_account import Account

from ouro.execution.rawtx import asked_fields

KEY = bytes([7] * 32)
TO = "0x" + "12" * 20
TYPED = {"maxFeePerGas": 5, "maxPriorityFeePerGas": 2, "type": 2}
LEGACY = {"gasPrice": 5}


def signed(fees: dict[str, int], **changes: object) -> bytes:
    transaction = {"chainId": 9_300_001, "nonce": 3, "gas": 100_000, "to": TO, "value": 0, "data": b"\x01\x02"}
    return bytes(Account.from_key(KEY).sign_transaction(transaction | fees | changes).raw_transaction)


@pytest.mark.parametrize("fees", [TYPED, LEGACY], ids=["typed", "legacy"])
def test_everything_that_was_asked_is_read_back(fees: dict[str, int]) -> None:
    assert asked_fields(signed(fees)) == (9_300_001, 3, 100_000, TO, 0, b"\x01\x02", ())
    assert asked_fields(signed(fees, nonce=0, data=b"")) == (9_300_001, 0, 100_000, TO, 0, b"", ())


def test_the_access_list_is_read_back_and_compared() -> None:
    slot = "0x" + "ab" * 32
    listed = [{"address": TO, "storageKeys": [slot]}]
    assert asked_fields(signed(TYPED, accessList=listed))[-1] == ((TO, (slot,)),)
    assert asked_fields(signed(TYPED, accessList=listed)) != asked_fields(signed(TYPED))


@pytest.mark.parametrize("fees", [TYPED, LEGACY], ids=["typed", "legacy"])
@pytest.mark.parametrize(
    "change", [{"chainId": 1}, {"nonce": 4}, {"gas": 99_999}, {"to": "0x" + "13" * 20}, {"value": 1}, {"data": b""}]
)
def test_any_other_transaction_differs(fees: dict[str, int], change: dict[str, object]) -> None:
    assert asked_fields(signed(fees, **change)) != asked_fields(signed(fees))


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x02\xc0", b"\xc0", b"\xff" * 50, signed(TYPED)[:-1]])
def test_what_is_no_transaction_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a signed transaction"):
        asked_fields(raw)
