"""What every family's factories and contracts may say: hostile events, upgrades, pools in managers."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.config.model import DexConfig
from ouro.hashing import topic
from ouro.market.creation import NewPool, creation_topics, parse_creation
from ouro.market.errors import MarketError
from ouro.market.journal import Head
from ouro.market.market import Market
from ouro.market.upkeep import repair_pools
from ouro.protocols.base import DecodeError
from ouro.protocols.catalogue import CATALOGUE
from ouro.protocols.registry import FAMILIES, proof_of
from ouro.protocols.slipstream import SlipstreamState
from ouro.protocols.uniswap_v4 import INITIALIZE_TOPIC, NATIVE, SWAP_TOPIC, UniswapV4State, pool_id
from ouro.protocols.v3_math import Q96
from ouro.types import Log

from .streams import CHAIN, ChainBuilder, address, v2_state, word

UNPROVEN = {
    "curve_stable",
    "curve_meta",
    "curve_stable_ng",
    "twocrypto",
    "tricrypto",
    "liquidity_book",
    "wrapped_staked",
}
"""No bytecode of theirs has been compared: off unless the configuration says otherwise."""

NAMED = {"saddle", "erc4626", "wrapped_staked"}
"""Nobody announces them: the configured contract is the pool."""

MANAGER, WRAPPED = address(1, "manager"), address(2, "wrapped")
UPGRADED = topic("Upgraded(address)")
words_text = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**256 - 1)), max_size=6)


def dex_of(family: str) -> DexConfig:
    return DexConfig.model_validate(
        {"name": "d", "family": family, "factory": MANAGER} | ({"fee_ppm": 3000} if family == "uniswap_v2" else {})
    )


def test_every_family_can_be_configured_read_and_is_judged() -> None:
    names = set(FAMILIES)
    assert set(CATALOGUE) == names
    assert {dex_of(name).family for name in names} == names
    assert {name for name in names if not proof_of(name).whole} == UNPROVEN
    assert {name for name in names if not creation_topics(name)} == NAMED
    assert all(FAMILIES[name].listing(dex_of(name), ()) is not None for name in NAMED)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.sampled_from(sorted({topic for family in FAMILIES for topic in creation_topics(family)})),
    words_text,
    words_text,
    st.text(),
)
def test_a_factory_can_announce_anything(
    family: str, kind: str, topics: list[int], data: list[int], tail: str
) -> None:
    """Whatever a creation event holds, it gives a pool or one kind of error."""
    text = "0x" + "".join(map(word, data)) + tail
    log = Log(MANAGER, (kind, *("0x" + word(t) for t in topics)), text, 7, "0x", "0x", 0, 0)
    with suppress(DecodeError):
        found = parse_creation(log, dex_of(family))
        if not FAMILIES[family].told_by_events:
            assert found is None  # its factory's list has the pool
            return
        assert isinstance(found, NewPool)
        assert len(set(found.tokens)) in (0, 2)  # none where only the pool tells them


def v4_state(tokens: tuple[str, str] = (NATIVE, WRAPPED), spacing: int = 60) -> UniswapV4State:
    identity = pool_id(tokens, 3000, spacing, NATIVE)
    return UniswapV4State(identity, MANAGER, tokens, 3000, spacing, NATIVE, 3000, 0, Q96, 0, 0)


def started(chain: ChainBuilder, states: list[object]) -> Market:
    market = Market(CHAIN, FAMILIES, wrapped_native=WRAPPED, factories={MANAGER: dex_of("uniswap_v4")})
    market.start(Head(chain.number, chain.hash, chain.timestamp, 10**9), states)
    return market


def test_logs_of_a_manager_go_to_the_pool_that_they_name() -> None:
    chain = ChainBuilder()
    token = "0x" + "ff" * 20
    mine, other = v4_state((NATIVE, token)), v4_state((NATIVE, token), 10)
    market = started(chain, [mine])
    price = Q96 + Q96 // 1000
    data = "0x" + "".join(map(word, (-5, 4, price, 0, 19, 3000)))
    sender = "0x" + word(1)
    result = market.apply(
        chain.block(
            [
                (MANAGER, (SWAP_TOPIC, mine.address, sender), data),
                (MANAGER, (SWAP_TOPIC, other.address, sender), data),
                (address(9), (SWAP_TOPIC, mine.address, sender), data),
                (MANAGER, (SWAP_TOPIC,), data),
            ]
        )
    )
    assert market.states[mine.address].sqrt_price_x96 == price
    assert result.unknown_logs == 3
    assert result.quarantined == ()
    market.rollback(*chain.back(1))
    assert market.states[mine.address] == mine


def test_a_pool_of_a_manager_is_announced_by_its_first_price() -> None:
    chain = ChainBuilder()
    market = started(chain, [])
    tokens = (address(1, "token"), "0x" + "ff" * 20)
    identity = pool_id(tokens, 3000, 60, NATIVE)
    topics = (INITIALIZE_TOPIC, identity, *("0x" + word(int(token, 16)) for token in tokens))
    data = "0x" + "".join(map(word, (3000, 60, 0, Q96, 0)))
    forged = (INITIALIZE_TOPIC, "0x" + "12" * 32, *topics[2:])
    result = market.apply(chain.block([(MANAGER, topics, data), (MANAGER, forged, data)]))
    [found] = result.new_pools
    assert (found.address, found.factory, found.fee_ppm, found.tick_spacing) == (identity, MANAGER, 3000, 60)
    assert result.unknown_logs == 1


def test_the_search_sees_one_native_coin_and_no_pool_of_it_against_itself() -> None:
    chain = ChainBuilder()
    token = "0x" + "ff" * 20
    market = started(chain, [v4_state((NATIVE, token)), v4_state((NATIVE, WRAPPED))])
    assert market.arrays.tokens == [WRAPPED, token]
    assert "its own wrapper" in market.rejected[v4_state((NATIVE, WRAPPED)).address]


@pytest.mark.parametrize("of", ["pool", "token"])
async def test_a_changed_implementation_takes_its_pools_out_for_good(of: str) -> None:
    chain = ChainBuilder()
    market = started(chain, [v2_state(0), v2_state(1)])
    contract = address(0) if of == "pool" else v2_state(0).tokens[0]
    result = market.apply(chain.block([(contract, (UPGRADED, "0x" + word(5)), "0x")]))
    assert [pool for pool, _ in result.quarantined] == [address(0)]
    assert "changed its implementation" in market.quarantine[address(0)].reason
    assert not market.tradable(address(0))
    assert market.tradable(address(1))
    assert all(not held.final or pool == address(0) for pool, held in market.quarantine.items())
    nobody: Any = None  # it is not read again: no reader is asked
    assert not (await repair_pools(market, nobody, nobody)).size
    market.rollback(*chain.back(1))
    assert market.tradable(address(0))


def slipstream_state(number: int, fee_ppm: int = 500) -> SlipstreamState:
    return SlipstreamState(address(number), (address(1, "token"), "0x" + "ff" * 20), fee_ppm, 50, Q96)


def test_a_field_that_no_log_tells_is_read_at_each_block_or_the_pool_waits() -> None:
    chain = ChainBuilder()
    pool = slipstream_state(0)
    market = started(chain, [pool])
    assert market.tradable(pool.address)  # read with the rest
    market.apply(chain.block([]))
    assert market.usable(pool.address)
    assert not market.tradable(pool.address)
    assert market.to_confirm == [pool.address]
    dearer = slipstream_state(0, 900)
    assert market.confirm({pool.address: dearer}, chain.hash).tolist() == [0]
    assert market.tradable(pool.address)
    assert market.states[pool.address].fee_ppm == 900
    with pytest.raises(MarketError, match="moved on"):
        market.confirm({pool.address: pool}, "0x" + "99" * 32)
    market.apply(chain.block([]))
    market.rollback(*chain.back(2))
    assert market.states[pool.address].fee_ppm == 500


def test_a_pool_that_does_not_answer_is_counted_until_it_does() -> None:
    chain = ChainBuilder()
    pool = slipstream_state(0)
    market = started(chain, [pool])
    market.apply(chain.block([]))
    assert market.missed([pool.address], 2) == []
    market.confirm({pool.address: pool}, chain.hash)
    assert market.missed([pool.address], 2) == []
    assert market.missed([pool.address], 2) == [pool.address]
