"""``python decide_once.py CONFIG``: load the chain, decide on its last block, print the plans as JSON."""

import asyncio
import sys
from pathlib import Path

import msgspec

from ouro.chain.pool import EndpointPool
from ouro.config.load import load_config
from ouro.engine.chain_state import ChainState
from ouro.engine.decision import decide
from ouro.types import BlockUpdate


async def plans_of(config_path: Path) -> bytes:
    """Every plan of the block at which the state was read."""
    [(name, config)] = load_config(config_path, {}).chains.items()
    async with EndpointPool(config.endpoints, config.chain_id, name=name) as node:
        state = await ChainState.load(name, config, node, config_path.parent / "data", lambda _text: None)
    head = state.market.head
    assert head is not None
    update = BlockUpdate(name, head.number, head.hash, "", head.timestamp, None, 0, 0, (), 0)
    return msgspec.json.encode(decide(state, update, frozenset(), "public").plans)


if __name__ == "__main__":
    sys.stdout.buffer.write(asyncio.run(plans_of(Path(sys.argv[1]))))
