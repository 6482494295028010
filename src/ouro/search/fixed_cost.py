"""Which pools to use when touching one costs something: pruning, re-solving and local search, with a bound.

``max over S of optimum(S) - q·|S|`` is combinatorial. Its Lagrangian bound is ``min over ν ≥ c of Σ (arb_i(ν)
- q)⁺``: every ν gives a valid upper bound, so the ratio to it certifies the chosen set, however it was found.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from ouro.search.arrays import Bool, Float64
from ouro.search.dual import Dual, DualSolution, solve_dual
from ouro.search.network import Network

_DROP_SHARE = 0.05
_PATIENCE = 12
_SMOOTHING = (0.5, 0.15, 0.05, 0.015, 0.005, 0.0015, 0.0005)


@dataclass(frozen=True, slots=True)
class ChosenPools:
    """The set (n_pools), its optimum, that optimum's value less the pools' cost, and the upper bound on any
    set's."""

    kept: Bool
    solution: DualSolution
    net_value: float
    bound: float
    solves: int

    @property
    def ratio(self) -> float:
        """How much of the bound the set reaches; 1 where there is nothing to gain."""
        return self.net_value / self.bound if self.bound > 0.0 else 1.0


class _Search:
    def __init__(self, network: Network, values: Float64, cost: float, tolerance: float) -> None:
        self._network = network
        self._values = values
        self._cost = cost
        self._tolerance = tolerance
        self.solves = 0
        self.kept: Bool = np.zeros(network.n_pools, dtype=np.bool_)
        self.solution: DualSolution | None = None
        self.net = 0.0

    def look(self, kept: Bool, start: Float64 | None) -> tuple[DualSolution, float]:
        """Solve for a set; it becomes the best if it is."""
        self.solves += 1
        solution = solve_dual(
            self._network.only(kept), self._values, start=start, tolerance=self._tolerance, max_iterations=60
        )
        active = solution.pool_values > 1e-12 * max(solution.bound, 1e-300)
        net = solution.value - self._cost * int(active.sum())
        if self.solution is None or net > self.net:
            self.kept, self.solution, self.net = active & kept, solution, net
        return solution, net

    def prune(self, start: DualSolution) -> None:
        """Drop the weakest pools again and again until that has stopped helping."""
        solution, kept, since, best = start, np.ones(self._network.n_pools, dtype=np.bool_), 0, -np.inf
        while since < _PATIENCE:
            values = solution.pool_values
            kept = kept & (values > 1e-12 * max(solution.bound, 1e-300))
            order = np.flatnonzero(kept)
            if len(order) < 2:
                return
            order = order[np.argsort(values[order], kind="stable")]
            # far below the cost a pool can go with many others, near it with few
            hopeless = int((values[order] < 0.25 * self._cost).sum())
            count = max(1, int(_DROP_SHARE * len(order)), hopeless // 2)
            if values[order[0]] > 4.0 * self._cost:
                return
            kept[order[:count]] = False
            solution, net = self.look(kept, solution.prices)
            since = 0 if net > best else since + 1
            best = max(best, net)

    def improve(self, every: Dual, budget: int) -> None:
        """Flips and swaps of single pools, the most promising first, until none helps or ``budget`` solves are
        used."""
        last = self.solves + budget
        while self.solves < last:
            assert self.solution is not None
            before = self.net
            prices, kept = self.solution.prices, self.kept
            at_all = every.trades(np.log(prices / every.reference))[3]
            inside = np.flatnonzero(kept)
            inside = inside[np.argsort(at_all[inside], kind="stable")]
            outside = np.flatnonzero(~kept & (at_all > 0.5 * self._cost))
            outside = outside[np.argsort(-at_all[outside], kind="stable")]
            moves = [(out,) for out in inside[:24]] + [(new,) for new in outside[:24]]
            moves += [(new, out) for out in inside[:8] for new in outside[:8]]
            moves += [(a, b) for k, a in enumerate(inside[:6]) for b in inside[k + 1 : 6]]
            moves += [(a, b) for k, a in enumerate(outside[:6]) for b in outside[k + 1 : 6]]
            for move in moves:
                trial = kept.copy()
                trial[list(move)] ^= True
                self.look(trial, prices)
                if self.net > before * (1.0 + 1e-12) or self.solves >= last:
                    break
            if self.net <= before * (1.0 + 1e-12):
                return


def lagrangian_bound(network: Network, values: Float64, cost: float, start: Float64) -> float:
    """The smallest Σ (arb_i(ν) - cost)⁺ that was met: smoothed ever less, solved by L-BFGS-B from ``start``."""
    scale = np.maximum(start, values)
    dual = Dual(network, scale, scale > 1e-299)
    best = [np.inf]
    sizes = np.diff(network.w_start)

    def at(relative: Float64, width: float) -> tuple[float, Float64]:
        paid, got, weighted, gains = dual.trades(np.log(relative))
        excess = gains - cost
        best[0] = min(best[0], float(np.maximum(excess, 0.0).sum()))
        share = np.clip(excess / (2.0 * width) + 0.5, 0.0, 1.0)
        smooth = np.where(np.abs(excess) < width, (excess + width) ** 2 / (4.0 * width), np.maximum(excess, 0.0))
        part = share[network.pool]
        flow = np.bincount(network.head, part * got, network.n_tokens)
        flow -= np.bincount(network.tail, part * paid, network.n_tokens)
        if len(weighted):
            flow += np.bincount(
                network.w_token, weighted * np.repeat(share[network.w_pool], sizes), network.n_tokens
            )
        return float(smooth.sum()), flow * scale

    bounds = np.column_stack((np.maximum(values / scale, 1e-9), np.full(len(scale), np.inf)))
    point = np.ones(len(scale))
    for width in _SMOOTHING:
        found = minimize(
            at,
            point,
            args=(width * max(cost, 1e-300),),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 400, "maxfun": 800, "ftol": 1e-14, "gtol": 0.0},
        )
        point = found.x
    return best[0]


def choose_pools(
    network: Network,
    token_values: npt.ArrayLike,
    cost_per_pool: float,
    *,
    start: Float64 | None = None,
    search_solves: int = 2_000,
    tolerance: float = 1e-9,
) -> ChosenPools:
    """The set of pools that gives most after ``cost_per_pool`` (in units of value) for each pool that trades."""
    values = np.asarray(token_values, dtype=np.float64)
    every = solve_dual(network, values, start=start, tolerance=tolerance)
    search = _Search(network, values, cost_per_pool, tolerance)
    search.look(every.pool_values > 0.0, every.prices)
    if cost_per_pool > 0.0:
        search.prune(every)
        search.improve(Dual(network, every.prices, every.prices > 1e-299), search_solves)
        assert search.solution is not None
        bound = min(
            lagrangian_bound(network, values, cost_per_pool, prices)
            for prices in (every.prices, search.solution.prices)
        )
    else:
        bound = every.bound
    assert search.solution is not None
    if search.net <= 0.0:
        # better not to trade at all
        nothing = np.zeros(network.n_pools, dtype=np.bool_)
        return ChosenPools(
            nothing, solve_dual(network.only(nothing), values, start=every.prices), 0.0, bound, search.solves
        )
    solution = solve_dual(network.only(search.kept), values, start=search.solution.prices, tolerance=tolerance)
    net = solution.value - cost_per_pool * int(search.kept.sum())
    return ChosenPools(search.kept, solution, net, bound, search.solves)
