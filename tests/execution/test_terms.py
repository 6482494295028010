"""Bribes, guards and loans from the configuration: plan, pre-flight and a node have to say the same, to the wei."""

from typing import Any

import pytest
from execution_examples import chain_config
from pydantic import ValidationError
from shadowing import Follower
from test_preflight import next_context  # pyright: ignore[reportMissingImports]
from world import NodeBackend, Reverted, World, address_of  # pyright: ignore[reportMissingImports]

from ouro.chain.fees import FeeModel
from ouro.config.model import ChainConfig
from ouro.engine.trading import check_preflight
from ouro.execution import contract
from ouro.execution.capital import LoanKind, loan_sources
from ouro.execution.planner import PlanContext, plan_of
from ouro.execution.preflight import Preflight
from ouro.execution.program import Kind, bribe_share_ppm, decode_program
from ouro.execution.reverts import classify_revert
from ouro.execution.settlement import Ours, realised_profit, token_transfers
from ouro.execution.shadow import ShadowEvm
from ouro.ledger.records import plan_from_json, plan_to_json
from ouro.types import BlockContext, Cycle, Edge, Log, Opportunity, Plan

pytestmark = pytest.mark.node
SHARE = 123_457
RECIPIENT = address_of("builder")
NOBODY = "0x" + "00" * 20


class Stage:
    """A world on a node, followed, with a shadow; makes and runs plans of one configuration."""

    def __init__(self, world: World, follower: Follower, shadow: ShadowEvm, config: ChainConfig) -> None:
        self.world, self.follower, self.shadow, self.config = world, follower, shadow, config

    @classmethod
    async def of(cls, world: World, **terms: Any) -> "Stage":
        config = chain_config(
            executor=world.executor,
            owner=world.owner,
            operators=(world.operator,),
            wrapped_native=world.tokens["W"],
            **terms,
        )
        follower = Follower(world)
        paid = () if config.bribe.recipient is None else (config.bribe.recipient,)
        shadow = ShadowEvm("test", 9_300_001, bribe_recipients=paid)
        reader = await follower.reader()
        try:
            await shadow.load(
                reader,
                follower.states.values(),
                executor=world.executor,
                operators=[world.operator],
                block_number=follower.number,
            )
            await shadow.add_lenders(reader, loan_sources(config), [world.operator])
        finally:
            await reader.close()
        return cls(world, follower, shadow, config)

    def plan(self, shape: tuple[str, ...] = ("v2", "v3"), amount: int = 10**16) -> tuple[Plan, BlockContext]:
        world = self.world
        hops = world.hops(shape, amount)
        amounts = (*(hop.amount_in_wei for hop in hops), hops[-1].amount_out_wei)
        cycle = Cycle(
            tuple(Edge(hop.pool, hop.i, hop.j) for hop in hops),
            (*(hop.token_in for hop in hops), hops[-1].token_out),
        )
        head = world.backend.rpc("eth_getBlockByNumber", "latest", False)
        context = next_context(world)
        found = Opportunity(
            "x",
            cycle,
            amounts,
            amounts[-1] - amounts[0],
            100_000 * len(hops),
            int(head["number"], 16),
            head["hash"],
        )
        states = {hop.pool: self.follower.states[hop.pool] for hop in hops}
        families = {pool: state.family for pool, state in states.items()}
        prices = PlanContext(
            families, context, lambda _token, wei: wei, FeeModel().bid_fee, states, self.shadow.lenders
        )
        return plan_of(found, self.config, prices, "public"), context

    def run(self, plan: Plan, context: BlockContext) -> tuple[int, int]:
        """Pre-flight, then the chain; the treasury gets what both predicted. Returns (gas there, gas here)."""
        world, token = self.world, plan.profit_token
        listed, result = Preflight(self.shadow).run_listed(
            plan.calldata, world.operator, context, plan.hops, self.follower.states
        )
        assert check_preflight(plan, result, 0) is None
        before = world.balance(token, world.treasury)
        used = world.backend.send(world.executor, plan.calldata, world.operator, access_list=listed)
        assert world.balance(token, world.treasury) - before == plan.predicted_profit_wei
        assert result.realised_profit_wei == plan.predicted_profit_wei
        assert plan_from_json(plan_to_json(plan)) == plan
        assert used <= result.gas_limit
        self.follow()
        return used, result.gas_used

    def follow(self) -> None:
        while self.follower.number < self.follower.head():
            self.shadow.apply(self.follower.number + 1, self.follower.advance())

    def native(self, account: str) -> int:
        return int(self.world.backend.rpc("eth_getBalance", account, "latest"), 16)

    def settled(self, plan: Plan) -> int:
        """What the books would say the last block's trade brought."""
        tag = hex(self.follower.head())
        logs = tuple(
            Log(raw["address"].lower(), tuple(raw["topics"]), raw["data"], 0, "", "", 0, 0)
            for raw in self.world.backend.rpc("eth_getLogs", {"fromBlock": tag, "toBlock": tag})
        )
        owned = frozenset((self.world.executor, self.world.treasury, self.world.owner))
        ours = Ours(owned, frozenset((plan.profit_token,)), self.config.wrapped_native)
        return realised_profit(plan.profit_token, token_transfers(logs, ours), owned)


def allow(world: World, *calls: bytes) -> None:
    for data in calls:
        world.backend.send(world.executor, data, world.owner)


@pytest.mark.parametrize("recipient", [None, RECIPIENT])
@pytest.mark.parametrize("paid_in", ["native", "tokens"])
async def test_a_bribe_is_paid_predicted_and_booked(node_world: World, recipient: str | None, paid_in: str) -> None:
    world = node_world
    allow(world, contract.set_bribe_cap(SHARE), contract.set_bribe_recipient(RECIPIENT, True))
    terms = {"share_ppm": SHARE, "recipient": recipient, "paid_in": paid_in}
    stage = await Stage.of(world, bribe={key: value for key, value in terms.items() if value is not None})
    to = recipient or NOBODY
    for shape in (("v2", "v3"), ("v3", "v2", "v3")):
        plan, context = stage.plan(shape)
        assert plan.bribe_wei == plan.gross_profit_wei * SHARE // 10**6 > 0
        assert bribe_share_ppm(plan.calldata) == SHARE
        assert 0 < plan.min_profit_wei <= plan.predicted_profit_wei
        native, tokens = stage.native(to), world.balance(plan.profit_token, to)
        stage.run(plan, context)
        tips = 0 if recipient else stage.native(to) - native - (plan.bribe_wei if paid_in == "native" else 0)
        assert tips >= 0  # the fee recipient of the block earns those too
        if recipient:
            assert stage.native(to) - native == (plan.bribe_wei if paid_in == "native" else 0)
        assert world.balance(plan.profit_token, to) - tokens == (plan.bribe_wei if paid_in == "tokens" else 0)
        assert stage.settled(plan) == plan.predicted_profit_wei


async def test_a_bribe_above_the_owners_cap_never_leaves_pre_flight(node_world: World) -> None:
    allow(node_world, contract.set_bribe_cap(SHARE))
    stage = await Stage.of(node_world, bribe={"share_ppm": SHARE + 1})
    plan, context = stage.plan()
    result = Preflight(stage.shadow).run(plan.calldata, node_world.operator, context, plan.hops)
    refused = check_preflight(plan, result, 0)
    assert refused is not None
    assert (refused.reason, refused.detail) == ("preflight_failed", "BribeRefused")


async def test_a_bribe_to_somebody_who_is_not_listed(node_world: World) -> None:
    allow(node_world, contract.set_bribe_cap(SHARE))
    stage = await Stage.of(node_world, bribe={"share_ppm": SHARE, "recipient": address_of("not listed")})
    plan, context = stage.plan()
    result = Preflight(stage.shadow).run(plan.calldata, node_world.operator, context, plan.hops)
    assert result.revert_reason == "BribeRefused"


async def test_all_guards_let_a_fresh_plan_through(node_world: World) -> None:
    guards = {"deadline": "on", "parent_hash": "on", "probe": "on"}
    stage = await Stage.of(node_world, guards=guards)
    for shape in (("v2", "v3"), ("v3", "v2")):
        plan, context = stage.plan(shape)
        program = decode_program(plan.calldata)
        assert program.max_block_number == context.number
        assert program.deadline == context.timestamp
        assert program.parent_hash == bytes.fromhex(plan.found_at_hash[2:])[:8]
        assert program.ops[0].kind is (Kind.GUARD_V2 if shape[0] == "v2" else Kind.GUARD_V3)
        used, predicted = stage.run(plan, context)
        assert used == predicted


@pytest.mark.parametrize(
    ("guards", "spoil"),
    [
        ({}, "block"),
        ({"deadline": "on"}, "time"),
        ({"parent_hash": "on"}, "parent"),
        ({"probe": "on"}, "pool"),
    ],
    ids=["block", "deadline", "parent", "probe"],
)
async def test_what_is_late_gives_up_cheaply(node_world: World, guards: dict[str, str], spoil: str) -> None:
    """A trade that came too late costs a few thousand gas above a transaction's own 21,000 and its calldata."""
    world = node_world
    stage = await Stage.of(world, guards=guards, inclusion_blocks=1 if spoil in ("block", "parent") else 3)
    plan, context = stage.plan(("v2", "v3"))
    if spoil == "time":
        world.backend.rpc("evm_setNextBlockTimestamp", context.timestamp + 60)
    elif spoil == "pool":
        pool = world.pools["W", "T1", "v2"].address
        world.transfer(world.tokens["W"], pool, 1)
        from world import calldata  # pyright: ignore[reportMissingImports]

        world.backend.send(pool, calldata("sync()"), world.owner)
    elif spoil == "parent":
        # Another parent at the same height: what a reorganisation leaves behind.
        program = bytearray(plan.calldata)
        program[39] ^= 1
        object.__setattr__(plan, "calldata", bytes(program))
    else:
        world.backend.rpc("anvil_mine", "0x2")
    transaction = {"from": world.operator, "to": world.executor, "data": "0x" + plan.calldata.hex()}
    receipt = world.backend.transact(transaction)
    assert receipt["status"] == "0x0"
    assert int(receipt["gasUsed"], 16) < (40_000 if spoil == "pool" else 28_000)
    with pytest.raises(Reverted) as caught:
        world.backend.rpc("eth_call", transaction, "latest")
    assert classify_revert(caught.value.data) == ("competitive", "Late")


def test_guards_that_contradict_the_chain() -> None:
    for wrong in ({"inclusion_blocks": 2}, {"late_by": "time"}):
        with pytest.raises(ValidationError, match="inclusion_blocks = 1"):
            chain_config(guards={"parent_hash": "on"}, **wrong)
    with pytest.raises(ValidationError, match="needs a lender"):
        chain_config(loans=[{"kind": "morpho", "token": NOBODY, "max_wei": 1}])


async def test_a_lender_is_rehearsed_before_it_is_trusted() -> None:
    """Every kind of lender on a node: what a loan touches is in the copy, and plans on it come out to the wei."""
    from bigworld import BigWorld  # pyright: ignore[reportMissingImports]
    from packages import available  # pyright: ignore[reportMissingImports]

    from ouro.execution.capital import cheapest_loan
    from ouro.execution.encode_dag import Places, encode_dag

    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    backend = NodeBackend()
    try:
        world = BigWorld(backend).build(1)
        world.pools = {key: pool for key, pool in world.pools.items() if key[2] != "v4"}
        token, pool = world.tokens["W"], world.pools["T1", "W", "v3"]
        lenders = {
            "uniswap_v4": world.manager, "balancer_v2": world.vault, "morpho": world.morpho, "aave_v3": world.aave,
            "uniswap_v3_flash": pool.address,
        }  # fmt: skip
        fees = {"aave_v3": 500, "uniswap_v3_flash": 500}
        world.transfer(token, world.manager, 10**19)
        loans = [
            {
                "kind": kind,
                "lender": lender,
                "token": token,
                "max_wei": 10**18,
                "fee_ppm": fees.get(kind, 0),
                "token_index": pool.tokens.index(token),
            }
            for kind, lender in lenders.items()
        ]
        loans.append({"kind": "inventory", "token": token, "max_wei": 10**18})
        loans.append({"kind": "morpho", "lender": world.stranger, "token": token, "max_wei": 10**18})
        stage = await Stage.of(world, loans=loans)
        assert world.stranger in stage.shadow.faults
        assert {source.kind for source in stage.shadow.lenders} == set(LoanKind)
        preflight = Preflight(stage.shadow)
        for source in stage.shadow.lenders:
            hops = world.hops(("v2", "v2"), 10**16)
            busy = [hop.pool for hop in hops]
            loan = cheapest_loan([source], token, hops[0].amount_in_wei, 0, busy)
            assert loan is not None
            if loan.kind is LoanKind.INVENTORY:
                continue
            gain = hops[-1].amount_out_wei - hops[0].amount_in_wei - loan.fee_wei
            data = encode_dag(hops, token, gain, None, Places(world.manager, {}, token), loan)
            context = next_context(world)
            result = preflight.run(data, world.operator, context, hops)
            assert (result.ok, result.revert_reason) == (True, ""), loan.kind
            assert result.realised_profit_wei == gain
            before = world.balance(token, world.treasury)
            used = backend.send(world.executor, data, world.operator)
            assert world.balance(token, world.treasury) - before == gain
            assert used <= result.gas_limit
            stage.follow()
    finally:
        backend.close()
