"""Pre-flight against the receipts of a real node: profit, amounts, gas, reasons."""

import pytest
from packages import own_code  # pyright: ignore[reportMissingImports]
from shadowing import Follower
from world import STORAGE, NodeBackend, World  # pyright: ignore[reportMissingImports]

from ouro.execution.encode import Program, encode_plan, encode_program, operations
from ouro.execution.preflight import Preflight
from ouro.execution.shadow import ShadowEvm
from ouro.types import BlockContext

pytestmark = pytest.mark.node
SHAPES = [
    ("v2", "v2"),
    ("v2", "v3"),
    ("v3", "v2"),
    ("v3", "v3"),
    ("v2", "v2", "v2"),
    ("v3", "v2", "v3"),
    ("v2", "v3", "v3", "v2"),
]
TARGETS = {
    ("v2", "v2"): 150_000,
    ("v2", "v3"): 155_000,
    ("v3", "v2"): 155_000,
    ("v3", "v3"): 160_000,
    ("v2", "v2", "v2"): 230_000,
    ("v3", "v3", "v3"): 230_000,
}


def next_context(world: World) -> BlockContext:
    """The block the next transaction gets, made certain."""
    rpc = world.backend.rpc
    head = rpc("eth_getBlockByNumber", "latest", False)
    timestamp = int(head["timestamp"], 16) + 12
    rpc("evm_setNextBlockTimestamp", timestamp)
    return BlockContext(int(head["number"], 16) + 1, timestamp, 0)


async def shadow_of(world: World, follower: Follower) -> ShadowEvm:
    shadow = ShadowEvm("test", 9_300_001)
    reader = await follower.reader()
    try:
        await shadow.load(
            reader,
            follower.states.values(),
            executor=world.executor,
            operators=[world.operator],
            block_number=follower.number,
        )
    finally:
        await reader.close()
    assert shadow.faults == {}
    return shadow


async def test_equals_receipts_in_profit_amounts_and_gas(node_world: World) -> None:
    """Two rounds: in the first, words that were never written cost more; the second is the steady state."""
    world = node_world
    follower = Follower(world)
    shadow = await shadow_of(world, follower)
    preflight = Preflight(shadow)
    for shape in SHAPES * 2:
        hops = world.hops(shape, 10**16)
        gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
        calldata = encode_plan(hops, world.tokens["W"], gain, 10**6)
        context = next_context(world)
        before = world.balance(world.tokens["W"], world.treasury)

        result = preflight.run(calldata, world.operator, context, hops)
        limited = preflight.run(calldata, world.operator, context, hops, gas=result.gas_limit)
        receipt_gas = world.backend.send(world.executor, calldata, world.operator)

        assert result.ok, result.revert_reason
        assert limited.ok
        assert result.realised_profit_wei == gain
        assert world.balance(world.tokens["W"], world.treasury) - before == gain
        assert result.amounts_wei == (*(hop.amount_in_wei for hop in hops), hops[-1].amount_out_wei)
        assert 0.95 * receipt_gas <= result.gas_used <= 1.15 * receipt_gas, shape
        assert result.gas_limit > receipt_gas
        while follower.number < follower.head():
            shadow.apply(follower.number + 1, follower.advance())


@pytest.mark.parametrize("shape", TARGETS, ids="-".join)
def test_gas_of_receipts(node_world: World, shape: tuple[str, ...]) -> None:
    """In the steady state (all words written before), within a tick, without an access list."""
    gas = 0
    for _ in range(2):
        hops = node_world.hops(shape, 10**14)
        next_context(node_world)
        calldata = encode_plan(hops, node_world.tokens["W"], 1, 10**6)
        gas = node_world.backend.send(node_world.executor, calldata, node_world.operator)
    print(f"gas {'-'.join(shape)}: {gas}")
    assert gas <= TARGETS[shape]


async def test_the_storage_build_on_an_old_chain() -> None:
    """By London's rules, where its words rest: from the first trade on, gas equals the receipts."""
    backend = NodeBackend("london")
    try:
        world = World(backend, STORAGE, own_code("TestToken.sol", "TestToken")).build(3)
        follower = Follower(world)
        shadow = await shadow_of(world, follower)
        preflight = Preflight(shadow)
        for shape in [("v2", "v2"), ("v3", "v2"), ("v2", "v3", "v3")] * 2:
            hops = world.hops(shape, 10**14)
            data = encode_plan(hops, world.tokens["W"], 1, 10**6)
            context = next_context(world)
            listed, result = preflight.run_listed(data, world.operator, context, hops, follower.states)
            assert result.ok, result.revert_reason
            assert result.realised_profit_wei == hops[-1].amount_out_wei - hops[0].amount_in_wei
            assert backend.send(world.executor, data, world.operator, access_list=listed) == result.gas_used, shape
            while follower.number < follower.head():
                shadow.apply(follower.number + 1, follower.advance())
    finally:
        backend.close()


async def test_failures_have_a_kind_and_a_reason(node_world: World) -> None:
    world = node_world
    follower = Follower(world)
    preflight = Preflight(await shadow_of(world, follower))
    context = BlockContext(follower.number + 1, 1 << 31, 0)
    hops = world.hops(("v2", "v3"), 10**15)
    gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
    good = encode_plan(hops, world.tokens["W"], 0, context.number) if gain >= 0 else b""
    greedy = encode_program(Program(context.number, gain + 1, world.tokens["W"], operations(hops)))
    late = encode_plan(hops, world.tokens["W"], 0, context.number - 1)

    assert preflight.run(good, world.operator, context, hops).ok
    assert preflight.run(greedy, world.operator, context, hops).revert_kind == "competitive"
    assert preflight.run(late, world.operator, context, hops).revert_reason == "Late"
    stranger = preflight.run(good, world.stranger, context, hops)
    assert (stranger.revert_kind, stranger.revert_reason) == ("bug", "NotOperator")
    starved = preflight.run(good, world.operator, context, hops, gas=60_000)
    assert not starved.ok
    assert preflight.run(b"\x00", world.operator, context).revert_kind == "bug"
    # Nothing of all this stayed.
    assert preflight.run(good, world.operator, context, hops).realised_profit_wei == gain


async def test_access_lists_save_gas_and_preflight_knows_how_much(node_world: World) -> None:
    """The list is made without asking the node; what it costs and saves equals the receipt."""
    world = node_world
    follower = Follower(world)
    shadow = await shadow_of(world, follower)
    preflight = Preflight(shadow)
    for shape in [*SHAPES, *SHAPES]:
        hops = world.hops(shape, 10**14)
        calldata = encode_plan(hops, world.tokens["W"], 1, 10**6)
        context = next_context(world)
        plain = preflight.run(calldata, world.operator, context, hops)
        listed, result = preflight.run_listed(calldata, world.operator, context, hops, follower.states)
        receipt_gas = world.backend.send(world.executor, calldata, world.operator, access_list=listed)
        assert plain.gas_used - result.gas_used >= 100 * 7 * len(shape)
        assert result.gas_used == receipt_gas, shape
        while follower.number < follower.head():
            shadow.apply(follower.number + 1, follower.advance())
