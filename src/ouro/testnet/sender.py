"""Sends a script's transactions in order and mines them together."""

from typing import Any

from ouro.testnet.abi import create_address
from ouro.testnet.client import Client, TransactionFailed
from ouro.types import Address, Hash

_CHUNK = 200


class Sender:
    """An account that the node itself signs for, with nonces counted here.

    Every send is its own request: a node executes the sends of a batch concurrently, which breaks the nonces.
    """

    def __init__(self, client: Client, account: Address) -> None:
        self.client = client
        self.account = account.lower()
        self.nonce = client.nonce(account, "pending")
        head = client.call("eth_getBlockByNumber", "latest", False)
        # Mining many full blocks in a row raises the base fee: leave ample room, the account is rich.
        self._max_fee = hex(int(head.get("baseFeePerGas", "0x1"), 16) * 1_000)
        self._sent: list[tuple[Hash, str]] = []
        self.purse: Address | None = None
        """The chain's ``MarketRouter`` once something has needed one."""
        self.vault: Address | None = None
        """Balancer's Vault of the chain, likewise: the factories of all its kinds of pool share it."""

    def send(
        self, to: Address | None, data: str = "0x", *, value_wei: int = 0, gas: int = 1_000_000, what: str = ""
    ) -> Hash:
        """Queue one transaction; ``what`` names it in errors."""
        request: dict[str, Any] = {
            "from": self.account, "data": data, "value": hex(value_wei), "gas": hex(gas), "nonce": hex(self.nonce),
            "maxFeePerGas": self._max_fee, "maxPriorityFeePerGas": "0x3b9aca00",
        }  # fmt: skip
        if to is not None:
            request["to"] = to
        tx_hash = self.client.call("eth_sendTransaction", request)
        self.nonce += 1
        self._sent.append((tx_hash, what or f"nonce {self.nonce - 1}"))
        return tx_hash

    def deploy(self, creation: str, what: str, gas: int = 7_000_000) -> Address:
        """Queue a deployment; returns the address where it will be."""
        address = create_address(self.account, self.nonce)
        self.send(None, creation, gas=gas, what=f"deployment of {what}")
        return address

    def mine(self) -> list[dict[str, Any]]:
        """Mine what is queued and return the receipts. Raises ``TransactionFailed`` naming the first failure."""
        self.client.call("evm_mine")
        receipts: list[dict[str, Any]] = []
        for start in range(0, len(self._sent), _CHUNK):
            chunk = self._sent[start : start + _CHUNK]
            found = self.client.batch([("eth_getTransactionReceipt", [tx_hash]) for tx_hash, _ in chunk])
            for (tx_hash, what), receipt in zip(chunk, found, strict=True):
                receipts.append(self._checked(receipt or self.client.receipt(tx_hash), what))
        self._sent.clear()
        return receipts

    @staticmethod
    def _checked(receipt: dict[str, Any], what: str) -> dict[str, Any]:
        if receipt["status"] != "0x1":
            raise TransactionFailed(f"{what} reverted (gas used {int(receipt['gasUsed'], 16)})")
        return receipt
