"""Noticing new blocks by asking for them."""

from dataclasses import dataclass

from ouro.testnet.client import Client
from ouro.types import Hash


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block. ``rolled_back``: it doesn't follow from what was seen before."""

    number: int
    hash: Hash
    base_fee_wei: int
    next_base_fee_wei: int
    rolled_back: bool


class HeadWatcher:
    """Remembers the last head."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = -1
        self._hash: Hash | None = None

    def poll(self) -> Head | None:
        """The head if it is a new one."""
        block = self._client.call("eth_getBlockByNumber", "latest", False)
        if block["hash"] == self._hash:
            return None
        number = int(block["number"], 16)
        follows = number > self._number + 1 or (number == self._number + 1 and block["parentHash"] == self._hash)
        rolled_back = self._hash is not None and not follows
        self._number, self._hash = number, block["hash"]
        base_fee = int(block.get("baseFeePerGas", "0x0"), 16)
        following = next_base_fee_wei(base_fee, int(block["gasUsed"], 16), int(block["gasLimit"], 16))
        return Head(number, block["hash"], base_fee, following, rolled_back)


def next_base_fee_wei(base_fee_wei: int, gas_used: int, gas_limit: int) -> int:
    """EIP-1559: an eighth at most, towards half-full blocks."""
    target = gas_limit // 2
    if gas_used == target or not target:
        return base_fee_wei
    change = base_fee_wei * abs(gas_used - target) // target // 8
    return base_fee_wei + max(change, 1) if gas_used > target else base_fee_wei - change
