"""State, decisions and housekeeping of one chain, and what goes wrong around them."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from decide_once import plans_of
from engine_bench import Bench
from eth_account import Account

from ouro.chain.errors import MalformedAnswer, TransportError
from ouro.config.load import config_to_toml
from ouro.config.model import OuroConfig
from ouro.engine.bookkeeping import owned_accounts, record_openings
from ouro.engine.chain_state import ChainState
from ouro.engine.decision import decide
from ouro.engine.upkeep import REPAIR_EVERY_BLOCKS, Upkeep
from ouro.execution.contract import pause
from ouro.execution.preflight import Preflight
from ouro.market.snapshot import snapshot_path
from ouro.market.upkeep import save_market
from ouro.testnet.abi import call_data
from ouro.testnet.testnet import LocalChain
from ouro.types import BlockContext, BlockUpdate, Mode, Plan

pytestmark = pytest.mark.node


async def test_the_same_chain_gives_the_same_plans_to_the_byte_in_any_process(
    local_chain: LocalChain, tmp_path: Path
) -> None:
    config = OuroConfig(mode=Mode.OBSERVE, chains={"ethereum": local_chain.config()})
    file = tmp_path / "ouro.toml"
    file.write_text(config_to_toml(config))
    script = Path(__file__).with_name("decide_once.py")
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    run = await asyncio.create_subprocess_exec(
        sys.executable, script, file, env=environment, stdout=asyncio.subprocess.PIPE
    )
    here = await plans_of(file)
    there = (await run.communicate())[0].splitlines()[-1]
    plans = msgspec.json.decode(here, type=list[Plan])
    assert len(plans) >= 5
    assert there == here
    # Best first, and no pool twice: each can be carried out whatever becomes of the others.
    pools = [pool for plan in plans for pool in plan.pools]
    assert len(pools) == len(set(pools))


async def test_locked_pools_are_left_out_and_looked_at_again(bench: Bench) -> None:
    update = await bench.mine()
    first = bench.decide(update).plans[0]
    bench.state.carry(range(bench.state.market.arrays.n_pools))
    without = decide(bench.state, update, frozenset(first.pools), "public")
    assert not {pool for plan in without.plans for pool in plan.pools} & set(first.pools)
    again = decide(bench.state, update, frozenset(), "public")
    assert first.plan_id in {plan.plan_id for plan in again.plans}


async def test_what_a_decision_does_not_touch_it_does_not_look_at(bench: Bench) -> None:
    update = await bench.mine()
    bench.decide(update)
    bench.state.take_touched()
    assert decide(bench.state, update, frozenset(), "public").candidates == 0


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda _raw: b"", lambda raw: raw + b"x"])
async def test_a_truncated_snapshot_costs_a_fresh_read_and_nothing_else(bench: Bench, damage: Any) -> None:
    for _ in range(bench.config.finality_depth + 2):
        await bench.mine()
    data = bench.folder / "data"
    assert await save_market("ethereum", bench.config, bench.state.market, data)
    file = snapshot_path(data, "ethereum")
    file.write_bytes(damage(file.read_bytes()))
    said: list[str] = []
    state = await ChainState.load("ethereum", bench.config, bench.node, data, said.append)
    assert any(str(file) in text for text in said), said
    assert state.market.states.keys() == bench.state.market.states.keys()


class Flaky:
    """A node that does not answer batches for a while."""

    def __init__(self, node: Any) -> None:
        self._node, self.broken = node, True

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        if self.broken:
            raise TransportError("no answer")
        return await self._node.call(method, params, timeout_ms)

    async def batch(self, calls: Any, timeout_ms: int | None = None) -> list[Any]:
        if self.broken:
            raise TransportError("no answer")
        return await self._node.batch(calls, timeout_ms)


async def test_a_new_pool_joins_with_the_first_block_that_can_read_it(bench: Bench) -> None:
    await bench.mine()
    deployment = bench.chain.deployment
    venue = deployment.venue("sushiswap_v2")
    known = {frozenset(pool.tokens) for pool in deployment.pools if pool.dex == venue.name}
    tokens = [token.address for token in deployment.tokens]
    pair = next((a, b) for a in tokens for b in tokens if a < b and frozenset((a, b)) not in known)
    with bench.chain.node.client() as client:
        [sender, *_] = client.call("eth_accounts")
        data = call_data("createPair(address,address)", *pair)
        client.call(
            "eth_sendTransaction", {"from": sender, "to": venue.factory, "data": data, "gas": hex(4_000_000)}
        )
    await bench.node.call("evm_mine", [])
    head = await bench.block_number()
    born: tuple[Any, ...] = ()
    async for event in bench.feed:
        assert isinstance(event, BlockUpdate)
        result = bench.state.apply(event)
        born += result.new_pools
        if bench.state.head_number == head:
            break
    assert len(born) == 1
    before, cycles = bench.state.market.arrays.n_pools, bench.state.cycles
    node = Flaky(bench.node)
    upkeep = Upkeep(bench.state, node, bench.folder / "data")
    upkeep.born(born)
    await upkeep.tend()
    assert bench.state.market.arrays.n_pools == before
    node.broken = False
    await upkeep.tend()
    assert bench.state.market.arrays.n_pools == before + 1
    assert bench.state.cycles >= cycles
    assert bench.state.shadow is not None
    assert bench.state.shadow.has(born[0].address)
    await upkeep.tend()
    assert bench.state.market.arrays.n_pools == before + 1


async def test_a_pool_in_quarantine_comes_back_by_itself(bench: Bench) -> None:
    await bench.mine()
    sick = bench.chain.deployment.pools[0].address
    bench.state.market.set_quarantine(sick, "for a test")
    node = Flaky(bench.node)
    upkeep = Upkeep(bench.state, node, bench.folder / "data")
    for _ in range(REPAIR_EVERY_BLOCKS):
        await upkeep.tend()
    assert not bench.state.market.usable(sick)
    node.broken = False
    for _ in range(REPAIR_EVERY_BLOCKS):
        await upkeep.tend()
    assert bench.state.market.usable(sick)


async def test_openings_are_recorded_once_at_the_first_block(bench: Bench) -> None:
    first = await bench.mine()
    tokens = bench.state.market.tokens
    await record_openings("ethereum", bench.config, bench.ledger, bench.node, first.number, tokens)
    bench.ledger.flush()
    openings = bench.ledger.books.openings("ethereum")
    accounts = owned_accounts(bench.config)
    assert {(o.account, o.token) for o in openings} >= {
        (who, token) for who in accounts for token in (None, bench.config.wrapped_native)
    }
    await bench.node.call("anvil_setBalance", [bench.config.operators[0], hex(5)])
    later = await bench.mine()
    more = bench.config.model_copy(update={"operators": (*bench.config.operators, "0x" + "99" * 20)})
    await record_openings("ethereum", more, bench.ledger, bench.node, later.number, tokens)
    bench.ledger.flush()
    again = bench.ledger.books.openings("ethereum")
    assert [o for o in again if o.account != "0x" + "99" * 20] == openings
    assert {o.block_number for o in again if o.account == "0x" + "99" * 20} == {later.number}


async def test_a_start_token_without_code_is_named(bench: Bench) -> None:
    update = await bench.mine()
    nobody = "0x" + "12" * 20
    config = bench.config.model_copy(update={"start_tokens": (nobody,)})
    with pytest.raises(MalformedAnswer, match=nobody):
        await record_openings("ethereum", config, bench.ledger, bench.node, update.number, ())
    # Any other token is only left out.
    await record_openings("ethereum", bench.config, bench.ledger, bench.node, update.number, (nobody,))
    bench.ledger.flush()
    assert nobody not in {opening.token for opening in bench.ledger.books.openings("ethereum")}


async def test_a_paused_executor_is_noticed_before_anything_reverts(bench: Bench) -> None:
    """The owner pauses: the block that says so is not traded on, and afterwards pre-flight refuses."""
    update = await bench.mine()
    plan = bench.decide(update).plans[0]
    assert bench.state.shadow is not None
    preflight, operator = Preflight(bench.state.shadow), bench.config.operators[0]
    assert preflight.run(plan.calldata, operator, bench.state.market.context, plan.hops).ok

    assert bench.config.executor is not None
    owner = Account.from_key(bench.chain.owner_key)
    snapshot = await bench.node.call("evm_snapshot", [])
    with bench.chain.node.client() as client:
        client.call("anvil_impersonateAccount", owner.address)
        pause_tx = {"from": owner.address, "to": bench.config.executor, "data": "0x" + pause().hex()}
        client.call("eth_sendTransaction", pause_tx)
    await bench.mine()
    assert bench.state.executor_stirred
    await Upkeep(bench.state, bench.node, bench.folder / "data").tend()
    assert not bench.state.executor_stirred
    context = BlockContext(plan.max_block_number, bench.state.market.context.timestamp, 0)
    result = preflight.run(plan.calldata, operator, context, plan.hops)
    assert (result.ok, result.revert_reason) == (False, "IsPaused")
    await bench.node.call("evm_revert", [snapshot])
