"""A second Liquidity Book, written apart from the first: fractions for prices' errors, a plain loop for swaps.

Prices by exact powers of the rounded base (so that ours must lie within the fixed point's own error); a swap takes
units off bins one bin at a time, straight from the white paper's formulas, with its own fee arithmetic.
"""

from fractions import Fraction

ONE = 10**18


def exact_price(bin_id: int, bin_step: int) -> Fraction:
    """(1 + step / 10,000) ^ (id - 2^23), exactly."""
    return (1 + Fraction(bin_step, 10_000)) ** (bin_id - 8_388_608)


def ceil_div(top: int, bottom: int) -> int:
    return (top + bottom - 1) // bottom


class Book:
    """A pair that changes in place."""

    def __init__(self, step: int, active: int, bins: dict[int, list[int]], fees: dict[str, int]) -> None:
        self.step, self.active, self.bins, self.fees = step, active, {k: list(v) for k, v in bins.items()}, fees
        self.accumulator = self.reference = self.home = self.last = 0

    def fee_in(self, bin_id: int) -> int:
        """Total fee of 10^18 in a bin; remembers the accumulator there."""
        moved = bin_id - self.home if bin_id > self.home else self.home - bin_id
        self.accumulator = min(self.reference + 10_000 * moved, self.fees["most"])
        base = self.fees["base"] * self.step * 10_000_000_000
        square = (self.accumulator * self.step) ** 2
        return base + (ceil_div(square * self.fees["control"], 100) if self.fees["control"] else 0)

    def begin(self, now: int) -> None:
        """The first thing of every swap."""
        age = now - self.last
        if age >= self.fees["filter"]:
            self.home = self.active
            if age < self.fees["decay"]:
                self.reference = self.accumulator * self.fees["reduction"] // 10_000
            else:
                self.reference = 0
        self.last = now

    def swap(self, amount: int, x_in: bool, now: int, prices: dict[int, int]) -> int | None:
        """What comes out; None where the liquidity ends. ``prices`` are 128.128 by bin."""
        self.begin(now)
        here, total = self.active, 0
        while True:
            pair = self.bins.get(here)
            side = 1 if x_in else 0
            if pair and pair[side]:
                fee, price = self.fee_in(here), prices[here]
                needed = ceil_div(pair[side] * 2**128, price) if x_in else ceil_div(pair[side] * price, 2**128)
                with_fee = needed + ceil_div(needed * fee, ONE - fee)
                if amount >= with_fee:
                    taken, given, charged = with_fee, pair[side], with_fee - needed
                else:
                    charged = ceil_div(amount * fee, ONE)
                    taken, rest = amount, amount - charged
                    given = min(rest * price // 2**128 if x_in else rest * 2**128 // price, pair[side])
                pair[side] -= given
                pair[1 - side] += taken - charged * self.fees["protocol"] // 10_000
                amount -= taken
                total += given
            if not amount:
                self.active = here
                return total
            further = [k for k, v in self.bins.items() if (k < here if x_in else k > here) and any(v)]
            if not further:
                return None
            here = max(further) if x_in else min(further)
