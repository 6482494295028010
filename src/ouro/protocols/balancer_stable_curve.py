"""A stable curve of Balancer as header for the compiled quotes and as pieces for the search."""

from collections.abc import Sequence

import numpy as np

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_stable_math import AMP_PRECISION, invariant
from ouro.protocols.base import ExactHeader, QuoteError, Segments
from ouro.protocols.curve_pieces import NOTHING as NOTHING
from ouro.protocols.curve_pieces import Curve, plain_fee, stable
from ouro.protocols.headers import tagged
from ouro.protocols.kernels import balancer_stable as kernels
from ouro.protocols.kernels.concentrated import BALANCER_STABLE, HEADER

_FAR = 10.0
"""Beyond this many times the pool's worth nothing is left to buy."""
_NO_FEE = plain_fee(0.0)


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
    limbs = (
        tagged(BALANCER_STABLE, fee, 10**18)
        | int(table.ctypes.data) << 64
        | n << 128
        | (places[0] | places[1] << 8) << 192
    )
    limbs |= fee << 256 | annual << 320 | level << 512 | factors[0] << 640 | factors[1] << 768
    limbs |= room[0] << 896 | room[1] << 1024 | (level // annual * AMP_PRECISION) << 1152
    return ExactHeader(limbs.to_bytes(HEADER * 8, "little"), table)


def _curve(amp: int, balances: Sequence[int], i: int, j: int) -> Curve:
    """The direction in floats; balances in 18 decimals. Raises ``QuoteError``."""
    others = [float(balance) for k, balance in enumerate(balances) if k not in (i, j)]
    level = float(invariant(amp, balances))
    return stable(
        float(balances[i]), float(balances[j]), others, amp * len(balances) / AMP_PRECISION, level, _NO_FEE
    )


def marginal(amp: int, balances: Sequence[int], i: int, j: int) -> float:
    """Output per net input now; balances in 18 decimals."""
    return _curve(amp, balances, i, j).rate()


def pieces_of(
    amp: int, balances: Sequence[int], places: tuple[int, int], factors: tuple[int, int], fee: int
) -> Segments:
    """The direction as pieces in the tokens' units; none where the pool is empty or its invariant unsolvable."""
    if not all(balances):
        return NOTHING
    try:
        curve = _curve(amp, balances, *places)
    except QuoteError:
        return NOTHING
    units = ONE / factors[0], ONE / factors[1]
    return curve.pieces(_FAR * float(sum(balances)), units, 1.0 - fee / ONE)
