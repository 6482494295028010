"""Risk-constrained Kelly: the bets that grow fastest while the chance of a deep drawdown stays bounded.

    maximise    Σ πₖ log(rₖ·b)
    subject to  Σ b = 1, b ≥ 0, log Σ exp(log πₖ − λ log rₖ·b) ≤ 0,
                groups: Σ_{i∈g} bᵢ ≤ c_g,   CVaR_q(1 − rₖ·b) ≤ c.

With λ = log β / log α the probability that wealth ever falls below α of its start is below β (Busseti, Ryu and
Boyd, "Risk-Constrained Kelly Gambling", 2016). CVaR as by Rockafellar and Uryasev, 2000. Solved as an
exponential-cone program by Clarabel, which is deterministic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import clarabel
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ouro.capital.errors import CapitalError

Floats = NDArray[np.float64]
_SMALLEST_RETURN = 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """Bets ``members`` together may be at most ``share`` of the capital."""

    name: str
    members: tuple[int, ...]
    share: float


@dataclass(frozen=True, slots=True)
class Cvar:
    """The mean of the worst ``1 − level`` of one period's losses is at most ``loss`` (a share of the capital)."""

    level: float
    loss: float


def solve(
    returns: Floats, weights: Floats, lam: float, *, groups: Sequence[Group] = (), cvar: Cvar | None = None
) -> Floats:
    """Shares of the capital: ``returns[i, k]`` is what one unit on bet i becomes in scenario k, ``weights`` their
    probabilities, ``lam`` λ (0: plain Kelly). One bet must be without risk (all ones). Raises `CapitalError`."""
    _check(returns, weights, lam)
    n, k = returns.shape
    # x = (b, t, u, ζ, s): t ≤ log r·b, u ≥ exp(log π − λ t), s ≥ loss − ζ.
    extra = 1 + k if cvar is not None else 0
    size = n + 2 * k + extra
    cost = np.zeros(size)
    cost[n : n + k] = -weights
    rows = _Rows(size)
    rows.zero(np.arange(n), np.ones(n), 1.0)
    for i in range(n):
        rows.at_most(np.array([i]), np.array([-1.0]), 0.0)
    for group in groups:
        members = np.array(group.members, dtype=np.int64)
        rows.at_most(members, np.ones(len(members)), group.share)
    if lam > 0:
        rows.at_most(np.arange(n + k, n + 2 * k), np.ones(k), 1.0)
    if cvar is not None:
        zeta = n + 2 * k
        tails = np.arange(zeta + 1, zeta + 1 + k)
        rows.at_most(np.array([zeta, *tails]), np.array([1.0, *(weights / (1 - cvar.level))]), cvar.loss)
        for j in range(k):
            rows.at_most(np.array([*range(n), zeta, tails[j]]), np.array([*(-returns[:, j]), -1.0, -1.0]), -1.0)
            rows.at_most(np.array([tails[j]]), np.array([-1.0]), 0.0)
    for j in range(k):
        rows.exponential((n + j, 1.0, 0.0), (np.arange(n), returns[:, j]))
        if lam > 0:
            rows.exponential((n + j, -lam, float(np.log(weights[j]))), (np.array([n + k + j]), np.ones(1)))
    shares = _solved(cost, rows)[:n]
    shares = np.clip(shares, 0.0, None)
    return shares / shares.sum()


def log_growth(returns: Floats, weights: Floats, shares: Floats) -> float:
    """Σ πₖ log(rₖ·b)."""
    return float(weights @ np.log(np.maximum(shares @ returns, _SMALLEST_RETURN)))


class _Rows:
    """Constraints A x + s = b by cone: zero, nonnegative, exponential."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._zero: list[tuple[Floats, Floats, float]] = []
        self._nonnegative: list[tuple[Floats, Floats, float]] = []
        self._exponential: list[tuple[Floats, Floats, float]] = []

    def zero(self, columns: NDArray, values: Floats, right: float) -> None:
        self._zero.append((columns, values, right))

    def at_most(self, columns: NDArray, values: Floats, right: float) -> None:
        self._nonnegative.append((columns, values, right))

    def exponential(self, exponent: tuple[int, float, float], bound: tuple[NDArray, Floats]) -> None:
        """exp(factor · x[column] + constant) ≤ bound · x."""
        column, factor, constant = exponent
        self._exponential.append((np.array([column]), np.array([-factor]), constant))
        self._exponential.append((np.array([], dtype=np.int64), np.array([]), 1.0))
        self._exponential.append((bound[0], -bound[1], 0.0))

    def build(self) -> tuple[sparse.csc_matrix, Floats, list]:
        every = [*self._zero, *self._nonnegative, *self._exponential]
        row = np.concatenate([np.full(len(columns), i) for i, (columns, _, _) in enumerate(every)])
        column = np.concatenate([columns for columns, _, _ in every])
        value = np.concatenate([values for _, values, _ in every])
        matrix = sparse.csc_matrix((value, (row.astype(int), column.astype(int))), shape=(len(every), self.size))
        cones = [clarabel.ZeroConeT(len(self._zero)), clarabel.NonnegativeConeT(len(self._nonnegative))]
        cones += [clarabel.ExponentialConeT()] * (len(self._exponential) // 3)
        return matrix, np.array([right for _, _, right in every]), cones


def _solved(cost: Floats, rows: _Rows) -> Floats:
    matrix, right, cones = rows.build()
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    nothing = sparse.csc_matrix((rows.size, rows.size))
    solution = clarabel.DefaultSolver(nothing, cost, matrix, right, cones, settings).solve()
    if str(solution.status) not in ("Solved", "AlmostSolved"):
        raise CapitalError(
            f"budgets: the problem has no solution ({solution.status}); loosen the concentration or CVaR limits"
        )
    return np.array(solution.x)


def _check(returns: Floats, weights: Floats, lam: float) -> None:
    if returns.ndim != 2 or weights.shape != (returns.shape[1],) or 0 in returns.shape:
        raise CapitalError(
            f"returns {returns.shape} and weights {weights.shape}: one weight a scenario is expected"
        )
    if not (np.isfinite(returns).all() and (returns >= 0).all()):
        raise CapitalError("returns: finite numbers from 0 are expected")
    if not ((weights > 0).all() and abs(float(weights.sum()) - 1) < 1e-9):
        raise CapitalError("weights: positive numbers that add up to 1 are expected")
    if not (np.isfinite(lam) and lam >= 0):
        raise CapitalError(f"lambda {lam}: a number from 0 is expected")
    if not (returns == 1.0).all(axis=1).any():
        raise CapitalError("returns: one bet has to be without risk (1 in every scenario)")
