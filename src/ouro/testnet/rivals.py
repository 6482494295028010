"""Rival arbitrageurs: simple, honest competitors with accounts and executors of their own.

Each looks at every new block for the best price gap between two pools of the wrapped native coin and one other
token, and bids a random share of the expected profit as priority fee.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ouro.execution.encode import encode_plan
from ouro.testnet.abi import call_data
from ouro.testnet.client import Client, NodeError
from ouro.testnet.deployment import Deployment, Pool
from ouro.testnet.head import Head
from ouro.testnet.poolview import PoolView, read_views
from ouro.testnet.trading_account import TradingAccount
from ouro.types import Address, Hop

_QUOTE = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
_GAS_LIMIT = 900_000
_EXPECTED_GAS = 260_000
_BID_SHARES = (0.05, 0.40)
_MIN_TIP_WEI = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Buy in pool ``first``, sell in pool ``second`` (positions in the deployment); estimates in native wei."""

    first: int
    second: int
    amount_in: float
    profit: float


class Rival:
    """One rival on one chain."""

    def __init__(
        self, client: Client, deployment: Deployment, account: Address, executor: Address, seed: Sequence[int]
    ) -> None:
        self.client = client
        self.deployment = deployment
        self.account = TradingAccount(client, account)
        self.executor = executor
        self.attempts = 0
        self._rng = np.random.default_rng(list(seed))
        native = deployment.wrapped_native
        self._by_other: dict[Address, list[int]] = {}
        for k, pool in enumerate(deployment.pools):
            if native in pool.tokens and pool.kind in ("v2", "v3"):
                self._by_other.setdefault(_other(pool, native), []).append(k)

    def on_head(self, head: Head) -> bool:
        """Look, and send at most one attempt; True when one was sent."""
        if head.rolled_back:
            self.account.forget()
        if head.number % 4 == 0:
            self.account.check()
        views = read_views(self.client, self.deployment.pools, hex(head.number))
        gap = self.best_gap(views)
        if gap is None:
            return False
        hops = self._exact(gap, views, hex(head.number))
        if hops is None:
            return False
        profit = hops[-1].amount_out_wei - hops[0].amount_in_wei
        share = float(self._rng.uniform(*_BID_SHARES))
        tip = max(_MIN_TIP_WEI, int(profit * share / _EXPECTED_GAS))
        if profit <= (head.next_base_fee_wei + tip) * _EXPECTED_GAS:
            return False
        data = "0x" + encode_plan(hops, self.deployment.wrapped_native, 1, head.number + 1).hex()
        max_fee = head.next_base_fee_wei + tip
        sent = self.account.send(self.executor, data, gas=_GAS_LIMIT, max_fee_wei=max_fee, tip_wei=tip)
        self.attempts += sent is not None
        return sent is not None

    def best_gap(self, views: Sequence[PoolView]) -> Gap | None:
        """The most profitable round trip through two pools by the closed form, or None."""
        best: Gap | None = None
        for positions in self._by_other.values():
            for first in positions:
                for second in positions:
                    if first != second:
                        found = self._gap(first, second, views)
                        if found is not None and (best is None or found.profit > best.profit):
                            best = found
        return best

    def _gap(self, first: int, second: int, views: Sequence[PoolView]) -> Gap | None:
        native = self.deployment.wrapped_native
        a, b, c = 1.0, 1.0, 0.0
        for position, sells_native in ((first, True), (second, False)):
            pool, view = self.deployment.pools[position], views[position]
            at = pool.tokens.index(native) if sells_native else 1 - pool.tokens.index(native)
            gamma = 1.0 - pool.fee_ppm / 1e6
            a, b, c = gamma * view.virtual[1 - at] * a, view.virtual[at] * b, view.virtual[at] * c + gamma * a
        if a <= b or c <= 0 or not math.isfinite(a):
            return None
        amount_in = (math.sqrt(a * b) - b) / c
        return Gap(first, second, amount_in, a * amount_in / (b + c * amount_in) - amount_in)

    def _exact(self, gap: Gap, views: Sequence[PoolView], block: str) -> tuple[Hop, Hop] | None:
        """The two hops with integer amounts as the pools and the quoter give them; None without profit."""
        native = self.deployment.wrapped_native
        amount = int(gap.amount_in)
        if amount <= 0:
            return None
        hops: list[Hop] = []
        for position, sells_native in ((gap.first, True), (gap.second, False)):
            pool = self.deployment.pools[position]
            at = pool.tokens.index(native) if sells_native else 1 - pool.tokens.index(native)
            out = self._quote(pool, views[position], at, amount, block)
            if out <= 0:
                return None
            family = self.deployment.venue(pool.dex).family
            hops.append(Hop(pool.address, family, pool.tokens[at], pool.tokens[1 - at], at, 1 - at, amount, out))
            amount = out
        return (hops[0], hops[1]) if amount > hops[0].amount_in_wei else None

    def _quote(self, pool: Pool, view: PoolView, at: int, amount_in: int, block: str) -> int:
        if pool.kind == "v2":
            paid = amount_in * (1_000_000 - pool.fee_ppm)
            return paid * view.reserves[1 - at] // (view.reserves[at] * 1_000_000 + paid)
        quoter = self.deployment.venue(pool.dex).quoter
        assert quoter is not None
        data = call_data(_QUOTE, (pool.tokens[at], pool.tokens[1 - at], amount_in, pool.fee_ppm, 0))
        try:
            return int(self.client.read(quoter, data, block)[2:66], 16)
        except NodeError:
            return 0


def _other(pool: Pool, native: Address) -> Address:
    return pool.tokens[1 - pool.tokens.index(native)]
