# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""Solidly's curves compiled; the formulas are those of ``ouro.protocols.solidly_math``.

Header limbs: 4 fee (1/10,000), 6-7 reserve in, 8-9 reserve out, 10 and 11 units (10^decimals) of input and output,
12-15 the invariant of the reserves, 16-19 and 20-23 the reserves in 18 decimals (stable pools only).
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.concentrated import DONE, REFUSED, limb
from ouro.protocols.kernels.wide import bit_length, floor_div, load64, load128, load256, to256, to512

BPS = 10_000
UNIT = 10**18
# floor(n / 10^18) = n·M >> SHIFT for every n below 2^250: M·10^18 exceeds 2^SHIFT by less than 2^(SHIFT - 250)
_SHIFT = 310
_SMALL_BITS = 250
_MULTIPLIER = np.array(
    [((-(-(1 << _SHIFT) // UNIT)) >> (64 * k)) & ((1 << 64) - 1) for k in range(4)], dtype=np.uint64
)
# Reserves of up to 2^93 / 10^18, ten thousand million whole tokens, keep every product below 2^250.
MAX_SCALED_BITS = 92
_MAX_AMOUNT_BITS = 128
_MOST_LOWERED = 4
_MAX_ROUNDS = 255


@njit(cache=True, nogil=True)
def per_unit(value: Any) -> Any:
    """value // 10^18 of a 256-bit integer below 2^250."""
    low = to512(_MULTIPLIER[0]) | (to512(_MULTIPLIER[1]) << 64)
    high = to512(_MULTIPLIER[2]) | (to512(_MULTIPLIER[3]) << 64)
    return to256((to512(value) * (low | (high << 128))) >> _SHIFT)


@njit(cache=True, nogil=True)
def invariant(x: Any, y: Any) -> Any:
    """``_k`` for amounts in 18 decimals below 2^93."""
    return per_unit(per_unit(x * y) * (per_unit(x * x) + per_unit(y * y)))


@njit(cache=True, nogil=True)
def _solve_y(x: Any, k: Any, y: Any) -> Any:
    """(found, y): the contract's Newton steps; not found where they leave the range of these kernels."""
    one = to256(np.uint64(1))
    zero = one - one
    unit = to256(np.uint64(UNIT))
    x_squared = per_unit(x * x)
    x_cubed = per_unit(x_squared * x)
    triple = x + x + x
    for _ in range(_MAX_ROUNDS):
        if bit_length(y) > MAX_SCALED_BITS:
            return False, y
        y_squared = per_unit(y * y)
        here = per_unit(per_unit(x * y) * (x_squared + y_squared))
        slope = per_unit(triple * y_squared) + x_cubed
        if slope == zero:
            return False, y
        if here < k:
            change = floor_div((k - here) * unit, slope)
            if change == zero:
                if invariant(x, y + one) > k:
                    return True, y + one
                change = one
            y += change
        else:
            change = floor_div((here - k) * unit, slope)
            if change == zero:
                if here == k or y == zero or invariant(x, y - one) < k:
                    return y != zero, y
                change = one
            if change > y:
                return False, y
            y -= change
    return False, y


@njit(cache=True, nogil=True)
def _net(amount: Any, fee_bps: Any) -> Any:
    return amount - floor_div(amount * to256(fee_bps), to256(np.uint64(BPS)))


@njit(cache=True, nogil=True)
def volatile_in(header: int, amount: Any) -> Any:
    """(status, output) of a volatile pool."""
    zero = amount - amount
    if bit_length(amount) > _MAX_AMOUNT_BITS - 1:
        return REFUSED, zero
    net = _net(amount, load64(limb(header, 4)))
    reserve_in = to256(load128(limb(header, 6)))
    out = floor_div(net * to256(load128(limb(header, 8))), reserve_in + net)
    if out == zero:
        return REFUSED, zero
    return DONE, out


@njit(cache=True, nogil=True)
def stable_in(header: int, amount: Any) -> Any:
    """(status, output) of a stable pool; ``REFUSED`` also where the integers leave these kernels' range."""
    one = to256(np.uint64(1))
    zero = one - one
    unit = to256(np.uint64(UNIT))
    unit_in, unit_out = to256(load64(limb(header, 10))), to256(load64(limb(header, 11)))
    k = load256(limb(header, 12))
    x, y = load256(limb(header, 16)), load256(limb(header, 20))
    if bit_length(amount) > _MAX_AMOUNT_BITS - 1:
        return REFUSED, zero
    net = _net(amount, load64(limb(header, 4)))
    more = net if unit_in == unit else floor_div(net * unit, unit_in)
    if bit_length(more + x) > MAX_SCALED_BITS:
        return REFUSED, zero
    found, y_after = _solve_y(more + x, k, y)
    if not found or y_after > y:
        return REFUSED, zero
    gained = y - y_after
    out = gained if unit_out == unit else per_unit(gained * unit_out)
    reserve_in, reserve_out = to256(load128(limb(header, 6))), to256(load128(limb(header, 8)))
    if out >= reserve_out:
        return REFUSED, zero
    for _ in range(_MOST_LOWERED):
        if out == zero:
            break
        # the pool's own check, on the balances after the fee has left
        left_in, left_out = reserve_in + net, reserve_out - out
        if unit_in != unit:
            left_in = floor_div(left_in * unit, unit_in)
        if unit_out != unit:
            left_out = floor_div(left_out * unit, unit_out)
        if bit_length(left_in) > MAX_SCALED_BITS or bit_length(left_out) > MAX_SCALED_BITS:
            return REFUSED, zero
        if invariant(left_in, left_out) >= k:
            return DONE, out
        out -= one
    return REFUSED, zero
