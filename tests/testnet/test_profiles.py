import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.testnet import profiles
from ouro.testnet.deployment import Pool
from ouro.testnet.order_flow import recorded_reserves, usd_per_unit
from ouro.testnet.positions import plan_positions
from ouro.testnet.profiles import PROFILES, ChainProfile
from ouro.testnet.tickmath import (
    MAX_TICK,
    MIN_TICK,
    amounts_for_liquidity,
    liquidity_for_amounts,
    sqrt_ratio_at_tick,
)

EVERY = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())


@EVERY
def test_excerpts_tell_their_origin_and_licence(profile: ChainProfile) -> None:
    path = Path(profiles.__file__).parent / "data" / f"pools_{profile.name}.csv"
    first = path.read_text().splitlines()[0]
    expected = {"ethereum": ("bancorprotocol/fastlane-bot", "MIT"), "fantom": ("uniswap-skim-v2", "Unlicense")}
    assert all(word in first for word in expected[profile.name])


@EVERY
def test_recorded_pools_agree_on_prices_within_five_percent(profile: ChainProfile) -> None:
    pools = [Pool(p.dex, p.kind, "", p.tokens, p.symbols, p.fee_ppm, k) for k, p in enumerate(profile.pools)]
    stables = [token.recorded_address for token in profile.tokens if token.symbol in profile.stable_symbols]
    usd = usd_per_unit(pools, profile.pools, stables)
    assert len(usd) == len(profile.tokens)
    for pool in pools:
        reserve0, reserve1 = recorded_reserves(profile.pools[pool.recorded])
        ratio = reserve0 * usd[pool.tokens[0]] / (reserve1 * usd[pool.tokens[1]])
        assert abs(ratio - 1) < 0.055, pool.symbols


@EVERY
def test_composition_has_competing_venues(profile: ChainProfile) -> None:
    names = {venue.name for venue in profile.venues}
    assert {pool.dex for pool in profile.pools} == names
    assert len(names) == 3
    assert sum(venue.family == "uniswap_v2" for venue in profile.venues) == 2
    assert 9 <= len(profile.tokens) <= 14
    assert 25 <= len(profile.pools) <= 60
    keys = [(pool.dex, pool.tokens, pool.fee_ppm) for pool in profile.pools]
    assert len(set(keys)) == len(keys)
    assert all(pool.tokens[0] < pool.tokens[1] for pool in profile.pools)


def test_the_second_chain_has_v2_venues_with_different_fees() -> None:
    fees = {venue.fee_ppm for venue in PROFILES["fantom"].venues if venue.family == "uniswap_v2"}
    assert fees == {2_000, 3_000}


def test_chain_ids_are_private_and_distinct() -> None:
    assert {profile.chain_id for profile in PROFILES.values()} == {9_300_001, 9_300_250}


def test_a_bad_row_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(profiles.__file__).parent / "data" / "pools_fantom.csv"
    lines = path.read_text().splitlines()
    lines[4] = lines[4].replace(",2000,", ",two,")
    (tmp_path / "pools_broken.csv").write_text("\n".join(lines))
    monkeypatch.setattr(profiles, "_DATA_DIR", tmp_path)
    with pytest.raises(ValueError, match=r"pools_broken\.csv, line 5"):
        profiles.load_pools("broken")


@EVERY
def test_positions_add_up_to_the_recorded_liquidity_exactly(profile: ChainProfile) -> None:
    for recorded in profile.pools:
        if recorded.kind != "v3":
            continue
        total = 0
        positions = plan_positions(recorded)
        assert len({(p.lower, p.upper) for p in positions}) >= 3
        for p in positions:
            assert p.lower <= recorded.tick < p.upper
            assert p.lower % recorded.tick_spacing == p.upper % recorded.tick_spacing == 0
            total += liquidity_for_amounts(
                recorded.sqrt_price_x96,
                sqrt_ratio_at_tick(p.lower),
                sqrt_ratio_at_tick(p.upper),
                p.amount0,
                p.amount1,
            )
        assert total == recorded.liquidity


def test_known_tick_ratios() -> None:
    assert sqrt_ratio_at_tick(0) == 2**96
    assert sqrt_ratio_at_tick(MIN_TICK) == 4_295_128_739
    assert sqrt_ratio_at_tick(MAX_TICK) == 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
    with pytest.raises(ValueError, match="tick 887273"):
        sqrt_ratio_at_tick(MAX_TICK + 1)


@given(st.integers(MIN_TICK, MAX_TICK))
def test_tick_ratios_follow_the_power_law(tick: int) -> None:
    ratio = sqrt_ratio_at_tick(tick)
    assert math.log(ratio / 2**96) == pytest.approx(tick * math.log(1.0001) / 2, abs=1e-9 + 2**32 / ratio)


@given(
    tick=st.integers(-200_000, 200_000),
    below=st.integers(1, 50_000),
    above=st.integers(1, 50_000),
    liquidity=st.integers(1, 10**26),
)
def test_amounts_buy_at_least_the_liquidity_they_are_for(tick: int, below: int, above: int, liquidity: int) -> None:
    root, lower, upper = (sqrt_ratio_at_tick(t) for t in (tick, tick - below, tick + above))
    amount0, amount1 = amounts_for_liquidity(root, lower, upper, liquidity)
    assert liquidity_for_amounts(root, lower, upper, amount0, amount1) >= liquidity
