"""Disjoint opportunities: exact against brute force, never below greedy."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.strategies.selection import select, select_greedy

items = st.lists(
    st.tuples(st.integers(-3, 60), st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=4)), max_size=9
)


def brute_force(values: list[float], pools: list[list[str]]) -> float:
    best = 0.0
    for size in range(1, len(values) + 1):
        for chosen in itertools.combinations(range(len(values)), size):
            used = [pool for index in chosen for pool in pools[index]]
            if len(used) == len(set(used)):
                best = max(best, sum(values[index] for index in chosen))
    return best


@given(items)
@settings(max_examples=80, deadline=None)
def test_equals_brute_force_and_never_below_greedy(drawn: list[tuple[int, set[str]]]) -> None:
    values = [float(value) for value, _ in drawn]
    pools = [sorted(names) for _, names in drawn]
    chosen = select(values, pools)
    used = [pool for index in chosen.indices for pool in pools[index]]
    assert len(used) == len(set(used))
    assert chosen.proven
    assert chosen.value == brute_force(values, pools)
    assert chosen.value >= chosen.greedy_value
    assert chosen.value == sum(values[index] for index in chosen.indices)
    assert select(values, pools) == chosen


def test_greedy_is_beaten_where_two_small_ones_beat_a_large_one() -> None:
    values, pools = [10.0, 7.0, 6.0], [["a", "b"], ["a"], ["b"]]
    assert select_greedy(values, pools) == (0,)
    chosen = select(values, pools)
    assert chosen.indices == (1, 2)
    assert (chosen.value, chosen.greedy_value) == (13.0, 10.0)


def test_wei_sized_values() -> None:
    values, pools = [3e30, 2e30, 2e30, 1.0], [["a", "b"], ["a"], ["b"], ["z"]]
    assert select(values, pools).indices == (1, 2, 3)


def test_a_node_limit_still_gives_a_choice() -> None:
    values = [float(7 + (k * 37) % 11) for k in range(60)]
    pools = [[f"p{k % 13}", f"q{k % 7}", f"r{k % 5}"] for k in range(60)]
    chosen = select(values, pools, node_limit=1)
    assert chosen.value >= chosen.greedy_value > 0.0


def test_worthless_items_and_mismatched_input() -> None:
    assert select([float("nan"), float("inf"), -1.0, 0.0], [["a"]] * 4).indices == ()
    assert select([], []).value == 0.0
    with pytest.raises(ValueError, match="2 values for 1"):
        select([1.0, 2.0], [["a"]])
