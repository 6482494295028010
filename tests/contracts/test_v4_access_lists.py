"""Access lists of plans through Uniswap V4, made without a node: what they name is touched and saves gas."""

from collections.abc import Iterator
from typing import Any

import pytest
from bigworld import BigWorld
from packages import available
from world import NodeBackend

from ouro.execution.access_list import of_plan, saved_gas
from ouro.execution.encode_dag import encode_dag
from ouro.execution.program import NATIVE
from ouro.execution.slots import BalanceSlot
from ouro.hashing import keccak
from ouro.protocols.v4_state import POOLS_SLOT, UniswapV4State

pytestmark = pytest.mark.node
AMOUNT = 12_345_678_901_234


@pytest.fixture(scope="module")
def world() -> Iterator[BigWorld]:
    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    backend = NodeBackend()
    try:
        yield BigWorld(backend).build(1)
    finally:
        backend.close()


def word(world: BigWorld, address: str, slot: int) -> int:
    return int(world.backend.rpc("eth_getStorageAt", address, hex(slot), "latest"), 16)


def state_of(world: BigWorld, pool: str) -> UniswapV4State:
    key = world.keys[pool]
    slot0 = word(world, world.manager, int.from_bytes(keccak(bytes.fromhex(pool[2:]) + POOLS_SLOT.to_bytes(32))))
    tick = slot0 >> 160 & 0xFFFFFF
    return UniswapV4State(
        pool, world.manager, (key.currency0, key.currency1), key.fee_ppm, key.tick_spacing, key.hooks, key.fee_ppm,
        sqrt_price_x96=slot0 & (1 << 160) - 1, tick=tick - (1 << 24) * (tick >> 23),
    )  # fmt: skip


def balance_slots(world: BigWorld) -> dict[str, BalanceSlot]:
    found = {}
    for name in ("W", "T1"):
        token = world.tokens[name]
        held = world.balance(token, world.manager)
        places = (BalanceSlot("solidity", k) for k in range(10))
        found[token] = next(place for place in places if word(world, token, place.slot(world.manager)) == held)
    return found


@pytest.mark.parametrize(
    "legs",
    [
        (("W", "T1", "v4"), ("T1", "W", "v4")),
        (("ETH", "T1", "v4"), ("T1", "ETH", "v4")),
        (("W", "T1", "v4"), ("T1", "W", "v3")),
        (("W", "T1", "v3"), ("T1", "W", "v4")),
        (("W", "T1", "v2"), ("T1", "ETH", "v4")),
    ],
    ids=["V4-V4", "native", "V4-V3", "V3-V4", "V2-native V4"],
)
def test_the_list_is_touched_and_saves_what_it_says(world: BigWorld, legs: Any) -> None:
    rpc, token = world.backend.rpc, world.tokens["W"]
    slots = balance_slots(world)
    # The first trade writes words that were never written.
    world.backend.send(
        world.executor, encode_dag(world.path(AMOUNT, *legs), token, 1, places=world.places), world.operator
    )
    hops = world.path(AMOUNT, *legs)
    data = encode_dag(hops, token, 1, places=world.places)
    states = {hop.pool: state_of(world, hop.pool) for hop in hops if hop.pool in world.keys}
    listed = of_plan(hops, states, slots, world.executor, world.treasury, token)

    call = {"from": world.operator, "to": world.executor, "data": "0x" + data.hex()}
    asked = rpc("eth_createAccessList", call, "latest")["accessList"]
    touched = {(entry["address"].lower(), int(slot, 16)) for entry in asked for slot in entry["storageKeys"]}
    named = {(address, int(slot, 16)) for address, own in listed for slot in own}
    assert named <= touched
    assert sum(address == world.manager for address, _ in named) >= 4

    snapshot = rpc("evm_snapshot")
    plain = world.backend.send(world.executor, data, world.operator)
    assert rpc("evm_revert", snapshot)
    with_list = world.backend.send(world.executor, data, world.operator, access_list=listed)
    assert plain - with_list == saved_gas(listed, (world.executor, world.operator)) > 0
    assert NATIVE not in dict(listed)
