"""Uniswap V4 pools with hooks: whatever the hook does, the plan pays what it promises or reverts."""

import math

import pyrevm
import pytest
from bigworld import BigWorld, v4_id
from packages import own_code
from world import Pool, Reverted, calldata

from ouro.execution import contract
from ouro.execution.encode_dag import encode_dag
from ouro.execution.program import Kind, Op, PoolKey, Program, encode_program
from ouro.execution.reverts import classify_revert
from ouro.types import Hop

UNIT = 10**16
HOOK = "0x" + "5f" * 18 + "00c4"
"""Its low 14 bits: beforeSwap, afterSwap, and afterSwap's delta."""
ACTS = ("Nothing", "Reenter", "CallBack", "Take", "Skim", "Settle", "Refuse")
_KEY = "(address,address,uint24,int24,address)"


@pytest.fixture
def hooked(big_world: BigWorld) -> BigWorld:
    """``big_world`` with a pool that has the hook, under ("W", "T1", "hooked"), and something to steal."""
    world = big_world
    made = world.backend.deploy(own_code("Hook.sol", "Hook"), world.stranger)
    info = pyrevm.AccountInfo(nonce=1, code=world.backend.evm.get_code(made))
    world.backend.evm.insert_account_info(HOOK, info)
    t0, t1 = sorted((world.tokens["W"], world.tokens["T1"]))
    key = PoolKey(t0, t1, 500, 10, HOOK)
    values = (t0, t1, key.fee_ppm, key.tick_spacing, HOOK)
    amounts = {world.tokens["W"]: 20 * 10**18, world.tokens["T1"]: 20_000 * 10**18}
    price = math.isqrt((amounts[t1] << 192) // amounts[t0])
    configure(world, "Nothing")
    world.backend.send(world.manager, calldata(f"initialize({_KEY},uint160)", values, price), world.owner)
    position = (-887220, 887220, math.isqrt(amounts[t0] * amounts[t1]), bytes(32))
    signature = f"modifyLiquidity({_KEY},(int24,int24,int256,bytes32),bytes)"
    world.backend.send(world.liquidity, calldata(signature, values, position, b""), world.owner)
    world.keys[v4_id(key)] = key
    world.pools["W", "T1", "hooked"] = Pool(v4_id(key), "uniswap_v4", (t0, t1), 500)
    for name in ("W", "T1"):
        world.transfer(world.tokens[name], world.executor, 10**18)
    world.backend.evm.set_balance(world.executor, 10**18)
    return world


def configure(world: BigWorld, act: str, payload: bytes = b"") -> None:
    signature = "configure(uint8,address,address,address,bytes)"
    values = (ACTS.index(act), world.executor, world.manager, world.tokens["T1"], payload)
    world.backend.send(HOOK, calldata(signature, *values), world.stranger)


def plan_of(world: BigWorld, back: str) -> tuple[tuple[Hop, ...], bytes, int]:
    hops = world.path(UNIT, ("W", "T1", "hooked"), ("T1", "W", back))
    gain = hops[1].amount_out_wei - UNIT
    return hops, encode_dag(hops, world.tokens["W"], gain, places=world.places), gain


def held(world: BigWorld) -> tuple[int, ...]:
    tokens = [world.balance(world.tokens[name], world.executor) for name in ("W", "T1")]
    return (*tokens, world.backend.evm.get_balance(world.executor))


def own_program(world: BigWorld) -> bytes:
    """All that the executor holds, to the hook."""
    op = Op(Kind.TRANSFER, amount_wei=10**18, to=HOOK)
    return encode_program(Program(None, 0, world.tokens["W"], (op,)))


@pytest.mark.parametrize("back", ["v2", "v3", "v4"])
@pytest.mark.parametrize("act", ACTS)
def test_a_plan_through_a_hooked_pool(hooked: BigWorld, act: str, back: str) -> None:
    world = hooked
    _, data, gain = plan_of(world, back)
    program = own_program(world)
    configure(world, act, program if act == "Reenter" else program[39:])
    before, paid = held(world), world.balance(world.tokens["W"], world.treasury)
    if act in ("Take", "Skim", "Refuse"):
        with pytest.raises(Reverted):
            world.backend.send(world.executor, data, world.operator)
        gain = 0
    else:
        world.backend.send(world.executor, data, world.operator)
        assert world.read(HOOK, "tricks()", ["uint256"]) == (0,)
    assert held(world) == before
    assert world.balance(world.tokens["W"], world.treasury) - paid == gain
    for token in ("W", "T1"):
        allowance = "allowance(address,address)"
        assert world.read(world.tokens[token], allowance, ["uint256"], world.executor, HOOK) == (0,)


def test_a_hook_that_is_an_operator_too(hooked: BigWorld) -> None:
    """A stolen key behind a hook: its program inside a program is refused, and the plan goes on."""
    world = hooked
    _, data, gain = plan_of(world, "v2")
    world.backend.send(world.executor, contract.set_operator(HOOK, True), world.owner)
    configure(world, "Reenter", own_program(world))
    before, paid = held(world), world.balance(world.tokens["W"], world.treasury)
    world.backend.send(world.executor, data, world.operator)
    assert world.read(HOOK, "tricks()", ["uint256"]) == (0,)
    assert held(world) == before
    assert world.balance(world.tokens["W"], world.treasury) - paid == gain


def test_what_a_hook_skims_is_never_the_executors_own(hooked: BigWorld) -> None:
    """Amounts follow the books (register): the hook's share comes out of the gain, and the floor still decides."""
    world = hooked
    hops, _, gain = plan_of(world, "v4")
    configure(world, "Skim")
    token = world.tokens["W"]
    ops = (
        Op(Kind.UNLOCK, world.manager),
        Op(Kind.V4_SWAP, None, hops[0].i == 0, UNIT, key=world.keys[hops[0].pool]),
        Op(Kind.V4_SWAP, None, hops[1].i == 0, 0, key=world.keys[hops[1].pool]),
        Op(Kind.TAKE, token=token),
        Op(Kind.SETTLE, token=token, amount_wei=UNIT),
    )
    before, paid = held(world), world.balance(token, world.treasury)
    with pytest.raises(Reverted) as caught:
        world.backend.send(world.executor, encode_program(Program(None, gain, token, ops)), world.operator)
    assert classify_revert(caught.value.data)[1].startswith("Shortfall")
    world.backend.send(world.executor, encode_program(Program(None, gain * 99 // 100, token, ops)), world.operator)
    assert held(world) == before
    assert gain * 99 // 100 <= world.balance(token, world.treasury) - paid < gain
