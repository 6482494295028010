"""Random but possible pools, for the property tests."""

from eth_abi.abi import encode
from hypothesis import strategies as st

from ouro.hashing import topic
from ouro.protocols.uniswap_v2 import MAX_RESERVE, UniswapV2State
from ouro.protocols.v3_math import MAX_TICK, sqrt_ratio_at_tick
from ouro.protocols.v3_state import Observation, UniswapV3State
from ouro.protocols.v3_ticks import EMPTY_TICKS
from ouro.types import BlockContext, Log

POOL = "0x" + "a" * 40
TOKENS = ("0x" + "1" * 40, "0x" + "2" * 40)
CONTEXT = BlockContext(number=7, timestamp=1_700_000_012, base_fee_wei=10**9)

pairs = st.builds(
    UniswapV2State,
    st.just(POOL),
    st.just(TOKENS),
    st.integers(1, MAX_RESERVE),
    st.integers(1, MAX_RESERVE),
    st.sampled_from([0, 500, 2000, 2500, 3000, 10_000, 999_999]),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 256) - 1),
    st.integers(0, (1 << 256) - 1),
)


@st.composite
def pools(draw: st.DrawFn, most_positions: int = 6) -> UniswapV3State:
    """A pool with a few positions, around the price and away from it, as mints would leave it."""
    fee_ppm, spacing = draw(st.sampled_from([(100, 1), (500, 10), (3000, 60), (10_000, 200)]))
    tick = draw(st.integers(-200_000, 200_000))
    low, high = sqrt_ratio_at_tick(tick), sqrt_ratio_at_tick(tick + 1)
    ticks, liquidity = EMPTY_TICKS, 0
    top = MAX_TICK // spacing
    for _ in range(draw(st.integers(1, most_positions))):
        here = tick // spacing + draw(st.integers(-600, 600))
        lower = max(here - draw(st.integers(0, 400)), -top) * spacing
        upper = min(here + draw(st.integers(1, 400)), top) * spacing
        amount = draw(st.integers(1, 10**6) | st.integers(10**12, 10**24))
        ticks = ticks.with_position(lower, upper, amount)
        liquidity += amount if lower <= tick < upper else 0
    return UniswapV3State(
        POOL,
        TOKENS,
        fee_ppm,
        spacing,
        draw(st.integers(low, high - 1)),
        tick,
        liquidity,
        ticks,
        draw(st.sampled_from([0, 4 | 4 << 4, 10])),
        draw(st.integers(0, 3)),
        4,
        6,
        Observation(1_700_000_000, draw(st.integers(-(1 << 55), (1 << 55) - 1)), draw(st.integers(0, 1 << 159))),
    )


def event(signature: str, indexed: list[int], types: list[str], values: list[object]) -> Log:
    """A log of ``POOL``; indexed integers are sign-extended."""
    words = tuple("0x" + (value & (1 << 256) - 1).to_bytes(32).hex() for value in indexed)
    data = "0x" + encode(types, values).hex()
    return Log(POOL, (topic(signature), *words), data, 7, "0x", "0x", 0, 0)
