"""The dual by an interior-point path: what always converges, also where pools are deep, narrow and capped.

A concentrated pool that is known only inside a narrow range is nearly a constant-sum pool: Newton's steps on the
bare dual jump over its kinks. Here every piece's trade also earns ``μ·log z + μ·log(t - z)`` (z its input over its
depth, t the cap likewise) and every token's surplus ``μ·log Ψ``: all is smooth, and as μ falls the minimiser
follows a path to the optimum. With ρ = (1 + e)/(1 + z)² a piece's second derivative in log prices is
``ν_in·depth/F·v·vᵀ`` with v = (1, -ρ) on (tail, head), F the curvature of what it maximises.
"""

import math

import numpy as np
from numba import njit
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ouro.search.arrays import Float64, Int32
from ouro.search.network import Network

_SHRINK = 0.15
_CENTRE_STEPS = 12
_PATH_STEPS = 60
_SOLVE_STEPS = 80
_CENTRED = 0.05


@njit(cache=True, nogil=True, error_model="numpy")
def barrier_input(excess: float, top: float, mu: float) -> float:
    """z in (0, top) with (e - 2z - z²)/(1 + z)² + μ/z - μ/(top - z) = 0; the left side falls in z."""
    low = 0.0
    high = top
    at = math.sqrt(1.0 + excess) - 1.0 if excess > 0.0 else 0.0
    if not at > 0.0:
        at = mu / max(-excess, math.sqrt(mu), 1e-300)
    if top < np.inf:
        at = min(at, 0.5 * top)
    at = max(at, 1e-300)
    for _ in range(_SOLVE_STEPS):
        one = 1.0 + at
        value = (excess - 2.0 * at - at * at) / (one * one) + mu / at
        slope = -2.0 * (1.0 + excess) / (one * one * one) - mu / (at * at)
        if top < np.inf:
            value -= mu / (top - at)
            slope -= mu / ((top - at) * (top - at))
        if value > 0.0:
            low = at
        else:
            high = at
        following = at - value / slope
        if not (low < following < high):
            if high == np.inf:
                following = 2.0 * at
            elif low == 0.0:
                following = 0.1 * high
            else:
                following = 0.5 * (low + high)
        if abs(following - at) <= 1e-14 * at or not (low < following < high):
            return at
        at = following
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def barrier_terms(
    moved: Float64,
    reference: Float64,
    even: Float64,
    tail: Int32,
    head: Int32,
    r_in: Float64,
    r_out: Float64,
    gamma: Float64,
    cap: Float64,
    mu: float,
    pull: Float64,
    curvature: Float64,
) -> None:
    """Add the pieces' net flows in value (``ν·Ψ``) to ``pull``, their second derivatives to ``curvature``."""
    for k in range(tail.shape[0]):
        i, j = tail[k], head[k]
        excess = math.expm1(min(even[k] + (moved[j] - moved[i]), 600.0))
        depth = r_in[k] / gamma[k]
        worth = reference[i] * math.exp(moved[i]) * depth
        top = cap[k] / depth
        if not (top > 0.0 and worth > 0.0 and even[k] > -np.inf):
            continue
        share = mu / worth
        z = barrier_input(excess, top, share)
        one = 1.0 + z
        rate = (1.0 + excess) / (one * one)
        bend = 2.0 * (1.0 + excess) / (one * one * one) + share / (z * z)
        if top < np.inf:
            bend += share / ((top - z) * (top - z))
        pull[i] -= worth * z
        pull[j] += worth * (1.0 + excess) * z / one
        weight = worth / bend
        curvature[i, i] += weight
        curvature[j, j] += weight * rate * rate
        curvature[i, j] -= weight * rate
        curvature[j, i] -= weight * rate


def follow_path(
    network: Network,
    reference: Float64,
    even: Float64,
    moved: Float64,
    has_value: Float64,
    first_mu: float,
    last_mu: float,
) -> Float64:
    """``moved`` = log(ν/reference) at the end of the path from barrier weight ``first_mu`` down to ``last_mu``.

    ``even`` is ``piece_logs``, -inf for pieces that stay shut. ``has_value``: 1 for tokens worth ``reference``
    in themselves (ν stays above it), 0 for those worth nothing.
    """
    n = network.n_tokens
    curvature = np.zeros((n, n))
    moved = np.where(has_value > 0, np.maximum(moved, 1e-3), moved)
    mu = first_mu

    def look(at: Float64, weight: float) -> tuple[Float64, Float64]:
        pull = np.zeros(n)
        curvature[:] = 0.0
        barrier_terms(
            at,
            reference,
            even,
            network.tail,
            network.head,
            network.r_in,
            network.r_out,
            network.gamma,
            network.cap,
            weight,
            pull,
            curvature,
        )
        # ν/(ν - c): 1 for worthless tokens
        ratio = np.where(has_value > 0, 1.0 / -np.expm1(-np.maximum(at, 1e-300)), 1.0)
        pull -= weight * ratio
        return pull, weight * ratio * ratio

    for _ in range(_PATH_STEPS):
        for _ in range(_CENTRE_STEPS):
            pull, extra = look(moved, mu)
            step, decrement = _newton_step(curvature, pull, extra)
            if decrement <= _CENTRED * mu:
                break
            moved = _damped(moved, step, has_value, pull, lambda at: look(at, mu)[0])  # noqa: B023 - used at once
        if mu <= last_mu:
            break
        mu = max(mu * _SHRINK, last_mu)
    return moved


def _newton_step(curvature: Float64, pull: Float64, extra: Float64) -> tuple[Float64, float]:
    diagonal = np.diagonal(curvature) + extra
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
    matrix = curvature * scale[:, None] * scale
    np.fill_diagonal(matrix, 1.0 + 1e-14)
    try:
        step = -cho_solve(cho_factor(matrix, check_finite=False), pull * scale, check_finite=False) * scale
    except LinAlgError:
        np.fill_diagonal(matrix, 1.0 + 1e-8)
        step = -np.linalg.solve(matrix, pull * scale) * scale
    step = np.nan_to_num(step)
    return step, float(-(pull @ step))


def _damped(moved: Float64, step: Float64, has_value: Float64, pull: Float64, look) -> Float64:  # noqa: ANN001
    """The step in relative prices, kept above the bounds and shortened until the slope has fallen."""
    size = 1.0
    lowest = step.min()
    if lowest < 0:
        size = min(size, 0.9 / -lowest)
    # relative room above the token's own value
    room = -np.expm1(-moved)
    down = (has_value > 0) & (step < 0)
    if down.any():
        size = min(size, float((0.95 * room[down] / -step[down]).min()))
    largest = step.max()
    if largest > 0:
        size = min(size, math.e**3 / largest)
    before = float(pull @ step)
    trial = moved
    for _ in range(30):
        trial = moved + np.log1p(size * step)
        # d/dsize of log1p(size·step): the slope along the curve in ν
        after = float(look(trial) @ (step / (1.0 + size * step)))
        if after <= 0.5 * abs(before):
            break
        size *= 0.5
    return trial
