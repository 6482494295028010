"""Addresses, salts, signatures and code comparisons of a deployment: what needs no node."""

from dataclasses import replace
from typing import Any

import coincurve
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.execution import create3
from ouro.execution.builds import DeployError, builds, opcodes_of
from ouro.execution.create3 import PROXY, address_of_salt, salt_of, shared_factory
from ouro.execution.deployplan import native
from ouro.execution.deploytx import DeployTx, sign
from ouro.hashing import keccak
from ouro.types import Address, FeeBid

KEY = coincurve.PrivateKey(keccak(b"a deployer of these tests"))
DEPLOYER: Address = Account.from_key(KEY.secret).address.lower()
OWNER = "0x" + "a" * 40


def test_the_shared_addresses_never_change() -> None:
    """They are in configurations: a change of the factory's code or of its compiler must not pass unnoticed."""
    assert shared_factory() == "0x4a715131bcc1fccd66a2f0b7aab85c0ae4411094"
    known = address_of_salt(shared_factory(), salt_of("0x" + "11" * 20, 5))
    assert known == address_of_salt(shared_factory(), bytes.fromhex("11" * 20 + "00" * 11 + "05"))


def test_the_keyless_transaction_makes_the_proxy() -> None:
    fields: Any = rlp.decode(create3.KEYLESS_RAW)
    digest = keccak(rlp.encode(fields[:6]))
    signature = fields[7] + fields[8] + bytes([fields[6][0] - 27])
    recovered = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    sender = "0x" + keccak(recovered.format(compressed=False)[1:])[12:].hex()
    assert sender == create3.KEYLESS_SIGNER
    assert create3.create_address(sender, 0) == PROXY
    assert fields[5].endswith(create3.PROXY_CODE)
    price, gas = (int.from_bytes(part, "big") for part in fields[1:3])
    assert (price, gas, price * gas) == (
        create3.KEYLESS_GAS_PRICE_WEI,
        create3.KEYLESS_GAS,
        create3.KEYLESS_COST_WEI,
    )


def test_mining_finds_leading_zeros_and_reproduces() -> None:
    ticks = iter(range(100))
    number, address = create3.mine_number(DEPLOYER, shared_factory(), 2**96 - 7, 20, lambda: float(next(ticks)))
    assert int(address[2:4], 16) == 0
    assert address == address_of_salt(shared_factory(), salt_of(DEPLOYER, number))


@given(st.integers(0, 2**96 - 1), st.booleans(), st.binary(max_size=300))
@settings(max_examples=50)
def test_transactions_are_what_eth_account_recovers(nonce: int, legacy: bool, data: bytes) -> None:
    fee = FeeBid(3 * 10**9, 10**9, legacy=legacy)
    for to in (OWNER, None):
        raw, tx_hash = sign(DeployTx(9_300_250, nonce % 2**63, to, 7, 21_000, fee, data), KEY)
        assert Account.recover_transaction(raw).lower() == DEPLOYER
        assert tx_hash == "0x" + keccak(raw).hex()


def test_opcodes_leave_the_data_of_pushes_out() -> None:
    assert opcodes_of(bytes.fromhex("605c 7f" + "5e" * 32 + "5f 00")) == {0x60, 0x7F, 0x5F, 0x00}
    assert opcodes_of(bytes.fromhex("61ff")) == {0x61}


def test_the_factory_runs_on_every_chain() -> None:
    frozen = create3.factory_artifact()
    # CHAINID and SELFBALANCE came with istanbul, all others above with later hard forks.
    younger = {0x1E, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x5C, 0x5D, 0x5E, 0x5F}
    assert not (opcodes_of(frozen.creation_code) | opcodes_of(frozen.runtime_code)) & younger


def test_immutables_are_compared_as_blanks() -> None:
    build = replace(builds()[0], runtime_code=bytes(10), immutables=((2, 3),))
    assert build.matches(bytes.fromhex("0000ffeedd0000000000"))
    assert not build.matches(bytes.fromhex("0000ffeeddcc00000000"))
    assert not build.matches(bytes(11))


def test_words_of_nodes_can_not_add_lines() -> None:
    assert str(DeployError("it said: a\n\tb\x1b[2J")) == "it said: a b\\x1b[2J"


def test_amounts_are_exact() -> None:
    assert native(10**15) == "0.001 native"
    assert native(0) == "0 native"
    assert native(-(10**18) - 1) == "-1.000000000000000001 native"
