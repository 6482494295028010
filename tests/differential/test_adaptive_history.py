"""Adaptive fees over long histories: more entries than a chunk holds, and a ring that overwrites itself."""

import random

import msgspec
import pytest
from tests.differential.adaptive_cases import AdaptivePlay, AlgebraAdaptiveWorld
from tests.differential.mirror import Mirror

from ouro.protocols import algebra_state
from ouro.protocols.algebra_adaptive import AlgebraAdaptive
from ouro.protocols.algebra_oracle import RING, WINDOW_S, FeeConfig, Timepoint, Timepoints, fee_ppm, written
from ouro.protocols.base import StorageWrite
from ouro.protocols.v3_math import sqrt_ratio_at_tick
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import ArtifactError, fetch

# the first sigmoid answers to calm markets, the second to wild ones
_SENSITIVE = FeeConfig(20_000, 25_000, 30, 300_000, 20, 65_000, 0, 60_000, 150)


@pytest.fixture
def play() -> AdaptivePlay:
    try:
        fetch()
        world = AlgebraAdaptiveWorld()
    except ArtifactError as error:
        pytest.skip(f"needs its packages once, `python -m tests.differential.sources` fetches them: {error}")
    play = world.open_pool(random.Random("history"))
    assert isinstance(play, AdaptivePlay)
    config = call_bytes(
        "changeFeeConfiguration((uint16,uint16,uint32,uint32,uint16,uint16,uint32,uint16,uint16))",
        msgspec.structs.astuple(_SENSITIVE),
    )
    play.chain.call(play.state.operator, config)
    play.mirror.state = msgspec.structs.replace(play.state, fee_config=_SENSITIVE)
    tick = play.state.tick // 60 * 60
    driver = play.chain.driver
    play.positions.clear()
    play.positions[tick - 6000, tick + 6000] = 10**15
    mint = "mint(address,address,int24,int24,uint128,bytes)"
    assert play._do(play.pool, call_bytes(mint, driver, driver, tick - 6000, tick + 6000, 10**15, b""))
    return play


def _nudge(play: AdaptivePlay, rng: random.Random) -> None:
    """A swap that stays near the first price: calm weeks and wild days."""
    centre = next(iter(play.positions))[0] + 6000
    tick = centre + rng.randint(-30, 30) * (40 if play.chain.timestamp // WINDOW_S % 3 == 0 else 1)
    zero_for_one = tick < play.state.tick
    play._do(play.pool, play._swap_call(zero_for_one, 1 << 128, sqrt_ratio_at_tick(tick)))


def _many(play: AdaptivePlay, rng: random.Random, count: int) -> None:
    for _ in range(count):
        _nudge(play, rng)


def test_entries_leave_the_window_in_chunks(play: AdaptivePlay) -> None:
    rng, fees = random.Random(5), set()
    for _ in range(900):
        play.chain.at(play.chain.timestamp + rng.choice([1, 100, 400, 700]))
        _nudge(play, rng)
        fees.add(play.state.fee_ppm)
    assert play.state.timepoint_index > 600
    assert len(play.state.timepoints) < 700  # some were dropped
    assert (play.chain.timestamp - play.state.timepoints[0].timestamp) >= WINDOW_S
    assert len(fees) > 50, sorted(fees)
    play.mirror.compare_all(except_slots=play.crossed_slots())


@pytest.mark.parametrize("step_s", [1, 2])
def test_a_full_ring_overwrites_its_oldest_entry(play: AdaptivePlay, step_s: int) -> None:
    """65,536 entries are less than a day of seconds: then the oldest one there is takes the window's place."""
    rng = random.Random(step_s)
    chain, start = play.chain, play.chain.timestamp
    state, points = play.state, Timepoints([Timepoint(start, average_tick=play.state.tick)])
    every = [points[-1]]
    for k in range(1, RING):
        drift = (k // 5000 % 2 * 2 - 1) * (k % 40) + (100 if k < 1000 else 0)  # what is overwritten first counts
        points = written(
            points, start + k * step_s, state.tick + drift, state.liquidity + k, rng.randrange(1 << 70)
        )
        every.append(points[-1])
    for k, entry in enumerate(every):
        made = msgspec.structs.replace(state, timepoint_index=k, timepoints=Timepoints([entry]))
        for slot, word in algebra_state.timepoint_words(made).items():
            chain.evm.insert_account_storage(state.operator, slot, word)
    fee = fee_ppm(points, state.fee_config)
    state = msgspec.structs.replace(state, timepoints=points, timepoint_index=RING - 1, fee_ppm=fee)
    for slot, word in algebra_state.words(state).items():
        chain.evm.insert_account_storage(state.address, slot, word)
    play.mirror.state = state
    play.mirror.words.clear()
    fees = set()
    for k in range(RING, RING + 150):
        chain.at(start + k * step_s + (k - RING) // 50 * 100)
        _nudge(play, rng)
        fees.add(play.state.fee_ppm)
        for _ in range(3):
            play.case()
    assert play.state.timepoint_index < 200
    assert len(play.state.timepoints) == RING if step_s == 1 else RING * 3 // 4
    assert step_s == 1 or len(fees) > 1


def test_a_configuration_changed_behind_our_back_changes_quotes_only_when_read_again(play: AdaptivePlay) -> None:
    rng = random.Random(9)
    config = msgspec.structs.replace(_SENSITIVE, base_fee=151)
    signature = "changeFeeConfiguration((uint16,uint16,uint32,uint32,uint16,uint16,uint32,uint16,uint16))"
    play.chain.call(play.state.operator, call_bytes(signature, msgspec.structs.astuple(config)))
    play.chain.at(play.chain.timestamp + 60)
    _many(play, rng, 20)  # followed by logs all the same: they tell the fee of each block
    play.mirror.compare_all(except_slots=play.crossed_slots())
    play.chain.at(play.chain.timestamp + 60)
    stale = play._now().fee_ppm
    play.mirror.state = msgspec.structs.replace(play.state, fee_config=config)
    assert play._now().fee_ppm == stale + 1
    for _ in range(20):
        play.case()


def test_a_write_names_the_contract_it_is_in(play: AdaptivePlay) -> None:
    family, rng = AlgebraAdaptive(), random.Random(3)
    state = play.state
    play.chain.at(play.chain.timestamp + 60)
    mirror = Mirror(play.chain, family, state)
    play.mirror = mirror
    _nudge(play, rng)
    places = {address for address, _ in mirror.words}
    assert places == {state.address, state.operator}
    assert not isinstance(family.storage_writes, StorageWrite)
