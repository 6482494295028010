"""The market: ``python -m ouro.testnet.agents --config FILE``, a process of its own that trades until SIGTERM.

The file is what ``Testnet.agents_config`` returns: a seed, and per chain the node's URL, the block time, the
intensity, the deployment and the rivals.
"""

import argparse
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from ouro.testnet.accounts import background_account, trader_accounts
from ouro.testnet.background import BackgroundLoad
from ouro.testnet.client import TRANSPORT_ERRORS, Client, NodeError
from ouro.testnet.deployment import Deployment, Pool
from ouro.testnet.head import Head, HeadWatcher
from ouro.testnet.kinds import dialect
from ouro.testnet.order_flow import Order, OrderFlow
from ouro.testnet.poolview import PoolView, read_views
from ouro.testnet.rivals import Rival
from ouro.testnet.trading_account import TradingAccount

log = logging.getLogger("ouro.testnet.agents")

_CHECK_EVERY_BLOCKS = 4
_MIN_TIP_WEI = 10_000_000
_TIP_SPREAD_WEI = 90_000_000


def agent_fees_wei(next_base_fee_wei: int, coin: float) -> tuple[int, int]:
    """(maxFeePerGas, priority fee) of an ordinary trader.

    The node orders by maxFeePerGas: a generous one would overtake those who bid by tip. 27 % above the next base
    fee still lets in who misses two blocks while the fee rises as fast as it can, and stays far below a tip of
    1 gwei at the base fees that the background load keeps up.
    """
    tip = _MIN_TIP_WEI + int(_TIP_SPREAD_WEI * coin)
    return next_base_fee_wei * 127 // 100 + tip, tip


def decide(order: Order, pool: Pool, view: PoolView) -> tuple[bool, int] | None:
    """(zero_for_one, amount in) of ``order`` against the pool as seen, or None when there is nothing to do.

    An informed order moves the price towards the outside price, at most all the way, and only beyond the fee.
    """
    if not view.price or not math.isfinite(view.price):
        return None
    share = order.share
    if order.informed:
        gap = math.log(view.price / order.fair_price)
        excess = abs(gap) - pool.fee_ppm / 1e6
        if excess <= 0:
            return None
        zero_for_one = gap > 0
        share = min(share, excess / 2)
    else:
        zero_for_one = order.coin < 0.5
    amount_in = int(share * view.virtual[0 if zero_for_one else 1])
    return (zero_for_one, amount_in) if amount_in > 0 else None


class ChainMarket:
    """All market agents of one chain."""

    def __init__(
        self, client: Client, deployment: Deployment, block_time_s: float, seed: int, intensity: float
    ) -> None:
        self.client = client
        self.deployment = deployment
        self.block_time_s = block_time_s
        self.flow = OrderFlow(deployment, seed, intensity)
        self.accounts = {
            name: [TradingAccount(client, address) for address in addresses]
            for name, addresses in trader_accounts(client, deployment).items()
        }
        self._background_account = TradingAccount(client, background_account(client))
        self._background = BackgroundLoad(self._background_account, deployment.gas_sink, seed, deployment.chain_id)
        self.views: list[PoolView] = []
        self._turn = 0
        self._fees_wei = (0, 0)
        self.sent = 0
        self._next = next(self.flow)

    def on_head(self, head: Head) -> None:
        """A new block: look at the pools, and at the nonces when the chain went back or from time to time."""
        if head.rolled_back:
            self.forget_nonces()
        self._turn = head.number
        self._fees_wei = agent_fees_wei(head.next_base_fee_wei, self._next.coin)
        self._background.on_head(head)
        self.views = read_views(self.client, self.deployment.pools, hex(head.number))
        if head.number % _CHECK_EVERY_BLOCKS == 0:
            for account in self._all_accounts():
                account.check()

    def forget_nonces(self) -> None:
        """After a restart or a reorg."""
        for account in self._all_accounts():
            account.forget()

    def trade_until(self, elapsed_s: float) -> None:
        """Execute the orders that have arrived; those missed by an outage of the node are gone."""
        now = elapsed_s / self.block_time_s
        while self._next.at_block <= now:
            if now - self._next.at_block < 4.0:
                self.execute(self._next)
            self._next = next(self.flow)

    def execute(self, order: Order) -> bool:
        """Send one order's swap through its venue's router; False when it came to nothing."""
        pool = self.deployment.pools[order.pool]
        decided = decide(order, pool, self.views[order.pool]) if self.views else None
        if decided is None:
            return False
        zero_for_one, amount_in = decided
        # anvil runs one sender's pending transactions by fee, not by nonce, and loses those that come too early. So
        # an account bids one fee for all that it sends between two blocks, and rests in the next interval.
        accounts = self.accounts[pool.dex]
        account = accounts[self._turn % len(accounts)]
        max_fee, tip = self._fees_wei
        speaks = dialect(pool.kind)
        to, data = speaks.swap(self.deployment.venue(pool.dex), pool, zero_for_one, amount_in, account.address)
        sent = account.send(to, data, gas=speaks.swap_gas, max_fee_wei=max_fee, tip_wei=tip)
        self.sent += sent is not None
        return sent is not None

    def _all_accounts(self) -> list[TradingAccount]:
        traders = [account for accounts in self.accounts.values() for account in accounts]
        return [self._background_account, *traders]


def keep_on(name: str, stop: threading.Event, step: Callable[[], None], on_outage: Callable[[], None]) -> None:
    """Repeat ``step`` until ``stop``; an unreachable or restarting node only means to wait."""
    out = False
    while not stop.is_set():
        try:
            step()
            if out:
                log.info("%s: the node is back", name)
            out = False
        except (*TRANSPORT_ERRORS, NodeError, ValueError) as error:
            if not out:
                log.warning("%s: %s: %s; trying again", name, type(error).__name__, error)
            out = True
            on_outage()
            stop.wait(0.2)


def run_market(settings: dict[str, Any], seed: int, stop: threading.Event) -> None:
    """One chain's market agents, until ``stop``."""
    deployment = Deployment.from_dict(settings["deployment"])
    block_time_s = float(settings["block_time_s"])
    with Client(settings["http_url"], timeout_s=5.0) as client:
        market = _connect(
            stop, lambda: ChainMarket(client, deployment, block_time_s, seed, float(settings["intensity"]))
        )
        if market is None:
            return
        watcher = HeadWatcher(client)
        started = time.monotonic()
        pause_s = min(0.05, block_time_s / 10)

        def step() -> None:
            head = watcher.poll()
            if head is not None:
                market.on_head(head)
                if head.number % 60 == 0:
                    log.info("%s: block %d, %d swaps sent", deployment.chain, head.number, market.sent)
            market.trade_until(time.monotonic() - started)
            stop.wait(pause_s)

        keep_on(deployment.chain, stop, step, market.forget_nonces)
        log.info("%s: stopped after %d swaps", deployment.chain, market.sent)


def run_rival(settings: dict[str, Any], number: int, seed: int, stop: threading.Event) -> None:
    """One rival arbitrageur on one chain, until ``stop``."""
    deployment = Deployment.from_dict(settings["deployment"])
    own = settings["rivals"][number]
    with Client(settings["http_url"], timeout_s=5.0) as client:
        rival = Rival(client, deployment, own["account"], own["executor"], [seed, deployment.chain_id, number])
        watcher = HeadWatcher(client)

        def step() -> None:
            head = watcher.poll()
            if head is not None:
                rival.on_head(head)
            stop.wait(0.02)

        name = f"{deployment.chain} rival {number}"
        keep_on(name, stop, step, rival.account.forget)
        log.info("%s: stopped after %d attempts", name, rival.attempts)


def _connect(stop: threading.Event, make: Callable[[], ChainMarket]) -> ChainMarket | None:
    while not stop.is_set():
        try:
            return make()
        except TRANSPORT_ERRORS:
            stop.wait(0.2)
    return None


def main() -> None:
    """Run every chain's agents and rivals in threads until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Market agents of the local chains.")
    parser.add_argument("--config", type=Path, required=True)
    settings = orjson.loads(parser.parse_args().config.read_bytes())
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    seed = int(settings["seed"])
    threads = []
    for chain in settings["chains"]:
        threads.append(threading.Thread(target=run_market, args=(chain, seed, stop)))
        threads += [
            threading.Thread(target=run_rival, args=(chain, number, seed, stop))
            for number in range(len(chain["rivals"]))
        ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
