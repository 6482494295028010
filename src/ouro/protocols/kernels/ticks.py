# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
# (Numba's decorators change the signatures that the type checker sees.)
"""TickMath and the amounts between two prices, compiled. The formulas are those of ``ouro.protocols.v3_math``."""

import math
from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.wide import (
    bit_length,
    ceil_div,
    floor_div,
    to128,
    to256,
    to384,
    to_float,
)

MAX_TICK = 887_272
_LIMB = (1 << 64) - 1

# 1.0001^(-2^k / 2) in Q128, as in TickMath.getSqrtRatioAtTick
_FACTOR_VALUES = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)
_FACTORS = np.array([[value & _LIMB, value >> 64] for value in _FACTOR_VALUES], dtype=np.uint64)

_LOG_Q96 = 96 * math.log(2.0)
_TICKS_PER_LOG = 2.0 / math.log(1.0001)
_SURE_FRACTION = 1e-4  # see v3_math: a fraction farther than this from an integer decides alone


@njit(cache=True, nogil=True)
def sqrt_ratio_at_tick(tick: int) -> Any:
    """``TickMath.getSqrtRatioAtTick`` as a 256-bit integer; ``abs(tick) <= MAX_TICK``."""
    remaining = abs(tick)
    if remaining == 0:
        return to256(np.uint64(1)) << 96
    k = 0
    while remaining & 1 == 0:
        remaining >>= 1
        k += 1
    ratio = (to128(_FACTORS[k, 1]) << 64) | to128(_FACTORS[k, 0])
    remaining >>= 1
    k += 1
    while remaining != 0:
        if remaining & 1 != 0:
            factor = (to128(_FACTORS[k, 1]) << 64) | to128(_FACTORS[k, 0])
            ratio = to128((to256(ratio) * to256(factor)) >> 128)
        remaining >>= 1
        k += 1
    wide = to256(ratio)
    if tick > 0:
        zero = wide - wide
        wide = floor_div(zero - to256(np.uint64(1)), wide)
    return (wide + to256(np.uint64(0xFFFFFFFF))) >> 32


@njit(cache=True, nogil=True)
def tick_at_sqrt_ratio(price: Any) -> int:
    """``TickMath.getTickAtSqrtRatio`` of a 256-bit price within the contract's range."""
    estimate = (math.log(to_float(price)) - _LOG_Q96) * _TICKS_PER_LOG
    tick = math.floor(estimate)
    fraction = estimate - tick
    if _SURE_FRACTION < fraction < 1.0 - _SURE_FRACTION:
        return tick
    nearest = math.floor(estimate + 0.5)
    if nearest > MAX_TICK or sqrt_ratio_at_tick(nearest) > price:
        return nearest - 1
    return nearest


@njit(cache=True, nogil=True)
def amount0(low: Any, high: Any, liquidity: Any, round_up: bool) -> Any:
    """Token0 between two 256-bit prices (``low <= high``), 256 bits; ``liquidity`` has 128 bits."""
    numerator = (to384(liquidity) << 96) * to384(high - low)
    divisor = to384(low) * to384(high)
    if round_up:
        return to256(ceil_div(numerator, divisor))
    return to256(floor_div(numerator, divisor))


@njit(cache=True, nogil=True)
def amount1(low: Any, high: Any, liquidity: Any, round_up: bool) -> Any:
    """Token1 between two 256-bit prices (``low <= high``), 256 bits."""
    product = to384(liquidity) * to384(high - low)
    if round_up:
        product += (to384(np.uint64(1)) << 96) - to384(np.uint64(1))
    return to256(product >> 96)


@njit(cache=True, nogil=True)
def price_after_input(price: Any, liquidity: Any, net_in: Any, zero_for_one: bool) -> Any:
    """``SqrtPriceMath.getNextSqrtPriceFromInput`` for a net input (256 bits) that stays in the range."""
    if not zero_for_one:
        return price + to256(floor_div(to384(net_in) << 96, to384(liquidity)))
    numerator = to384(liquidity) << 96
    product = to384(net_in) * to384(price)
    divisor = numerator + product
    if bit_length(divisor) <= 256:
        return to256(ceil_div(numerator * to384(price), divisor))
    return to256(ceil_div(numerator, floor_div(numerator, to384(price)) + to384(net_in)))


@njit(cache=True, nogil=True)
def price_after_output(price: Any, liquidity: Any, amount_out: Any, zero_for_one: bool) -> Any:
    """``SqrtPriceMath.getNextSqrtPriceFromOutput`` for an output that the range can give."""
    if zero_for_one:
        return price - to256(ceil_div(to384(amount_out) << 96, to384(liquidity)))
    numerator = to384(liquidity) << 96
    product = to384(amount_out) * to384(price)
    return to256(ceil_div(numerator * to384(price), numerator - product))


@njit(cache=True, nogil=True)
def with_fee(net_in: Any, fee_ppm: int) -> Any:
    """Gross input of a step that reaches its target: ``in + ceil(in·fee / (10^6 - fee))``, 256 bits."""
    fee = ceil_div(net_in * to256(np.uint64(fee_ppm)), to256(np.uint64(1_000_000 - fee_ppm)))
    return net_in + fee


@njit(cache=True, nogil=True)
def without_fee(gross_in: Any, fee_ppm: int) -> Any:
    """``floor(in·(10^6 - fee) / 10^6)``, 256 bits."""
    return floor_div(gross_in * to256(np.uint64(1_000_000 - fee_ppm)), to256(np.uint64(1_000_000)))


@njit(cache=True, nogil=True)
def step_amounts(start: Any, target: Any, liquidity: Any, fee_ppm: int, zero_for_one: bool) -> Any:
    """(gross in, out) of a whole step from ``start`` to ``target``."""
    if zero_for_one:
        net = amount0(target, start, liquidity, True)
        return with_fee(net, fee_ppm), amount1(target, start, liquidity, False)
    net = amount1(start, target, liquidity, True)
    return with_fee(net, fee_ppm), amount0(start, target, liquidity, False)
