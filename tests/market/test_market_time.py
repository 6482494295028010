"""Pools whose fee follows the clock: the search's pieces are those of the block that a trade would execute in."""

import msgspec
import numpy as np
import pytest
from tests.market.streams import CHAIN, ChainBuilder, address, v2_state
from tests.protocols.test_algebra_adaptive import adaptive

from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols import algebra_adaptive
from ouro.protocols.algebra_oracle import FeeConfig, Timepoint, Timepoints, written
from ouro.protocols.algebra_state import AlgebraAdaptiveState
from ouro.protocols.registry import FAMILIES
from ouro.protocols.v3_math import Q96
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_ticks import TickTable

FAMILY = FAMILIES["algebra_adaptive"]
LIQUIDITY = 10**20
START = 1_700_000_000


def stirred(number: int, moves: tuple[int, ...]) -> AlgebraAdaptiveState:
    """A pool whose price went so far in each of the last hours."""
    ticks = TickTable({-6_000: (LIQUIDITY, LIQUIDITY), 6_000: (LIQUIDITY, -LIQUIDITY)})
    plain = UniswapV3State(address(number), v2_state(number).tokens, 0, 60, Q96, 0, LIQUIDITY, ticks)
    points = Timepoints([Timepoint(START - 3_600 * len(moves) - 60)])
    for k, move in enumerate(moves):
        points = written(points, START - 3_600 * (len(moves) - k), move, LIQUIDITY, 5 << 57)
    state = adaptive(plain)
    return msgspec.structs.replace(
        state, address=plain.address, tokens=plain.tokens, timepoints=points, timepoint_index=len(points) - 1
    )


def started(chain: ChainBuilder) -> Market:
    market = Market(CHAIN, FAMILIES, block_time_ms=1_000)
    wild, calm = stirred(0, (900, -1_500, 2_000, -700)), stirred(1, (0, 0))
    empty = msgspec.structs.replace(stirred(2, (5,)), sqrt_price_x96=0, timepoints=Timepoints())
    market.start(Head(chain.number, chain.hash, chain.timestamp, 10**9), [wild, calm, empty, v2_state(3)])
    return market


def pieces(market: Market) -> dict[str, list[list[list[float]]]]:
    arrays = market.arrays
    return {
        pool: [
            arrays.segs[arrays.seg_start[e] : arrays.seg_start[e] + arrays.seg_count[e]].tolist()
            for e in arrays.edges_of(pool_id)
        ]
        for pool, pool_id in market.pool_index.items()
    }


def expected(market: Market) -> dict[str, list[list[list[float]]]]:
    return {
        pool: [market.family_of(pool).segments(state, i, 1 - i, market.context).tolist() for i in (0, 1)]
        for pool, state in market.states.items()
    }


@pytest.mark.parametrize("foreseen", [False, True])
def test_pieces_follow_the_clock_without_any_log(foreseen: bool) -> None:
    chain = ChainBuilder()
    market = started(chain)
    known = pieces(market)
    assert known == expected(market)
    seen: list[set[str]] = []
    for pause_s in (1, 60, 3_600, 7_200, 80_000, 1, 200_000, 1):
        if foreseen:
            assert sum(1 for _ in market.foresee()) == 3
        chain.timestamp += pause_s - 1
        result = market.apply(chain.block([]))
        assert not result.touched.size
        now = pieces(market)
        assert now == expected(market)
        drifted = {market.addresses[pool_id] for pool_id in result.drifted}
        assert drifted == {pool for pool in now if now[pool] != known[pool]}
        seen.append(drifted)
        known = now
    assert set().union(*seen) == {address(0)}  # nothing happens to the calm one, and the pair has no clock
    assert set() in seen
    before = pieces(market)
    back = market.rollback(*chain.back(6))
    assert pieces(market) == expected(market) != before
    assert market.pool_index[address(0)] in back.tolist()


def test_what_was_foreseen_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = ChainBuilder()
    market = started(chain)
    computed: list[int] = []
    true_fee = algebra_adaptive.fee_ppm

    def counted(points: Timepoints, config: FeeConfig) -> int:
        computed.append(points[-1].timestamp)
        return true_fee(points, config)

    monkeypatch.setattr(algebra_adaptive, "fee_ppm", counted)
    list(market.foresee())
    assert len(computed) == 2
    market.apply(chain.block([]))
    assert len(computed) == 2  # the block came on time
    chain.timestamp += 5
    market.apply(chain.block([]))
    assert len(computed) == 4  # this one is late: the pools are looked at again, to be right
    assert np.array_equal(market.apply(chain.block([])).touched, [])


def test_a_pool_in_quarantine_is_left_alone() -> None:
    chain = ChainBuilder()
    market = started(chain)
    market.set_quarantine(address(0), "for a test")
    chain.timestamp += 7_200
    assert not market.apply(chain.block([])).drifted.size
    assert not market.arrays.enabled[market.pool_index[address(0)]]
