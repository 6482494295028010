"""A stable curve of Balancer as header for the compiled quotes and as pieces for the search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_stable_math import AMP_PRECISION, invariant
from ouro.protocols.base import ExactHeader, QuoteError, Segments
from ouro.protocols.curve_pieces import pieces
from ouro.protocols.kernels import balancer_stable as kernels
from ouro.protocols.kernels.concentrated import BALANCER_STABLE, HEADER

NOTHING: Segments = np.empty((0, 4))
_ROOM = (1 << 112) - 1
_BY_OUTPUT = 1.0 - 0.98 * (np.arange(1, 25) / 24) ** 2
"""Balances left of the output token, as shares."""
_BY_INPUT = np.concatenate((np.geomspace(1e-7, 1e-2, 11), np.linspace(0.04, 1.0, 25), np.geomspace(1.2, 1e4, 16)))
"""Net inputs as shares of the input token's balance."""
_CLOSEST = 0.003
"""Knots nearer to each other than this share of the input are one."""
_LEAST_GAIN = 1e4
_LEAST_FALL = 1e-12
_FAR = 10.0
_FALLS = (np.arange(1, 41) / 40) ** 3
"""Where knots lie, as shares of the whole fall of the rate: denser near the present rate."""
Floats = npt.NDArray[np.float64]
_U64: Any = np.uint64


def header(
    amp: int,
    balances: Sequence[int],
    level: int,
    places: tuple[int, int],
    factors: tuple[int, int],
    fee: int,
    room: tuple[int, int],
) -> ExactHeader | None:
    """Limbs: 0 kind, 1 table of balances (two limbs each), 2 tokens, 3 both places, 4 fee, 5 A·n, 8 invariant,
    10 and 12 scaling factors, 14 what the Vault's word still takes, 16 cash, 18 the constant part of b."""
    n = len(balances)
    if max(*balances, level) >> kernels.MAX_BITS or max(factors) >> kernels.MAX_FACTOR_BITS or not level:
        return None
    table = np.array([value >> 64 * k & (1 << 64) - 1 for value in balances for k in (0, 1)], dtype=np.uint64)
    annual = amp * n
    limbs = BALANCER_STABLE | int(table.ctypes.data) << 64 | n << 128 | (places[0] | places[1] << 8) << 192
    limbs |= fee << 256 | annual << 320 | level << 512 | factors[0] << 640 | factors[1] << 768
    limbs |= room[0] << 896 | room[1] << 1024 | (level // annual * AMP_PRECISION) << 1152
    return ExactHeader(limbs.to_bytes(HEADER * 8, "little"), table)


def _slopes(amp: int, level: float, balances: Sequence[int], i: int, j: int, x: Floats, y: Floats) -> Floats:
    """Output per net input where the two balances are ``x`` and ``y``."""
    n = len(balances)
    product = level * (level / (n * x)) * (level / (n * y))
    for k, balance in enumerate(balances):
        if k not in (i, j):
            product = product * (level / (n * balance))
    annual = amp * n / AMP_PRECISION
    return (annual + product / x) / (annual + product / y)


def marginal(amp: int, balances: Sequence[int], i: int, j: int) -> float:
    """Output per net input now; balances in 18 decimals."""
    level = float(invariant(amp, balances))
    x, y = (np.array([float(balances[k])]) for k in (i, j))
    return float(_slopes(amp, level, balances, i, j, x, y)[0])


def _reached(header_at: int, inputs: Floats) -> tuple[Floats, Floats, Floats]:
    """Net inputs as far as they can be solved and gain something, balances of the output left, gains."""
    lefts, gains = np.zeros(len(inputs)), np.zeros(len(inputs))
    done = kernels.points(_U64(header_at), inputs, lefts, gains)
    small = gains[:done] < _LEAST_GAIN
    if small.any():
        done = max(int(np.argmax(small)), 1)
    return inputs[:done], lefts[:done], gains[:done]


def _grid(header_at: int, x: float, y: float, far: float) -> Floats:
    """Net inputs that cover the curve: by what is left of the output, by shares of the input, and the end."""
    by_output = np.zeros(len(_BY_OUTPUT))
    if not kernels.inputs_at(_U64(header_at), y * _BY_OUTPUT, by_output):
        return np.zeros(0)
    by_input = x * _BY_INPUT
    return _apart(np.concatenate((by_output, by_input[by_input < far], [far])))


def _apart(inputs: Floats) -> Floats:
    """Ascending whole numbers above 0, none close to the one before."""
    found = np.unique(np.floor(inputs))
    found = found[found > 0]
    return found[np.concatenate(([True], np.diff(found) > _CLOSEST * found[1:]))] if len(found) else found


def _refined(inputs: Floats, slopes: Floats) -> Floats:
    """With knots where the rate has fallen by the shares ``_FALLS``, by interpolation."""
    falls = np.maximum.accumulate(1.0 - slopes[1:] / slopes[0])
    usable = (falls > _LEAST_FALL) & np.concatenate(([True], np.diff(falls) > 0))
    if usable.sum() < 2:
        return inputs
    known, at = np.log(falls[usable]), np.log(inputs[usable])
    wanted = np.log(falls[-1] * _FALLS)
    return _apart(np.concatenate((np.exp(np.interp(wanted, known, at)), inputs)))


def pieces_of(
    amp: int, balances: Sequence[int], places: tuple[int, int], factors: tuple[int, int], fee: int
) -> Segments:
    """The direction as pieces in the tokens' units; none where the pool is empty or beyond the kernels' range."""
    i, j = places
    if not all(balances):
        return NOTHING
    try:
        level = invariant(amp, balances)
    except QuoteError:
        return NOTHING
    made = header(amp, balances, level, places, factors, fee, (_ROOM, _ROOM))
    if made is None:
        return NOTHING
    limbs = np.frombuffer(made.limbs, dtype=np.uint64)
    here = limbs.ctypes.data
    x, y = float(balances[i]), float(balances[j])

    def slopes_at(inputs: Floats, lefts: Floats) -> Floats:
        before = np.concatenate(([x], x + inputs)), np.concatenate(([y], lefts))
        return _slopes(amp, float(level), balances, i, j, *before)

    knots, lefts, gains = _reached(here, _grid(here, x, y, _FAR * float(sum(balances))))
    if not len(knots):
        return NOTHING
    knots, lefts, gains = _reached(here, _refined(knots, slopes_at(knots, lefts)))
    slopes = slopes_at(knots, lefts)
    unit_in, unit_out = factors[0] / ONE, factors[1] / ONE
    inputs = np.concatenate(([0.0], knots / unit_in))
    return pieces(inputs, gains / unit_out, slopes * unit_in / unit_out, 1.0 - fee / ONE)
