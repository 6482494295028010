"""Smooth concave curves as constant-product pieces for the search; ``kernels.pieces`` fits and says how well.

``Curve`` describes one direction of a pool in floats: amounts in 18 decimals (or any unit that both tokens' amounts
are given in), the fee on the output where it depends on the amounts, one on the input as ``gamma``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ouro.protocols.base import Segments
from ouro.protocols.kernels import pieces as kernels
from ouro.protocols.kernels.pieces import (
    BALANCE_FEE,
    CRYPTO_CURVE,
    CURVE,
    PEG_FEE,
    PLAIN_FEE,
    STABLE_CURVE,
    WEIGHTED_CURVE,
)

NOTHING: Segments = np.empty((0, 4))
_LEAST = 1e-4
"""The first knot is tried at this share of the smaller balance."""


class Fee(NamedTuple):
    """What the pool takes of the output: the numbers of ``kernels.pieces``, limbs 9 to 13, and their kind."""

    kind: int
    numbers: tuple[float, ...]


def plain_fee(fee: float) -> Fee:
    """A constant share."""
    return Fee(PLAIN_FEE, (1.0 - fee,))


def peg_fee(fee: float, multiplier: float) -> Fee:
    """StableSwap NG's, ``multiplier`` times as high off the peg."""
    return Fee(PEG_FEE, (fee, multiplier)) if multiplier > 1.0 else plain_fee(fee)


def balance_fee(mid: float, far: float, gamma: float, later: bool, third: float) -> Fee:
    """Cryptoswap's, from ``mid`` in balance to ``far``; ``third`` is a third coin's balance, 0 without one."""
    return Fee(BALANCE_FEE, (mid, far, gamma, float(later), third))


class Curve:
    """One direction of a pool."""

    def __init__(self, kind: int, numbers: Sequence[float], fee: Fee) -> None:
        self.array = np.zeros(CURVE)
        self.array[0], self.array[1] = kind, fee.kind
        self.array[2 : 2 + len(numbers)] = [float(number) for number in numbers]
        self.array[9 : 9 + len(fee.numbers)] = fee.numbers

    @property
    def worth(self) -> float:
        """The invariant."""
        return float(self.array[7])

    def rate(self) -> float:
        """Marginal net output per net input at nothing."""
        found = float(kernels.rate(self.array))
        return found if np.isfinite(found) and found > 0.0 else 0.0

    def pieces(
        self, most: float, units: tuple[float, float] = (1.0, 1.0), gamma: float = 1.0, endless: bool = False
    ) -> Segments:
        """Pieces for net inputs up to ``most``. ``units``: token units per unit of the curve's amounts, in and out.

        ``endless``: whether the last piece goes on for ever; else its end is the pool's.
        """
        least = _LEAST * min(self.array[2], self.array[3], most)
        return kernels.fit(self.array, least, float(most), gamma, float(units[0]), float(units[1]), endless)


def weighted(balance_in: float, balance_out: float, exponent: float) -> Curve:
    """``out = b_out·(1 - (b_in / (b_in + x))^exponent)``."""
    return Curve(WEIGHTED_CURVE, (balance_in, balance_out, exponent), plain_fee(0.0))


def stable(x: float, y: float, others: Sequence[float], ann: float, d: float, fee: Fee) -> Curve:
    """StableSwap's invariant ``d``; ``ann`` is A·n."""
    n, base = len(others) + 2, d
    for other in others:
        base *= d / (other * n)
    return Curve(STABLE_CURVE, (x, y, sum(others), base, ann, d, float(n)), fee)


def crypto(x: float, y: float, third: float, a4: float, gamma: float, d: float, fee: Fee) -> Curve:
    """Cryptoswap's invariant ``d``; ``a4`` is A·n^n, ``third`` is 0 in a pool of two."""
    return Curve(CRYPTO_CURVE, (x, y, third, a4, gamma, d, 3.0 if third else 2.0), fee)
