"""A smooth concave curve as constant-product pieces for the search: value and slope agree at every knot.

Between two knots lie two pieces that meet with one slope: the whole has no kinks. A piece from its start is
``s·t / (1 + t/k)`` with slope ``s / (1 + t/k)²``; with ``q = 1 + t/k`` at their ends, widths ``m`` and ``n``,
slopes ``s0`` and ``s1`` and the value ``V`` gained between the knots::

    q1·q2 = sqrt(s0/s1) = Q        s0·m/q1 + s0·n/(q1·Q) = V    so    q1 = s0·(m + n/Q) / V,    q2 = Q / q1

Where rounding leaves no such pair (a stretch that is flat to the last digit), both get ``sqrt(Q)``: slopes agree.
"""

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import Segments

Floats = npt.NDArray[np.float64]
_FLAT = 1e-15
"""A relative change of slope below this is none."""


def pieces(inputs: Floats, gains: Floats, slopes: Floats, gamma: float) -> Segments:
    """Pieces through ``n + 1`` knots: net ``inputs`` from 0 ascending, the ``n`` gains between, slopes at all.

    Slopes are output per net input, falling. ``gamma`` is the share of the gross input that is net of the fee.
    """
    widths = np.diff(inputs)
    ratio = np.sqrt(np.maximum(slopes[:-1] / slopes[1:], 1.0))
    half = widths / 2
    first = slopes[:-1] * (half + half / ratio) / gains
    usable = (first >= 1.0) & (first <= ratio)
    first = np.where(usable, first, np.sqrt(ratio))
    second = ratio / first
    rows = np.empty((2 * len(widths), 4))
    for offset, start, growth in ((0, slopes[:-1], first), (1, slopes[:-1] / first**2, second)):
        r_in = half / np.maximum(growth - 1.0, _FLAT)
        rows[offset::2, 0] = r_in
        rows[offset::2, 1] = start * r_in
        rows[offset::2, 2] = gamma
        rows[offset::2, 3] = half / gamma
    return rows
