"""Signing the few transactions of a deployment: a person's command, apart from the process that signs trades."""

from dataclasses import dataclass, field

import coincurve

from ouro.hashing import keccak
from ouro.signer.transactions import Rlp, rlp_encode
from ouro.types import Address, FeeBid, Hash


@dataclass(frozen=True, slots=True)
class DeployTx:
    """One transaction in the clear. ``to`` None creates a contract from ``data``."""

    chain_id: int
    nonce: int
    to: Address | None
    value_wei: int
    gas_limit: int
    fee: FeeBid
    data: bytes = field(repr=False)


def sign(tx: DeployTx, key: coincurve.PrivateKey) -> tuple[bytes, Hash]:
    """Raw bytes and hash: EIP-1559, or legacy with replay protection (EIP-155) where the fee is legacy."""
    to = b"" if tx.to is None else bytes.fromhex(tx.to[2:])
    call: list[Rlp] = [tx.gas_limit, to, tx.value_wei, tx.data]
    if tx.fee.legacy:
        body: list[Rlp] = [tx.nonce, tx.fee.max_fee_per_gas_wei, *call]
        r, s, parity = _signature(key, keccak(rlp_encode([*body, tx.chain_id, 0, 0])))
        raw = rlp_encode([*body, parity + 35 + 2 * tx.chain_id, r, s])
    else:
        fees: list[Rlp] = [tx.fee.max_priority_fee_per_gas_wei, tx.fee.max_fee_per_gas_wei]
        body = [tx.chain_id, tx.nonce, *fees, *call, []]
        r, s, parity = _signature(key, keccak(b"\x02" + rlp_encode(body)))
        raw = b"\x02" + rlp_encode([*body, parity, r, s])
    return raw, "0x" + keccak(raw).hex()


def _signature(key: coincurve.PrivateKey, digest: bytes) -> tuple[int, int, int]:
    signature = key.sign_recoverable(digest, hasher=None)
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
