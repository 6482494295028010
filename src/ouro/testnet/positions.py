"""How a recorded concentrated pool's liquidity is laid out over ranges, adding up to the record exactly."""

from dataclasses import dataclass

from ouro.testnet.profiles import RecordedPool
from ouro.testnet.tickmath import (
    MAX_TICK,
    amounts_for_liquidity,
    liquidity_for_amounts,
    sqrt_ratio_at_tick,
)

RANGES = ((0.004, 0.25), (0.02, 0.25), (0.10, 0.20))
"""Half-widths of the inner ranges (share of price) and their shares of the recorded liquidity; a full range holds
the rest. Trades of plausible size cross the first edges, and no pool ever runs dry."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position asked for by token amounts, as a position manager wants it."""

    lower: int
    upper: int
    amount0: int
    amount1: int


def plan_ranges(recorded: RecordedPool) -> tuple[tuple[int, int, int], ...]:
    """(lower tick, upper tick, liquidity) whose liquidities are the recorded one together."""
    ranges = [
        (*_range(recorded, half_width), int(recorded.liquidity * share))
        for half_width, share in RANGES
        if int(recorded.liquidity * share)
    ]
    edge = MAX_TICK // recorded.tick_spacing * recorded.tick_spacing
    rest = recorded.liquidity - sum(liquidity for _, _, liquidity in ranges)
    return (*ranges, (-edge, edge, rest))


def plan_positions(recorded: RecordedPool) -> tuple[Position, ...]:
    """Ranges around the recorded price whose liquidities add up exactly to the recorded one.

    The inner ranges come out at whatever whole token amounts allow; the full range, where one token unit is less
    than one unit of liquidity, makes up the exact rest. Raises ``ValueError`` where that can't be.
    """
    root, spacing = recorded.sqrt_price_x96, recorded.tick_spacing
    positions: list[Position] = []
    placed = 0
    for half_width, share in RANGES:
        lower, upper = _range(recorded, half_width)
        position, got = _position(root, lower, upper, int(recorded.liquidity * share))
        positions.append(position)
        placed += got
    edge = MAX_TICK // spacing * spacing
    position, got = _position(root, -edge, edge, recorded.liquidity - placed)
    if placed + got != recorded.liquidity:
        raise ValueError(f"{recorded.label}: liquidity {recorded.liquidity} can't be met exactly ({placed + got})")
    return (*positions, position)


def _range(recorded: RecordedPool, half_width: float) -> tuple[int, int]:
    spacing = recorded.tick_spacing
    reach = max(1, round(half_width * 10_000 / spacing)) * spacing
    return (recorded.tick - reach) // spacing * spacing, -((-recorded.tick - reach) // spacing) * spacing


def _position(root: int, lower_tick: int, upper_tick: int, liquidity: int) -> tuple[Position, int]:
    lower, upper = sqrt_ratio_at_tick(lower_tick), sqrt_ratio_at_tick(upper_tick)
    amount0, amount1 = amounts_for_liquidity(root, lower, upper, liquidity)
    # The token with the finer grain decides, the other is offered in excess of its own grain.
    if root >= 1 << 96:
        amount0 += 1
    else:
        amount1 += 1
    return Position(lower_tick, upper_tick, amount0, amount1), liquidity_for_amounts(
        root, lower, upper, amount0, amount1
    )
