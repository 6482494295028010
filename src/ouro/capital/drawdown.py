"""Drawdown: its probability by simulation, the λ that meets it, and the multiplier that shrinks limits before
it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ouro.capital.errors import CapitalError

Floats = NDArray[np.float64]
_PPM = 1_000_000


def simulate(returns: Floats, shares: Floats, sample: NDArray[np.int64], alpha: float) -> tuple[float, float]:
    """(mean log growth a period, share of paths whose wealth falls below ``alpha`` of the start).

    ``sample[path, t]`` names the scenario of each period.
    """
    steps = np.log(np.maximum(shares @ returns, 1e-300))[sample]
    paths = np.cumsum(steps, axis=1)
    lowest = np.minimum(paths.min(axis=1), 0.0)
    return float(paths[:, -1].mean() / sample.shape[1]), float((lowest < np.log(alpha)).mean())


def calibrate(
    solve: Callable[[float], Floats],
    risk: Callable[[Floats], float],
    *,
    alpha: float,
    beta: float,
    steps: int = 12,
) -> tuple[float, Floats]:
    """(λ, shares): the smallest λ found whose simulated risk is at most ``beta``.

    λ = log β / log α guarantees it but is careful; bisection between 0 and that finds what the simulation allows.
    Deterministic: the same sample gives the same λ.
    """
    if not (0 < alpha < 1 and 0 < beta < 1):
        raise CapitalError(f"drawdown alpha {alpha} and beta {beta}: numbers between 0 and 1 are expected")
    low, high = 0.0, float(np.log(beta) / np.log(alpha))
    best = solve(high)
    if risk(solve(low)) <= beta:
        return low, solve(low)
    for _ in range(steps):
        middle = (low + high) / 2
        shares = solve(middle)
        if risk(shares) <= beta:
            high, best = middle, shares
        else:
            low = middle
    return high, best


def grossman_zhou_ppm(equity_wei: int, peak_wei: int, floor_ppm: int) -> int:
    """What part of every limit is left: (W − αM) / ((1 − α) W), in ppm rounded down, between 0 and all of it.

    W is net equity, M its peak, α ``floor_ppm``: with exposure in proportion to what is above the floor, wealth
    stays above α M (Grossman and Zhou, 1993).
    """
    if not 0 <= floor_ppm < _PPM:
        raise CapitalError(f"floor_ppm {floor_ppm}: 0 up to 999999 is expected")
    if equity_wei <= 0:
        return 0
    above = equity_wei * _PPM - floor_ppm * max(peak_wei, equity_wei)
    return max(0, min(_PPM, above * _PPM // ((_PPM - floor_ppm) * equity_wei)))
