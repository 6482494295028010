"""A chain recorded from its node, with what the node was asked beside the blocks, plays the same without it."""

from pathlib import Path

import pytest

from ouro.config.model import OuroConfig
from ouro.engine.journal import DecisionJournal
from ouro.replay.clock import ReplayClock
from ouro.replay.recorder import record_chain
from ouro.replay.recording import Recording
from ouro.replay.session import play
from ouro.replay.world import ReplayUpkeep, state_from
from ouro.testnet.testnet import ChainOptions, Testnet
from ouro.types import BlockUpdate, Mode

pytestmark = pytest.mark.node
BLOCKS = 8


async def test_record_then_replay(tmp_path: Path) -> None:
    path = tmp_path / "base.ouro"
    folder = tmp_path / "a chain"
    with Testnet.start(folder, ("base",), agents=True, options=ChainOptions(block_time_s=0.5)) as testnet:
        config = OuroConfig(
            mode=Mode.OBSERVE, data_dir=tmp_path / "data", chains={"base": testnet.chains["base"].config()}
        )
        counts = await record_chain(config, "base", path, BLOCKS)
    assert counts["blocks"] == BLOCKS
    assert counts["answers"] > 0

    recording = Recording.open(path)
    assert (recording.blocks, recording.logs) == (BLOCKS, counts["logs"])
    digests = set()
    for turn in range(2):
        journal = DecisionJournal()
        work = tmp_path / f"turn {turn}"
        work.mkdir()
        played = await play(recording, work, journal=journal)
        assert not played.ended
        assert played.status.blocks_decided == BLOCKS
        digests.add(journal.digest)
    assert len(digests) == 1

    # Pools with fields that no log tells are as tradable in the replay as they were beside the node.
    state = state_from(recording.origin, recording.origin.config, ReplayClock(0))
    assert state.market.told
    upkeep = ReplayUpkeep(state, None, recording.node)
    confirmed = 0
    for event in recording.events():
        assert isinstance(event, BlockUpdate)
        result = state.apply(event)
        assert state.market.to_confirm
        await upkeep.refresh()
        upkeep.born(result.new_pools)
        await upkeep.tend()
        confirmed += not state.market.to_confirm
    assert confirmed >= BLOCKS // 2
    assert not state.market.quarantine
