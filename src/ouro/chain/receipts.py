"""Transaction receipts, checked field by field."""

from dataclasses import dataclass
from typing import Any

from ouro.chain.logs import parse_log
from ouro.chain.quantity import parse_address, parse_hash, parse_quantity
from ouro.types import Address, Hash, Log


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an included transaction. ``status`` is 1 for success, 0 for a revert.

    ``effective_gas_price`` is what was paid per gas in wei, base fee included; ``l1_fee_wei`` is what a rollup of
    the OP stack charges beside it for the transaction's data (Arbitrum has that in its gas).
    """

    tx_hash: Hash
    status: int
    block_number: int
    block_hash: Hash
    tx_index: int
    gas_used: int
    effective_gas_price: int
    contract_address: Address | None
    logs: tuple[Log, ...]
    l1_fee_wei: int = 0

    @property
    def gas_cost_wei(self) -> int:
        """Native coin paid for gas, and for data where that is charged apart."""
        return self.gas_used * self.effective_gas_price + self.l1_fee_wei


def parse_receipt(value: Any, tx_hash: Hash | None = None) -> Receipt | None:
    """The receipt from ``eth_getTransactionReceipt``; None while the transaction is not included.

    Raises ``ValueError`` naming the field, or when it is not the receipt of ``tx_hash`` or its logs are elsewhere.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("receipt is not an object")
    if value.get("blockHash") is None:
        return None  # some nodes show receipts of pending transactions
    receipt = _parse_fields(value)
    if tx_hash is not None and receipt.tx_hash != tx_hash.lower():
        raise ValueError(f"receipt is of transaction {receipt.tx_hash}, {tx_hash} was asked for")
    if receipt.status not in (0, 1):
        raise ValueError(f"receipt field status: {receipt.status}, 0 or 1 is expected")
    for log in receipt.logs:
        if (log.block_hash, log.tx_hash) != (receipt.block_hash, receipt.tx_hash):
            raise ValueError(f"receipt of {receipt.tx_hash} holds a log of {log.tx_hash} in {log.block_hash}")
    return receipt


def _parse_fields(value: dict[str, Any]) -> Receipt:
    field = ""
    try:
        numbers = {}
        for field in ("status", "blockNumber", "transactionIndex", "gasUsed", "effectiveGasPrice"):
            numbers[field] = parse_quantity(value.get(field))
        field = "l1Fee"
        l1_fee_wei = 0 if value.get(field) is None else parse_quantity(value[field])
        field = "transactionHash"
        tx_hash = parse_hash(value.get(field))
        field = "blockHash"
        block_hash = parse_hash(value.get(field))
        field = "contractAddress"
        contract = None if value.get(field) is None else parse_address(value[field])
        field = "logs"
        logs = value.get(field)
        if not isinstance(logs, list):
            raise ValueError("a list is expected")
        parsed = tuple(sorted((parse_log(log) for log in logs), key=lambda log: log.log_index))
    except ValueError as error:
        raise ValueError(f"receipt field {field}: {error}") from None
    return Receipt(
        tx_hash=tx_hash,
        status=numbers["status"],
        block_number=numbers["blockNumber"],
        block_hash=block_hash,
        tx_index=numbers["transactionIndex"],
        gas_used=numbers["gasUsed"],
        effective_gas_price=numbers["effectiveGasPrice"],
        contract_address=contract,
        logs=parsed,
        l1_fee_wei=l1_fee_wei,
    )
