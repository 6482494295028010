"""The optimum when every touched pool costs something (gas): a set of pools to choose, and a bound to judge it by.

``max over sets S of V(S) - Σ_{p in S} q_p`` is combinatorial. Its Lagrangian bound is ``min over ν >= c of
Σ (arb_p(ν) - q_p)₊``. Good sets: drop the weakest pools and solve again; then flip or swap pools. At the prices of
S, ``V(S - p) <= V(S) - arb_p`` and ``V(S + p) <= V(S) + arb_p``, so only few flips can pay and need to be tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from ouro.search.arrays import Bool, Float64, Int64
from ouro.search.convex.dual import DualSolution, solve_scaled
from ouro.search.convex.kernels import edge_flows
from ouro.search.convex.network import Network
from ouro.search.convex.scale import Scaled, scaled, with_edges

_DROP_SHARE = 0.05
_BOUND_ROUNDS = 14
_MAX_SOLVES = 6_000
_SWAP_WIDTH = 12


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """The chosen pools and what they bring after costs; ``bound`` is what no choice can exceed.

    ``pools``: ids of the network, ascending. ``solution`` is the dual solution over exactly these pools.
    ``ratio`` is value / bound (1 where neither is positive).
    """

    pools: tuple[int, ...]
    value: float
    bound: float
    solution: DualSolution
    solves: int

    @property
    def ratio(self) -> float:
        """How much of the bound is proven reached."""
        return self.value / self.bound if self.bound > 0.0 else 1.0


@dataclass(slots=True)
class _Found:
    pools: Bool
    value: float
    solution: DualSolution
    w: Float64


class _Chooser:
    """Values of sets of pools, warm-started from one another."""

    def __init__(self, problem: Scaled, cost: Float64) -> None:
        if problem.weighted or problem.linear or problem.curves:
            raise ValueError("fixed costs are for two-token pools made of pieces; give special pools as pieces")
        self.problem = problem
        pools = problem.network.edge_pool[problem.edge_ids]
        self.pool_ids, self.edge_slot = np.unique(pools.astype(np.int64), return_inverse=True)
        self.cost = cost[self.pool_ids]
        self.solves = 0

    @property
    def n(self) -> int:
        return len(self.pool_ids)

    def worths(self, w: Float64) -> Float64:
        """``arb_p`` of every pool at ``w``."""
        problem = self.problem
        scratch = [np.zeros(len(problem.edge_ids)) for _ in range(4)]
        edge_flows(w, *problem.pieces, *scratch)
        return np.bincount(self.edge_slot, scratch[2], self.n).astype(np.float64)

    def evaluate(self, pools: Bool, start: Float64 | None) -> _Found:
        """Solve over ``pools``; pools that don't trade are left out and cost nothing."""
        self.solves += 1
        solution = solve_scaled(with_edges(self.problem, pools[self.edge_slot]), start, tolerance=1e-10)
        slots = self.edge_slot[pools[self.edge_slot]]
        active = np.bincount(slots, solution.taken, self.n) > 0.0
        return _Found(
            active, solution.bound - float(self.cost[active].sum()), solution, solution.start_for(self.problem)
        )

    def bound(self, w: Float64) -> tuple[float, Float64, Float64]:
        """The Lagrangian bound, its prices, and the share of each pool in its (fractional) solution."""
        problem = self.problem
        scratch = [np.zeros(len(problem.edge_ids)) for _ in range(4)]
        n_tokens = problem.n_tokens
        weight = np.bincount(problem.edge_out, problem.a[problem.start[:-1]] ** 2, n_tokens)
        weight += np.bincount(problem.edge_in, problem.b[problem.start[:-1]] ** 2, n_tokens)
        step = 1.0 / np.sqrt(np.maximum(weight, weight.max(initial=1e-300) * 1e-12))
        best = float(np.maximum(self.worths(w) - self.cost, 0.0).sum())
        best_w = w
        size = 1.0 / best if best > 0.0 else 1.0
        share = (self.worths(w) > self.cost).astype(np.float64)
        softness = np.maximum(self.cost, 1e-12 * max(best, 1e-300))

        def smooth(y: Float64) -> tuple[float, Float64]:
            here = y * step
            edge_flows(here, *problem.pieces, *scratch)
            taken, given, worth, _ = scratch
            margin = np.bincount(self.edge_slot, worth, self.n) - self.cost
            part = np.clip(share + margin / softness, 0.0, 1.0)
            value = float(np.sum(part * margin - 0.5 * softness * (part - share) ** 2))
            by_edge = part[self.edge_slot]
            gradient = np.bincount(problem.edge_out, by_edge * given, n_tokens)
            gradient -= np.bincount(problem.edge_in, by_edge * taken, n_tokens)
            return value * size, 2.0 * (1.0 + here) * gradient * step * size

        bounds = np.column_stack([problem.floor / step, np.full(n_tokens, np.inf)])
        options = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-13, "maxcor": 20}
        for _ in range(_BOUND_ROUNDS):
            found = scipy.optimize.minimize(
                smooth, best_w / step, jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
            there = np.maximum(found.x * step, problem.floor)
            margin = self.worths(there) - self.cost
            exact = float(np.maximum(margin, 0.0).sum())
            share = np.clip(share + margin / softness, 0.0, 1.0)
            gain = (best - exact) / best if best > 0.0 else 0.0
            if exact < best:
                best, best_w = exact, there
            if abs(gain) < 1e-7:
                softness = softness * 0.3
        return best, best_w, share


def _prune(chooser: _Chooser, start: Bool, start_w: Float64 | None) -> _Found:
    """Solve, drop the weakest, solve again; the best set on the way."""
    here = best = chooser.evaluate(start, start_w)
    while np.any(here.pools):
        worth = np.where(here.pools, chooser.worths(here.w) - chooser.cost, np.inf)
        order = np.argsort(worth, kind="stable")
        count = max(1, int(_DROP_SHARE * here.pools.sum()))
        smaller = here.pools.copy()
        smaller[order[:count]] = False
        if not np.any(smaller):
            break
        here = chooser.evaluate(smaller, here.w)
        if here.value > best.value:
            best = here
        elif here.value < best.value - 0.1 * abs(best.value) and worth[order[0]] > 0.0:
            break
    return best


def _flips(chooser: _Chooser, here: _Found) -> list[tuple[float, tuple[int, ...]]]:
    """Sets of pools to flip, with an upper bound of the gain, best first."""
    surplus = chooser.worths(here.w) - chooser.cost
    inside, outside = np.flatnonzero(here.pools), np.flatnonzero(~here.pools)
    moves: list[tuple[float, tuple[int, ...]]] = []
    moves += [(-float(surplus[p]), (int(p),)) for p in inside if surplus[p] < 0.0]
    moves += [(float(surplus[p]), (int(p),)) for p in outside if surplus[p] > 0.0]
    moves.sort(key=lambda move: (-move[0], move[1]))
    out = outside[np.argsort(-surplus[outside], kind="stable")][:_SWAP_WIDTH]
    drop = inside[np.argsort(surplus[inside], kind="stable")][:_SWAP_WIDTH]
    swaps = [
        (float(surplus[p] - surplus[o]), (int(o), int(p)))
        for o in drop
        for p in out
        if surplus[p] - surplus[o] > 0.0
    ]
    swaps.sort(key=lambda move: (-move[0], move[1]))
    return moves + swaps


def _improve(chooser: _Chooser, here: _Found, target: float, max_solves: int) -> _Found:
    """First-improvement search over flips and swaps, until none pays, ``target`` is met, or the budget is used."""
    improved = True
    while improved and chooser.solves < max_solves and here.value < target:
        improved = False
        for bound, move in _flips(chooser, here):
            if bound <= 1e-9 * abs(here.value) or chooser.solves >= max_solves:
                continue
            pools = here.pools.copy()
            pools[list(move)] ^= True
            there = chooser.evaluate(pools, here.w)
            if there.value > here.value * (1.0 + 1e-12):
                here, improved = there, True
                break
    return here


def choose_pools(
    network: Network,
    prices: Float64 | Sequence[float],
    cost_per_pool: float | Float64,
    *,
    start: Float64 | None = None,
    good_enough: float = 1.0,
    max_solves: int = _MAX_SOLVES,
) -> PoolChoice:
    """The best found set of pools when each touched one costs ``cost_per_pool`` (units of the prices).

    Stops at ``good_enough`` × bound or after ``max_solves`` solves, so a replay takes the same steps. Raises
    ValueError on special pools, on costs that are negative or not finite, and on bad prices.
    """
    cost = np.broadcast_to(np.asarray(cost_per_pool, dtype=np.float64), (network.n_pools,)).copy()
    if not np.all((cost >= 0.0) & (cost < np.inf)):
        raise ValueError("cost_per_pool: costs are finite and not negative")
    chooser = _Chooser(scaled(network, prices, start), cost)
    every = np.ones(chooser.n, dtype=np.bool_)
    full = chooser.evaluate(every, None)
    bound, bound_w, share = chooser.bound(full.w)
    target = good_enough * bound
    best = _prune(chooser, every, full.w)
    for threshold in (0.5, 0.1, 0.9):
        if best.value >= target:
            break
        found = _prune(chooser, share > threshold, bound_w)
        best = max(best, found, key=lambda found: found.value)
    best = _improve(chooser, best, target, max_solves)
    nothing = np.zeros(chooser.n, dtype=np.bool_)
    if best.value < 0.0:
        best = chooser.evaluate(nothing, None)
    final = _solution_of(chooser, best)
    return PoolChoice(_ids(chooser.pool_ids, best.pools), best.value, bound, final, chooser.solves)


def _solution_of(chooser: _Chooser, found: _Found) -> DualSolution:
    kept = found.pools[chooser.edge_slot]
    return solve_scaled(with_edges(chooser.problem, kept), found.w)


def _ids(pool_ids: Int64, mask: Bool) -> tuple[int, ...]:
    return tuple(int(pool) for pool in pool_ids[mask])
