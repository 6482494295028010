"""Confidence bounds of a rate."""

import math

_Z_95 = 1.6448536269514722
"""The standard normal's 95 % quantile: bounds are one-sided."""


def wilson_lower(successes: int, trials: int, z: float = _Z_95) -> float:
    """Wilson's score lower bound of a success rate (one-sided, 95 % by default); 0 without trials.

    E. B. Wilson, J. Amer. Statist. Assoc. 22 (1927).
    """
    if trials <= 0:
        return 0.0
    rate, z2 = successes / trials, z * z
    middle = rate + z2 / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials))
    return max(0.0, (middle - spread) / (1 + z2 / trials))


def clopper_pearson_lower(successes: int, trials: int, confidence: float = 0.95) -> float:
    """The exact lower bound of a success rate: never above the truth with less than ``confidence``.

    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934); the beta quantile of (k, n − k + 1).
    """
    from scipy.special import betaincinv  # late: nothing else of a report needs it

    if trials <= 0 or successes <= 0:
        return 0.0
    return float(betaincinv(successes, trials - successes + 1, 1 - confidence))
