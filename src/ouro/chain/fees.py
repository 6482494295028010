"""What gas costs: the exact EIP-1559 base fee of the next block, legacy gas prices, and bids on top of them."""

from dataclasses import dataclass, replace
from typing import Literal

from ouro.chain.quantity import parse_quantity
from ouro.chain.rpc import Caller
from ouro.types import BlockUpdate, FeeBid


@dataclass(frozen=True, slots=True)
class FeeParams:
    """Constants of a chain's EIP-1559 rule; the defaults are Ethereum's (and anvil's).

    OP-stack chains use denominator 250 and elasticity 6 (Canyon), Polygon denominator 64.
    """

    change_denominator: int = 8
    elasticity: int = 2
    min_base_fee_wei: int = 0


ETHEREUM_FEES = FeeParams()


def next_base_fee(update: BlockUpdate, params: FeeParams = ETHEREUM_FEES) -> int:
    """Base fee of the block after ``update``, in wei, by the integer rule of EIP-1559.

    Raises ``ValueError`` for a block without a base fee.
    """
    if update.base_fee_wei is None:
        raise ValueError(f"chain {update.chain}: block {update.number} has no base fee: fee_model must be legacy")
    return base_fee_after(update.base_fee_wei, update.gas_used, update.gas_limit, params)


def base_fee_after(base_fee_wei: int, gas_used: int, gas_limit: int, params: FeeParams = ETHEREUM_FEES) -> int:
    """The rule itself: up or down by at most 1/denominator, in proportion to the distance from the gas target."""
    target = gas_limit // params.elasticity
    if target == 0:
        raise ValueError(f"gas limit {gas_limit} leaves no gas target")
    if gas_used > target:
        step = base_fee_wei * (gas_used - target) // target // params.change_denominator
        following = base_fee_wei + max(step, 1)
    else:
        following = base_fee_wei - base_fee_wei * (target - gas_used) // target // params.change_denominator
    return max(following, params.min_base_fee_wei)


def highest_base_fee(base_fee_wei: int, blocks: int, params: FeeParams = ETHEREUM_FEES) -> int:
    """The base fee after ``blocks`` completely full blocks: what a bid must bear to stay valid that long."""
    for _ in range(blocks):
        step = base_fee_wei * (params.elasticity - 1) // params.change_denominator
        base_fee_wei += max(step, 1)
    return base_fee_wei


def effective_gas_price(bid: FeeBid, base_fee_wei: int) -> int:
    """What a transaction with ``bid`` pays per gas in a block of ``base_fee_wei``."""
    if bid.legacy:
        return bid.max_fee_per_gas_wei
    return min(bid.max_fee_per_gas_wei, base_fee_wei + bid.max_priority_fee_per_gas_wei)


@dataclass(frozen=True, slots=True)
class FeeModel:
    """How a chain prices gas. ``gas_price_wei`` is the node's last quote, for chains without base fee."""

    kind: Literal["eip1559", "legacy"] = "eip1559"
    params: FeeParams = ETHEREUM_FEES
    gas_price_wei: int | None = None

    def next_base_fee(self, update: BlockUpdate) -> int:
        """The price floor of the next block in wei: its base fee, or the node's gas price where there is none.

        Raises ``ValueError`` if neither is known.
        """
        if update.base_fee_wei is not None:
            return next_base_fee(update, self.params)
        if self.kind == "legacy" and self.gas_price_wei is not None:
            return self.gas_price_wei
        raise ValueError(f"chain {update.chain}: neither base fee nor gas price known at block {update.number}")

    def bid_fee(self, next_base_wei: int, tip_wei: int, blocks: int = 1) -> FeeBid:
        """A bid of ``tip_wei`` above the base fee, valid in the next ``blocks`` blocks.

        For one block the maximum is exact, ``next_base_wei + tip_wei``: nothing is offered that can't be needed.
        """
        if tip_wei < 0 or next_base_wei < 0 or blocks < 1:
            raise ValueError(f"bid of tip {tip_wei} on base {next_base_wei} for {blocks} blocks makes no sense")
        max_fee_wei = highest_base_fee(next_base_wei, blocks - 1, self.params) + tip_wei
        if self.kind == "legacy":
            return FeeBid(max_fee_wei, max_fee_wei, legacy=True)
        return FeeBid(max_fee_wei, tip_wei, legacy=False)

    async def refreshed(self, node: Caller) -> "FeeModel":
        """The model with the node's current ``eth_gasPrice``; itself on EIP-1559 chains, which need none."""
        if self.kind == "eip1559":
            return self
        return replace(self, gas_price_wei=parse_quantity(await node.call("eth_gasPrice", [])))
