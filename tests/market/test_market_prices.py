import numpy as np
import pytest

from ouro.config.model import ChainConfig, DexConfig
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.market.prices import PoolPrices, edge_depths, weighted_median
from ouro.market.tokens import TokenInfo
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.protocols.v3_math import Q96, sqrt_ratio_at_tick
from ouro.protocols.v3_ticks import TickTable
from ouro.types import BlockContext

from .streams import ChainBuilder, address, sync_log

WETH, USDC, DAI, ABC, FAKE, FRAUD = (address(k, "token") for k in range(6))
DECIMALS = {WETH: 18, USDC: 6, DAI: 18, ABC: 8, FAKE: 18, FRAUD: 18}
HEAD = Head(1, "0x" + "01" * 32, 1_700_000_000)


def config() -> ChainConfig:
    return ChainConfig(
        chain_id=1_000_001,
        profile="p",
        endpoints=("ws://127.0.0.1:1",),
        block_time_ms=1000,
        wrapped_native=WETH,
        multicall=WETH,
        stable_tokens=(USDC, DAI),
        dexes=(DexConfig(name="d", family="uniswap_v2", factory=WETH, fee_ppm=3000),),
    )


def pair(number: int, token0: str, amount0: float, token1: str, amount1: float) -> UniswapV2State:
    """A pair with whole-token amounts."""
    reserves = (int(amount0 * 10 ** DECIMALS[token0]), int(amount1 * 10 ** DECIMALS[token1]))
    return UniswapV2State(address(number), (token0, token1), *reserves, 3000)


def priced(*pools: UniswapV2State) -> PoolPrices:
    market = Market("c", FAMILIES)
    market.tokens.update({token: TokenInfo(token, token[:4], n) for token, n in DECIMALS.items()})
    market.start(HEAD, pools)
    prices = PoolPrices(market, config())
    prices.refresh()
    return prices


def test_direct_and_multi_hop_prices() -> None:
    prices = priced(pair(0, WETH, 100, USDC, 200_000), pair(1, USDC, 50_000, ABC, 2), pair(2, DAI, 9, FAKE, 3))
    assert prices.native_usd() == pytest.approx(2_000)
    assert prices.usd(ABC) == pytest.approx(25_000)
    assert prices.value_in_native(USDC, 2_000 * 10**6) == pytest.approx(10**18, rel=1e-12)
    assert prices.value_in_native(ABC, 10**8) == pytest.approx(12.5 * 10**18, rel=1e-12)
    assert prices.value_in_native(WETH, 2**200 + 1) == 2**200 + 1
    assert prices.native_wei_usd(10**18) == pytest.approx(2_000)
    assert prices.usd(USDC) == 1.0
    assert prices.usd(FAKE) is None
    assert prices.value_in_native(FAKE, 10**30) == 0
    assert prices.value_in_native(address(77, "token"), 1) == 0
    assert isinstance(prices.value_in_native(USDC, -5), int)


def test_tiny_and_fraudulent_pools_have_no_say() -> None:
    prices = priced(
        pair(0, WETH, 100, USDC, 200_000),
        pair(1, WETH, 0.01, USDC, 9_999),
        pair(2, WETH, 50, DAI, 100_100),
        pair(3, WETH, 10, ABC, 1),
        pair(4, WETH, 0.02, ABC, 0.0001),
        # two worthless tokens with huge reserves against each other, one of them priced by a tiny pool
        pair(5, WETH, 1, FAKE, 1),
        pair(6, FAKE, 10**13, FRAUD, 10**13),
        pair(7, FAKE, 10**13, ABC, 0.000_01),
    )
    assert prices.native_usd() == pytest.approx(2_000)
    assert prices.usd(ABC) == pytest.approx(20_000)


def test_no_stable_pool_means_no_usd() -> None:
    prices = priced(pair(0, WETH, 100, ABC, 7))
    assert prices.native_usd() is None
    assert prices.usd(ABC) is None
    assert prices.native_wei_usd(1) is None
    assert prices.value_in_native(ABC, 7 * 10**8) == pytest.approx(100 * 10**18)


def test_prices_follow_the_head() -> None:
    chain = ChainBuilder()
    market = Market("test", FAMILIES)
    market.tokens.update({token: TokenInfo(token, "", n) for token, n in DECIMALS.items()})
    market.start(Head(chain.number, chain.hash, chain.timestamp), [pair(0, WETH, 100, USDC, 200_000)])
    prices = PoolPrices(market, config())
    assert prices.native_usd() is None
    prices.refresh()
    market.apply(chain.block([sync_log(address(0), 100 * 10**18, 300_000 * 10**6)]))
    assert prices.native_usd() == pytest.approx(2_000)
    prices.refresh()
    assert prices.native_usd() == pytest.approx(3_000)


def test_depth_equals_exact_quotes_down_to_the_price_move() -> None:
    """What comes out until the price has moved by 2 %, against the family's own integer quotes."""
    liquidity = 10**24
    edges = (-100, -50, 40, 120, 800)
    nets = (liquidity, liquidity // 2, liquidity, -2 * liquidity, -(liquidity // 2))
    ticks = TickTable({tick: (abs(net), net) for tick, net in zip(edges, nets, strict=True)})
    root = sqrt_ratio_at_tick(17)
    pool = UniswapV3State(address(0), (WETH, DAI), 500, 10, root, 17, ticks.active_liquidity(17), ticks)
    market = Market("c", FAMILIES)
    market.start(HEAD, [pool])
    depths = edge_depths(market.arrays)
    family, context = FAMILIES["uniswap_v3"], BlockContext(2, 1_700_000_001, 0)
    for edge, (i, j) in enumerate(((0, 1), (1, 0))):
        low, high = 0, 10**25
        while high - low > 10**12:
            middle = (low + high) // 2
            try:
                moved = family.quote_in(pool, i, j, middle, context).next_state.sqrt_price_x96
            except Exception:
                high = middle
                continue
            ratio = (moved / root) ** 2 if i == 0 else (root / moved) ** 2
            low, high = (middle, high) if ratio > 0.98 else (low, middle)
        out = family.quote_in(pool, i, j, low, context).amount_out_wei
        # the lower side ends at tick -100, before 2 % are reached
        assert depths.depth_out[edge] == pytest.approx(out, rel=1e-6)
    assert depths.price[0] == pytest.approx((root / Q96) ** 2)
    assert depths.price[1] == pytest.approx((Q96 / root) ** 2)


def test_weighted_median() -> None:
    assert weighted_median(np.array([5.0, 1.0, 9.0]), np.array([1.0, 1.0, 1.0])) == 5.0
    assert weighted_median(np.array([5.0, 1.0, 9.0]), np.array([1.0, 1.0, 10.0])) == 9.0
