"""The engine tries tokens on a node: pools of refused ones are out, in "admit" the others wait for their trial."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest
from eth_abi.abi import encode
from familychain import NodeChain, config_of, follow, pair_of
from tests.differential import sources
from tests.differential.dialect_cases import family_driver

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.engine.token_watch import AGAIN_AFTER_BLOCKS
from ouro.engine.upkeep import Upkeep
from ouro.market import token_probe
from ouro.market.token_probe import Verdict, tokens_path
from ouro.testnet.abi import call_bytes
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode
from ouro.types import Mode

pytestmark = pytest.mark.node

_ODD = Path(__file__).parents[1] / "market" / "tokens"
_FEE_ON_TRANSFER = 1


@pytest.mark.parametrize("probe", ["refuse", "admit"])
async def test_a_taxed_token_is_out_and_an_honest_one_is_let_in(
    probe: Literal["refuse", "admit"], node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    chain = NodeChain(client)
    family_driver(chain)
    code = sources.compiled({"": _ODD}, {"OddToken": "OddToken.sol"}, None, "cancun")["OddToken"].bytecode
    base, honest = chain.tokens
    taxed = chain.deploy(code + encode(["uint8", "uint256"], [_FEE_ON_TRANSFER, 10**30]))
    chain.call(taxed, call_bytes("transfer(address,uint256)", chain.driver, 10**29))
    good = pair_of(chain, (base, honest), 10**23, 10**23)
    tokens = (min(base, taxed), max(base, taxed))
    bad = pair_of(chain, tokens, 10**23, 10**23)
    named = bad.dexes[0].model_copy(update={"name": "other"})
    config = config_of(node, client, [good])
    config = config.model_copy(
        update={"dexes": (*config.dexes, named), "start_tokens": (base,), "probe_tokens": probe}
    )
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    upkeep = Upkeep(state, reader, tmp_path)
    await follow(state, reader, client)
    await upkeep.tend()
    both = frozenset((good.pools[0], bad.pools[0]))
    assert state.unconfirmed == (both if probe == "admit" else frozenset())
    if probe == "admit":
        assert "has not been tried yet" in state.unadmitted[good.pools[0]]
    await upkeep.tokens.finished()
    assert upkeep.tokens.book.reports[taxed].verdict is Verdict.REFUSED
    assert upkeep.tokens.book.reports[honest].verdict is Verdict.ADMITTED
    assert taxed in state.market.quarantine[bad.pools[0]].reason
    assert not state.market.tradable(bad.pools[0])
    assert good.pools[0] not in state.unconfirmed | state.market.quarantine.keys()
    assert tokens_path(tmp_path, "test").is_file()
    again = Upkeep(state, reader, tmp_path)
    await again.tend()
    await again.tokens.finished()
    assert again.tokens.book.reports.keys() == upkeep.tokens.book.reports.keys()
    await again.tokens.close()


@pytest.mark.parametrize("mode", list(Mode))
async def test_where_trades_are_made_every_token_is_tried_unless_said_otherwise(
    mode: Mode, node: AnvilNode, client: Client, reader: Transport, tmp_path: Path
) -> None:
    chain = NodeChain(client)
    family_driver(chain)
    pair = pair_of(chain, chain.tokens, 10**23, 10**23)
    other = chain.tokens[1]
    config = config_of(node, client, [pair]).model_copy(update={"stable_tokens": (other,)})
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    state.take_touched()
    upkeep = Upkeep(state, reader, tmp_path, mode)
    await follow(state, reader, client)
    await upkeep.tend()
    waits = mode is not Mode.OBSERVE
    assert (pair.pools[0] in state.unconfirmed) == waits
    await upkeep.tokens.finished()
    assert (other in upkeep.tokens.book.reports) == waits  # that it is worth a dollar says nothing about it
    assert pair.pools[0] not in state.unconfirmed
    assert state.take_touched() == ([state.market.pool_index[pair.pools[0]]] if waits else [])  # looked at anew
    await upkeep.close()


async def test_a_token_without_a_verdict_is_tried_again_but_not_at_every_block(
    node: AnvilNode, client: Client, reader: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = NodeChain(client)
    family_driver(chain)
    pair = pair_of(chain, chain.tokens, 1_000, 10**6)  # too little to try a trade
    config = config_of(node, client, [pair]).model_copy(update={"start_tokens": (chain.tokens[0],)})
    state = await ChainState.load("test", config, reader, tmp_path, lambda _: None)
    upkeep = Upkeep(state, reader, tmp_path)
    tried: list[str] = []
    true_probe = token_probe.probe_token

    async def counted(reader: Any, token: str, *rest: Any, **more: Any) -> token_probe.TokenReport:
        tried.append(token)
        return dataclasses.replace(
            await true_probe(reader, token, *rest, **more), verdict=Verdict.UNKNOWN, reason="x"
        )

    monkeypatch.setattr(token_probe, "probe_token", counted)
    for _ in range(2 * AGAIN_AFTER_BLOCKS):
        upkeep.tokens.tend()
        await upkeep.tokens.finished()
    assert tried == [chain.tokens[1]] * 2
    assert state.unadmitted == {pair.pools[0]: f"token {chain.tokens[1]} has not been admitted yet: x"}
    await upkeep.close()
