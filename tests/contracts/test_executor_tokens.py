"""Cycles through a token that misbehaves: the plan pays to the wei or reverts; nothing that is here is touched."""

import pytest
from packages import own_code
from world import MAX_UINT, SUPPLY, Reverted, World, calldata, encode

from ouro.execution import contract
from ouro.execution.encode import encode_plan
from ouro.execution.program import Kind, Op, Program, encode_program
from ouro.execution.reverts import classify_revert
from ouro.types import Hop

MODES = (
    "Normal", "ReturnsFalse", "ReturnsNothing", "Fee", "Blacklist", "DoublesBalances", "HidesBalances", "Reenters",
    "CallsBack", "Refuses", "GoesSilent",
)  # fmt: skip
HARMLESS = ("Normal", "ReturnsNothing", "Reenters", "CallsBack")
SHAPES = [(a, b) for a in ("v2", "v3") for b in ("v2", "v3")]
AMOUNT = 10**16


@pytest.fixture
def bad(world: World) -> World:
    """``world`` with cheap and dear pools of a bad token B, and something to steal."""
    code = own_code("BadToken.sol", "BadToken") + encode(["uint256"], [SUPPLY])
    token = world.backend.deploy(code, world.owner)
    world.tokens["B"] = token
    for spender in (world.npm, world.router):
        world.backend.send(token, calldata("approve(address,uint256)", spender, MAX_UINT), world.owner)
    world._both("W", "B", 1000, 1, world.uniswap, 3000)
    world._both("B", "W", 1, 950, world.sushi, 500)
    for name in ("W", "T1", "B"):
        world.transfer(world.tokens[name], world.executor, 10**18)
    return world


@pytest.fixture(autouse=True)
def _forgotten(built_world: World) -> object:
    """What the fixture adds to the tables of the shared world goes with its state."""
    tokens, pools = dict(built_world.tokens), dict(built_world.pools)
    yield
    built_world.tokens, built_world.pools = tokens, pools


def configure(world: World, mode: str, payload: bytes = b"") -> None:
    data = calldata("configure(uint8,address,bytes)", MODES.index(mode), world.executor, payload)
    world.backend.send(world.tokens["B"], data, world.stranger)


def cycle(world: World, kinds: tuple[str, str]) -> tuple[Hop, Hop]:
    hops, amount = [], AMOUNT
    for leg, kind in zip((("W", "B"), ("B", "W")), kinds, strict=True):
        pool = world.pools[(*leg, kind)]
        token_in, token_out = world.tokens[leg[0]], world.tokens[leg[1]]
        i = pool.tokens.index(token_in)
        out = world.quote(pool, token_in, amount)
        hops.append(Hop(pool.address, pool.family, token_in, token_out, i, 1 - i, amount, out))
        amount = out
    return hops[0], hops[1]


def held(world: World) -> tuple[int, ...]:
    """In mode Normal: what the books of the tokens really say."""
    configure(world, "Normal")
    return tuple(world.balance(world.tokens[name], world.executor) for name in ("W", "T1", "B"))


def attempt(world: World, data: bytes, mode: str, payload: bytes) -> tuple[bool, int]:
    """Whether it went through, and what the treasury got."""
    before = world.balance(world.tokens["W"], world.treasury)
    configure(world, mode, payload)
    try:
        world.backend.send(world.executor, data, world.operator)
    except Reverted:
        return False, world.balance(world.tokens["W"], world.treasury) - before
    return True, world.balance(world.tokens["W"], world.treasury) - before


def theft(world: World) -> bytes:
    op = Op(Kind.TRANSFER, amount_wei=10**18, to=world.stranger)
    return encode_program(Program(None, 0, world.tokens["W"], (op,)))


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
@pytest.mark.parametrize("mode", MODES)
def test_a_cycle_through_a_bad_token(bad: World, mode: str, shape: tuple[str, str]) -> None:
    hops = cycle(bad, shape)
    gain = hops[1].amount_out_wei - AMOUNT
    program = theft(bad)
    before = held(bad)
    data = encode_plan(hops, bad.tokens["W"], gain, None)
    passed, paid = attempt(bad, data, mode, program if mode == "Reenters" else program[39:])
    assert held(bad) == before
    assert bad.read(bad.tokens["B"], "tricks()", ["uint256"]) == (0,)
    assert paid == (gain if passed else 0)
    if mode in HARMLESS:
        assert passed
    if mode in ("ReturnsFalse", "Fee", "Refuses"):
        assert not passed


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
def test_a_token_whose_key_was_stolen_too(bad: World, shape: tuple[str, str]) -> None:
    """The token is an operator: its own program during a plan is refused, and the plan goes on."""
    bad.backend.send(bad.executor, contract.set_operator(bad.tokens["B"], True), bad.owner)
    hops = cycle(bad, shape)
    gain = hops[1].amount_out_wei - AMOUNT
    before = held(bad)
    passed, paid = attempt(bad, encode_plan(hops, bad.tokens["W"], gain, None), "Reenters", theft(bad))
    assert bad.read(bad.tokens["B"], "tricks()", ["uint256"]) == (0,)
    assert held(bad) == before
    assert (passed, paid) == (True, gain)


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_token_on_the_list(bad: World, mode: str) -> None:
    """An operator moves it, lists it and lies with it: what else is here stays."""
    to = Op(Kind.SEND, amount_wei=10**17, token=bad.tokens["B"], to=bad.stranger)
    steal = Op(Kind.TRANSFER, amount_wei=1, to=bad.stranger)
    before = held(bad)
    for ops in ((to,), (to, steal)):
        data = encode_program(Program(None, 0, bad.tokens["W"], ops, tokens=(bad.tokens["B"],)))
        attempt(bad, data, mode, theft(bad))
        now = held(bad)
        assert now[:2] == before[:2]
        # Only a token that lies about its own balances can have its own moved.
        assert now[2] >= before[2] or mode == "HidesBalances"


def test_a_balance_that_stops_being_readable(bad: World) -> None:
    token = bad.tokens["B"]
    ops = (Op(Kind.SEND, amount_wei=1, token=token, to=bad.executor), Op(Kind.RECEIVED, token=token))
    data = encode_program(Program(None, 0, bad.tokens["W"], ops, tokens=(token,)))
    configure(bad, "GoesSilent")
    with pytest.raises(Reverted) as caught:
        bad.backend.send(bad.executor, data, bad.operator)
    assert classify_revert(caught.value.data) == ("bug", "BalanceUnreadable")
