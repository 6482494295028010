"""One trade on a node, from the decision to the receipt; every stage has to say the same amounts."""

from familychain import OPERATOR, NodeChain, follow, read_update
from tests.differential.chain import OWNER

from ouro.chain.rpc import Transport
from ouro.engine.chain_state import ChainState
from ouro.engine.decision import decide
from ouro.engine.trading import check_preflight
from ouro.execution.preflight import Preflight
from ouro.execution.settlement import predicted_amounts
from ouro.execution.swaplogs import realised
from ouro.testnet.client import Client


async def trade_once(state: ChainState, chain: NodeChain, reader: Transport, client: Client) -> tuple[str, ...]:
    """Decide at the head, send the best plan, compare. Returns the families that it went through."""
    await follow(state, reader, client)
    await state.refresh(reader)
    state.carry(range(state.market.arrays.n_pools))
    state.revalue()
    update = await read_update(reader, client.block_number(), ())
    decision = decide(state, update, state.unconfirmed, "public")
    assert [refused for refused in decision.refused if refused.reason == "not_encodable"] == []
    plan = decision.plans[0]
    assert state.shadow is not None
    result = Preflight(state.shadow).run(plan.calldata, OPERATOR, state.market.context, plan.hops)
    refused = check_preflight(plan, result, state.market.context.base_fee_wei)
    assert refused is None, refused
    assert result.amounts_wei == predicted_amounts(plan)
    before = chain.balance(plan.profit_token, OWNER)
    chain.call(state.config.executor or "", plan.calldata, caller=OPERATOR)
    assert chain.balance(plan.profit_token, OWNER) - before == plan.predicted_profit_wei
    assert realised(plan.hops, chain.last_logs) == predicted_amounts(plan)
    # words that crossings made non-zero are not in the logs: the estimate may be too high, never too low
    assert chain.last_gas_used <= result.gas_used + 5_000 * len(plan.hops)
    assert chain.last_gas_used <= result.gas_limit
    return tuple(hop.family for hop in plan.hops)
