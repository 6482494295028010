"""The exact choice against every subset, and greedy where it is wrong."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.selection import best_choice, greedy_choice


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 100), st.sets(st.integers(0, 7), min_size=1, max_size=4)), max_size=9),
)
def test_best_of_every_subset(items: list[tuple[int, set[int]]]) -> None:
    values, pools = [float(v) for v, _ in items], [p for _, p in items]
    best = 0.0
    for size in range(len(items) + 1):
        for subset in itertools.combinations(range(len(items)), size):
            used = [pool for k in subset for pool in pools[k]]
            if len(used) == len(set(used)):
                best = max(best, sum(values[k] for k in subset))
    choice = best_choice(values, pools)
    assert choice.proven
    assert choice.value == pytest.approx(best)
    assert choice.bound == pytest.approx(best)
    used = [pool for k in choice.chosen for pool in pools[k]]
    assert len(used) == len(set(used))
    assert choice.greedy_value <= choice.value


def test_greedy_takes_the_middle_and_loses_both_ends() -> None:
    values, pools = [10.0, 9.0, 9.0], [{1, 2}, {1}, {2}]
    assert greedy_choice(values, pools) == (0,)
    assert best_choice(values, pools).chosen == (1, 2)


def test_node_limit_still_gives_a_choice_as_good_as_greedy() -> None:
    values = [float(10 + k % 7) for k in range(60)]
    pools = [{k % 11, (k * 3) % 13 + 11, (k * 5) % 17 + 24} for k in range(60)]
    choice = best_choice(values, pools, node_limit=1)
    assert choice.greedy_value <= choice.value <= choice.bound + 1e-9


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 values for 1"):
        best_choice([1.0, 2.0], [{1}])
