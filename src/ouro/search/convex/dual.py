"""The dual solver: L-BFGS-B to get near, projected Newton to finish.

In ``s = √ν`` the dual of constant-product pools is piecewise quadratic, so Newton's method on the right active set
ends in a few steps at rounding error. Where pieces are capped the Hessian ``4S·∇²·S + 2·diag(flow)`` can be
indefinite away from the optimum; the flows' negative part is dropped then, which leaves a sum of springs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.sparse.linalg

from ouro.search.arrays import Bool, Float64, Int64
from ouro.search.convex.kernels import add_hessian, edge_flows, value_gradient
from ouro.search.convex.network import Network
from ouro.search.convex.scale import Scaled, recentred, scaled, starting_point
from ouro.search.convex.special import SpecialPools

DEFAULT_TOLERANCE = 1e-11
DENSE_LIMIT = 700
_NEWTON_STEPS = 60
_ROUNDS = 6
_PROXIMAL_ROUNDS = 40
_MAX_RATIO = 8.0
_PLACINGS = 6
_SHARE = 1e-6
_AT_STAKE = 1e-11
_FARTHEST = 80.0
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class DualSolution:
    """Prices and what every pool does at them, in the scaled units of ``problem``.

    ``w``: ``√(ν/ν₀) - 1`` per token of ``problem``. ``bound`` is the dual value, an upper bound of what any trades
    can bring, in units of the given prices. ``taken``/``given``/``worth`` per edge; ``stiffness`` is 0 where an
    edge is at rest or at the end of a piece; ``net`` is the sum of flows per token. ``residual`` is the first-order
    estimate of the relative gap; ``certify`` gives the true one.
    """

    problem: Scaled
    w: Float64
    bound: float
    taken: Float64
    given: Float64
    worth: Float64
    stiffness: Float64
    net: Float64
    special: SpecialPools
    residual: float
    evaluations: int
    newton_steps: int
    converged: bool

    @property
    def prices(self) -> Float64:
        """The dual prices of the network's tokens; 0 for tokens that can't matter."""
        prices = np.zeros(self.problem.network.n_tokens)
        prices[self.problem.token_ids] = (1.0 + self.w) ** 2 * self.problem.reference
        return prices

    def start_for(self, problem: Scaled) -> Float64:
        """``w`` of these prices in another scaling of the same tokens, to start from."""
        return (1.0 + self.w) * np.sqrt(self.problem.reference / problem.reference) - 1.0


class _Oracle:
    """Value and gradient of the (smoothed) dual, counted."""

    def __init__(self, problem: Scaled, special: SpecialPools, evaluations: int = 0) -> None:
        self.problem = problem
        self.special = special
        self.evaluations = evaluations
        self._pieces = problem.pieces

    def __call__(self, w: Float64) -> tuple[float, Float64]:
        self.evaluations += 1
        gradient = np.zeros(self.problem.n_tokens)
        value = value_gradient(w, *self._pieces, gradient)  # pyright: ignore[reportCallIssue]
        if self.special.any:
            value += self.special.value_gradient(1.0 + w, gradient)
        return value, gradient

    def recentre(self, w: Float64) -> None:
        """Make the prices at ``w`` the reference."""
        self.problem = recentred(self.problem, w)
        self._pieces = self.problem.pieces
        self.special.rescale(self.problem, 1.0 + w)

    def flows(self, w: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        n_edges = len(self.problem.edge_ids)
        out = (np.zeros(n_edges), np.zeros(n_edges), np.zeros(n_edges), np.zeros(n_edges))
        edge_flows(w, *self._pieces, *out)  # pyright: ignore[reportCallIssue]
        return out


def residual_of(problem: Scaled, w: Float64, value: float, gradient: Float64) -> float:
    """First-order relative gap: value tied up in surpluses that are priced above what they bring, and in debts."""
    s = 1.0 + w
    flow = gradient / (2.0 * s)
    nu = s * s
    above = np.where(w <= problem.floor, 0.0, nu - problem.price)
    slack = np.sum(above * np.abs(flow)) + np.sum(nu * np.maximum(-flow, 0.0))
    return float(slack) / value if value > 0.0 else 0.0


def _lbfgsb(oracle: _Oracle, w: Float64, ftol: float, max_iterations: int) -> Float64:
    problem = oracle.problem
    weight = np.zeros(problem.n_tokens)
    first = problem.start[:-1]
    weight += np.bincount(problem.edge_out, problem.a[first] ** 2, problem.n_tokens)
    weight += np.bincount(problem.edge_in, problem.b[first] ** 2, problem.n_tokens)
    # the first step has length one in these variables: at most as far as the prices themselves
    lightest = max(float(weight.min(where=weight > 0.0, initial=np.inf)), float(weight.max()) * 1e-12)
    step = np.sqrt(lightest / np.maximum(weight, lightest)) if np.any(weight) else np.ones(problem.n_tokens)
    value, _ = oracle(w)
    size = 1.0 / value if value > 0.0 else 1.0

    def scaled_oracle(y: Float64) -> tuple[float, Float64]:
        value, gradient = oracle(y * step)
        return value * size, gradient * (step * size)

    bounds = np.column_stack([problem.floor / step, np.full(problem.n_tokens, np.inf)])
    options = {"maxiter": max_iterations, "ftol": ftol, "gtol": 1e-14, "maxcor": 12}
    with np.errstate(all="ignore"):
        found = scipy.optimize.minimize(
            scaled_oracle, w / step, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
    return np.maximum(found.x * step, problem.floor)


def _direction(oracle: _Oracle, w: Float64, gradient: Float64, free: Bool, clamp: bool) -> Float64 | None:
    """Newton's step of the free tokens; None where the matrix is not positive definite."""
    problem = oracle.problem
    kept = np.flatnonzero(free)
    slot = np.full(problem.n_tokens, -1, dtype=np.int64)
    slot[kept] = np.arange(len(kept))
    *_, stiffness = oracle.flows(w)
    flow = gradient[kept] / (2.0 * (1.0 + w[kept]))
    diagonal = 2.0 * (np.maximum(flow, 0.0) if clamp else flow)
    step = np.zeros(problem.n_tokens)
    if len(kept) <= DENSE_LIMIT or oracle.special.any:
        hessian = np.zeros((len(kept), len(kept)))
        add_hessian(problem.edge_in, problem.edge_out, w, stiffness, slot, hessian)
        oracle.special.add_hessian(1.0 + w, slot, hessian)
        own = hessian.diagonal().copy()
        hessian[np.diag_indices_from(hessian)] += diagonal + _ridge(own, clamp)
        try:
            factor = scipy.linalg.cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
        except scipy.linalg.LinAlgError:
            return None
        step[kept] = -scipy.linalg.cho_solve(factor, gradient[kept], check_finite=False)
    else:
        found = _sparse_step(problem, 1.0 + w, stiffness, slot, diagonal, gradient[kept], clamp)
        if found is None:
            return None
        step[kept] = found
    return step if np.all(np.isfinite(step)) else None


def _ridge(own: Float64, clamp: bool) -> Float64:
    """A token that no piece moves at the moment still needs a finite step."""
    top = float(own.max(initial=0.0))
    return (1e-9 if clamp else 1e-15) * own + (1e-14 * top if top > 0.0 else 1.0)


def _sparse_step(
    problem: Scaled,
    s: Float64,
    stiffness: Float64,
    slot: Int64,
    diagonal: Float64,
    gradient: Float64,
    clamp: bool,
) -> Float64 | None:
    active = np.flatnonzero(stiffness)
    i, o, stiff = problem.edge_in[active], problem.edge_out[active], stiffness[active]
    row, column = slot[o], slot[i]
    own = np.zeros(len(diagonal))
    own += np.bincount(row[row >= 0], (stiff * s[i] / s[o])[row >= 0], len(diagonal))
    own += np.bincount(column[column >= 0], (stiff * s[o] / s[i])[column >= 0], len(diagonal))
    both = (row >= 0) & (column >= 0)
    row, column, stiff = row[both], column[both], stiff[both]
    every = np.arange(len(diagonal))
    matrix = scipy.sparse.coo_matrix(
        (
            np.concatenate([-stiff, -stiff, own + diagonal + _ridge(own, clamp)]),
            (np.concatenate([row, column, every]), np.concatenate([column, row, every])),
        ),
        shape=(len(diagonal), len(diagonal)),
    ).tocsc()
    try:
        # symmetric and dominated by its diagonal: no pivoting, a symmetric ordering
        factor = scipy.sparse.linalg.splu(
            matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
    except RuntimeError:
        return None
    step = -factor.solve(gradient)
    return step if float(step @ gradient) < 0.0 else None


def _newton(oracle: _Oracle, w: Float64, tolerance: float) -> tuple[Float64, float, Float64, int]:
    """Projected Newton from ``w``; returns the point, its value and gradient, and the steps taken."""
    floor = oracle.problem.floor
    value, gradient = oracle(w)
    for steps in range(_NEWTON_STEPS):
        if residual_of(oracle.problem, w, value, gradient) <= tolerance or value <= 0.0:
            return w, value, gradient, steps
        free = (w > floor) | (gradient < 0.0)
        if not np.any(free):
            return w, value, gradient, steps
        moved = None
        for clamp in (False, True):
            step = _direction(oracle, w, gradient, free, clamp)
            if step is not None:
                moved = _line_search(oracle, w, value, gradient, step)
            if moved is not None:
                break
        if moved is None:
            return w, value, gradient, steps
        w, value, gradient = moved
    return w, value, gradient, _NEWTON_STEPS


def _line_search(
    oracle: _Oracle, w: Float64, value: float, gradient: Float64, step: Float64
) -> tuple[Float64, float, Float64] | None:
    """Backtrack along the projected path; near the end accept what lowers the residual though rounding hides it."""
    floor = oracle.problem.floor
    before = residual_of(oracle.problem, w, value, gradient)
    # a curve's output is a difference of balances
    noise = 1e-11 if oracle.special.curves else 1e-14
    size = 1.0
    for _ in range(30):
        there = np.clip(
            w + size * step, np.maximum(floor, (1.0 + w) / _MAX_RATIO - 1.0), (1.0 + w) * _MAX_RATIO - 1.0
        )
        value_there, gradient_there = oracle(there)
        expected = float(gradient @ (there - w))
        if expected < 0.0 and value_there <= value + 1e-4 * expected and value_there < value:
            return there, value_there, gradient_there
        if (
            value_there <= value * (1.0 + noise)
            and residual_of(oracle.problem, there, value_there, gradient_there) < 0.5 * before
        ):
            return there, value_there, gradient_there
        size *= 0.5 if size > 0.1 else 0.25
    return None


def _minimise(oracle: _Oracle, w: Float64, tolerance: float, warm: bool) -> tuple[Float64, float, Float64, int]:
    """Alternate the two methods until the residual is met or nothing moves; from a good start Newton alone.

    Each further round is centred at the prices of the one before.
    """
    steps = 0
    ftol, iterations = 1e-8, 60
    value, gradient = 0.0, np.zeros(oracle.problem.n_tokens)
    for round_ in range(_ROUNDS):
        if round_ > 1 or not (warm or round_):
            w = _lbfgsb(oracle, w, ftol, iterations)
        w, value, gradient, more = _newton(oracle, w, tolerance)
        steps += more
        if residual_of(oracle.problem, w, value, gradient) <= tolerance or value <= 0.0:
            break
        if round_ + 1 < _ROUNDS:
            oracle.recentre(w)
            w = np.maximum(oracle.problem.floor, 0.0)
        ftol, iterations = 1e-15, 200 * (round_ + 1)
    return w, value, gradient, steps


def _misplaced(oracle: _Oracle, w: Float64, value: float, gradient: Float64) -> Int64:
    """Tokens whose price is wrong by orders of magnitude though little money says so.

    What nobody supplies at its price looks cheap to owe, but the trades that would spend it count in the bound;
    what is left over of a token at its floor counts there too.
    """
    problem = oracle.problem
    taken, given, worth, _ = oracle.flows(w)
    n = problem.n_tokens
    spent = np.bincount(problem.edge_in, taken, n)
    brought = np.bincount(problem.edge_out, given, n)
    at_stake = np.bincount(problem.edge_in, worth, n)
    net = gradient / (2.0 * (1.0 + w))
    nu = (1.0 + w) ** 2
    owed = (net < -_SHARE * spent) & (at_stake > _AT_STAKE * value)
    unsold = (problem.price == 0.0) & (net > _SHARE * brought) & (nu * net > _AT_STAKE * value)
    return np.flatnonzero(owed | unsold)


def _placed(oracle: _Oracle, w: Float64, tokens: Int64) -> Float64:
    """Move each token's price alone to where its net flow changes sign, by bisection over orders of magnitude."""
    oracle.recentre(w)
    floor = oracle.problem.floor
    w = np.maximum(floor, 0.0)
    for token in tokens.tolist():
        _, gradient = oracle(w)
        up = gradient[token] < 0.0
        near = far = 0.0  # logarithms of the root price; ``near`` is on the side of the start
        limit = _FARTHEST if up else math.log(1.0 + floor[token])
        step = 1.0 if up else -1.0
        while near != limit:
            far = min(near + step, limit) if up else max(near + step, limit)
            w[token] = math.expm1(far)
            if (oracle(w)[1][token] < 0.0) != up:
                break
            near, step = far, 2.0 * step
        for _ in range(_BISECTIONS if near != far else 0):
            middle = 0.5 * (near + far)
            w[token] = math.expm1(middle)
            if (oracle(w)[1][token] < 0.0) == up:
                near = middle
            else:
                far = middle
        w[token] = max(math.expm1(far), floor[token])
    return w


def solve_scaled(
    problem: Scaled, start: Float64 | None = None, tolerance: float = DEFAULT_TOLERANCE
) -> DualSolution:
    """Solve a scaled problem from ``w = start`` (default: the reference prices).

    Where rounding of the prices themselves is in the way, the problem is recentred at the prices found and
    finished.
    """
    special = SpecialPools(problem)
    oracle = _Oracle(problem, special)
    w = np.maximum(problem.floor, 0.0 if start is None else start)
    steps = 0
    value, gradient, residual = 0.0, np.zeros(problem.n_tokens), 0.0
    if problem.n_tokens:
        for round_ in range(_PROXIMAL_ROUNDS):
            w, value, gradient, more = _minimise(oracle, w, tolerance, round_ > 0 or start is not None)
            steps += more
            for _ in range(_PLACINGS):
                misplaced = _misplaced(oracle, w, value, gradient)
                if not len(misplaced):
                    break
                w = _placed(oracle, w, misplaced)
                w, value, gradient, more = _newton(oracle, w, tolerance)
                steps += more
            residual = residual_of(oracle.problem, w, value, gradient)
            if special.recentre() <= 1e-13:
                break
    if special.any and problem.n_tokens:
        # the special pools remember their last evaluation, which may have been a step that was rejected
        value, gradient = oracle(w)
    taken, given, worth, stiffness = oracle.flows(w)
    bound = value + (special.exact_correction(1.0 + w) if problem.n_tokens else 0.0)
    return DualSolution(
        problem=oracle.problem,
        w=w,
        bound=bound,
        taken=taken,
        given=given,
        worth=worth,
        stiffness=stiffness,
        net=gradient / (2.0 * (1.0 + w)),
        special=special,
        residual=residual,
        evaluations=oracle.evaluations,
        newton_steps=steps,
        converged=residual <= max(1e-8, tolerance),
    )


def solve(
    network: Network,
    prices: Float64 | Sequence[float],
    *,
    start: Float64 | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
) -> DualSolution:
    """The optimum over all pools of ``network`` when a unit of token t that is left over is worth ``prices[t]``.

    ``prices``: one per token, 0 where it has none (such a token may be left over but counts nothing). ``start``:
    prices to begin with, those of the last block, say; entries that aren't positive are found from the pools.
    Raises ValueError on prices that are negative, infinite or NaN.
    """
    problem = scaled(network, prices, start)
    return solve_scaled(problem, None if start is None else starting_point(problem, start), tolerance)
