"""Where the market's orders come from: outside prices and seeded arrivals, blind to the chain.

The stream depends on the seed alone, never on time or on what the chain did; what an order becomes (its direction
when it follows the outside price) is decided against the chain by the agent that executes it.

Each token has an outside price in USD. Its logarithm reverts to the start value, diffuses and jumps. Orders arrive
as a Poisson process; sizes follow a Pareto law as a share of the pool's reserve.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ouro.testnet.compositions import profile_of
from ouro.testnet.deployment import Deployment, Pool
from ouro.testnet.profiles import EVEN_WEIGHTS, NATIVE, RecordedPool


@dataclass(frozen=True, slots=True)
class FlowRates:
    """Calibration, per block. ``*_share`` of sizes are shares of the pool's input reserve."""

    orders: float
    max_order_usd: float
    informed: float = 0.4
    reversion: float = 0.01
    diffusion: float = 0.0008
    jumps: float = 0.02
    jump_size: float = 0.012
    stable_diffusion: float = 0.00005
    smallest_share: float = 0.0008
    largest_share: float = 0.02
    pareto_exponent: float = 1.3


RATES: dict[str, FlowRates] = {
    "ethereum": FlowRates(orders=7.0, max_order_usd=1_500_000.0),
    "fantom": FlowRates(orders=4.0, max_order_usd=60_000.0),
    "arbitrum": FlowRates(orders=3.0, max_order_usd=300_000.0),
    "base": FlowRates(orders=3.0, max_order_usd=300_000.0),
    "bsc": FlowRates(orders=3.0, max_order_usd=60_000.0),
    "avalanche": FlowRates(orders=3.0, max_order_usd=60_000.0),
}


@dataclass(frozen=True, slots=True)
class Order:
    """A wish to trade ``share`` of pool ``pool``'s reserve at ``at_block`` (fractional block times since start).

    ``fair_price`` is the outside price of token0 in token1, raw units. ``coin`` in [0, 1) decides what chance
    has to: the direction of noise.
    """

    number: int
    at_block: float
    pool: int
    informed: bool
    share: float
    coin: float
    fair_price: float


class OrderFlow:
    """The endless stream of one chain's orders."""

    def __init__(self, deployment: Deployment, seed: int, intensity: float = 1.0) -> None:
        self._rates = RATES[deployment.chain]
        self._rng = np.random.default_rng([seed, deployment.chain_id])
        self._intensity = intensity
        self.pools: tuple[Pool, ...] = deployment.pools
        self._recorded = profile_of(deployment.chain).pools
        self._tokens = [token.address for token in deployment.tokens]
        position = {address: k for k, address in enumerate(self._tokens)}
        position[NATIVE] = position[deployment.wrapped_native]
        self._sides = np.array([[position[token] for token in pool.tokens] for pool in self.pools])
        usd = usd_per_unit(self.pools, self._recorded, deployment.stable_tokens)
        self._start = np.log([usd[token] for token in self._tokens])
        stable = np.isin(self._tokens, deployment.stable_tokens)
        self._diffusion = np.where(stable, self._rates.stable_diffusion, self._rates.diffusion)
        self._jumps = np.where(stable, 0.0, self._rates.jumps)
        self._log_prices = self._start.copy()
        depths = np.array([self._depth_usd(pool, usd) for pool in self.pools])
        self._largest = np.minimum(self._rates.largest_share, self._rates.max_order_usd / depths)
        # Deep pools trade more, but not in proportion, or the small ones would never move.
        weights = depths**0.25
        self._weights = weights / weights.sum()
        self._now = 0.0
        self._count = 0

    def __iter__(self) -> Iterator[Order]:
        return self

    def __next__(self) -> Order:
        wait = self._rng.exponential(1.0 / (self._rates.orders * self._intensity))
        self._move_prices(wait)
        self._now += wait
        pool = int(self._rng.choice(len(self.pools), p=self._weights))
        side0, side1 = self._sides[pool]
        order = Order(
            number=self._count,
            at_block=self._now,
            pool=pool,
            informed=bool(self._rng.random() < self._rates.informed),
            share=self._share(pool),
            coin=float(self._rng.random()),
            fair_price=math.exp(self._log_prices[side0] - self._log_prices[side1]),
        )
        self._count += 1
        return order

    def _share(self, pool: int) -> float:
        share = self._rates.smallest_share * (1.0 + self._rng.pareto(self._rates.pareto_exponent))
        return float(min(share, self._largest[pool]))

    def _move_prices(self, blocks: float) -> None:
        count = len(self._tokens)
        pull = (self._start - self._log_prices) * min(1.0, self._rates.reversion * blocks)
        noise = self._diffusion * math.sqrt(blocks) * self._rng.standard_normal(count)
        jumped = self._rng.random(count) < self._jumps * blocks
        jump = np.where(jumped, self._rates.jump_size * self._rng.standard_normal(count), 0.0)
        self._log_prices = self._log_prices + pull + noise + jump

    def _depth_usd(self, pool: Pool, usd: dict[str, float]) -> float:
        return recorded_reserves(self._recorded[pool.recorded])[0] * usd[pool.tokens[0]]


def recorded_reserves(recorded: RecordedPool) -> tuple[float, float]:
    """Raw reserves of a recorded pool, virtual ones where liquidity is concentrated."""
    if recorded.is_pair:
        even = EVEN_WEIGHTS[0]
        reserve0, reserve1 = (
            reserve * even / w for reserve, w in zip(recorded.reserves, recorded.weights, strict=True)
        )
        return reserve0, reserve1
    root = recorded.sqrt_price_x96 / 2**96
    return recorded.liquidity / root, recorded.liquidity * root


def usd_per_unit(
    pools: Sequence[Pool], recorded: Sequence[RecordedPool], stable_tokens: Sequence[str]
) -> dict[str, float]:
    """USD per raw unit: the first stable is one dollar, others by their deepest pool, outwards from there."""
    decimals = {token: recorded[pool.recorded].decimals[k] for pool in pools for k, token in enumerate(pool.tokens)}
    usd = {token: 10.0 ** -decimals[token] for token in stable_tokens[:1]}
    while True:
        best: dict[str, tuple[float, float]] = {}
        for pool in pools:
            reserves = recorded_reserves(recorded[pool.recorded])
            for near, far in ((0, 1), (1, 0)):
                known, unknown = pool.tokens[near], pool.tokens[far]
                if known in usd and unknown not in usd:
                    value = reserves[near] * usd[known]
                    best[unknown] = max(best.get(unknown, (0.0, 0.0)), (value, value / reserves[far]))
        if not best:
            return usd
        usd |= {token: price for token, (_, price) in best.items()}
