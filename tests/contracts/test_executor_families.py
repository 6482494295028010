"""The executor's operations on the real pools of the other families: profit to the wei, callbacks, refusals."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from familyworld import FAMILIES, FamilyWorld
from test_executor_security import reason_of  # pyright: ignore[reportMissingImports]
from world import TESTED, EvmBackend, Reverted, calldata

from ouro.execution.capital import Loan, LoanKind
from ouro.execution.contract import executor_artifact
from ouro.execution.encode import encode_plan
from ouro.execution.encode_dag import Guards, encode_dag
from ouro.execution.program import Kind, Op, Program, encode_program
from ouro.execution.reverts import classify_revert
from ouro.hashing import selector
from ouro.protocols.registry import FAMILIES as REGISTERED
from ouro.protocols.steps import Shape
from ouro.types import Hop

AMOUNT = 10**16
ALL = (*FAMILIES, "v2", "v3")
PAIRS, CONCENTRATED = (
    sorted(name for name in FAMILIES if REGISTERED[name].shape is shape)
    for shape in (Shape.PAIR, Shape.CONCENTRATED)
)
PAIR_CALLBACKS = (
    "uniswapV2Call", "pancakeCall", "joeCall", "hook", "DXswapCall", "BiswapCall", "apeCall", "swapsiesCall",
    "waultSwapCall", "jetswapCall", "babyCall", "elkCall", "mdexCall", "nomiswapCall", "solarFlashCall",
)  # fmt: skip
POOL_CALLBACKS = (
    "uniswapV3SwapCallback", "pancakeV3SwapCallback", "algebraSwapCallback", "ramsesV2SwapCallback",
    "uniswapV3FlashCallback", "pancakeV3FlashCallback", "algebraFlashCallback", "agniSwapCallback",
    "fusionXV3SwapCallback", "solidlyV3SwapCallback", "swapCallback",
)  # fmt: skip


@pytest.fixture(scope="module", params=TESTED)
def built(request: pytest.FixtureRequest) -> FamilyWorld:
    return FamilyWorld(EvmBackend(), request.param).build(1)


@pytest.fixture
def world(built: FamilyWorld) -> Iterator[FamilyWorld]:
    evm = built.backend.evm
    checkpoint = evm.snapshot()
    yield built
    evm.revert(checkpoint)
    evm.reset_transient_storage()
    built.backend.set_block(100)


def run(world: FamilyWorld, hops: tuple[Hop, ...], data: bytes, gain: int) -> None:
    """The treasury gets exactly ``gain``, and nothing rests."""
    token = world.tokens["W"]
    before = world.balance(token, world.treasury)
    world.backend.send(world.executor, data, world.operator)
    assert world.balance(token, world.treasury) - before == gain
    assert all(world.balance(each, world.executor) == 0 for each in world.tokens.values())
    for hop in hops:
        for each in world.tokens.values():
            allowed = world.read(each, "allowance(address,address)", ["uint256"], world.executor, hop.pool)
            assert allowed == (0,)


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ALL)
def test_every_pair_of_families_to_the_wei(world: FamilyWorld, first: str, second: str) -> None:
    hops = world.cycle((first, second), AMOUNT)
    gain = hops[1].amount_out_wei - AMOUNT
    assert gain > 0
    run(world, hops, encode_plan(hops, world.tokens["W"], gain, 100), gain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_through_the_family(world: FamilyWorld, family: str) -> None:
    """Half through the family, half through V3, merged into a pair."""
    a, _ = world.cycle((family, "v2"), AMOUNT)
    b, _ = world.cycle(("v3", "v2"), AMOUNT)
    middle = a.amount_out_wei + b.amount_out_wei
    pool = world.pools["T1", "W", "v2"]
    out = world.quote(pool, world.tokens["T1"], middle)
    i = pool.tokens.index(world.tokens["T1"])
    back = Hop(pool.address, pool.family, world.tokens["T1"], world.tokens["W"], i, 1 - i, middle, out)
    gain = out - 2 * AMOUNT
    run(world, (a, b, back), encode_dag((a, b, back), world.tokens["W"], gain, Guards(100)), gain)


@pytest.mark.parametrize("family", CONCENTRATED)
def test_the_family_lends(world: FamilyWorld, family: str) -> None:
    """LOAN_V3 on the family's own ``flash``; the fee is what the pool asks for, and one unit less is refused."""
    pool = world.pools["W", "T1", family]
    index = pool.tokens.index(world.tokens["W"])
    hops = world.cycle(("v2", "v2"), AMOUNT)
    ppm = {"pancakeswap_v3": 500, "slipstream": 500, "algebra_integral": 100}[family]
    fee = -(-AMOUNT * ppm // 10**6)
    gain = hops[1].amount_out_wei - AMOUNT - fee
    for paid, accepted in ((fee - 1, False), (fee, True)):
        loan = Loan(LoanKind.V3_FLASH, pool.address, world.tokens["W"], AMOUNT, paid, index)
        data = encode_dag(hops, world.tokens["W"], 1, Guards(100), loan=loan)
        if accepted:
            run(world, hops, data, gain)
        else:
            with pytest.raises(Reverted):
                world.backend.send(world.executor, data, world.operator)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pool_that_moved_is_a_competitive_miss(world: FamilyWorld, family: str) -> None:
    for kinds in ((family, "v2"), ("v2", family)):
        data = encode_plan(world.cycle(kinds, AMOUNT), world.tokens["W"], 1, 100)
        rival = encode_plan(world.cycle(kinds, 3 * AMOUNT), world.tokens["W"], 1, 100)
        world.backend.send(world.executor, rival, world.operator)
        assert reason_of(world, data)[0] == "competitive"


@pytest.mark.parametrize("family", PAIRS)
def test_a_unit_more_than_the_pool_owes_is_refused(world: FamilyWorld, family: str) -> None:
    hops = world.cycle((family, "v2"), AMOUNT)
    more = hops[0].amount_out_wei + 1
    greedy = (replace(hops[0], amount_out_wei=more), replace(hops[1], amount_in_wei=more))
    assert reason_of(world, encode_plan(greedy, world.tokens["W"], 1, 100))[0] == "competitive"


@pytest.mark.parametrize("family", PAIRS)
def test_a_pair_that_somebody_else_asked_is_not_obeyed(world: FamilyWorld, family: str) -> None:
    world.transfer(world.tokens["W"], world.executor, 10**18)
    pair = world.pools["W", "T1", family].address
    program = encode_plan(world.cycle((family, "v2"), AMOUNT), world.tokens["W"], 1, 100)
    for data in (program, program[39:]):
        asked = calldata("swap(uint256,uint256,address,bytes)", 1, 0, world.executor, data)
        with pytest.raises(Reverted):
            world.backend.send(pair, asked, world.stranger)
    assert world.balance(world.tokens["W"], world.executor) == 10**18


@pytest.mark.parametrize("family", CONCENTRATED)
def test_a_strangers_swap_to_the_executor_starts_nothing(world: FamilyWorld, family: str) -> None:
    """A concentrated pool calls back whoever called it, so the executor only receives what he pays for."""
    pool = world.pools["W", "T1", family].address
    swap = calldata(
        "swap(address,bool,int256,uint160,bytes)", world.executor, True, AMOUNT, 4295128740, b"\x00" * 60
    )
    with pytest.raises(Reverted):
        world.backend.send(pool, swap, world.stranger)


@pytest.mark.parametrize("name", [*PAIR_CALLBACKS, *POOL_CALLBACKS])
def test_every_name_of_a_callback_reaches_the_fallback_and_is_refused(world: FamilyWorld, name: str) -> None:
    """From anybody, real pools included, outside an execution; no function of the executor has its selector."""
    pair = name in PAIR_CALLBACKS
    kinds = "(address,uint256,uint256,bytes)" if pair else "(int256,int256,bytes)"
    own = {
        selector(f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})")
        for entry in executor_artifact().abi
        if entry["type"] == "function"
    }
    assert selector(name + kinds) not in own
    payload = encode_plan(world.cycle(("v2", "v2"), AMOUNT), world.tokens["W"], 1, 100)[39:]
    values = (world.executor, 1, 1, payload) if pair else (1, 1, payload)
    for sender in (world.stranger, world.pools["W", "T1", "v3"].address, world.pools["W", "T1", "solidly"].address):
        with pytest.raises(Reverted):
            world.backend.send(world.executor, calldata(name + kinds, *values), sender)


@pytest.mark.parametrize(("family", "zero_for_one"), [("slipstream", False), ("algebra_integral", True)])
def test_probe_of_the_price(world: FamilyWorld, family: str, zero_for_one: bool) -> None:
    """GUARD_V3 reads ``slot0``, or Algebra's ``globalState``."""
    hops = world.cycle((family, "v2"), AMOUNT)
    view = "globalState()" if zero_for_one else "slot0()"
    (price,) = world.read(hops[0].pool, view, ["uint160"])
    probe = Op(Kind.GUARD_V3, hops[0].pool, zero_for_one, price & (1 << 112) - 1)
    data = encode_dag(hops, world.tokens["W"], 1, Guards(100, probe=probe))
    world.backend.send(world.executor, data, world.operator)
    assert reason_of(world, data) == ("competitive", "Late")
    wrong = Op(Kind.GUARD_V3, hops[0].pool, not zero_for_one, price & (1 << 112) - 1)
    program = encode_program(Program(100, 0, world.tokens["W"], (wrong,)))
    assert reason_of(world, program)[1] in ("BadProgram", "Late")


def test_refusals_of_these_pools_are_told_apart() -> None:
    for name in ("K()", "InsufficientLiquidity()", "insufficientInputAmount()", "invalidLimitSqrtPrice()"):
        assert classify_revert(selector(name))[0] == "competitive"
    for name in ("InvalidTo()", "locked()", "transferFailed()"):
        assert classify_revert(selector(name))[0] == "bug"
