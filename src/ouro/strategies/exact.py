"""From a float optimum to exact integers: what is finally sent, bit for bit what the contracts compute.

Where a token on the way has few decimals, one unit of it is worth many units of the start token, and the profit as
a function of the input is a staircase: within a step more input buys nothing. So the search is over the amount
of the coarsest token of the path (the *pivot*), each with the smallest input that yields it, which ``quote_out``
gives backwards. Around the optimum the profit is flat to within rounding over a window that its curvature gives;
the window is searched as far as the budget of quotes allows.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ouro.protocols.base import Family, QuoteError
from ouro.types import BlockContext

DEFAULT_QUOTES = 40
_ROUNDING_WEI = 4.0
_FEW = 2


@dataclass(frozen=True, slots=True)
class ExactHop:
    """One direction through one pool at one state."""

    family: Family
    state: Any
    i: int
    j: int


@dataclass(frozen=True, slots=True)
class ExactCycle:
    """``amounts_wei[k]`` goes into hop k, the last one comes back; each is the exact output of the hop before.

    ``gas_units`` is the sum of the hops' quotes, ``quotes`` the number of exact quotes that it took.
    """

    amounts_wei: tuple[int, ...]
    gas_units: int
    quotes: int

    @property
    def profit_wei(self) -> int:
        """What comes back beyond what went in."""
        return self.amounts_wei[-1] - self.amounts_wei[0]


class _OutOfQuotesError(Exception):
    """The budget of exact quotes is used up."""


class _Quotes:
    """Exact quotes of a path: counted, remembered, and the best closed path that was seen."""

    def __init__(self, hops: Sequence[ExactHop], context: BlockContext, budget: int) -> None:
        self._hops = hops
        self._context = context
        self._kept = 2 * len(hops)
        self._budget = budget - self._kept
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._profits: dict[int, int] = {}
        self.used = 0
        self.best: tuple[int, ...] | None = None
        self.best_profit = 0
        self.best_gas = 0
        self.best_input_wei = 0
        self._best_estimate = 0

    def _count(self) -> None:
        if self.used >= self._budget:
            raise _OutOfQuotesError
        self.used += 1

    def _out(self, hop: int, amount_wei: int) -> tuple[int, int]:
        key = (hop, amount_wei)
        if key not in self._known:
            self._count()
            step = self._hops[hop]
            quote = step.family.quote_in(step.state, step.i, step.j, amount_wei, self._context)
            self._known[key] = (quote.amount_out_wei, quote.gas)
        return self._known[key]

    def forward(self, amount_in_wei: int) -> tuple[int, ...]:
        """Amounts of the path; shorter than it where a pool gives nothing or can't. Keeps the best."""
        amounts = [amount_in_wei]
        gas = 0
        for hop in range(len(self._hops)):
            if amounts[-1] <= 0:
                return tuple(amounts)
            try:
                amount_out, hop_gas = self._out(hop, amounts[-1])
            except QuoteError:
                return tuple(amounts)
            amounts.append(amount_out)
            gas += hop_gas
        profit = amounts[-1] - amounts[0]
        if profit > self.best_profit:
            self.best, self.best_profit, self.best_gas = tuple(amounts), profit, gas
        return tuple(amounts)

    def at(self, pivot: int, amount_wei: int) -> int | None:
        """Profit when ``amount_wei`` leaves position ``pivot`` and its smallest input was paid; None if it can't.

        ``best_input_wei`` is kept for ``forward``: hops before the pivot may bring more than was asked, never less.
        """
        if amount_wei in self._profits or amount_wei <= 0:
            return self._profits.get(amount_wei)
        need = output = amount_wei
        try:
            for hop in range(pivot - 1, -1, -1):
                self._count()
                step = self._hops[hop]
                need = step.family.quote_out(step.state, step.i, step.j, need, self._context).amount_in_wei
            for hop in range(pivot, len(self._hops)):
                output, _ = self._out(hop, output)
        except QuoteError:
            return None
        profit = self._profits[amount_wei] = output - need
        if profit > self._best_estimate:
            self._best_estimate, self.best_input_wei = profit, need
        return profit

    def settle(self) -> None:
        """Quote the best input that ``at`` met through the whole path, with the quotes kept back for it."""
        self._budget = self.used + self._kept
        if self.best_input_wei:
            self.forward(self.best_input_wei)
        if self.best is not None:
            # routers' exact-out quotes round up by up to one unit, which buys nothing
            self.forward(self.best[0] - 1)


def finish(
    hops: Sequence[ExactHop],
    amount_in: float,
    context: BlockContext,
    *,
    expected_profit: float = 0.0,
    max_quotes: int = DEFAULT_QUOTES,
) -> ExactCycle | None:
    """Exact amounts near the float optimum ``amount_in``; None where nothing with a positive profit was found.

    ``expected_profit`` is the float profit there; it tells how flat the optimum is. At most ``max_quotes`` exact
    quotes are made; fewer than three per hop can't find anything.
    """
    if not (math.isfinite(amount_in) and amount_in >= 0.0) or not hops:
        return None
    quotes = _Quotes(hops, context, max_quotes)
    with contextlib.suppress(_OutOfQuotesError):
        _search(quotes, len(hops), max(1, int(amount_in)), expected_profit)
    quotes.settle()
    if quotes.best is None:
        return None
    return ExactCycle(quotes.best, quotes.best_gas, quotes.used)


def _search(quotes: _Quotes, n_hops: int, amount_in_wei: int, expected_profit: float) -> None:
    amounts = quotes.forward(amount_in_wei)
    if len(amounts) <= n_hops and amounts[-1] > 0:
        # the float optimum can lie a rounding beyond what a pool has
        amounts = quotes.forward(amount_in_wei - max(1, amount_in_wei >> 30))
    if len(amounts) <= n_hops:
        # one unit of what this hop gives is worth more than the float optimum
        pivot, start = len(amounts), 1
    else:
        pivot = min(range(1, len(amounts)), key=amounts.__getitem__)
        start = amounts[pivot]
    unit_worth = amounts[0] / start
    quotes.at(pivot, start)
    if unit_worth <= 1.0:
        return
    peak = _climb(quotes, pivot, start)
    _scan(quotes, pivot, peak, _FEW)
    _other_teeth(quotes, pivot, peak, _window(amount_in_wei, expected_profit, unit_worth, unit_worth))
    _scan(quotes, pivot, peak, _window(amount_in_wei, expected_profit, unit_worth, _ROUNDING_WEI))


def _climb(quotes: _Quotes, pivot: int, start: int) -> int:
    """Walk uphill over the pivot's amount with steps that double while they pay, then shrink to one."""
    for direction in (1, -1):
        there = _climb_one_way(quotes, pivot, start, direction)
        if there != start:
            return there
    return start


def _climb_one_way(quotes: _Quotes, pivot: int, at: int, direction: int) -> int:
    best = quotes.at(pivot, at)
    step = 1
    rising = True
    while step:
        there = quotes.at(pivot, at + direction * step)
        if there is not None and (best is None or there > best):
            at, best = at + direction * step, there
            if not rising:
                step >>= 1
            else:
                step *= 2
        else:
            rising = False
            step >>= 1
    return at


def _other_teeth(quotes: _Quotes, pivot: int, peak: int, window: int) -> None:
    """Compare with the neighbouring peaks where the profit is a saw.

    A fee that is rounded up on a coarse token makes one, with a period of 1/fee units: find the next peak, then
    jump from peak to peak.
    """
    following = _climb_one_way(quotes, pivot, peak + 1, 1)
    period = following - peak
    if period <= 1:
        return
    for count in range(1, 1 + window // period):
        for centre in (following + count * period, peak - count * period):
            for offset in (-1, 0, 1):
                quotes.at(pivot, centre + offset)


def _window(amount_in_wei: int, expected_profit: float, unit_worth: float, noise_wei: float) -> int:
    """Pivot units around the optimum where the profit is within ``noise_wei`` of its top, were there no rounding.

    With a = (1 + profit/x)² the second-order loss of moving the input by d is about d²·c/√a, c = (√a - 1)/x.
    """
    if not (0.0 < expected_profit < math.inf):
        return _FEW
    root = 1.0 + expected_profit / amount_in_wei
    curvature = (root - 1.0) / (amount_in_wei * root)
    if curvature <= 0.0:
        return _FEW
    return int(min(1e6, math.sqrt(noise_wei / curvature) / unit_worth))


def _scan(quotes: _Quotes, pivot: int, centre: int, window: int) -> None:
    for offset in range(1, window + 1):
        quotes.at(pivot, centre + offset)
        quotes.at(pivot, centre - offset)
