"""The dual of the whole-network optimum: quasi-Newton first, then Newton on the graph Laplacian, with a certificate.

L-BFGS-B in prices relative to a reference gets near the optimum at the cost of a few evaluations. Newton's steps in
log prices finish: there the second derivative is a weighted Laplacian plus the gradient's diagonal, so the steps do
not care for the tokens' units, and a token that moves by decades moves by factors. Each step is taken only if it
lowers the (convex) dual. The certificate needs no trust in the solver: every ``ν ≥ c`` gives an upper bound,
and the gap to the flows' own value is ``Σ (ν - c)·Ψ`` plus what it costs to buy in what is short.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from ouro.search.arrays import Bool, Float64
from ouro.search.network import Network, piece_terms, piece_trades, weighted_terms

_LARGEST_STEP = 2.0
_BACKTRACKS = 40
_FLOOR = 1e-300
_CHEAP_TOKENS = 250


@dataclass(frozen=True, slots=True)
class DualSolution:
    """Token prices ν and what the network does at them.

    ``bound`` = g(ν) is an upper bound of the optimum whatever the solver did; ``flow`` (n_tokens) is the net flow Ψ;
    ``value`` = c·Ψ less what buying in the short tokens at ν costs: reachable up to that. ``paid``/``got`` per piece.
    ``weighted_flow`` per term of the weighted pools.
    """

    prices: Float64
    bound: float
    value: float
    flow: Float64
    paid: Float64
    got: Float64
    weighted_flow: Float64
    pool_values: Float64
    iterations: int
    evaluations: int
    converged: bool

    @property
    def gap(self) -> float:
        """Relative duality gap: (bound - value) / bound."""
        return (self.bound - self.value) / self.bound if self.bound > 0.0 else 0.0


class Dual:
    """g(ν) and its derivatives for one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        n = network.n_tokens
        self._curvature = np.zeros((n, n))
        self._nothing = np.zeros((1, 1))
        self._w_values = np.zeros(len(network.w_pool))
        self._w_flows = np.zeros(len(network.w_token))
        self.evaluations = 0

    def terms(self, prices: Float64, with_curvature: bool = False) -> tuple[float, Float64, Float64]:
        """g, its gradient (the net flow) and, if wanted, its second derivative in log prices without the diagonal."""
        net = self.network
        flow = np.zeros(net.n_tokens)
        curvature = self._nothing
        if with_curvature:
            curvature = self._curvature
            curvature[:] = 0.0
        self.evaluations += 1
        value = piece_terms(
            prices, net.tail, net.head, net.r_in, net.r_out, net.gamma, net.cap, flow, curvature, with_curvature
        )
        if len(net.w_pool):
            value += weighted_terms(
                prices,
                net.w_start,
                net.w_token,
                net.w_reserve,
                net.w_weight,
                net.w_gamma,
                flow,
                curvature,
                with_curvature,
                self._w_values,
                self._w_flows,
            )
        return value, flow, curvature

    def trades(self, prices: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Per piece what is paid and got, per weighted term the net flow, per pool the value at ``prices``."""
        net = self.network
        paid, got = np.empty(net.n_pieces), np.empty(net.n_pieces)
        piece_trades(prices, net.tail, net.head, net.r_in, net.r_out, net.gamma, net.cap, paid, got)
        values = np.bincount(net.pool, prices[net.head] * got - prices[net.tail] * paid, net.n_pools)
        self.terms(prices)
        values[net.w_pool] += self._w_values
        return paid, got, self._w_flows.copy(), values


def solve_dual(
    network: Network,
    token_values: npt.ArrayLike,
    *,
    start: Float64 | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 300,
    quasi_newton_steps: int | None = None,
) -> DualSolution:
    """The optimum of ``network`` when a unit of token t is worth ``token_values[t]`` (0: nothing in itself).

    Stops when the relative gap is below ``tolerance``; ``converged`` says whether it did. ``start`` are prices to
    begin with (those of the block before, say). ``quasi_newton_steps`` come before Newton's; by default some where a
    factorisation costs more than several evaluations.
    """
    if quasi_newton_steps is None:
        quasi_newton_steps = 12 if network.n_tokens > _CHEAP_TOKENS and start is not None else 0
    lower = np.asarray(token_values, dtype=np.float64)
    if lower.shape != (network.n_tokens,) or not np.isfinite(lower).all() or (lower < 0).any():
        raise ValueError("token_values: one finite number of at least 0 for every token is needed")
    dual = Dual(network)
    prices = np.maximum(start, lower) if start is not None else first_prices(network, lower)
    if quasi_newton_steps:
        prices = _quasi_newton(dual, prices, lower, quasi_newton_steps)
    prices, iterations, converged = _newton(dual, prices, lower, tolerance, max_iterations)
    return _solution(dual, prices, lower, iterations, converged)


def first_prices(network: Network, token_values: Float64) -> Float64:
    """Prices to begin with: the known values; from there along the deepest pools, each token once."""
    prices = token_values.copy()
    tail, head = network.tail, network.head
    for _ in range(network.n_tokens):
        reached = (prices[tail] > 0) & (prices[head] == 0)
        if not reached.any():
            break
        a, b = tail[reached], head[reached]
        depth = prices[a] * network.r_in[reached]
        order = np.argsort(depth, kind="stable")
        # of several pools the deepest is written last
        prices[b[order]] = (prices[a] * network.r_in[reached] / network.r_out[reached])[order]
    if len(network.w_pool):
        for p in range(len(network.w_pool)):
            terms = slice(network.w_start[p], network.w_start[p + 1])
            tokens = network.w_token[terms]
            worth = network.w_weight[terms] / network.w_reserve[terms]
            known = prices[tokens] > 0
            if known.any():
                scale = np.median(prices[tokens][known] / worth[known])
                prices[tokens] = np.where(known, prices[tokens], scale * worth)
    finite = np.isfinite(prices) & (prices > _FLOOR)
    return np.maximum(np.where(finite, prices, 1.0 if not (prices > 0).any() else _FLOOR), token_values)


def _quasi_newton(dual: Dual, prices: Float64, lower: Float64, steps: int) -> Float64:
    scale = prices.copy()

    def at(relative: Float64) -> tuple[float, Float64]:
        value, flow, _ = dual.terms(relative * scale)
        return value, flow * scale

    bounds = np.column_stack((np.maximum(lower / scale, 1e-9), np.full(len(scale), np.inf)))
    found = minimize(
        at,
        np.ones(len(scale)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps, "ftol": 1e-13, "gtol": 0.0, "maxcor": 8},
    )
    return np.maximum(found.x * scale, lower)


def _complementarity(prices: Float64, lower: Float64, flow: Float64) -> float:
    """What the flows are away from optimal, in value: surplus of tokens priced above their worth, and shortages."""
    return float(np.where(flow >= 0, (prices - lower) * flow, -prices * flow).sum())


def _newton(
    dual: Dual, prices: Float64, lower: Float64, tolerance: float, max_iterations: int
) -> tuple[Float64, int, bool]:
    value, flow, curvature = dual.terms(prices, True)
    error = _complementarity(prices, lower, flow)
    best, best_error = prices, error
    for iteration in range(max_iterations):
        if error <= tolerance * max(value, _FLOOR):
            return prices, iteration, True
        free = (prices > lower) | (flow < 0)
        free &= (np.diagonal(curvature) > 0) | (flow != 0)
        if not free.any():
            return prices, iteration, error <= tolerance * max(value, _FLOOR)
        step = _step(curvature, prices * flow, free)
        taken = _line_search(dual, prices, lower, value, flow, error, step)
        if taken is None:
            break
        prices, value, flow, curvature = taken
        error = _complementarity(prices, lower, flow)
        if error < best_error:
            best, best_error = prices, error
    value, _, _ = dual.terms(best)
    return best, max_iterations, best_error <= tolerance * max(value, _FLOOR)


def _step(curvature: Float64, gradient: Float64, free: Bool) -> Float64:
    step = np.zeros(len(gradient))
    rows = np.flatnonzero(free)
    matrix = curvature[np.ix_(rows, rows)]
    diagonal = np.diagonal(matrix) + np.abs(gradient[rows])
    # scaled to ones on the diagonal: tokens differ by many orders of magnitude
    scale = 1.0 / np.sqrt(np.maximum(diagonal, _FLOOR))
    matrix = matrix * scale[:, None] * scale
    np.fill_diagonal(matrix, 1.0 + 1e-13)
    right = -gradient[rows] * scale
    try:
        step[rows] = cho_solve(cho_factor(matrix, check_finite=False), right, check_finite=False) * scale
    except LinAlgError:
        np.fill_diagonal(matrix, 1.0 + 1e-6)
        step[rows] = np.linalg.solve(matrix, right) * scale
    return np.clip(np.nan_to_num(step), -_LARGEST_STEP, _LARGEST_STEP)


def _line_search(
    dual: Dual, prices: Float64, lower: Float64, value: float, flow: Float64, error: float, step: Float64
) -> tuple[Float64, float, Float64, Float64] | None:
    size = 1.0
    for _ in range(_BACKTRACKS):
        trial = np.maximum(prices * np.exp(size * step), np.maximum(lower, _FLOOR))
        wanted = float(flow @ (trial - prices))
        trial_value, trial_flow, curvature = dual.terms(trial, True)
        if trial_value <= value + 1e-4 * min(wanted, 0.0):
            return trial, trial_value, trial_flow, curvature
        # so near that the value's last digits no longer tell: the flows do
        if abs(wanted) <= 1e-11 * value and _complementarity(trial, lower, trial_flow) < error:
            return trial, trial_value, trial_flow, curvature
        size *= 0.5
    return None


def _solution(dual: Dual, prices: Float64, lower: Float64, iterations: int, converged: bool) -> DualSolution:
    bound, flow, _ = dual.terms(prices)
    paid, got, weighted_flow, values = dual.trades(prices)
    short = np.minimum(flow, 0.0)
    return DualSolution(
        prices=prices,
        bound=bound,
        value=float(lower @ np.maximum(flow, 0.0) + prices @ short),
        flow=flow,
        paid=paid,
        got=got,
        weighted_flow=weighted_flow,
        pool_values=values,
        iterations=iterations,
        evaluations=dual.evaluations,
        converged=converged,
    )
