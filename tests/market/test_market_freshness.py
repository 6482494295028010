from ouro.config.model import FreshnessConfig
from ouro.market.freshness import ChainFreshness, Level, pool_level
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.protocols.registry import FAMILIES

from .streams import address, v2_state

MS = 1_000_000


def test_levels_follow_the_age_of_the_last_block() -> None:
    now = [0]
    chain = ChainFreshness(FreshnessConfig(delayed_ms=3_000, stale_ms=10_000), lambda: now[0])
    assert chain.level is Level.STALE
    assert not chain.may_order
    assert "no block yet" in chain.explain()
    chain.seen(0)
    levels = {}
    for age_ms in (0, 2_999, 3_000, 9_999, 10_000):
        now[0] = age_ms * MS
        levels[age_ms] = chain.level.value
    assert levels == {0: "ready", 2_999: "ready", 3_000: "delayed", 9_999: "delayed", 10_000: "stale"}
    chain.seen(9_000 * MS)
    assert chain.level is Level.READY
    chain.seen(0)
    assert chain.age_ms == 1_000
    chain.lost("reorg deeper than the ring")
    assert not chain.may_order
    assert "deeper than the ring" in chain.explain()
    chain.seen(9_500 * MS)
    assert chain.may_order


def test_a_pool_is_stale_while_it_is_out_of_use() -> None:
    chain = ChainFreshness(FreshnessConfig(), lambda: 0)
    chain.seen(0)
    market = Market("c", FAMILIES)
    market.start(Head(1, "0x" + "01" * 32, 0), [v2_state(0), v2_state(1)])
    market.set_quarantine(address(0), "differs")
    assert pool_level(chain, market, address(0)) is Level.STALE
    assert pool_level(chain, market, address(1)) is Level.READY
    assert pool_level(chain, market, address(5)) is Level.STALE


def test_old_blocks_are_stale_however_quickly_they_come() -> None:
    wall = [1_000_000.0]
    chain = ChainFreshness(FreshnessConfig(delayed_ms=3_000, stale_ms=10_000), lambda: 5 * MS, lambda: wall[0])
    chain.seen(5 * MS, timestamp=1_000_000 - 3_600)
    assert chain.level is Level.STALE
    chain.seen(5 * MS, timestamp=1_000_000)
    assert chain.level is Level.READY
    wall[0] += 12
    assert not chain.may_order
