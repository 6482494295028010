"""Pools that are no chains of constant-product pieces: weighted, constant sums, arbitrary concave curves.

A constant sum makes the dual kink. Its flow is kept as a variable with a proximal term ``μ/2·(x - x₀)²``, which
makes the dual smooth; moving x₀ to the optimum and solving again ends at the exact optimum (method of multipliers).
"""

import math

import numpy as np

from ouro.search.arrays import Float64, Int64
from ouro.search.convex.network import CurveEdge
from ouro.search.convex.scale import Scaled
from ouro.search.convex.weighted import add_weighted_hessian, weighted_flows

_CURVE_STEPS = 200
_SOFTNESS = 1e-3


class SpecialPools:
    """Value, gradient and curvature of the special pools of one problem; keeps the proximal centres."""

    def __init__(self, problem: Scaled) -> None:
        weighted = problem.weighted
        counts = np.array([len(pool.tokens) for pool in weighted], dtype=np.int64)
        self._start = np.zeros(len(weighted) + 1, dtype=np.int64)
        np.cumsum(counts, out=self._start[1:])
        self.weighted_tokens = np.array([t for pool in weighted for t in pool.tokens], dtype=np.int32)
        self._reserves = np.array([r for pool in weighted for r in pool.reserves], dtype=np.float64)
        self._weights = np.array([w for pool in weighted for w in pool.weights], dtype=np.float64)
        self._gammas = np.array([pool.gamma for pool in weighted], dtype=np.float64)
        self.weighted_flows = np.zeros(len(self.weighted_tokens))
        self._levels = np.zeros(len(weighted))
        linear = problem.linear
        self.linear_in = np.array([edge.token_in for edge in linear], dtype=np.int64)
        self.linear_out = np.array([edge.token_out for edge in linear], dtype=np.int64)
        self._rate = np.array([edge.rate for edge in linear], dtype=np.float64)
        self._cap = np.array([edge.cap_in for edge in linear], dtype=np.float64)
        self._softness = _SOFTNESS / np.maximum(self._cap, 1e-300)
        self.centre = np.zeros(len(linear))
        self.linear_taken = np.zeros(len(linear))
        self.curves: tuple[CurveEdge, ...] = problem.curves
        self.curve_taken = np.zeros(len(self.curves))

    def rescale(self, problem: Scaled, s: Float64) -> None:
        """Follow a problem that was recentred at root prices ``s``."""
        centre = self.centre * (s[self.linear_in] ** 2 if len(self.centre) else 1.0)
        self.__init__(problem)
        self.centre = centre

    @property
    def any(self) -> bool:
        """Whether there is any special pool."""
        return bool(len(self.weighted_tokens) or len(self._rate) or self.curves)

    @property
    def linear_given(self) -> Float64:
        """What the constant sums give for what they take."""
        return self._rate * self.linear_taken

    def curve_given(self, k: int) -> float:
        """What curve ``k`` gives for what it takes."""
        taken = float(self.curve_taken[k])
        return self.curves[k].out(taken) if taken > 0.0 else 0.0

    def value_gradient(self, s: Float64, gradient: Float64) -> float:
        """Worth of the special pools at ``s`` (constant sums smoothed); adds the derivative to ``gradient``."""
        value = 0.0
        if len(self.weighted_tokens):
            value += weighted_flows(
                s,
                self._start,
                self.weighted_tokens,
                self._reserves,
                self._weights,
                self._gammas,
                self.weighted_flows,
                self._levels,
            )
            np.add.at(gradient, self.weighted_tokens, 2.0 * s[self.weighted_tokens] * self.weighted_flows)
        if len(self._rate):
            margin = self._margin(s)
            taken = np.clip(self.centre + margin / self._softness, 0.0, self._cap)
            self.linear_taken = taken
            value += float(np.sum(taken * margin - 0.5 * self._softness * (taken - self.centre) ** 2))
            np.add.at(gradient, self.linear_out, 2.0 * s[self.linear_out] * self._rate * taken)
            np.add.at(gradient, self.linear_in, -2.0 * s[self.linear_in] * taken)
        for k, curve in enumerate(self.curves):
            value_in, value_out = s[curve.token_in] ** 2, s[curve.token_out] ** 2
            self.curve_taken[k] = taken = curve_optimum(curve, float(value_in / value_out))
            if taken > 0.0:
                given = curve.out(taken)
                value += value_out * given - value_in * taken
                gradient[curve.token_out] += 2.0 * s[curve.token_out] * given
                gradient[curve.token_in] -= 2.0 * s[curve.token_in] * taken
        return value

    def _margin(self, s: Float64) -> Float64:
        return self._rate * s[self.linear_out] ** 2 - s[self.linear_in] ** 2

    def exact_correction(self, s: Float64) -> float:
        """What the true worth of the constant sums exceeds the smoothed one by, at ``s``."""
        if not len(self._rate):
            return 0.0
        margin = self._margin(s)
        taken = np.clip(self.centre + margin / self._softness, 0.0, self._cap)
        smooth = taken * margin - 0.5 * self._softness * (taken - self.centre) ** 2
        return float(np.sum(np.maximum(margin, 0.0) * self._cap - smooth))

    def recentre(self) -> float:
        """Move the proximal centres to the last optimum; returns the largest move relative to its capacity."""
        if not len(self._rate):
            return 0.0
        move = float(np.max(np.abs(self.linear_taken - self.centre) / self._cap))
        self.centre = self.linear_taken.copy()
        return move

    def add_hessian(self, s: Float64, slot: Int64, hessian: Float64) -> None:
        """Add ``4·S·∇²·S`` at the point of the last ``value_gradient``."""
        if len(self.weighted_tokens):
            add_weighted_hessian(
                s,
                self._start,
                self.weighted_tokens,
                self._weights,
                self.weighted_flows,
                self._levels,
                slot,
                hessian,
            )
        for k in range(len(self._rate)):
            if 0.0 < self.linear_taken[k] < self._cap[k]:
                i, o = int(self.linear_in[k]), int(self.linear_out[k])
                _add_outer(slot, hessian, i, o, -s[i], self._rate[k] * s[o], 4.0 / self._softness[k])
        for k, curve in enumerate(self.curves):
            taken = float(self.curve_taken[k])
            if 0.0 < taken < curve.cap_in:
                step = max(1e-6 * taken, 1e-12 * curve.cap_in)
                bend = (curve.slope(taken) - curve.slope(taken + step)) / step
                i, o = curve.token_in, curve.token_out
                if bend > 0.0:
                    # dx/dmargin = 1/(ν_out·bend), margin = ν_out·slope - ν_in
                    factor = 4.0 / (s[o] ** 2 * bend)
                    _add_outer(slot, hessian, i, o, -s[i], curve.slope(taken) * s[o], factor)


def _add_outer(slot: Int64, hessian: Float64, i: int, o: int, at_in: float, at_out: float, factor: float) -> None:
    row, column = int(slot[i]), int(slot[o])
    if row >= 0:
        hessian[row, row] += factor * at_in * at_in
    if column >= 0:
        hessian[column, column] += factor * at_out * at_out
    if row >= 0 and column >= 0:
        hessian[row, column] += factor * at_in * at_out
        hessian[column, row] += factor * at_in * at_out


def curve_optimum(curve: CurveEdge, price: float) -> float:
    """The input where ``slope(x) = price``, by regula falsi on its logarithm with bisection; 0 where none pays."""
    if not curve.slope(curve.cap_in * 1e-15) > price:
        return 0.0
    if curve.slope(curve.cap_in) >= price:
        return curve.cap_in
    low, high = 0.0, curve.cap_in
    at_low = math.log(curve.slope(curve.cap_in * 1e-15) / price)
    at_high = _log_ratio(curve.slope(high), price)
    x = 0.5 * high
    side = 0
    for step in range(_CURVE_STEPS):
        x = (
            (low * at_high - high * at_low) / (at_high - at_low)
            if step % 4 and at_high != at_low
            else 0.5 * (low + high)
        )
        if not low < x < high:
            x = 0.5 * (low + high)
        here = _log_ratio(curve.slope(x), price)
        if here == 0.0 or high - low <= 1e-15 * high:
            break
        if here > 0.0:
            low, at_low = x, here
            # Illinois: halve the stale end so that it moves too
            at_high *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            high, at_high = x, here
            at_low *= 0.5 if side == -1 else 1.0
            side = -1
    return x


def _log_ratio(slope: float, price: float) -> float:
    return math.log(slope / price) if slope > 0.0 else -700.0
