"""Every family on a node with its real contracts: found, read, followed by logs, and the shadow word by word."""

import os
import random
from pathlib import Path

import pytest
from curvechain import AT_HAND, COMPILED, CURVES, CurveVenue, curve_venue
from familychain import Venue, concentrated, config_of, follow, solidly, swapr
from tests.differential.chain import Reverted

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.market.snapshot import capture, load_snapshot, snapshot_path, write_snapshot
from ouro.market.sync import verify
from ouro.protocols.base import QuoteError
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode
from ouro.types import BlockContext, Hop

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
    if family in (*CURVES, *COMPILED):
        return curve_venue(family, client, rng, pools)
    return swapr(client, rng) if family == "swapr" else concentrated(family, client, rng, pools)


async def exact(state: ChainState, reader: Transport) -> None:
    """Fields equal calls, all of them, and the shadow's words the node's."""
    await state.refresh(reader)
    assert state.unconfirmed == frozenset()
    assert await verify(state.market, reader, state.config.multicall) == []
    assert state.shadow is not None
    assert await state.shadow.stale_views(reader) == []
    states = list(state.market.states.values())
    await state.shadow.reread(reader, states)
    assert state.shadow.faults == {}
    assert await state.shadow.verify(reader, states) == []


async def quoted(venue: CurveVenue, state: ChainState, reader: Transport, rng: random.Random) -> bool:
    """One swap, quoted on what the engine knows and then executed: the same amounts, or both refuse. Whether it
    was executed."""
    await follow(state, reader, venue.chain.client)
    await state.refresh(reader)
    pool = state.market.states[rng.choice(venue.pools)]
    family = state.market.families[pool.family]
    curve = [k for k in range(len(pool.tokens)) if k != getattr(pool, "own_token", -1)]
    i, j = rng.sample(curve, 2)
    chain = venue.chain
    context = BlockContext(venue.chain.number + 1, chain.timestamp + 1, 1)
    most = family.limits(pool, i, j, context).max_in_wei
    amount = max(int(min(most, 10**30) * 10 ** rng.uniform(-9, 0.01)), 1)
    try:
        ours = family.quote_in(pool, i, j, amount, context).amount_out_wei
    except QuoteError:
        ours = 0
    hop = Hop(pool.address, pool.family, pool.tokens[i], pool.tokens[j], i, j, amount, ours)
    try:
        logs = venue.swap(pool, i, j, amount)
    except Reverted:
        theirs = 0
    else:
        swaps = [found for log in logs if (found := family.swapped(hop, log))]  # one for nothing is none
        (taken, theirs) = swaps[0] if swaps else (amount, 0)
        assert (taken, len(swaps)) == (amount, theirs > 0)
    assert ours == theirs, f"{amount} of token {i} for {j} at {context}: {pool}"
    return theirs > 0


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
    done = executed = 0
    while done < actions:
        for k in range(25):
            if isinstance(venue, CurveVenue) and k % 5 == 0:
                executed += await quoted(venue, state, reader, rng)
            else:
                venue.act(rng)
            done += 1
        for settle in venue.settle:
            settle()
        await follow(state, reader, client, refreshed=refreshed)
        if done % 100 == 0 or done >= actions:
            for end in venue.still:
                end()
            await follow(state, reader, client, refreshed=refreshed)
            await exact(state, reader)
    if isinstance(venue, CurveVenue):
        print(f"{family}: {done} actions, {executed} swaps executed as quoted")
        assert executed > 0
    snapshot = capture(state.market, config)
    assert snapshot is not None
    path = snapshot_path(data_dir, "test")
    write_snapshot(path, "test", config, snapshot, state.market.families)
    assert load_snapshot(path, "test", config, state.market.families) == snapshot


@pytest.mark.parametrize("family", [*FAMILIES, *CURVES, *AT_HAND])
async def test_followed_by_logs_and_equal_to_calls(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    actions = 200 if family in FAMILIES else 75
    await run(family, node, client, reader, tmp_path / "data with blanks", actions)


@pytest.mark.long
@pytest.mark.timeout(21_600)
@pytest.mark.parametrize("family", [*FAMILIES, *CURVES, *COMPILED])
async def test_five_thousand_actions(
    family: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    await run(family, node, client, reader, tmp_path, int(os.environ.get("OURO_ACTIONS", "5000")))
