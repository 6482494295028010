"""Every family on a node with its real contracts: found, read, followed by logs, and the shadow word by word."""

import os
import random
from pathlib import Path

import pytest
from familychain import Venue, concentrated, config_of, follow, solidly, swapr

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.market.snapshot import capture, load_snapshot, snapshot_path, write_snapshot
from ouro.market.sync import verify
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node

FAMILIES = (
    "uniswap_v3",
    "pancakeswap_v3",
    "slipstream",
    "uniswap_v4",
    "algebra_integral",
    "algebra_adaptive",
    "solidly",
    "swapr",
)


def make_venue(family: str, client: Client, rng: random.Random, pools: int = 3) -> Venue:
    """A factory of the family with pools."""
    if family == "solidly":
        return solidly(client, rng)
    return swapr(client, rng) if family == "swapr" else concentrated(family, client, rng, pools)


async def exact(state: ChainState, reader: Transport) -> None:
    """Fields equal calls, all of them, and the shadow's words the node's."""
    await state.refresh(reader)
    assert state.unconfirmed == frozenset()
    assert await verify(state.market, reader, state.config.multicall) == []
    assert state.shadow is not None
    states = list(state.market.states.values())
    await state.shadow.reread(reader, states)
    assert state.shadow.faults == {}
    assert await state.shadow.verify(reader, states) == []


async def run(
    family: str, node: AnvilNode, client: Client, reader: Transport, data_dir: Path, actions: int
) -> None:
    rng = random.Random(f"{family} {os.environ.get('OURO_SEED', '2022')}")
    venue = make_venue(family, client, rng)
    config = config_of(node, client, [venue])
    # a fee by another configuration than the known one contradicts the pool's own events: it must never be missed
    refreshed = family == "algebra_adaptive"
    state = await ChainState.load("test", config, reader, data_dir, lambda _: None)
    assert set(state.market.states) == set(venue.pools)
    assert state.market.rejected == {}
    await follow(state, reader, client, refreshed=refreshed)
    await exact(state, reader)
    done = 0
    while done < actions:
        for _ in range(25):
            venue.act(rng)
            done += 1
        for settle in venue.settle:
            settle()
        await follow(state, reader, client, refreshed=refreshed)
        if done % 100 == 0 or done >= actions:
            await exact(state, reader)
    snapshot = capture(state.market, config)
    assert snapshot is not None
    path = snapshot_path(data_dir, "test")
    write_snapshot(path, "test", config, snapshot, state.market.families)
    assert load_snapshot(path, "test", config, state.market.families) == snapshot


@pytest.mark.parametrize("family", FAMILIES)
async def test_followed_by_logs_and_equal_to_calls(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    await run(family, node, client, reader, tmp_path / "data with blanks", actions=200)


@pytest.mark.long
@pytest.mark.timeout(21_600)
@pytest.mark.parametrize("family", FAMILIES)
async def test_five_thousand_actions(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    await run(family, node, client, reader, tmp_path, int(os.environ.get("OURO_ACTIONS", "5000")))
