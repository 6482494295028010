import pytest
from tests.protocols.pools import POOL, TOKENS, event

from ouro.protocols.base import BalanceChange, DecodeError, StorageWrite
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_events import LiquidityDelta, SwapDelta
from ouro.protocols.v3_state import Observation, UniswapV3State
from ouro.protocols.v3_storage import slot0_words
from ouro.types import Log

FAMILY = UniswapV3()
NOW = 1_700_000_000
ONE = 1 << 96
MINT = "Mint(address,address,int24,int24,uint128,uint256,uint256)"
BURN = "Burn(address,int24,int24,uint128,uint256,uint256)"
SWAP = "Swap(address,address,int256,int256,uint160,uint128,int24)"
SWAP_TYPES = ["int256", "int256", "uint160", "uint128", "int24"]


def mint(lower: int, upper: int, amount: int) -> Log:
    types = ["address", "uint128", "uint256", "uint256"]
    return event(MINT, [1, lower, upper], types, [POOL, amount, 11, 22])


def burn(lower: int, upper: int, amount: int) -> Log:
    return event(BURN, [1, lower, upper], ["uint128", "uint256", "uint256"], [amount, 11, 22])


def swapped(price: int, liquidity: int, tick: int) -> Log:
    return event(SWAP, [1, 2], SWAP_TYPES, [100, -90, price, liquidity, tick])


def follow(state: UniswapV3State, log: Log, timestamp: int = NOW) -> UniswapV3State:
    delta = FAMILY.decode(state, log, timestamp)
    assert delta is not None
    return FAMILY.apply(state, delta)


@pytest.fixture
def pool() -> UniswapV3State:
    new = UniswapV3State(POOL, TOKENS, 3000, 60)
    state = follow(new, event("Initialize(uint160,int24)", [], ["uint160", "int24"], [ONE, 0]))
    return follow(state, mint(-360, 180, 10**18))


def test_a_pools_life(pool: UniswapV3State) -> None:
    assert (pool.sqrt_price_x96, pool.tick, pool.liquidity) == (ONE, 0, 10**18)
    assert dict(pool.ticks) == {-360: (10**18, 10**18), 180: (10**18, -(10**18))}
    outside = follow(pool, mint(600, 660, 5))
    assert outside.liquidity == 10**18
    assert outside.ticks[600] == (5, 5)
    after = follow(outside, swapped(ONE - 10**24, 10**18, -1), NOW + 12)
    assert (after.sqrt_price_x96, after.tick) == (ONE - 10**24, -1)
    assert after.ticks is outside.ticks
    gone = follow(follow(after, burn(-360, 180, 10**18)), burn(600, 660, 5))
    assert (gone.liquidity, len(gone.ticks)) == (0, 0)


def test_the_oracle_records_the_old_tick_once_per_block(pool: UniswapV3State) -> None:
    after = follow(pool, swapped(ONE - 10**27, 10**18, -255), NOW + 12)
    assert after.observation == Observation(NOW + 12, 0, (12 << 128) // 10**18)
    again = follow(after, swapped(ONE, 10**18, 0), NOW + 12)
    assert again.observation == after.observation
    later = follow(again, swapped(ONE - 10**27, 10**18, -255), NOW + 20)
    assert later.observation.tick_cumulative == 0
    last = follow(later, swapped(ONE, 10**18, 0), NOW + 21)
    assert last.observation.tick_cumulative == -255


def test_storage_of_a_swap(pool: UniswapV3State) -> None:
    delta = FAMILY.decode(pool, swapped(ONE - 10**24, 10**18, -1), NOW)
    assert delta == SwapDelta(ONE - 10**24, -1, 10**18, 100, -90, NOW)
    assert delta is not None
    assert FAMILY.storage_writes(pool, delta) == (
        StorageWrite(POOL, 0, slot0_words(FAMILY.apply(pool, delta))[0]),
        BalanceChange(TOKENS[0], POOL, 100),
        BalanceChange(TOKENS[1], POOL, -90),
    )


def test_balances_of_the_other_events(pool: UniswapV3State) -> None:
    def changes(log: Log) -> list[int]:
        delta = FAMILY.decode(pool, log, NOW)
        assert delta is not None
        return [w.change_wei for w in FAMILY.storage_writes(pool, delta) if isinstance(w, BalanceChange)]

    assert changes(mint(-60, 60, 5)) == [11, 22]
    assert changes(burn(-360, 180, 5)) == []
    collect = "Collect(address,address,int24,int24,uint128,uint128)"
    assert changes(event(collect, [1, -60, 60], ["address", "uint128", "uint128"], [POOL, 3, 4])) == [-3, -4]
    protocol = "CollectProtocol(address,address,uint128,uint128)"
    assert changes(event(protocol, [1, 2], ["uint128", "uint128"], [7, 0])) == [-7]
    flash = "Flash(address,address,uint256,uint256,uint256,uint256)"
    assert changes(event(flash, [1, 2], ["uint256"] * 4, [1000, 0, 3, 0])) == [3]


def test_protocol_fee_and_oracle_size(pool: UniswapV3State) -> None:
    fee = event("SetFeeProtocol(uint8,uint8,uint8,uint8)", [], ["uint8"] * 4, [0, 0, 4, 7])
    assert follow(pool, fee).fee_protocol == 4 | 7 << 4
    grow = event("IncreaseObservationCardinalityNext(uint16,uint16)", [], ["uint16"] * 2, [1, 5])
    grown = follow(pool, grow)
    assert (grown.observation_cardinality, grown.observation_cardinality_next) == (1, 5)
    moved = follow(grown, swapped(ONE - 10**27, 10**18, -255), NOW + 1)
    assert (moved.observation_index, moved.observation_cardinality) == (1, 5)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (swapped(ONE, 1, 5), "does not belong"),
        (swapped(5, 1, 5), "sqrtPriceX96"),
        (mint(-61, 60, 1), "not a range"),
        (mint(60, -60, 1), "not a range"),
        (mint(-887_280, 60, 1), "tickLower"),
        (event(MINT, [1, 2], ["uint128"], [1]), "4 topics"),
        (event(SWAP, [1, 2], ["int256"], [1]), "160 data bytes"),
        (event(SWAP, [1, 2], [*SWAP_TYPES[:3], "uint256", "int24"], [1, -1, ONE, 1 << 128, 0]), "liquidity"),
        (event(SWAP, [1, 2], [*SWAP_TYPES[:4], "uint256"], [1, -1, ONE, 1, 1 << 30]), "tick"),
    ],
)
def test_logs_that_can_not_be_are_typed(pool: UniswapV3State, log: Log, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        FAMILY.decode(pool, log, NOW)


def test_logs_that_contradict_the_state_are_typed(pool: UniswapV3State) -> None:
    with pytest.raises(DecodeError, match="leaves gross"):
        FAMILY.apply(pool, LiquidityDelta(-360, 180, -(10**19), 0, 0, NOW))
    with pytest.raises(DecodeError, match="leaves gross"):
        FAMILY.apply(pool, LiquidityDelta(-180, 180, -5, 0, 0, NOW))
    with pytest.raises(DecodeError, match="initialised twice"):
        follow(pool, event("Initialize(uint160,int24)", [], ["uint160", "int24"], [ONE, 0]))
    with pytest.raises(DecodeError, match="a mint or burn was missed"):
        follow(pool, swapped(ONE, 10**18 + 1, 0))
    with pytest.raises(DecodeError, match="not initialised"):
        follow(UniswapV3State(POOL, TOKENS, 3000, 60), swapped(ONE, 0, 0))


def test_unknown_events_are_ignored(pool: UniswapV3State) -> None:
    assert FAMILY.decode(pool, event("Other()", [], [], []), NOW) is None
    assert FAMILY.decode(pool, Log(POOL, (), "0x", 1, "0x", "0x", 0, 0), NOW) is None
