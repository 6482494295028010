"""Venues that take their input by an approval or beforehand: profit to the wei, approvals, hostility."""

from collections.abc import Iterator
from typing import Any

import pytest
from packages import available, own_code
from test_executor_security import reason_of  # pyright: ignore[reportMissingImports]
from venueworld import PER_SHARE, VenueWorld
from world import TESTED, EvmBackend, Reverted, address_of, calldata, encode

from ouro.execution.contract import set_operator
from ouro.execution.describe import describe
from ouro.execution.program import (
    NATIVE,
    Dialect,
    EncodeError,
    Kind,
    Op,
    Program,
    decode_program,
    encode_program,
)
from ouro.testnet.artifacts import artifact

AMOUNT = 10**16
ACTS = ("honest", "short", "nothing", "half", "greedy", "reenter", "take_only", "later")
PAYING_HERE = (Dialect.INT128, Dialect.UINT256, Dialect.UNDERLYING, Dialect.UINT8)
DOUBLES = ("exchange", "bins", "wrapped", "books")


@pytest.fixture(scope="module", params=TESTED)
def built(request: pytest.FixtureRequest) -> VenueWorld:
    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    return VenueWorld(EvmBackend(), request.param).build()


@pytest.fixture
def world(built: VenueWorld) -> Iterator[VenueWorld]:
    evm = built.backend.evm
    checkpoint = evm.snapshot()
    yield built
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built.backend.set_block(100)


def program(world: VenueWorld, ops: tuple[Op, ...], floor: int = 0, tokens: tuple[str, ...] = ("T1",)) -> bytes:
    listed = tuple(world.tokens[name] for name in tokens)
    data = encode_program(Program(100, floor, world.tokens["W"], ops, tokens=listed))
    assert encode_program(decode_program(data)) == data
    return data


def on_credit(world: VenueWorld, legs: tuple[str, str], takes: int) -> tuple[Op, Op]:
    """A V3 pool gives the first token of what follows; the second operation pays it."""
    pool = world.pools[(*legs, "v3")]
    token = world.tokens[legs[0]]
    swap = Op(Kind.V3_SWAP, pool.address, token == pool.tokens[0], takes)
    if legs[0] == "W":
        return swap, Op(Kind.TRANSFER, amount_wei=takes, to=pool.address)
    return swap, Op(Kind.SEND, amount_wei=takes, to=pool.address, token=token)


def spenders(world: VenueWorld) -> set[str]:
    venues = {pool.address for (_, _, kind), pool in world.pools.items() if kind not in ("v2", "v3", "v4")}
    return venues | {world.vault, world.books}


def allowances(world: VenueWorld) -> dict[tuple[str, str], int]:
    found = {}
    for name in ("W", "T1", "T2", "S", "X"):
        for spender in spenders(world):
            kinds = "allowance(address,address)"
            (amount,) = world.read(world.tokens[name], kinds, ["uint256"], world.executor, spender)
            if amount:
                found[name, spender] = amount
    return found


def run(world: VenueWorld, ops: tuple[Op, ...], gain: int, tokens: tuple[str, ...] = ("T1",)) -> int:
    """The treasury gets exactly ``gain``; nothing rests, no approval stays. Returns the gas."""
    before = world.balance(world.tokens["W"], world.treasury)
    used = world.backend.send(world.executor, program(world, ops, gain, tokens), world.operator)
    assert world.balance(world.tokens["W"], world.treasury) - before == gain
    assert all(world.balance(t, world.executor) == 0 for t in world.tokens.values() if t != NATIVE)
    assert world.backend.evm.get_balance(world.executor) == 0
    assert allowances(world) == {}
    return used


def cycle(world: VenueWorld, kind: str, dialect: Dialect = Dialect.INT128) -> tuple[tuple[Op, ...], int]:
    """W → T1 in the V3 pool on credit, T1 → W at the venue; with what it gains."""
    middle = world.quote(world.pools["W", "T1", "v3"], world.tokens["W"], AMOUNT)
    out = world.out("T1", "W", kind, middle)
    swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
    return (swap, *world.swap_ops("T1", "W", kind, middle, dialect), pay), out - AMOUNT


# ------------------------------------------------------------------------------------------------ profit to the wei


@pytest.mark.parametrize("kind", ["exchange", "weighted", "bins"])
def test_out_of_the_venue_into_the_profit_token(world: VenueWorld, kind: str) -> None:
    ops, gain = cycle(world, kind)
    assert gain > 0
    run(world, ops, gain)


@pytest.mark.parametrize("kind", ["exchange", "weighted", "bins"])
def test_the_profit_token_into_the_venue(world: VenueWorld, kind: str) -> None:
    """T1 → W on credit, W → T1 at the venue: what is left of T1 has to be nothing."""
    middle = world.out("W", "T1", kind, AMOUNT)
    out = world.quote(world.pools["T1", "W", "v3"], world.tokens["T1"], middle)
    swap, pay = on_credit(world, ("T1", "W"), middle)
    run(world, (swap, *world.swap_ops("W", "T1", kind, AMOUNT), pay), out - AMOUNT)


@pytest.mark.parametrize("legs", [("T1", "T2"), ("T2", "T1")])
def test_the_solidity_port_of_stableswap(world: VenueWorld, legs: tuple[str, str]) -> None:
    start, end = ("T1", "T2") if legs == ("T1", "T2") else ("T2", "T1")
    first = world.quote(world.pools["W", "T1", "v3"], world.tokens["W"], AMOUNT)
    swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
    middle: tuple[Op, ...] = ()
    amount = first
    if start == "T2":
        amount = world.quote(world.pools["T1", "T2", "v2"], world.tokens["T1"], first)
        middle = world.swap_ops("T1", "T2", "v2", first)
    out = world.out(start, end, "saddle", amount)
    back = world.out(end, "W", "v2", out)
    ops = (swap, *middle, *world.swap_ops(start, end, "saddle", amount), *world.swap_ops(end, "W", "v2", out), pay)
    run(world, ops, back - AMOUNT, ("T1", "T2"))


@pytest.mark.parametrize("name", ["S", "X"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_deposits_and_redemptions(world: VenueWorld, name: str, way: str) -> None:
    kind = "shares" if name == "S" else "wrapped"
    if way == "in":
        middle = world.quote(world.pools["W", "T1", "v3"], world.tokens["W"], AMOUNT)
        shares = world.out("T1", name, kind, middle)
        back = world.out(name, "W", "v2", shares)
        swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
        ops = (swap, *world.swap_ops("T1", name, kind, middle), *world.swap_ops(name, "W", "v2", shares), pay)
    else:
        shares = world.out("W", name, "v2", AMOUNT)
        middle = world.out(name, "T1", kind, shares)
        back = world.quote(world.pools["T1", "W", "v3"], world.tokens["T1"], middle)
        swap, pay = on_credit(world, ("T1", "W"), middle)
        ops = (swap, *world.swap_ops("W", name, "v2", AMOUNT), *world.swap_ops(name, "T1", kind, shares), pay)
    assert back > AMOUNT
    run(world, ops, back - AMOUNT, ("T1", name))


def test_shares_go_straight_to_the_next_pool(world: VenueWorld) -> None:
    """Deposit, redeem, vault, bins and the newer exchanges pay whom the program names."""
    middle = world.quote(world.pools["W", "T1", "v3"], world.tokens["W"], AMOUNT)
    shares = world.out("T1", "S", "shares", middle)
    back = world.out("S", "W", "v2", shares)
    swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
    pair = world.pools["S", "W", "v2"]
    deposit = Op(Kind.ERC4626, world.tokens["S"], False, middle, pair.address, world.tokens["T1"])
    out = Op(Kind.V2_SWAP, pair.address, world.tokens["S"] == pair.tokens[0], back)
    run(world, (swap, deposit, out, pay), back - AMOUNT)


@pytest.mark.parametrize("kind", ["weighted", "bins", "exchange"])
def test_the_venue_pays_the_creditor(world: VenueWorld, kind: str) -> None:
    """What comes out goes to the pool that waits (mode 2), so the last payment is saved."""
    middle = world.out("W", "T1", kind, AMOUNT)
    out = world.quote(world.pools["T1", "W", "v3"], world.tokens["T1"], middle)
    swap, _ = on_credit(world, ("T1", "W"), middle)
    *before, last = world.swap_ops("W", "T1", kind, AMOUNT, Dialect.INT128_TO)
    direct = Op(
        last.kind, last.pool, last.zero_for_one, last.amount_wei, swap.pool, last.token,
        dialect=last.dialect, coins=last.coins, pool_id=last.pool_id, token_out=last.token_out,
    )  # fmt: skip
    run(world, (swap, *before, direct), out - AMOUNT)


def test_a_cycle_inside_the_books_of_balancer_v3(world: VenueWorld) -> None:
    """Only the profit leaves the vault."""
    w, t1 = world.tokens["W"], world.tokens["T1"]
    pool = world.pools["W", "T1", "books"].address
    middle = world.out("W", "T1", "books", AMOUNT)
    out = world.out("T1", "W", "books", middle)
    ops = (
        Op(Kind.UNLOCK, world.books, True),
        Op(Kind.VAULT_SWAP, pool, amount_wei=AMOUNT, token=w, token_out=t1),
        Op(Kind.VAULT_SWAP, pool, token=t1, token_out=w),
        Op(Kind.TAKE, None, True, out - AMOUNT, token=w),
    )
    run(world, ops, out - AMOUNT, ())


@pytest.mark.parametrize("both", [False, True])
def test_balancer_v3_beside_others(world: VenueWorld, both: bool) -> None:
    """Out of the vault into a pool, paid back in another token; Uniswap V4's books may be open as well."""
    w, t1 = world.tokens["W"], world.tokens["T1"]
    pool = world.pools["W", "T1", "books"].address
    middle = world.out("W", "T1", "books", AMOUNT)
    back = world.out("T1", "W", "v2", middle)
    pair = world.pools["T1", "W", "v2"]
    inner = (
        Op(Kind.UNLOCK, world.books, True),
        Op(Kind.VAULT_SWAP, pool, amount_wei=AMOUNT, token=w, token_out=t1),
        Op(Kind.TAKE, None, True, middle, pair.address, t1),
        Op(Kind.V2_SWAP, pair.address, t1 == pair.tokens[0], back),
        Op(Kind.SETTLE, None, True, AMOUNT, token=w),
    )
    run(world, (Op(Kind.UNLOCK, world.manager), *inner) if both else inner, back - AMOUNT, ())


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("dialect", Dialect)
def test_every_name_of_an_exchange(world: VenueWorld, dialect: Dialect, silent: bool) -> None:
    """Old pools return nothing; the others' answers are not read either."""
    world.do(world.pools["T1", "W", "exchange"].address, "setSilent(bool)", silent)
    ops, gain = cycle(world, "exchange", dialect)
    run(world, ops, gain)


@pytest.mark.parametrize("way", ["in", "out"])
def test_the_native_coin_in_an_exchange(world: VenueWorld, way: str) -> None:
    """Coins of old pools that are the native one: sent as value, or received and wrapped."""
    pool, w, t1 = world.pools["T1", "W", "exchange"].address, world.tokens["W"], world.tokens["T1"]
    if way == "in":
        middle = world.out("W", "T1", "exchange", AMOUNT)
        out = world.quote(world.pools["T1", "W", "v3"], t1, middle)
        swap, pay = on_credit(world, ("T1", "W"), middle)
        unwrap = Op(Kind.UNWRAP, amount_wei=AMOUNT, token=w)
        trade = Op(Kind.EXCHANGE, pool, amount_wei=AMOUNT, token=NATIVE, dialect=Dialect.INT128, coins=(2, 1))
        run(world, (swap, unwrap, trade, pay), out - AMOUNT, ("T1", "ETH"))
    else:
        middle = world.quote(world.pools["W", "T1", "v3"], w, AMOUNT)
        out = world.out("T1", "W", "exchange", middle)
        swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
        trade = Op(Kind.EXCHANGE, pool, amount_wei=middle, token=t1, dialect=Dialect.INT128, coins=(1, 2))
        wrap = Op(Kind.WRAP, amount_wei=out, token=w)
        run(world, (swap, trade, wrap, pay), out - AMOUNT, ("T1", "ETH"))


# --------------------------------------------------------------------------------------------------- hostile venues


def target_of(world: VenueWorld, kind: str) -> str:
    return world.books if kind == "books" else world.pools["T1", "X" if kind == "wrapped" else "W", kind].address


def hold(world: VenueWorld) -> dict[str, int]:
    """Something to steal of every token."""
    for name in ("W", "T1", "T2", "S"):
        world.transfer(world.tokens[name], world.executor, 7 * 10**18)
    world.transfer(world.tokens["X"], world.executor, 7 * 10**18)
    world.backend.evm.set_balance(world.executor, 3 * 10**18)
    return held(world)


def held(world: VenueWorld) -> dict[str, int]:
    found = {name: world.balance(t, world.executor) for name, t in world.tokens.items() if t != NATIVE}
    return {**found, "ETH": world.backend.evm.get_balance(world.executor)}


def attack(world: VenueWorld, kind: str, act: str, dialect: Dialect = Dialect.INT128) -> bool:
    """A stolen key's program through a venue that does ``act``; whether it went through."""
    target = target_of(world, kind)
    payload = program(world, (Op(Kind.TRANSFER, amount_wei=1, to=target),))
    world.do(target, "configure(uint8,address,bytes)", ACTS.index(act), world.executor, payload)
    names = ("T1", "T2", "S", "X", "ETH")
    if kind == "books":
        w, t1, pool = world.tokens["W"], world.tokens["T1"], world.pools["W", "T1", "books"].address
        out = world.out("W", "T1", "books", AMOUNT)
        ops: tuple[Op, ...] = (
            Op(Kind.UNLOCK, target, True),
            Op(Kind.VAULT_SWAP, pool, amount_wei=AMOUNT, token=w, token_out=t1),
            Op(Kind.TAKE, None, True, out, token=t1),
            Op(Kind.SETTLE, None, True, AMOUNT, token=w),
        )
    elif kind == "wrapped":
        ops = world.swap_ops("T1", "X", kind, AMOUNT)
    else:
        ops = world.swap_ops("T1", "W", kind, AMOUNT, dialect)
    try:
        world.backend.send(world.executor, program(world, ops, 0, names), world.operator)
    except Reverted:
        return False
    return True


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", DOUBLES)
def test_a_hostile_venue_takes_nothing(world: VenueWorld, kind: str, act: str, operator: bool) -> None:
    """Trading what is held is refused, whatever the venue does, and if it is an operator too."""
    before = hold(world)
    if operator:
        world.backend.send(world.executor, set_operator(target_of(world, kind), True), world.owner)
    passed = attack(world, kind, act)
    assert not passed or kind != "books", "what is held was spent"
    assert {name: amount for name, amount in held(world).items() if amount < before[name]} == {}
    assert allowances(world) == {}


@pytest.mark.parametrize("act", ["half", "later", "nothing"])
@pytest.mark.parametrize("kind", ["exchange", "wrapped"])
def test_what_was_allowed_and_not_taken_is_not_there_later(world: VenueWorld, kind: str, act: str) -> None:
    """With a gain that hides the loss, so that the program goes through."""
    hold(world)
    target = target_of(world, kind)
    world.do(target, "configure(uint8,address,bytes)", ACTS.index(act), world.executor, b"")
    ops = world.swap_ops("T1", "W" if kind == "exchange" else "X", kind, AMOUNT)
    flash, _ = on_credit(world, ("W", "T1"), AMOUNT)
    pay = Op(Kind.TRANSFER, amount_wei=AMOUNT, to=flash.pool)
    try:
        data = program(world, (flash, *ops, pay), 0, ("T1", "X"))
        world.backend.send(world.executor, data, world.operator)
    except Reverted:
        pass
    assert allowances(world) == {}
    with pytest.raises(Reverted):
        world.do(target, "collect(address,uint256)", world.tokens["T1"], 1)


def test_approval_that_is_left_is_taken_back(world: VenueWorld) -> None:
    """The venue takes half and pays all: the program goes through, and the other half of the approval is gone."""
    target = target_of(world, "exchange")
    world.do(target, "configure(uint8,address,bytes)", ACTS.index("half"), world.executor, b"")
    ops, gain = cycle(world, "exchange")
    before = world.balance(world.tokens["W"], world.treasury)
    world.backend.send(world.executor, program(world, ops), world.operator)
    assert world.balance(world.tokens["W"], world.treasury) - before == gain
    assert allowances(world) == {}
    with pytest.raises(Reverted):
        world.do(target, "collect(address,uint256)", world.tokens["T1"], 1)


@pytest.mark.parametrize("act", ["nothing", "half"])
@pytest.mark.parametrize("kind", [Kind.EXCHANGE, Kind.VAULT, Kind.ERC4626, Kind.SHARES])
def test_no_operation_leaves_an_approval(world: VenueWorld, kind: Kind, act: str) -> None:
    """On the way of a program that goes through, a venue takes nothing or one unit of the thousand it may."""
    token = world.tokens["T1"]
    lazy = world.made(own_code("Venues.sol", "LazyVenue"), ("address", token))
    world.do(lazy, "configure(uint8,address,bytes)", ACTS.index(act), world.executor, b"")
    more: dict[str, Any] = {
        Kind.EXCHANGE: {"dialect": Dialect.INT128, "coins": (0, 1)},
        Kind.VAULT: {"pool_id": "0x" + "11" * 32, "token_out": world.tokens["W"]},
    }.get(kind, {})
    (opened, *rest), _ = cycle(world, "exchange")
    waste = Op(kind, lazy, amount_wei=1000, token=token, **more)
    world.transfer(token, world.executor, 5)
    data = program(world, (opened, waste, *rest))
    if act == "half":  # the unit is of what was held
        with pytest.raises(Reverted):
            world.backend.send(world.executor, data, world.operator)
        return
    world.backend.send(world.executor, data, world.operator)
    assert world.read(token, "allowance(address,address)", ["uint256"], world.executor, lazy) == (0,)
    with pytest.raises(Reverted):
        world.do(lazy, "collect(address,uint256)", token, 1)


@pytest.mark.parametrize("kind", ["weighted", "shares"])
def test_real_venues_leave_no_approval(world: VenueWorld, kind: str) -> None:
    hold(world)
    names = ("T1", "S")
    other = "W" if kind == "weighted" else "S"
    data = program(world, world.swap_ops("T1", other, kind, AMOUNT), 0, names)
    with pytest.raises(Reverted):
        world.backend.send(world.executor, data, world.operator)
    assert allowances(world) == {}


@pytest.mark.parametrize("act", ["short", "nothing", "take_only"])
@pytest.mark.parametrize("kind", ["exchange", "bins", "wrapped"])
def test_a_venue_that_gives_too_little_is_refused(world: VenueWorld, kind: str, act: str) -> None:
    target = target_of(world, kind)
    if kind == "wrapped":
        middle = world.quote(world.pools["W", "T1", "v3"], world.tokens["W"], AMOUNT)
        shares = world.out("T1", "X", kind, middle)
        gain = world.out("X", "W", "v2", shares) - AMOUNT
        swap, pay = on_credit(world, ("W", "T1"), AMOUNT)
        ops = (swap, *world.swap_ops("T1", "X", kind, middle), *world.swap_ops("X", "W", "v2", shares), pay)
    else:
        ops, gain = cycle(world, kind)
    data = program(world, ops, gain, ("T1", "X"))
    world.do(target, "configure(uint8,address,bytes)", ACTS.index(act), world.executor, b"")
    assert reason_of(world, data)[0] == "competitive"


@pytest.mark.parametrize(("count", "altered"), [(0, False), (2, False), (1, True)])
def test_the_books_call_back_once_with_the_same_bytes(world: VenueWorld, count: int, altered: bool) -> None:
    w, t1 = world.tokens["W"], world.tokens["T1"]
    pool = world.pools["W", "T1", "books"].address
    middle = world.out("W", "T1", "books", AMOUNT)
    out = world.out("T1", "W", "books", middle)
    ops = (
        Op(Kind.UNLOCK, world.books, True),
        Op(Kind.VAULT_SWAP, pool, amount_wei=AMOUNT, token=w, token_out=t1),
        Op(Kind.VAULT_SWAP, pool, token=t1, token_out=w),
        Op(Kind.TAKE, None, True, out - AMOUNT, token=w),
    )
    world.do(world.books, "setCallbacks(uint256,bool)", count, altered)
    assert reason_of(world, program(world, ops, 0, ()))[0] == "bug"


def test_books_asked_by_somebody_else_start_nothing(world: VenueWorld) -> None:
    """A vault calls whoever unlocked it: a stranger gets his own bytes, never the executor."""
    hold(world)
    before = held(world)
    data = program(world, (Op(Kind.TRANSFER, amount_wei=1, to=world.stranger),))
    raw = bytes(4) + encode(["uint256", "uint256"], [32, len(data)]) + data
    for sender in (world.books, world.stranger):
        world.backend.fund(sender)
        with pytest.raises(Reverted):
            world.backend.send(world.executor, raw, sender)
    assert held(world) == before


# ----------------------------------------------------------------------------------------------- what a program may


def test_shares_that_are_not_listed_are_not_burnt(world: VenueWorld) -> None:
    """By hand: a redemption names the share as pool, but lists another token."""
    hold(world)
    before = held(world)
    for kind, name in ((Kind.ERC4626, "S"), (Kind.SHARES, "X")):
        good = Op(kind, world.tokens[name], True, AMOUNT, None, world.tokens[name])
        with pytest.raises(EncodeError, match="list"):
            program(world, (good,), 0, ())
        data = bytearray(program(world, (good,), 0, (name,)))
        tokens = (world.tokens["T1"], world.tokens[name])
        listed = encode_program(Program(100, 0, world.tokens["W"], (good,), tokens=tokens))
        wrong = listed[:-1] + b"\1"  # T1's place: it has no such function
        with pytest.raises(Reverted):
            world.backend.send(world.executor, wrong, world.operator)
        with pytest.raises(EncodeError, match="shares are burnt by their own contract"):
            decode_program(wrong)
        with pytest.raises(Reverted):
            world.backend.send(world.executor, bytes(data), world.operator)  # listed: its balance may not fall
    assert held(world) == before


def test_shares_are_burnt_by_the_listed_token_whatever_pool_is_named(world: VenueWorld) -> None:
    """By hand: the shares' contract is named, but only another token is on the list."""
    hold(world)
    before = held(world)
    for kind, name in ((Kind.ERC4626, "S"), (Kind.SHARES, "X")):
        deposit = Op(kind, world.tokens[name], False, AMOUNT, None, world.tokens["T1"])
        data = bytearray(program(world, (deposit,)))
        data[60] |= 1  # behind the header and a list of one token
        with pytest.raises(Reverted):
            world.backend.send(world.executor, bytes(data), world.operator)
    assert held(world) == before


def test_a_name_that_no_exchange_has(world: VenueWorld) -> None:
    ops, _ = cycle(world, "exchange")
    data = program(world, ops)
    place = data.index(bytes.fromhex(ops[1].pool[2:])) + 21 if ops[1].pool else 0
    for number in (8, 9, 31, 255):
        wrong = data[:place] + bytes([number]) + data[place + 1 :]
        assert reason_of(world, wrong)[0] == "bug"
        with pytest.raises(EncodeError, match="is the name of no exchange"):
            decode_program(wrong)


def test_a_name_that_no_exchange_has_reaches_nobody(world: VenueWorld) -> None:
    """Also where the pool would take any call."""
    lazy = world.made(own_code("Venues.sol", "LazyVenue"), ("address", world.tokens["T1"]))
    op = Op(Kind.EXCHANGE, lazy, amount_wei=1, token=world.tokens["T1"], dialect=Dialect.INT128, coins=(0, 1))
    data = program(world, (op,))
    world.backend.send(world.executor, data, world.operator)
    wrong = data[:-2] + bytes([8]) + data[-1:]
    assert reason_of(world, wrong) == ("bug", "BadProgram")


def test_an_approval_that_the_token_does_not_tell_is_taken_back(world: VenueWorld) -> None:
    """Nor does it say that the approval was given, so that nothing of an earlier answer can be taken for one."""
    token = world.made(own_code("BadToken.sol", "BadToken"), ("uint256", 10**30))
    world.do(token, "configure(uint8,address,bytes)", 11, world.executor, b"")
    lazy = world.made(own_code("Venues.sol", "LazyVenue"), ("address", token))
    op = Op(Kind.EXCHANGE, lazy, amount_wei=1000, token=token, dialect=Dialect.INT128, coins=(0, 1))
    data = encode_program(Program(100, 0, world.tokens["W"], (op,), tokens=(token,)))
    world.backend.send(world.executor, data, world.operator)
    world.do(token, "configure(uint8,address,bytes)", 0, world.executor, b"")
    assert world.read(token, "allowance(address,address)", ["uint256"], world.executor, lazy) == (0,)


def test_books_that_are_not_open(world: VenueWorld) -> None:
    w, t1, pool = world.tokens["W"], world.tokens["T1"], world.pools["W", "T1", "books"].address
    hold(world)
    for op in (
        Op(Kind.VAULT_SWAP, pool, amount_wei=AMOUNT, token=w, token_out=t1),
        Op(Kind.SETTLE, None, True, AMOUNT, token=w),
    ):
        with pytest.raises(Reverted):
            world.backend.send(world.executor, program(world, (op,)), world.operator)


def test_books_are_forgotten_with_their_program(world: VenueWorld) -> None:
    """An operator that sends two programs in one transaction: the second one's books are nobody's."""
    path = "dist/evm/artifacts/Multicall3.sol/Multicall3.json"
    both = world.made(artifact("@across-protocol/contracts", path).bytecode)
    world.do(world.executor, "setOperator(address,bool)", both, True)
    opened = program(world, (Op(Kind.UNLOCK, world.books, True),))
    asks = program(world, (Op(Kind.TAKE, None, True, AMOUNT, token=world.tokens["W"]),))
    before = world.balance(world.tokens["W"], world.books)
    calls = [(world.executor, False, opened), (world.executor, False, asks)]
    world.backend.send(both, calldata("aggregate3((address,bool,bytes)[])", calls), world.operator)
    # The vault would have refused, had it been asked: it is not open any more.
    assert world.balance(world.tokens["W"], world.books) == before


def bad_token(world: VenueWorld, mode: int) -> tuple[str, str]:
    """A token that misbehaves, and an exchange that sells W for it."""
    token = world.made(own_code("BadToken.sol", "BadToken"), ("uint256", 10**30))
    coins = [token, world.tokens["W"]]
    pool = world.made(own_code("Venues.sol", "Exchange"), ("address[]", coins))
    world.do(pool, "setRate(uint256,uint256,uint256)", 0, 1, 10**18)
    world.transfer(world.tokens["W"], pool, 10**19)
    world.do(token, "transfer(address,uint256)", world.executor, 10**18)
    world.do(token, "configure(uint8,address,bytes)", mode, world.executor, b"")
    return token, pool


@pytest.mark.parametrize(
    ("mode", "passes"),
    [(0, True), (2, True), (1, False), (4, False), (9, False), (10, False)],
    ids=["normal", "returns nothing", "returns false", "blacklist", "refuses", "silent"],
)
def test_tokens_that_misbehave_when_approved(world: VenueWorld, mode: int, passes: bool) -> None:
    """They are spent here on purpose: the operator sells what is held, so only an unlisted gain could pass."""
    token, pool = bad_token(world, mode)
    op = Op(Kind.EXCHANGE, pool, amount_wei=10**17, token=token, dialect=Dialect.INT128, coins=(0, 1))
    data = encode_program(Program(100, 0, world.tokens["W"], (op,), tokens=(token,)))
    with pytest.raises(Reverted) as caught:
        world.backend.send(world.executor, data, world.operator)
    fell = calldata("BalanceFell(address)", token)[:4]
    assert (caught.value.data[:4] == fell) == passes
    (left,) = world.read(token, "allowance(address,address)", ["uint256"], world.executor, pool)
    assert left == 0


def test_the_operations_in_words(world: VenueWorld) -> None:
    pool = world.pools["W", "T1", "books"].address
    w, t1 = world.tokens["W"], world.tokens["T1"]
    ops = (
        *world.swap_ops("T1", "T2", "saddle", AMOUNT),
        *world.swap_ops("T1", "W", "weighted", AMOUNT),
        *world.swap_ops("T1", "W", "bins", AMOUNT),
        *world.swap_ops("T1", "S", "shares", AMOUNT),
        *world.swap_ops("X", "T1", "wrapped", AMOUNT),
        Op(Kind.UNLOCK, world.books, True),
        Op(Kind.VAULT_SWAP, pool, amount_wei=PER_SHARE, token=w, token_out=t1),
    )
    text = "\n".join(describe(program(world, ops, 0, ("T1", "S", "X"))))
    for word in (
        "EXCHANGE",
        "dialect=UINT8",
        "coins=",
        "VAULT",
        "pool_id=0x",
        "BINS",
        "ERC4626",
        "SHARES",
        "VAULT_SWAP",
    ):
        assert word in text


def test_addresses_of_nobody_are_refused(world: VenueWorld) -> None:
    some: dict[str, Any] = {"amount_wei": 1, "token": world.tokens["W"]}
    where = address_of("pool")
    for op, field in (
        (Op(Kind.EXCHANGE, where, coins=(0, 1), **some), "dialect"),
        (Op(Kind.EXCHANGE, where, dialect=Dialect.INT128, **some), "coins"),
        (Op(Kind.EXCHANGE, where, dialect=Dialect.INT128, coins=(0, 16), **some), "coins"),
        (Op(Kind.EXCHANGE, where, dialect=Dialect.INT128, coins=(3, 3), **some), "coins"),
        (Op(Kind.EXCHANGE, where, to=where, dialect=Dialect.INT128, coins=(0, 1), **some), "to"),
        (Op(Kind.VAULT, where, token_out=where, **some), "pool_id"),
        (Op(Kind.VAULT, where, pool_id="0x12", token_out=where, **some), "pool_id"),
        (Op(Kind.VAULT, where, pool_id="0x" + "11" * 32, **some), "token_out"),
        (Op(Kind.BINS, where, amount_wei=1), "amount_wei"),
        (Op(Kind.ERC4626, where, True, **some), "pool"),
        (Op(Kind.SHARES, where, to=where, **some), "to"),
        (Op(Kind.SETTLE, zero_for_one=True, amount_wei=1, token=NATIVE), "token"),
    ):
        with pytest.raises(EncodeError) as caught:
            encode_program(Program(100, 0, world.tokens["W"], (op,), tokens=(NATIVE,)))
        assert caught.value.field == f"ops[0].{field}"
