"""The dual of the whole-network optimum: quasi-Newton first, then Newton on the graph Laplacian, with a
certificate.

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
from ouro.search.barrier import follow_path
from ouro.search.network import Network, piece_logs, piece_terms, piece_trades, weighted_terms

_LARGEST_STEP = 2.0
_BACKTRACKS = 40
_FLOOR = 1e-300
_CHEAP_TOKENS = 250
_NOISE = 1e-17
_FARTHEST = 60.0


@dataclass(frozen=True, slots=True)
class DualSolution:
    """Token prices ν and what the network does at them.

    ``bound`` = g(ν) is an upper bound of the optimum whatever the solver did; ``flow`` (n_tokens) is the net
    flow Ψ; ``value`` = c·Ψ less what buying in the short tokens at ν costs: reachable up to that.
    ``paid``/``got`` per piece. ``weighted_flow`` per term of the weighted pools.
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
    """g(ν) and its derivatives for one network, in ``moved`` = log(ν / reference)."""

    def __init__(self, network: Network, reference: Float64, reached: Bool | None = None) -> None:
        self.network = network
        self.reference = reference
        n = network.n_tokens
        self.even = piece_logs(network, reference)
        if reached is not None:
            # what can't be bought from anything of value can't be traded: its pieces stay shut
            self.even[~reached[network.tail]] = -np.inf
        # below a share of what a usual pool holds nothing can be told; the median, as dust has absurd values
        worth = reference[network.tail] * network.r_in
        known = worth[np.isfinite(self.even) & np.isfinite(worth)]
        self.noise = _NOISE * float(np.median(known)) if len(known) else 0.0
        self._curvature = np.zeros((n, n))
        self._nothing = np.zeros((1, 1))
        self._w_values = np.zeros(len(network.w_pool))
        self._w_flows = np.zeros(len(network.w_token))
        self.evaluations = 0

    def prices(self, moved: Float64) -> Float64:
        """ν."""
        return self.reference * np.exp(moved)

    def terms(self, moved: Float64, with_curvature: bool = False) -> tuple[float, Float64, Float64]:
        """g, its gradient by ν (the net flow) and, if wanted, its second derivative by ``moved`` less the
        diagonal."""
        net = self.network
        flow = np.zeros(net.n_tokens)
        curvature = self._nothing
        if with_curvature:
            curvature = self._curvature
            curvature[:] = 0.0
        self.evaluations += 1
        value = piece_terms(
            moved,
            self.reference,
            self.even,
            net.tail,
            net.head,
            net.r_in,
            net.r_out,
            net.gamma,
            net.cap,
            flow,
            curvature,
            with_curvature,
        )
        if len(net.w_pool):
            value += weighted_terms(
                self.prices(moved),
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

    def trades(self, moved: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Per piece what is paid and got, per weighted term the net flow, per pool its value."""
        net = self.network
        paid, got = np.empty(net.n_pieces), np.empty(net.n_pieces)
        piece_trades(moved, self.even, net.tail, net.head, net.r_in, net.r_out, net.gamma, net.cap, paid, got)
        prices = self.prices(moved)
        values = np.bincount(net.pool, prices[net.head] * got - prices[net.tail] * paid, net.n_pools)
        if len(net.w_pool):
            self.terms(moved)
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
    begin with (those of the block before, say). ``quasi_newton_steps`` come before Newton's; by default some
    where a factorisation costs more than several evaluations. Raises ``ValueError`` for senseless values.
    """
    lower = np.asarray(token_values, dtype=np.float64)
    if lower.shape != (network.n_tokens,) or not np.isfinite(lower).all() or (lower < 0).any():
        raise ValueError("token_values: one finite number of at least 0 for every token is needed")
    if quasi_newton_steps is None:
        quasi_newton_steps = 12 if network.n_tokens > _CHEAP_TOKENS and start is not None else 0
    known = first_prices(network, lower) if start is None or not (lower > 0).all() else lower
    prices = known if start is None else np.maximum(np.where(known > _FLOOR, start, known), lower)
    # a token with a value of its own is measured from it, so that its bound is exactly 0
    dual = Dual(network, np.where(lower > 0, lower, prices), known > _FLOOR)
    with np.errstate(divide="ignore"):
        floor = np.where(lower > 0, 0.0, np.log(_FLOOR / dual.reference))
    moved = np.clip(np.log(prices / dual.reference), floor, _FARTHEST)
    if quasi_newton_steps:
        moved = _quasi_newton(dual, moved, floor, quasi_newton_steps)
    began = moved
    moved, iterations, converged = _newton(dual, moved, lower, floor, tolerance, max_iterations)
    if not converged and not len(network.w_pool):
        moved, more, converged = _by_path(dual, began, moved, lower, floor, tolerance, max_iterations)
        iterations += more
    return _solution(dual, moved, lower, iterations, converged)


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
    return np.maximum(np.where(finite, prices, _FLOOR), token_values)


def _quasi_newton(dual: Dual, moved: Float64, floor: Float64, steps: int) -> Float64:
    scale = dual.prices(moved)

    def at(relative: Float64) -> tuple[float, Float64]:
        value, flow, _ = dual.terms(moved + np.log(relative))
        return value, flow * scale

    bounds = np.column_stack((np.maximum(np.exp(floor - moved), 1e-9), np.full(len(scale), np.inf)))
    found = minimize(
        at,
        np.ones(len(scale)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps, "ftol": 1e-13, "gtol": 0.0, "maxcor": 8},
    )
    return np.maximum(moved + np.log(found.x), floor)


def _by_path(
    dual: Dual,
    began: Float64,
    reached: Float64,
    lower: Float64,
    floor: Float64,
    tolerance: float,
    max_iterations: int,
) -> tuple[Float64, int, bool]:
    """Where Newton got stuck on kinks: along the interior path from the beginning, then Newton again; the
    better."""
    value, flow, _ = dual.terms(began)
    size = max(_complementarity(dual.prices(began), lower, flow), value)
    here, flow, _ = dual.terms(reached)
    pieces = 2 * dual.network.n_pieces + dual.network.n_tokens
    last = (min(tolerance, 1e-10) * here + dual.noise + _FLOOR) / pieces
    has_value = (lower > 0).astype(np.float64)
    if not np.isfinite(size):
        return reached, 0, False
    inner = follow_path(dual.network, dual.reference, dual.even, began, has_value, max(size / pieces, last), last)
    inner = np.clip(np.nan_to_num(inner), floor, _FARTHEST)
    polished, more, converged = _newton(dual, inner, lower, floor, tolerance, max_iterations)
    if converged:
        return polished, more, True
    candidates = [reached, inner, polished]
    candidates = [moved for moved in candidates if np.isfinite(moved).all()]

    def error(moved: Float64) -> float:
        value, flow, _ = dual.terms(moved)
        return _complementarity(dual.prices(moved), lower, flow) / max(value, _FLOOR)

    return min(candidates, key=error), more, False


def _complementarity(prices: Float64, lower: Float64, flow: Float64) -> float:
    """What the flows are away from optimal, in value: surplus of tokens priced above their worth, and shortages."""
    return float(np.where(flow >= 0, (prices - lower) * flow, -prices * flow).sum())


def _newton(
    dual: Dual, moved: Float64, lower: Float64, floor: Float64, tolerance: float, max_iterations: int
) -> tuple[Float64, int, bool]:
    value, flow, curvature = dual.terms(moved, True)
    prices = dual.prices(moved)
    error = _complementarity(prices, lower, flow)
    best, best_error, best_value = moved, error, value
    iteration = 0
    while iteration < max_iterations:
        if best_error <= tolerance * best_value + dual.noise:
            break
        free = (moved > floor) | (flow < 0)
        free &= (np.diagonal(curvature) > 0) | (flow != 0)
        if not free.any():
            break
        step = _step(curvature, prices * flow, free)
        taken = _line_search(dual, moved, floor, prices * flow, step)
        if taken is None:
            break
        moved, value, flow, curvature = taken
        prices = dual.prices(moved)
        iteration += 1
        error = _complementarity(prices, lower, flow)
        if error < best_error:
            best, best_error, best_value = moved, error, value
    return best, iteration, best_error <= tolerance * best_value + dual.noise


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
    step = np.nan_to_num(step)
    clipped = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    if gradient @ clipped >= 0.5 * (gradient @ step) / max(1.0, np.abs(step).max() / _LARGEST_STEP):
        # cut token by token it isn't a descent worth the name: keep the direction
        return step / max(1.0, np.abs(step).max() / _LARGEST_STEP)
    return clipped


def _line_search(
    dual: Dual, moved: Float64, floor: Float64, gradient: Float64, step: Float64
) -> tuple[Float64, float, Float64, Float64] | None:
    """The longest tried step at whose end the dual doesn't rise steeply again.

    The slope at the end says more than the value: near the optimum the value's last digits no longer tell.
    """
    low, high, size = 0.0, np.inf, 1.0
    for _ in range(_BACKTRACKS):
        trial = np.clip(moved + size * step, floor, _FARTHEST)
        change = trial - moved
        before = float(gradient @ change)
        if before >= 0.0:
            return None
        value, flow, curvature = dual.terms(trial, True)
        after = float((dual.prices(trial) * flow) @ change)
        if after <= 0.5 * abs(before):
            return trial, value, flow, curvature
        high = size
        # where the slope would vanish between the ends, were it straight
        size = low + (high - low) * min(0.9, max(0.1, before / (before - after)))
    return None


def _solution(dual: Dual, moved: Float64, lower: Float64, iterations: int, converged: bool) -> DualSolution:
    bound, flow, _ = dual.terms(moved)
    paid, got, weighted_flow, values = dual.trades(moved)
    prices = np.maximum(dual.prices(moved), lower)
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
