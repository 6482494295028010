"""Pools found by asking each family's real factory are those that its events announced."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from familychain import config_of
from test_families import FAMILIES, make_venue

from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig
from ouro.market.discovery import discover
from ouro.protocols.creation import NewPool
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node


def by(config: ChainConfig, way: str) -> ChainConfig:
    return config.model_copy(
        update={"dexes": tuple(dex.model_copy(update={"discovery": way}) for dex in config.dexes)}
    )


def undated(pools: dict[str, NewPool]) -> dict[str, NewPool]:
    return {address: replace(pool, created_block=0) for address, pool in pools.items()}


@pytest.mark.parametrize("family", FAMILIES)
async def test_getters_find_what_events_announce(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    venue = make_venue(family, client, random.Random(f"{family} getters"), pools=4)
    config = config_of(node, client, [venue])
    events = await discover("test", config, reader)
    assert set(events.pools) == set(venue.pools)
    keys = {(pool.fee_ppm, pool.tick_spacing) for pool in events.pools.values()}
    dex = config.dexes[0].model_copy(
        update={"fees_ppm": tuple(fee for fee, _ in keys), "pool_keys": tuple(sorted(keys))}
    )
    config = config.model_copy(update={"dexes": (dex,), "tokens": venue.chain.tokens})
    for way in ("getters", "both"):
        found = await discover("test", by(config, way), reader, tmp_path)
        assert undated(found.pools) == undated(events.pools)
        assert found.refused == {}
        again = await discover("test", by(config, way), reader, tmp_path)
        assert again.pools == found.pools
