# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Conversions at a rate: ``amount·numerator // denominator`` up to a largest amount.

Header limbs: 4-7 numerator, 8-11 denominator, 12-15 the most that goes in, 16 the least output.
"""

from typing import Any

from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.wide import bit_length, floor_div, load64, load256, to256, to512


@njit(cache=True, nogil=True)
def ratio_in(header: int, amount: Any) -> Any:
    """(status, output) of a conversion."""
    zero = amount - amount
    if amount > load256(limb(header, 12)):
        return REFUSED, zero
    out = floor_div(to512(amount) * to512(load256(limb(header, 4))), to512(load256(limb(header, 8))))
    if bit_length(out) > 256 or to256(out) < to256(load64(limb(header, 16))):
        return REFUSED, zero
    return DONE, to256(out)
