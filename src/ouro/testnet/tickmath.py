"""Tick and liquidity integers of Uniswap V3's TickMath and LiquidityAmounts, for seeding positions."""

_Q96 = 1 << 96
MIN_TICK, MAX_TICK = -887_272, 887_272
_FACTORS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001, 0xFFF97272373D413259A46990580E213A, 0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0, 0xFFCB9843D60F6159C9DB58835C926644, 0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861, 0xFE5DEE046A99A2A811C461F1969C3053, 0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54, 0xF3392B0822B70005940C7A398E4B70F3, 0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825, 0xA9F746462D870FDF8A65DC1F90E061E5, 0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6, 0x9AA508B5B7A84E1C677DE54F3E99BC9, 0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98, 0x48A170391F7DC42444E8FA2,
)  # fmt: skip


def sqrt_ratio_at_tick(tick: int) -> int:
    """sqrt(1.0001^tick)·2^96 as TickMath.getSqrtRatioAtTick gives it."""
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValueError(f"tick {tick} is outside {MIN_TICK}…{MAX_TICK}")
    magnitude = abs(tick)
    ratio = 1 << 128
    for bit, factor in enumerate(_FACTORS):
        if magnitude >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = ((1 << 256) - 1) // ratio
    return (ratio >> 32) + (1 if ratio & 0xFFFFFFFF else 0)


def liquidity_for_amounts(root: int, lower: int, upper: int, amount0: int, amount1: int) -> int:
    """LiquidityAmounts.getLiquidityForAmounts with the price inside the range (square roots as X96)."""
    from0 = amount0 * (root * upper // _Q96) // (upper - root)
    from1 = amount1 * _Q96 // (root - lower)
    return min(from0, from1)


def amounts_for_liquidity(root: int, lower: int, upper: int, liquidity: int) -> tuple[int, int]:
    """The smallest desired amounts that LiquidityAmounts turns into at least ``liquidity``."""
    amount0 = _ceil_div(liquidity * (upper - root), root * upper // _Q96)
    amount1 = _ceil_div(liquidity * (root - lower), _Q96)
    return amount0, amount1


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
