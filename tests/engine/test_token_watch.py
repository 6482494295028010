"""The engine tries tokens on a node: pools of refused ones are out, in "admit" the others wait for their trial."""

from pathlib import Path
from typing import Literal

import pytest
from eth_abi.abi import encode
from familychain import NodeChain, config_of, follow, pair_of
from tests.differential import sources
from tests.differential.dialect_cases import family_driver

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.engine.upkeep import Upkeep
from ouro.market.token_probe import Verdict, tokens_path
from ouro.testnet.abi import call_bytes
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode

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
    named = bad.dex.model_copy(update={"name": "other"})
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
