"""A StableSwap pool as constant-product pieces, for search: floats, dense enough that sizing does not lose by them.

Pieces share amounts and rates with the curve at the nodes between them. Were the curve a hyperbola from node to
node, one piece would do; how far it is from that, on a fine grid, says where the nodes must be dense.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Segments

Floats = npt.NDArray[np.float64]

NODES = 160
_GRID = 2048
_SMALLEST = 1e-5
_MOST = 10.0
_LEAST_LEFT = 1e-6


class FloatPool:
    """The invariant in floats, in units of 10^-18: ``others`` are the coins that don't move."""

    def __init__(self, xi: float, xj: float, others: tuple[float, ...], ann: float, d: float) -> None:
        self.xi, self.xj, self.ann, self.d = xi, xj, ann, d
        self.n, self.rest = len(others) + 2, sum(others)
        self.base = d
        for x in others:
            self.base *= d / (x * self.n)

    def other(self, x: Floats) -> Floats:
        """The balances that go with ``x`` on the invariant, from the input's to the output's or back."""
        c = self.base * (self.d / (x * self.n)) * (self.d / (self.ann * self.n))
        b = self.rest + x + self.d / self.ann - self.d
        root = np.hypot(b, 2.0 * np.sqrt(c))
        return np.where(b < 0.0, (root - b) / 2.0, 2.0 * c / (np.abs(b) + root))

    def rate(self, x: Floats, y: Floats) -> Floats:
        """-dy/dx along the invariant."""
        term = self.base * (self.d / (x * self.n)) * (self.d / (y * self.n))
        return y * (self.ann * x + term) / (x * (self.ann * y + term))


Kept = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]
"""(x, y) after the swap → share of the output that the fee leaves, and its derivatives by x and y."""


def spot(pool: FloatPool, kept: Kept) -> float:
    """Marginal output per input at nothing, both in 18 decimals."""
    x = np.array([pool.xi])
    y = pool.other(x)
    return float((pool.rate(x, y) * kept(x, y)[0])[0])


def pieces(pool: FloatPool, kept: Kept, unit_in: float, unit_out: float) -> Segments:
    """Rows in token units; ``unit_*`` are token units per 10^-18."""
    grid = _grid(pool)
    gains, rates = _curve(pool, kept, grid)
    widths, more = np.diff(grid), np.diff(gains)
    with np.errstate(all="ignore"):
        bent = np.sqrt(np.abs(more * more / (rates[:-1] * rates[1:] * widths * widths) - 1.0))
    # where next to nothing is left to buy, less care will do
    bent *= np.sqrt(np.clip(rates[1:] / rates[0], 0.0, 1.0))
    bent[~np.isfinite(bent)] = 0.0
    path = np.concatenate(([0.0], np.cumsum(bent + bent.sum() / _GRID + 1e-12)))
    places = np.unique(np.searchsorted(path, np.linspace(0.0, path[-1], NODES + 1)).clip(0, len(grid) - 1))
    places[0] = 0
    return rows(grid[places], gains[places], rates[places], unit_in, unit_out)


def _grid(pool: FloatPool) -> Floats:
    """Inputs from nothing on, dense where the input grows against its balance or the output's runs out."""
    lowest = _SMALLEST * min(pool.xi, pool.xj, pool.d)
    inputs = np.geomspace(lowest, _MOST * pool.d, _GRID)
    left = pool.xj * np.geomspace(1.0, _LEAST_LEFT, _GRID)[1:]
    # the invariant is symmetric in its coins
    mirrored = pool.other(left) - pool.xi
    both = np.concatenate((inputs, mirrored[(mirrored > lowest) & (mirrored < inputs[-1])]))
    both.sort()
    apart = np.concatenate(([True], np.diff(both) > 1e-7 * both[:-1]))
    return np.concatenate(([0.0], both[apart]))


def _curve(pool: FloatPool, kept: Kept, inputs: Floats) -> tuple[Floats, Floats]:
    """Outputs and marginal rates, fee included."""
    x = pool.xi + inputs
    y = pool.other(x)
    share, by_x, by_y = kept(x, y)
    gross, rate = y[0] - y, pool.rate(x, y)
    return gross * share, rate * share + gross * (by_x - rate * by_y)


def rows(ends: Floats, gains: Floats, rates: Floats, unit_in: float, unit_out: float) -> Segments:
    """Two pieces between each two nodes, with the curve's gain and rate at both; the last has no end.

    The rate where the two meet follows: a piece whose rate goes from a to b over a width w gains w·√(a·b).
    """
    widths, more = np.diff(ends), np.diff(gains)
    usable = int(np.argmin(np.append((more > 0.0) & (rates[1:] > 0.0), False)))
    half, more = widths[:usable] / 2.0, more[:usable]
    first, last = rates[:usable], np.minimum(rates[1 : usable + 1], rates[:usable])
    middle = np.square(more / (half * (np.sqrt(first) + np.sqrt(last))))
    middle = np.clip(middle, last, first)
    found = np.empty((2 * usable, 4))
    for place, here, there in ((0, first, middle), (1, middle, last)):
        gain = half * np.sqrt(here * there)
        excess = here * half - gain
        bent = excess > 1e-13 * gain
        r_in = np.where(bent, gain * half / np.where(bent, excess, 1.0), 1e13 * half)
        found[place::2, 0] = r_in * unit_in
        found[place::2, 1] = gain * (r_in + half) / half * unit_out
        found[place::2, 2] = 1.0
        found[place::2, 3] = half * unit_in
    if usable:
        found[-1, 3] = np.inf
    return found
