"""First states of generated pools: every price close to the tokens' values, nested positions in V3 pools."""

import math
from collections.abc import Mapping

import numpy as np

from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.protocols.v3_math import MAX_TICK, MIN_TICK, Q96, sqrt_ratio_at_tick
from ouro.protocols.v3_state import Observation
from ouro.protocols.v3_ticks import TickTable
from ouro.replay.topology import PoolSpec
from ouro.types import Address

PRICE_NOISE = 0.0003
_FULL_RANGE_SHARE = 0.3
_MOST_CONCENTRATED = 200.0
_POSITIONS = (5, 30)
_WIDEST_TICKS = 20_000
_AGE_S = 120


def first_state(
    spec: PoolSpec, values: Mapping[Address, float], rng: np.random.Generator, timestamp: int
) -> UniswapV2State | UniswapV3State:
    """The pool at the recording's start, last moved ``_AGE_S`` before ``timestamp``."""
    v0, v1 = (values[token] for token in spec.tokens)
    noise = float(rng.lognormal(0.0, PRICE_NOISE))
    if not spec.concentrated:
        return UniswapV2State(
            spec.address,
            spec.tokens,
            int(spec.depth_wei / v0),
            int(spec.depth_wei / v1 * noise),
            spec.fee_ppm,
            timestamp - _AGE_S,
            1 << 112,
            1 << 112,
        )
    return _concentrated(spec, math.sqrt(v0 / v1 * noise), spec.depth_wei / v1, rng, timestamp)


def tick_of(sqrt_price_x96: int) -> int:
    """The tick that a price lies in."""
    tick = math.floor(2.0 * math.log(sqrt_price_x96 / Q96) / math.log(1.0001))
    while sqrt_ratio_at_tick(tick) > sqrt_price_x96:
        tick -= 1
    while sqrt_ratio_at_tick(tick + 1) <= sqrt_price_x96:
        tick += 1
    return tick


def _concentrated(
    spec: PoolSpec, sqrt_price: float, amount1: float, rng: np.random.Generator, timestamp: int
) -> UniswapV3State:
    spacing = spec.tick_spacing
    price = int(sqrt_price * Q96)
    tick = tick_of(price)
    entries: dict[int, tuple[int, int]] = {}

    def add(lower: int, upper: int, liquidity: int) -> None:
        for place, net in ((lower, liquidity), (upper, -liquidity)):
            gross, held = entries.get(place, (0, 0))
            entries[place] = gross + liquidity, held + net

    whole = amount1 / sqrt_price
    lowest, highest = -(-MIN_TICK // spacing) * spacing, MAX_TICK // spacing * spacing
    lowest += spacing * (lowest < MIN_TICK)
    add(lowest, highest, max(1, int(whole * _FULL_RANGE_SHARE)))
    count = int(rng.integers(*_POSITIONS))
    for _ in range(count):
        half = float(np.exp(rng.uniform(np.log(spacing), np.log(_WIDEST_TICKS))))
        centre = tick + float(rng.normal(0.0, half / 4))
        lower = math.floor((centre - half) / spacing) * spacing
        upper = math.ceil((centre + half) / spacing) * spacing
        lower, upper = max(lower, lowest), min(upper, highest)
        share = min(_MOST_CONCENTRATED, 1.0 / (1.0 - 1.0001 ** (-half / 2)))
        liquidity = int(whole * (1.0 - _FULL_RANGE_SHARE) / count * share)
        if lower < upper and liquidity > 0:
            add(lower, upper, liquidity)
    ticks = TickTable(entries)
    return UniswapV3State(
        address=spec.address,
        tokens=spec.tokens,
        fee_ppm=spec.fee_ppm,
        tick_spacing=spacing,
        sqrt_price_x96=price,
        tick=tick,
        liquidity=ticks.active_liquidity(tick),
        ticks=ticks,
        observation_cardinality=1,
        observation_cardinality_next=1,
        observation=Observation(timestamp - _AGE_S, 0, 1 << 100),
    )
