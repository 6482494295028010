import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ouro.testnet.accounts import background_account
from ouro.testnet.agents import ChainMarket
from ouro.testnet.background import BackgroundLoad
from ouro.testnet.client import TRANSPORT_ERRORS, Client
from ouro.testnet.deployment import Pool
from ouro.testnet.head import HeadWatcher
from ouro.testnet.order_flow import Order
from ouro.testnet.poolview import read_views
from ouro.testnet.rivals import Rival
from ouro.testnet.testnet import ChainOptions, LocalChain, Testnet
from ouro.testnet.trading_account import TradingAccount

pytestmark = pytest.mark.node

FAST = ChainOptions(block_time_s=0.25, intensity=3.0)


def wait_until(condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("did not happen in time")
        time.sleep(0.1)


def noise(pool: int, share: float, coin: float) -> Order:
    return Order(0, 0.0, pool, False, share, coin, 1.0)


def push(chain: LocalChain, client: Client, position: int, share: float, coin: float) -> None:
    """One agent's swap through the real router."""
    market = ChainMarket(client, chain.deployment, chain.block_time_s, 1, 1.0)
    head = HeadWatcher(client).poll()
    assert head is not None
    market.on_head(head)
    assert market.execute(noise(position, share, coin))
    client.call("evm_mine")


def test_swaps_through_every_venues_router_move_its_price(chain: LocalChain) -> None:
    deployment = chain.deployment
    with chain.node.client() as client:
        for venue in deployment.venues:
            position = next(k for k, pool in enumerate(deployment.pools) if pool.dex == venue.name)
            before = read_views(client, deployment.pools, "latest")[position].price
            push(chain, client, position, 0.004, 0.9)
            up = read_views(client, deployment.pools, "latest")[position].price
            assert before * 1.002 < up < before * 1.02
            push(chain, client, position, 0.004, 0.1)
            down = read_views(client, deployment.pools, "latest")[position].price
            assert down < up


def native_pools(chain: LocalChain, dex: str) -> list[tuple[int, Pool]]:
    native = chain.deployment.wrapped_native
    return [(k, p) for k, p in enumerate(chain.deployment.pools) if p.dex == dex and native in p.tokens]


def test_a_rival_takes_the_gap_that_a_swap_opened(chain: LocalChain) -> None:
    deployment = chain.deployment
    own = chain.rivals[0]
    position, pool = native_pools(chain, "uniswap_v2")[0]
    native_first = pool.tokens[0] == deployment.wrapped_native
    with chain.node.client() as client:
        push(chain, client, position, 0.02, 0.1 if native_first else 0.9)
        rival = Rival(client, deployment, own["account"], own["executor"], [1, 2])
        watcher = HeadWatcher(client)
        balance_of = "0x70a08231" + own["account"][2:].rjust(64, "0")

        def has_profited() -> bool:
            # Attempts are for one block only: between the look and the send another may have been mined.
            head = watcher.poll()
            if head is not None:
                rival.on_head(head)
            client.call("evm_mine")
            return int(client.read(deployment.wrapped_native, balance_of), 16) > 0

        assert not int(client.read(deployment.wrapped_native, balance_of), 16)
        wait_until(has_profited)
    assert rival.attempts > 0


def prices(chain: LocalChain) -> list[float]:
    with chain.node.client() as client:
        return [view.price for view in read_views(client, chain.deployment.pools, "latest")]


def changed(before: list[float], after: list[float]) -> int:
    return sum(old != new for old, new in zip(before, after, strict=True))


def test_two_testnets_at_once_both_move(work_dir: Path) -> None:
    with (
        Testnet.start(work_dir / "a", chains=("fantom",), seed=1, options=FAST) as first,
        Testnet.start(work_dir / "b", chains=("fantom",), seed=2, options=FAST) as second,
    ):
        chains = [testnet.chains["fantom"] for testnet in (first, second)]
        assert chains[0].node.port != chains[1].node.port
        assert not set(chains[0].operator_keys) & set(chains[1].operator_keys)
        start = [prices(chain) for chain in chains]
        for chain, before in zip(chains, start, strict=True):
            wait_until(lambda chain=chain, before=before: changed(before, prices(chain)) >= 5)
        second.stop()
        assert not second.agents_running
        assert first.agents_running


def test_agents_trade_on_after_a_restart_of_the_node_and_a_reorg(work_dir: Path) -> None:
    with Testnet.start(work_dir, chains=("fantom",), seed=4, rivals=1, options=FAST) as testnet:
        chain = testnet.chains["fantom"]
        before = prices(chain)
        wait_until(lambda: changed(before, prices(chain)) >= 3)
        chain.node.restart()
        before = prices(chain)
        wait_until(lambda: changed(before, prices(chain)) >= 5)
        with chain.node.client() as client:
            # A node can roll back only blocks that it has made itself since its start.
            number = client.block_number()
            wait_until(lambda: client.block_number() >= number + 4)
            client.call("anvil_reorg", 3, [])
        before = prices(chain)
        wait_until(lambda: changed(before, prices(chain)) >= 5)
        with chain.node.client() as client:

            def base_fee_wei() -> int:
                return int(client.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)

            # Without the burner it would be a few wei by now; a busy machine mines some blocks without it.
            wait_until(lambda: 10**7 < base_fee_wei() < 4 * 10**9)
        testnet.stop_agents()
        assert not testnet.agents_running
        log = (work_dir / "agents.log").read_text()
        assert "stopped after" in log
        assert "Traceback" not in log


def test_what_was_started_is_stopped_when_set_up_fails(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[object] = []

    def fail(*arguments: object) -> None:
        nodes.append(arguments[0])
        raise RuntimeError("no funds")

    monkeypatch.setattr("ouro.testnet.testnet.fund_traders", fail)
    with pytest.raises(RuntimeError, match="no funds"):
        Testnet.start(work_dir, chains=("fantom",), agents=False)
    (client,) = nodes
    assert isinstance(client, Client)
    with pytest.raises(TRANSPORT_ERRORS, match=r"(?i)refused"):
        Client(client.url).block_number()


def test_no_swap_of_a_busy_interval_is_lost(chain: LocalChain) -> None:
    """Many orders between two blocks; a node that orders by fee drops a sender's later, better paid nonces."""
    with chain.node.client() as client:
        market = ChainMarket(client, chain.deployment, chain.block_time_s, 1, 1.0)
        watcher = HeadWatcher(client)
        positions = [k for k, pool in enumerate(chain.deployment.pools) if pool.dex == "uniswap_v2"]
        for repeat in range(3):
            client.call("evm_mine")
            head = watcher.poll()
            assert head is not None
            market.on_head(head)
            for k, position in enumerate(positions):
                assert market.execute(noise(position, 0.0005, 0.1 * (repeat + 1) + 0.01 * k))
        client.call("evm_mine")
        client.call("evm_mine")
        status = client.call("txpool_status")
        assert int(status["queued"], 16) == 0
        mined = sum(client.nonce(account.address) for account in market.accounts["uniswap_v2"])
    # Each account's set-up took one approval per token.
    assert mined == 3 * len(positions) + 3 * len(chain.deployment.tokens)


def test_background_load_burns_what_it_asked_for_and_yields_to_price(chain: LocalChain) -> None:
    with chain.node.client() as client:
        account = TradingAccount(client, background_account(client))
        load = BackgroundLoad(account, chain.deployment.gas_sink, 1, 1)
        cheap = sum(load.gas_wanted(10**8) for _ in range(50))
        fair = sum(load.gas_wanted(10**9) for _ in range(50))
        dear = sum(load.gas_wanted(10**10) for _ in range(50))
        assert cheap > fair > dear
        assert fair / 50 == pytest.approx(14_500_000, rel=0.2)
        before = client.balance(account.address)
        watcher = HeadWatcher(client)

        def burnt() -> bool:
            # while this test waited for the processor, blocks of other tests may have made its offer too low
            if (head := watcher.poll()) is not None:
                load.on_head(head)
            client.call("evm_mine")
            return client.nonce(account.address) > 0

        wait_until(burnt)
        block = client.call("eth_getBlockByNumber", "latest", False)
        assert client.balance(account.address) < before
        assert int(block["gasLimit"], 16) == 30_000_000
