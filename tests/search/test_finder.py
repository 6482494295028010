"""The finder against an exhaustive search written plainly in Python, on random markets."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.arrays import PoolPieces, StaticArrays, build_arrays, constant_product
from ouro.search.cycles import CycleBudgetError, CycleIndex
from ouro.search.finder import Candidates, Finder, Method, SearchInputError, bytes_per_result

METHODS = list(Method)


def all_cycles(arrays: StaticArrays, start: int, max_hops: int) -> Iterator[tuple[int, ...]]:
    """Every simple cycle, by trying every extension."""
    leaving: dict[int, list[int]] = {}
    for edge in range(arrays.n_edges):
        leaving.setdefault(int(arrays.edge_token_in[edge]), []).append(edge)

    def extend(path: tuple[int, ...], seen: frozenset[int]) -> Iterator[tuple[int, ...]]:
        at = int(arrays.edge_token_out[path[-1]]) if path else start
        for edge in leaving.get(at, []):
            if arrays.edge_pool[edge] in {arrays.edge_pool[other] for other in path}:
                continue
            head = int(arrays.edge_token_out[edge])
            if head == start and path:
                yield (*path, edge)
            elif head not in seen and head != start and len(path) + 1 < max_hops:
                yield from extend((*path, edge), seen | {head})

    yield from extend((), frozenset())


def swap(arrays: StaticArrays, edge: int, amount: float) -> float:
    """Output of an edge, segment by segment."""
    first = arrays.seg_start[edge]
    output = 0.0
    for r_in, r_out, gamma, cap in arrays.segs[first : first + arrays.seg_count[edge]]:
        part = min(amount, cap)
        output += gamma * part * r_out / (r_in + gamma * part)
        amount -= part
        if amount <= 0:
            break
    return output


def best_by_golden_section(arrays: StaticArrays, path: tuple[int, ...], high: float) -> tuple[float, float]:
    """The best input up to ``high`` found without any formula for it."""

    def profit(amount: float) -> float:
        output = amount
        for edge in path:
            output = swap(arrays, edge, output)
        return output - amount

    low, ratio = 0.0, (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    value_left, value_right = profit(left), profit(right)
    for _ in range(120):
        if value_left < value_right:
            low, left, value_left = left, right, value_right
            right = low + ratio * (high - low)
            value_right = profit(right)
        else:
            high, right, value_right = right, left, value_left
            left = high - ratio * (high - low)
            value_left = profit(left)
    return (low + high) / 2, profit((low + high) / 2)


def random_market(seed: int, n_tokens: int, n_pools: int, spread: float = 0.05) -> StaticArrays:
    """Pools at noisy prices; parallel pools are likely. Every fifth has three pieces in each direction."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(0, 1, n_tokens)
    pools: list[PoolPieces] = []
    for number in range(n_pools):
        a, b = (int(token) for token in rng.choice(n_tokens, 2, replace=False))
        depth = rng.lognormal(7, 1)
        noise = rng.lognormal(0, spread)
        gamma = float(rng.choice([0.997, 0.9995, 0.99]))
        pool = constant_product(a, b, depth / price[a], depth / price[b] * noise, gamma)
        if number % 5 == 0:
            pool = PoolPieces(pool.tokens, {way: in_pieces(row[0]) for way, row in pool.segments.items()})
        pools.append(pool)
    return build_arrays(pools)


def in_pieces(row: np.ndarray) -> np.ndarray:
    """A constant-product curve whose depth shrinks at two points, continuous in price, and which ends."""
    r_in, r_out, gamma, _ = row
    rows = []
    for cap_share, shrink in ((0.01, 0.5), (0.02, 0.7), (0.05, 1.0)):
        cap = cap_share * r_in
        rows.append([r_in, r_out, gamma, cap])
        after = r_in + gamma * cap
        r_in, r_out = after * shrink, r_out * r_in / after * shrink
    return np.array(rows)


def as_set(candidates: Candidates) -> dict[tuple[int, ...], float]:
    return {candidate.edges: candidate.profit for candidate in candidates}


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_tokens=st.integers(2, 6),
    n_pools=st.integers(1, 14),
    max_hops=st.integers(2, 4),
    n_starts=st.integers(1, 3),
)
def test_recall_is_one(
    method: Method, seed: int, n_tokens: int, n_pools: int, max_hops: int, n_starts: int
) -> None:
    arrays = random_market(seed, n_tokens, n_pools)
    starts = list(range(min(n_starts, n_tokens)))
    rng = np.random.default_rng(seed + 1)
    touched = rng.choice(n_pools, size=rng.integers(1, n_pools + 1), replace=False)
    expected: dict[tuple[int, ...], float] = {}
    for start in starts:
        for path in all_cycles(arrays, start, max_hops):
            if not {int(arrays.edge_pool[edge]) for edge in path} & {int(pool) for pool in touched}:
                continue
            depth = float(arrays.segs[arrays.seg_start[path[0]], 0])
            _, profit = best_by_golden_section(arrays, path, 3 * depth)
            if profit > 1e-9:
                expected[path] = profit
    found = Finder(arrays, starts, max_hops, method=method).evaluate(touched)
    result = as_set(found)
    assert len(result) == len(found)
    assert set(expected) <= set(result)
    for path, profit in expected.items():
        assert result[path] >= profit * (1 - 1e-9)
    for path, profit in result.items():
        assert profit == pytest.approx(expected.get(path, 0.0), rel=1e-6, abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), max_hops=st.integers(2, 5))
def test_both_methods_agree_over_a_stream_of_blocks(seed: int, max_hops: int) -> None:
    arrays = random_market(seed, 8, 30, 0.02)
    rng = np.random.default_rng(seed)
    finders = [Finder(arrays, [0, 3], max_hops, method=method, unit_values={3: 2.0}) for method in METHODS]
    for _ in range(4):
        touched = rng.choice(30, 4, replace=False)
        for pool in touched:
            for edge in range(arrays.pool_edge_start[pool], arrays.pool_edge_start[pool + 1]):
                row = arrays.segs[arrays.seg_start[edge]]
                row[1] *= rng.lognormal(0, 0.01)
        arrays.enabled[rng.integers(30)] ^= True
        first, second = (finder.evaluate(touched, 1e-6) for finder in finders)
        assert list(first) == list(second)
        full = as_set(Finder(arrays, [0, 3], max_hops, method=Method.WALK, unit_values={3: 2.0}).evaluate_all(1e-6))
        on_touched = {
            path: profit
            for path, profit in full.items()
            if {int(arrays.edge_pool[edge]) for edge in path} & {int(pool) for pool in touched}
        }
        assert {path: full[path] for path in as_set(first) if path in on_touched} == on_touched


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), max_hops=st.integers(2, 4))
def test_what_is_kept_from_block_to_block_equals_a_full_search(method: Method, seed: int, max_hops: int) -> None:
    """Replace what goes through touched pools, keep the rest: bit for bit what a new finder finds."""
    arrays = random_market(seed, 7, 24, 0.03)
    rng = np.random.default_rng(seed)
    finder = Finder(arrays, [0, 2], max_hops, method=method)
    kept = {candidate.edges: candidate for candidate in finder.evaluate_all()}
    for _ in range(6):
        touched = {int(pool) for pool in rng.choice(24, rng.integers(0, 6), replace=False)}
        for pool in touched:
            for edge in range(arrays.pool_edge_start[pool], arrays.pool_edge_start[pool + 1]):
                arrays.segs[arrays.seg_start[edge], :2] *= rng.lognormal(0, 0.02, 2)
        if rng.random() < 0.5:
            flipped = int(rng.integers(24))
            arrays.enabled[flipped] ^= True
            touched.add(flipped)
        found = finder.evaluate(sorted(touched))
        kept = {
            edges: candidate
            for edges, candidate in kept.items()
            if touched.isdisjoint(arrays.edge_pool[list(edges)].tolist())
        }
        kept |= {candidate.edges: candidate for candidate in found}
        assert kept == {candidate.edges: candidate for candidate in Finder(arrays, [0, 2], max_hops).evaluate_all()}


def test_results_beyond_the_memory_budget_are_the_best_that_fit() -> None:
    arrays = random_market(5, 12, 400, 0.05)
    every = Finder(arrays, [0], 4).evaluate_all()
    budget = 1 << 20
    assert len(every) * bytes_per_result(4) > 4 * budget
    finder = Finder(arrays, [0], 4, budget_bytes=budget)
    with pytest.raises(CycleBudgetError):
        finder.evaluate_all()
    best = finder.evaluate_within_budget(np.arange(400))
    assert len(best) > 100
    assert len(best) * bytes_per_result(4) <= budget
    assert finder.stats.threshold > 0
    assert list(best) == every[: len(best)]
    assert every[len(best)].value <= finder.stats.threshold
    assert list(Finder(arrays, [0], 4).evaluate_within_budget([3])) == list(Finder(arrays, [0], 4).evaluate([3]))


def test_order_is_by_value_and_the_same_every_time() -> None:
    arrays = random_market(5, 8, 40)
    finder = Finder(arrays, [0, 1], 4, unit_values={0: 1.0, 1: 1e3})
    found = finder.evaluate_all()
    values = [candidate.value for candidate in found]
    assert len(found) > 10
    assert values == sorted(values, reverse=True)
    assert list(finder.evaluate_all()) == list(found)
    assert {candidate.start_token for candidate in found} == {0, 1}
    assert len({candidate.cycle_id for candidate in found}) == len(found)
    assert found[0].value == pytest.approx(found[0].profit * (1e3 if found[0].start_token == 1 else 1.0))


@pytest.mark.parametrize("method", METHODS)
def test_more_results_than_rows(method: Method) -> None:
    arrays = random_market(1, 12, 120, 0.3)
    finder = Finder(arrays, [0], 4, method=method)
    found = finder.evaluate_all()
    assert len(found) == finder.stats.found > 1024


@pytest.mark.parametrize("method", METHODS)
def test_disabled_pools_are_left_out_and_come_back(method: Method) -> None:
    arrays = build_arrays([constant_product(0, 1, 1e6, 1e6), constant_product(0, 1, 1e6, 1.1e6)])
    finder = Finder(arrays, [0], 2, method=method)
    assert len(finder.evaluate([0])) == 1
    arrays.enabled[1] = False
    assert len(finder.evaluate([0])) == 0
    arrays.enabled[1] = True
    assert len(finder.evaluate([])) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf, 1e308, 5e-324])
def test_absurd_reserves_never_hang_and_never_pay(method: Method, bad: float) -> None:
    arrays = build_arrays(
        [
            constant_product(0, 1, 1e6, 1e6),
            constant_product(0, 1, 1e6, bad),
            constant_product(1, 2, bad, bad),
            constant_product(2, 0, 1e6, 1e6),
            constant_product(0, 1, 1e6, 1.1e6),
        ]
    )
    found = Finder(arrays, [0, 1], 4, method=method).evaluate_all()
    for candidate in found:
        assert math.isfinite(candidate.amount_in)
        assert math.isfinite(candidate.profit)
        assert candidate.profit > 0
    if bad in (0.0, -1.0) or not math.isfinite(bad):
        assert all(arrays.edge_pool[edge] in (0, 4) for candidate in found for edge in candidate.edges)
    assert any({0, 4} == {int(arrays.edge_pool[edge]) for edge in candidate.edges} for candidate in found)


@pytest.mark.parametrize("method", METHODS)
def test_segments_may_be_empty_or_nan(method: Method) -> None:
    nothing = PoolPieces((0, 1), {(0, 1): np.empty((0, 4)), (1, 0): np.array([[1e6, 1e6, math.nan, 10.0]])})
    arrays = build_arrays([nothing, constant_product(0, 1, 1e6, 1e6), constant_product(0, 1, 1e6, 1.1e6)])
    found = Finder(arrays, [0], 3, method=method).evaluate_all()
    assert [{int(arrays.edge_pool[edge]) for edge in candidate.edges} for candidate in found] == [{1, 2}]


@pytest.mark.parametrize("method", METHODS)
def test_one_huge_hub_and_duplicate_pools(method: Method) -> None:
    spokes = [constant_product(0, token, 1e6, 1e6) for token in range(1, 2000)]
    twins = [constant_product(0, 1, 1e6, 1.1e6)] * 2
    arrays = build_arrays(spokes + twins)
    finder = Finder(arrays, [0, 5000], 4, method=method)
    assert finder.count_cycles() == 6
    assert [candidate.edges[0] // 2 for candidate in finder.evaluate([0])] == [1999, 2000] or len(
        finder.evaluate([0])
    ) == 2


def test_three_token_pools_are_used_once_per_cycle() -> None:
    rng = np.random.default_rng(3)
    ways = list(itertools.permutations(range(3), 2))
    pools = [
        PoolPieces(
            (0, 1, 2),
            {way: np.array([[1e6, 1e6 * rng.lognormal(0, 0.05), 0.999, math.inf]]) for way in ways},
        )
        for _ in range(3)
    ]
    arrays = build_arrays(pools)
    expected = sorted(all_cycles(arrays, 0, 3))
    index = CycleIndex.build(arrays, [0], 3)
    assert sorted(index.cycle(number) for number in range(len(index))) == expected
    walk, stored = (Finder(arrays, [0], 3, method=method).evaluate_all() for method in METHODS)
    assert list(walk) == list(stored)
    assert len(walk) > 0


def test_memory_budget_is_named() -> None:
    arrays = random_market(1, 12, 120)
    with pytest.raises(CycleBudgetError, match=r"the budget is 1,000:") as error:
        Finder(arrays, [0], 4, method="index", budget_bytes=1_000)
    assert error.value.needed_bytes > 1_000


@pytest.mark.parametrize(
    ("starts", "hops", "message"),
    [([], 4, "no start token"), ([0], 1, "max_hops is 1"), ([0], 99, "max_hops is 99"), ([-1], 4, "negative")],
)
def test_senseless_requests_are_refused(starts: list[int], hops: int, message: str) -> None:
    with pytest.raises(SearchInputError, match=message):
        Finder(random_market(1, 4, 8), starts, hops)


def test_unknown_pools_and_bad_values_are_refused() -> None:
    finder = Finder(random_market(1, 4, 8), [0], 3)
    with pytest.raises(SearchInputError, match="rebuild"):
        finder.evaluate([8])
    with pytest.raises(SearchInputError, match="token id 0"):
        finder.set_unit_values({0: math.nan})


def test_rebuild_takes_in_new_pools() -> None:
    pools = [constant_product(0, 1, 1e6, 1e6)]
    for method in METHODS:
        finder = Finder(build_arrays(pools), [0], 4, method=method)
        assert len(finder.evaluate_all()) == 0
        finder.rebuild(build_arrays([*pools, constant_product(0, 1, 1e6, 1.1e6)]))
        assert len(finder.evaluate([1])) == 1


def test_empty_market() -> None:
    for method in METHODS:
        assert len(Finder(build_arrays([]), [0], 4, method=method).evaluate([])) == 0
