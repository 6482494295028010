import itertools
import math
from collections.abc import Sequence

import pytest

from ouro.testnet.agents import agent_fees_wei, decide
from ouro.testnet.deployment import Pool
from ouro.testnet.head import next_base_fee_wei
from ouro.testnet.order_flow import RATES, Order, OrderFlow
from ouro.testnet.poolview import PoolView
from ouro.testnet.testnet import LocalChain

pytestmark = pytest.mark.node


def orders(chain: LocalChain, seed: int, count: int, intensity: float = 1.0) -> list[Order]:
    return list(itertools.islice(OrderFlow(chain.deployment, seed, intensity), count))


def test_a_seed_fixes_the_stream_of_orders(chain: LocalChain) -> None:
    assert orders(chain, 7, 500) == orders(chain, 7, 500)
    assert orders(chain, 7, 50) != orders(chain, 8, 50)


def test_orders_arrive_at_the_configured_rate_and_intensity(chain: LocalChain) -> None:
    rate = RATES[chain.profile.name].orders
    assert 3_000 / orders(chain, 1, 3_000)[-1].at_block == pytest.approx(rate, rel=0.1)
    assert 3_000 / orders(chain, 1, 3_000, 2.0)[-1].at_block == pytest.approx(2 * rate, rel=0.1)


def test_sizes_are_heavy_tailed_and_capped(chain: LocalChain) -> None:
    rates = RATES[chain.profile.name]
    stream = orders(chain, 3, 4_000)
    shares = sorted(order.share for order in stream)
    assert shares[-1] <= rates.largest_share
    assert shares[len(shares) // 2] < shares[-1] / 5
    assert {order.pool for order in stream} == set(range(len(chain.deployment.pools)))


def test_outside_prices_wander_but_come_back(chain: LocalChain) -> None:
    by_pool: dict[int, list[float]] = {}
    for order in orders(chain, 5, 8_000):
        by_pool.setdefault(order.pool, []).append(math.log(order.fair_price))
    moves = [max(prices) - min(prices) for prices in by_pool.values()]
    assert max(moves) > 0.02
    assert max(moves) < 1.0


def make_pool(fee_ppm: int = 3_000) -> Pool:
    return Pool("x", "v2", "0x" + "00" * 20, ("0x" + "01" * 20, "0x" + "02" * 20), ("A", "B"), fee_ppm, 0)


def order(fair_price: float, informed: bool, share: float = 0.01, coin: float = 0.3) -> Order:
    return Order(0, 0.0, 0, informed, share, coin, fair_price)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (order(1.0, informed=False), (True, 10_000)),
        (order(1.0, informed=False, coin=0.7), (False, 20_000)),
        (order(2.0, informed=True), None),
        (order(1.995, informed=True), None),
        (order(3.0, informed=True), (False, 20_000)),
        (order(1.0, informed=True), (True, 10_000)),
    ],
)
def test_decisions_follow_the_outside_price_or_the_coin(wish: Order, expected: tuple[bool, int] | None) -> None:
    assert decide(wish, make_pool(), PoolView((1e6, 2e6), (10**6, 2 * 10**6))) == expected


def test_informed_orders_stop_at_the_outside_price() -> None:
    decided = decide(order(1.98, informed=True, share=0.5), make_pool(), PoolView((1e9, 2e9)))
    assert decided is not None
    zero_for_one, amount = decided
    assert zero_for_one
    after = 2e9 * 1e9 / (1e9 + amount) ** 2
    assert 1.98 <= after < 2.0


@pytest.mark.parametrize("view", [PoolView((0.0, 0.0)), PoolView((math.inf, 1.0))])
def test_empty_pools_are_left_alone(view: PoolView) -> None:
    assert decide(order(1.0, informed=False), make_pool(), view) is None


@pytest.mark.parametrize("coin", [0.0, 0.5, 0.999])
def test_agents_never_overtake_a_one_gwei_tip_at_demo_base_fees(coin: float) -> None:
    base = 10**9
    max_fee, tip = agent_fees_wei(base, coin)
    assert base * 81 // 64 < max_fee < base + 5 * 10**8
    assert 0 < tip <= 10**8


CASES: Sequence[tuple[int, int, int, int]] = [
    (10**9, 15_000_000, 30_000_000, 10**9),
    (10**9, 30_000_000, 30_000_000, 1_125_000_000),
    (10**9, 0, 30_000_000, 875_000_000),
    (7, 16_000_000, 30_000_000, 8),
    (7, 0, 30_000_000, 7),
]


@pytest.mark.parametrize(("base", "used", "limit", "expected"), CASES)
def test_next_base_fee_follows_eip_1559(base: int, used: int, limit: int, expected: int) -> None:
    assert next_base_fee_wei(base, used, limit) == expected
