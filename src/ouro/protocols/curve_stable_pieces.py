"""A StableSwap pool as constant-product pieces, for search: floats, dense enough that sizing does not lose by them.

A piece shares its ends with the curve and the rate at its start. Were the curve a hyperbola there, the rate at its
end would be the curve's too; how far it is from that, on a fine grid, says where the pieces must be short.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Segments

Floats = npt.NDArray[np.float64]

PIECES = 192
_GRID = 1024
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
    bent[~np.isfinite(bent)] = 0.0
    path = np.concatenate(([0.0], np.cumsum(bent + bent.sum() / _GRID + 1e-12)))
    places = np.unique(np.searchsorted(path, np.linspace(0.0, path[-1], PIECES + 1)).clip(0, len(grid) - 1))
    places[0] = 0
    return _rows(grid[places], gains[places], rates[places], unit_in, unit_out)


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


def _rows(ends: Floats, gains: Floats, rates: Floats, unit_in: float, unit_out: float) -> Segments:
    """Pieces with the curve's rate at their start and its gain at their end; the last has no end."""
    widths, more = np.diff(ends), np.diff(gains)
    usable = int(np.argmin(np.append((more > 0.0) & (rates[1:] > 0.0), False)))
    widths, more, starts = widths[:usable], more[:usable], rates[:usable]
    excess = starts * widths - more
    bent = excess > 1e-12 * more
    r_in = np.where(bent, more * widths / np.where(bent, excess, 1.0), 1e12 * widths)
    rows = np.empty((usable, 4))
    rows[:, 0] = r_in * unit_in
    rows[:, 1] = more * (r_in + widths) / widths * unit_out
    rows[:, 2] = 1.0
    rows[:, 3] = widths * unit_in
    if usable:
        rows[-1, 3] = np.inf
    return rows
