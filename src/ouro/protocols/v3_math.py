"""Uniswap V3's integer mathematics: TickMath, SqrtPriceMath, SwapMath.

Formulas: Uniswap v3-core 1.0.1, ``contracts/libraries``. Prices are Q64.96 square roots of token1 per token0. What
the contract computes modulo 2^256 is mirrored wherever the overflow changes the result.
"""

import math
from functools import lru_cache

PPM = 1_000_000
MIN_TICK = -887_272
MAX_TICK = 887_272
MIN_SQRT_RATIO = 4_295_128_739
MAX_SQRT_RATIO = 1461446703485210103287273052203988822378723970342
MAX_LIQUIDITY = (1 << 128) - 1
Q96 = 1 << 96
_U256_END = 1 << 256
_U160_END = 1 << 160

# ratio(2^k ticks)^-1 in Q128, as in TickMath.getSqrtRatioAtTick
_FACTORS = (
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

_LOG_Q96 = 96 * math.log(2.0)
_TICKS_PER_LOG = 2.0 / math.log(1.0001)
# The Q64.96 ratio of a tick differs from 1.0001^(tick/2) by up to 2^-32 (rounding at the lowest prices), which is
# 5e-6 ticks; the float logarithm adds 1e-9. A fraction farther than this from an integer decides without a check.
_SURE_FRACTION = 1e-4


@lru_cache(maxsize=1 << 17)
def sqrt_ratio_at_tick(tick: int) -> int:
    """``TickMath.getSqrtRatioAtTick``: Q64.96, rounded up."""
    remaining = abs(tick)
    if remaining > MAX_TICK:
        raise ValueError(f"tick {tick} is outside [{MIN_TICK}, {MAX_TICK}]")
    ratio = 1 << 128
    for factor in _FACTORS:
        if remaining & 1:
            ratio = ratio * factor >> 128
        remaining >>= 1
    if tick > 0:
        ratio = (_U256_END - 1) // ratio
    return (ratio + 0xFFFFFFFF) >> 32


def tick_at_sqrt_ratio(sqrt_price_x96: int) -> int:
    """``TickMath.getTickAtSqrtRatio``: the greatest tick whose ratio is at most this price."""
    if not MIN_SQRT_RATIO <= sqrt_price_x96 < MAX_SQRT_RATIO:
        raise ValueError(f"sqrt price {sqrt_price_x96} is outside [{MIN_SQRT_RATIO}, {MAX_SQRT_RATIO})")
    estimate = (math.log(sqrt_price_x96) - _LOG_Q96) * _TICKS_PER_LOG
    tick = math.floor(estimate)
    if _SURE_FRACTION < estimate - tick < 1 - _SURE_FRACTION:
        return tick
    nearest = round(estimate)
    if nearest > MAX_TICK or sqrt_ratio_at_tick(nearest) > sqrt_price_x96:
        return nearest - 1
    return nearest


def amount0_delta(sqrt_a: int, sqrt_b: int, liquidity: int, round_up: bool) -> int:
    """Token0 between two prices, ``sqrt_a <= sqrt_b``."""
    numerator = (liquidity << 96) * (sqrt_b - sqrt_a)
    if round_up:
        return -(-numerator // sqrt_b // sqrt_a)
    return numerator // sqrt_b // sqrt_a


def amount1_delta(sqrt_a: int, sqrt_b: int, liquidity: int, round_up: bool) -> int:
    """Token1 between two prices, ``sqrt_a <= sqrt_b``."""
    product = liquidity * (sqrt_b - sqrt_a)
    return -(-product >> 96) if round_up else product >> 96


def next_price_from_input(sqrt_price: int, liquidity: int, amount_in: int, zero_for_one: bool) -> int:
    """``SqrtPriceMath.getNextSqrtPriceFromInput``; ``liquidity > 0``."""
    if not zero_for_one:
        return sqrt_price + (amount_in << 96) // liquidity
    if not amount_in:
        return sqrt_price
    numerator = liquidity << 96
    product = amount_in * sqrt_price
    if product < _U256_END and numerator + product < _U256_END:
        return -(-numerator * sqrt_price // (numerator + product))
    return -(-numerator // (numerator // sqrt_price + amount_in))


def next_price_from_output(sqrt_price: int, liquidity: int, amount_out: int, zero_for_one: bool) -> int:
    """``SqrtPriceMath.getNextSqrtPriceFromOutput`` for an output that the liquidity up to the target can give."""
    if zero_for_one:
        return sqrt_price + (-(amount_out << 96) // liquidity)
    if not amount_out:
        return sqrt_price
    numerator = liquidity << 96
    return -(-numerator * sqrt_price // (numerator - amount_out * sqrt_price))


def swap_step(
    sqrt_price: int, target: int, liquidity: int, remaining: int, fee_ppm: int
) -> tuple[int, int, int, int]:
    """``SwapMath.computeSwapStep``: next price, amount in (without fee), amount out, fee.

    ``remaining`` is positive for exact input (gross) and negative for exact output.
    """
    zero_for_one = sqrt_price >= target
    low, high = (target, sqrt_price) if zero_for_one else (sqrt_price, target)
    delta_in, delta_out = (amount0_delta, amount1_delta) if zero_for_one else (amount1_delta, amount0_delta)
    if remaining >= 0:
        without_fee = remaining * (PPM - fee_ppm) // PPM
        amount_in = delta_in(low, high, liquidity, True)
        if without_fee >= amount_in:
            fee = -(-amount_in * fee_ppm // (PPM - fee_ppm))
            return target, amount_in, delta_out(low, high, liquidity, False), fee
        price = next_price_from_input(sqrt_price, liquidity, without_fee, zero_for_one)
        if price == target:  # rounding can land there; the fee is then the target's
            fee = -(-amount_in * fee_ppm // (PPM - fee_ppm))
            return target, amount_in, delta_out(low, high, liquidity, False), fee
        low, high = (price, sqrt_price) if zero_for_one else (sqrt_price, price)
        amount_in = delta_in(low, high, liquidity, True)
        return price, amount_in, delta_out(low, high, liquidity, False), remaining - amount_in
    wanted = -remaining
    amount_out = delta_out(low, high, liquidity, False)
    price = target
    if wanted < amount_out:
        price = next_price_from_output(sqrt_price, liquidity, wanted, zero_for_one)
        low, high = (price, sqrt_price) if zero_for_one else (sqrt_price, price)
        if price != target:
            amount_out = delta_out(low, high, liquidity, False)
    amount_in = delta_in(low, high, liquidity, True)
    fee = -(-amount_in * fee_ppm // (PPM - fee_ppm))
    return price, amount_in, min(amount_out, wanted), fee
