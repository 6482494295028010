"""An account that trades for an agent: nonces counted here, put right when the chain says otherwise."""

from typing import Any

from ouro.testnet.client import Client, NodeError
from ouro.types import Address, Hash


class TradingAccount:
    """Sends through an account that the node signs for."""

    def __init__(self, client: Client, address: Address) -> None:
        self.client = client
        self.address = address
        self._nonce: int | None = None
        self._latest = -1

    def send(self, to: Address, data: str, *, gas: int, max_fee_wei: int, tip_wei: int) -> Hash | None:
        """Send one transaction; None when the node refused it, after which the nonce is read anew."""
        if self._nonce is None:
            self._nonce = self.client.nonce(self.address, "pending")
        request: dict[str, Any] = {
            "from": self.address, "to": to, "data": data, "gas": hex(gas), "nonce": hex(self._nonce),
            "maxFeePerGas": hex(max_fee_wei), "maxPriorityFeePerGas": hex(min(tip_wei, max_fee_wei)),
        }  # fmt: skip
        try:
            tx_hash = self.client.call("eth_sendTransaction", request)
        except NodeError as error:
            self._after_refusal(error)
            return None
        self._nonce += 1
        return tx_hash

    def forget(self) -> None:
        """The chain was rolled back or restarted: count from what it says."""
        self._nonce = None

    def check(self) -> None:
        """Compare with the node: fill a gap that a reorg tore, and give up what the base fee has left behind."""
        latest = self.client.nonce(self.address, "latest")
        pending = self.client.nonce(self.address, "pending")
        if latest < pending and latest == self._latest:
            # Nothing got in since the last check: the oldest one pays too little and blocks all after it.
            self.client.call("anvil_removePoolTransactions", self.address)
            self._nonce = None
        elif self._nonce is None or pending < self._nonce:
            self._nonce = pending
        self._latest = latest

    def _after_refusal(self, error: NodeError) -> None:
        if self._nonce is not None and ("underpriced" in error.message or "already" in error.message):
            # An older transaction of ours waits at this nonce and will go on now that the gap before it is filled.
            self._nonce += 1
        else:
            self.forget()
