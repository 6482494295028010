"""The shadow against the node, word by word."""

import random

import msgspec
import pytest
from shadowing import Follower
from world import World, address_of, calldata  # pyright: ignore[reportMissingImports]

from ouro.execution.shadow import ShadowError, ShadowEvm

pytestmark = pytest.mark.node


def random_action(world: World, rng: random.Random) -> None:
    """A swap of random size and direction in a random pool, or liquidity that comes or goes."""
    pool = rng.choice(list(world.pools.values()))
    zero = rng.random() < 0.5
    token_in = pool.tokens[0 if zero else 1]
    amount = int(10 ** rng.uniform(13, 18.5))
    if pool.family == "uniswap_v2":
        out = world.quote(pool, token_in, amount)
        world.transfer(token_in, pool.address, amount)
        outs = (0, out) if zero else (out, 0)
        data = calldata("swap(uint256,uint256,address,bytes)", *outs, world.owner, b"")
        world.backend.send(pool.address, data, world.owner)
    elif rng.random() < 0.4:
        spacing = {500: 10, 3000: 60}[pool.fee]
        price = world.read(
            pool.address, "slot0()", ["uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool"]
        )
        low = (price[1] // spacing - rng.randint(0, 30)) * spacing
        high = (price[1] // spacing + rng.randint(1, 30)) * spacing
        position = (*pool.tokens, pool.fee, low, high, amount, amount * 1000, 0, 0, world.owner, 1 << 40)
        kinds = "(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)"
        world.backend.send(world.npm, calldata(f"mint({kinds})", position), world.owner)
    else:
        request = (token_in, pool.tokens[zero], pool.fee, world.owner, 1 << 40, amount, 0, 0)
        kinds = "(address,address,uint24,address,uint256,uint256,uint256,uint160)"
        world.backend.send(world.router, calldata(f"exactInputSingle({kinds})", request), world.owner)


async def test_follows_actions_and_reorgs_word_by_word(node_world: World) -> None:
    world, rng = node_world, random.Random(7)
    follower = Follower(world)
    reader = await follower.reader()
    shadow = ShadowEvm("test", 9_300_001, ring_depth=64)
    await shadow.load(
        reader,
        follower.states.values(),
        executor=world.executor,
        operators=[world.operator],
        block_number=follower.number,
    )
    assert await shadow.verify(reader, follower.states.values()) == []
    for _ in range(3):
        boundaries = []
        for _ in range(12):
            boundaries.append(follower.head())
            random_action(world, rng)
        while follower.number < follower.head():
            shadow.apply(follower.number + 1, follower.advance())
        assert await shadow.verify(reader, follower.states.values()) == []
        # Another history from four actions ago: shorter first, then other actions on top. Not between a transfer to
        # a pair and the swap that takes it: such a gift is in no event of the pair.
        world.backend.rpc("anvil_rollback", follower.head() - boundaries[-4])
        shadow.rollback(follower.head())
        follower.rewind(follower.head())
        assert await shadow.verify(reader, follower.states.values()) == []
    await reader.close()


async def test_refuses_what_it_can_not_follow(node_world: World) -> None:
    world = node_world
    follower = Follower(world)
    reader = await follower.reader()
    shadow = ShadowEvm("test", 9_300_001, ring_depth=2)
    with pytest.raises(ShadowError, match="no executor code"):
        await shadow.load(reader, [], executor=address_of("nobody"), operators=[], block_number=follower.number)
    await shadow.load(reader, [], executor=world.executor, operators=[world.operator], block_number=follower.number)
    number = shadow.number
    with pytest.raises(ShadowError, match="does not follow"):
        shadow.apply(number + 2, [])
    for k in (1, 2, 3):
        shadow.apply(number + k, [])
    with pytest.raises(ShadowError, match="load the shadow anew"):
        shadow.rollback(number)
    shadow.rollback(number + 1)
    assert shadow.number == number + 1
    await reader.close()


async def test_pools_added_in_a_block_that_is_taken_back_are_out_until_added_again(node_world: World) -> None:
    world = node_world
    follower = Follower(world)
    first, second = list(follower.states.values())[:2]
    reader = await follower.reader()
    shadow = ShadowEvm("test", 9_300_001)
    await shadow.load(
        reader, [first], executor=world.executor, operators=[world.operator], block_number=follower.number
    )
    world.backend.rpc("evm_mine")
    shadow.apply(follower.number + 1, follower.advance())
    await shadow.add(reader, [second])
    assert shadow.supports([first.address, second.address]) is None

    shadow.rollback(follower.number - 1)

    assert shadow.supports([first.address]) is None
    assert "add it again" in (shadow.supports([second.address]) or "")
    await shadow.add(reader, [second])
    assert shadow.supports([second.address]) is None
    assert await shadow.verify(reader) == []
    await reader.close()


async def test_bad_pools_and_tokens_are_named_and_the_rest_works(node_world: World) -> None:
    world = node_world
    follower = Follower(world)
    good = next(iter(world.pools.values())).address
    states = dict(follower.states)
    nowhere = address_of("no pool here")
    fake_token = address_of("no token here")
    empty = type(states[good])(nowhere, states[good].tokens, 1, 1, 3000)
    other = next(state for address, state in states.items() if address != good)
    tokenless = msgspec.structs.replace(other, tokens=(fake_token, other.tokens[1]))
    strange = msgspec.structs.replace(states[good], address=world.executor)
    reader = await follower.reader()
    shadow = ShadowEvm("test", 9_300_001)
    await shadow.load(
        reader,
        [states[good], empty, tokenless, strange],
        executor=world.executor,
        operators=[world.operator],
        block_number=follower.number,
    )
    await reader.close()
    assert shadow.supports([good]) is None
    assert "no code" in (shadow.supports([nowhere]) or "")
    assert fake_token in (shadow.supports([other.address]) or "")
    assert "not laid out as uniswap_v2's" in (shadow.supports([world.executor]) or "")
    assert "not loaded" in (shadow.supports([address_of("unknown")]) or "")
