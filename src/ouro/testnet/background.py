"""The rest of the chain's users: demand for block space that yields when it gets expensive.

Without it blocks would be nearly empty and the base fee would sink to nothing within minutes, so neither fee
prediction nor the cost of gas would be real. One transaction a block burns gas in a contract whose only instruction
is INVALID (which takes all gas at once and no time); it fails by design and touches no state but its sender's.
"""

import numpy as np

from ouro.testnet.head import Head
from ouro.testnet.trading_account import TradingAccount
from ouro.types import Address

SINK_CREATION_CODE = bytes.fromhex("60fe60005360016000f3")
"""Deploys the single byte 0xfe, INVALID."""

REFERENCE_BASE_FEE_WEI = 1_000_000_000
_TARGET_GAS = 14_500_000
_LARGEST_GAS = 22_000_000
_SMALLEST_GAS = 50_000
_ELASTICITY = 0.5
_NOISE = 0.35


class BackgroundLoad:
    """Sends the burning transaction of each block, behind everybody else in the order of fees."""

    def __init__(self, account: TradingAccount, sink: Address, seed: int, chain_id: int) -> None:
        self._account = account
        self._sink = sink
        self._rng = np.random.default_rng([seed, chain_id, 1_559])

    def on_head(self, head: Head) -> None:
        """Ask for a share of the next block, less the dearer it is."""
        gas = self.gas_wanted(head.next_base_fee_wei)
        # One wei of tip: the last to be served, and never in the way of those who trade.
        max_fee = head.next_base_fee_wei + 1
        self._account.send(self._sink, "0x", gas=gas, max_fee_wei=max_fee, tip_wei=1)

    def gas_wanted(self, base_fee_wei: int) -> int:
        """Gas to burn in the next block at ``base_fee_wei``."""
        price = max(base_fee_wei, 1) / REFERENCE_BASE_FEE_WEI
        noise = float(np.exp(_NOISE * self._rng.standard_normal() - _NOISE**2 / 2))
        return int(min(_LARGEST_GAS, max(_SMALLEST_GAS, _TARGET_GAS * price**-_ELASTICITY * noise)))
