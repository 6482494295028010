"""Every shape of cycle through the real protocol contracts, to the wei."""

import itertools

import pytest
from world import World

from ouro.execution.encode import encode_plan

ALL_SHAPES = [shape for n in (2, 3, 4) for shape in itertools.product(("v2", "v3"), repeat=n)]
LONG_SHAPES = [
    ("v2",) * 5,
    ("v3",) * 5,
    ("v2", "v3", "v2", "v2", "v3"),
    ("v3", "v2", "v2", "v3", "v2"),
    ("v2",) * 6,
    ("v3",) * 6,
    ("v3", "v2", "v2", "v3", "v2", "v3"),
    ("v2", "v2", "v3", "v3", "v2", "v2"),
]


@pytest.mark.parametrize("shape", ALL_SHAPES + LONG_SHAPES, ids="-".join)
def test_profit_is_the_prediction_and_nothing_rests(world: World, shape: tuple[str, ...]) -> None:
    hops = world.hops(shape, 10**17)
    gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
    assert gain > 0
    before = world.balance(world.tokens["W"], world.treasury)

    world.backend.send(world.executor, encode_plan(hops, world.tokens["W"], gain, 100), world.operator)

    assert world.balance(world.tokens["W"], world.treasury) - before == gain
    assert all(world.balance(token, world.executor) == 0 for token in world.tokens.values())


def test_two_programs_in_a_row(world: World) -> None:
    """Transient state is cleared: a second execution isn't taken for a re-entry or a callback."""
    for _ in range(2):
        hops = world.hops(("v3", "v2"), 10**16)
        world.backend.send(world.executor, encode_plan(hops, world.tokens["W"], 1, 100), world.operator)


def test_tokens_that_were_sent_here_stay_out_of_the_profit(world: World) -> None:
    world.transfer(world.tokens["W"], world.executor, 12_345)
    world.transfer(world.tokens["T1"], world.executor, 678)
    hops = world.hops(("v2", "v2"), 10**17)
    gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
    before = world.balance(world.tokens["W"], world.treasury)

    world.backend.send(world.executor, encode_plan(hops, world.tokens["W"], gain, None), world.operator)

    assert world.balance(world.tokens["W"], world.treasury) - before == gain
    assert world.balance(world.tokens["W"], world.executor) == 12_345
    assert world.balance(world.tokens["T1"], world.executor) == 678
