"""While the engine runs, some contracts' code is compared after each block; a pool that changed is out for good."""

from pathlib import Path

import pytest
from familychain import NodeChain, config_of, follow, pair_of
from tests.differential.dialect_cases import family_driver

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.engine.upkeep import Upkeep
from ouro.market.codes import CodeBook, codes_path
from ouro.market.token_probe import TokenReport, Verdict
from ouro.market.upkeep import repair_pools
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

pytestmark = pytest.mark.node


@pytest.mark.parametrize("of", ["pool", "token"])
async def test_changed_code_is_seen_in_turn(
    of: str, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    chain = NodeChain(client)
    family_driver(chain)
    pair = pair_of(chain, chain.tokens, 10**23, 10**23)
    pool = pair.pools[0]
    changed = pool if of == "pool" else chain.tokens[1]
    config = config_of(node, client, [pair]).model_copy(update={"code_checks_per_block": 1})
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    upkeep = Upkeep(state, reader, tmp_path)
    report = TokenReport(chain.tokens[1], pool, Verdict.ADMITTED, "", 1, "0x")
    upkeep.tokens.book.add(report)

    async def turns() -> None:
        """One contract a block: all three of them once, and those that are still queued before."""
        for _ in range(6):
            client.call("evm_mine")
            await follow(state, reader, client)
            await upkeep.tend()
            await upkeep.codes.finished()

    await turns()
    assert state.market.tradable(pool)
    client.call("anvil_setCode", changed, client.call("eth_getCode", changed, "latest") + "00")
    await turns()
    held = state.market.quarantine[pool]
    assert held.final
    assert "other code than before" in held.reason
    assert not (await repair_pools(state.market, config, reader)).size
    assert (chain.tokens[1] in upkeep.tokens.book.reports) == (of == "pool")  # another token now: to be tried anew
    await upkeep.close()
    book = CodeBook()
    book.load(codes_path(tmp_path, "test"), config.chain_id)
    assert {pool, *chain.tokens} == book.prints.keys()
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    assert state.market.quarantine[pool].reason == held.reason
    off = Upkeep(state, reader, tmp_path)
    state.config = config.model_copy(update={"code_checks_per_block": 0})
    await off.tend()
    await off.codes.finished()
    await off.close()
