"""From a float optimum to exact integers: what is finally sent, bit for bit what the contracts compute.

Where a token on the way has few decimals, one unit of it is worth many units of the start token, and the profit as
a function of the input is a staircase: within a step more input buys nothing. So ``staircase`` searches over the
amount of the coarsest token of the path (the *pivot*), each with the smallest input that yields it, which
``quote_out`` gives backwards. Costs that depend on the trade (gas of crossed ticks, a loan's fee) are part of
what is maximised, so the optimum is that of what is left.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ouro.protocols.base import Family, QuoteError
from ouro.types import BlockContext

DEFAULT_QUOTES = 120
PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class ExactHop:
    """One direction through one pool at one state.

    ``tax_in_ppm``: what the token keeps of a transfer into this pool; the pool receives the amount minus it.
    """

    family: Family
    state: Any
    i: int
    j: int
    tax_in_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Costs:
    """What a trade costs beside the pools' own fees, in the start token's smallest unit.

    ``per_gas``: price of one unit of gas (gas price over the start token's native value); ``overhead_gas``: of the
    transaction itself; ``fixed_wei``: the data fee that a rollup pays on its base chain, or a relay's fee;
    ``loan_ppm``: a flash loan's fee on the input.
    """

    per_gas: float = 0.0
    overhead_gas: int = 0
    fixed_wei: int = 0
    loan_ppm: int = 0

    def total_wei(self, amount_in_wei: int, gas_units: int) -> int:
        """Costs of a trade, rounded against the trader."""
        loan = -(-amount_in_wei * self.loan_ppm // PPM)
        return loan + self.fixed_wei + math.ceil(self.per_gas * (self.overhead_gas + gas_units))


NO_COSTS = Costs()


@dataclass(frozen=True, slots=True)
class ExactCycle:
    """``amounts_wei[k]`` is sent into hop k, the last one comes back; each is the exact output of the hop before.

    ``gas_units`` is the sum of the hops' quotes, ``quotes`` the number of exact quotes that it took, ``cost_wei``
    what ``Costs`` say.
    """

    amounts_wei: tuple[int, ...]
    gas_units: int
    quotes: int
    cost_wei: int = 0

    @property
    def profit_wei(self) -> int:
        """What comes back beyond what went in, before costs."""
        return self.amounts_wei[-1] - self.amounts_wei[0]

    @property
    def net_wei(self) -> int:
        """What is left after costs."""
        return self.profit_wei - self.cost_wei


_HAIRS = (53, 49, 45, 41, 37, 33, 29, 26, 23, 20, 17)
"""Shares of an input, as powers of two, that are tried on top of it."""
_EXACT_ENOUGH = 46


class OutOfQuotesError(Exception):
    """The budget of exact quotes is used up."""


class Quotes:
    """Exact quotes of a path: counted, remembered, and the best closed path that was seen."""

    def __init__(self, hops: Sequence[ExactHop], context: BlockContext, budget: int, costs: Costs) -> None:
        self.hops = hops
        self._context = context
        self._costs = costs
        self._kept = 2 * len(hops)
        self._budget = budget - self._kept
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._nets: dict[tuple[int, int], int] = {}
        self.used = 0
        self.best: tuple[int, ...] | None = None
        self.best_net = 0
        self.best_gas = 0
        self._best_estimate = 0
        self._best_input_wei = 0
        self._best_pivot = (0, 0)

    def _count(self) -> None:
        if self.used >= self._budget:
            raise OutOfQuotesError
        self.used += 1

    def output(self, hop: int, sent_wei: int) -> tuple[int, int]:
        """Output and gas of a hop when ``sent_wei`` is sent to its pool."""
        key = (hop, sent_wei)
        if key not in self._known:
            self._count()
            step = self.hops[hop]
            arriving = sent_wei - -(-sent_wei * step.tax_in_ppm // PPM)
            quote = step.family.quote_in(step.state, step.i, step.j, arriving, self._context)
            self._known[key] = (quote.amount_out_wei, quote.gas)
        return self._known[key]

    def need(self, hop: int, amount_out_wei: int) -> tuple[int, int]:
        """What must be sent to a hop's pool for ``amount_out_wei``, by the family's exact-out quote, and its
        gas."""
        self._count()
        step = self.hops[hop]
        quote = step.family.quote_out(step.state, step.i, step.j, amount_out_wei, self._context)
        if not step.tax_in_ppm:
            return quote.amount_in_wei, quote.gas
        return -(-quote.amount_in_wei * PPM // (PPM - step.tax_in_ppm)) + 1, quote.gas

    def forward(self, amount_in_wei: int) -> tuple[tuple[int, ...], QuoteError | None]:
        """Amounts of the path; shorter than it, with the error, where a pool gives nothing or can't. Keeps the
        best."""
        amounts = [amount_in_wei]
        gas = 0
        for hop in range(len(self.hops)):
            if amounts[-1] <= 0:
                return tuple(amounts), None
            try:
                amount_out, hop_gas = self.output(hop, amounts[-1])
            except QuoteError as error:
                return tuple(amounts), error
            amounts.append(amount_out)
            gas += hop_gas
        net = amounts[-1] - amounts[0] - self._costs.total_wei(amounts[0], gas)
        if net > self.best_net:
            self.best, self.best_net, self.best_gas = tuple(amounts), net, gas
        return tuple(amounts), None

    def at(self, pivot: int, amount_wei: int) -> int | None:
        """What is left when ``amount_wei`` leaves position ``pivot`` for its smallest input; None if it can't.

        The input of the best is kept for ``settle``: hops before the pivot may bring more than asked, never less.
        """
        key = (pivot, amount_wei)
        if key in self._nets or amount_wei <= 0:
            return self._nets.get(key)
        needed = output = amount_wei
        gas = 0
        try:
            for hop in range(pivot - 1, -1, -1):
                needed, hop_gas = self.need(hop, needed)
                gas += hop_gas
            for hop in range(pivot, len(self.hops)):
                if output <= 0:
                    return None
                output, hop_gas = self.output(hop, output)
                gas += hop_gas
        except QuoteError:
            return None
        net = self._nets[key] = output - needed - self._costs.total_wei(needed, gas)
        if net > self._best_estimate:
            self._best_estimate, self._best_input_wei, self._best_pivot = net, needed, (pivot, amount_wei)
        return net

    def settle(self) -> None:
        """Make the best that ``at`` saw a real path, with quotes that were kept for it."""
        self._budget += self._kept
        with contextlib.suppress(OutOfQuotesError):
            if self._best_estimate > self.best_net:
                self._realise(self._best_input_wei)
            if self.best is not None:
                # routers' exact-out quotes round up by up to one unit, which buys nothing
                self.forward(self.best[0] - 1)

    def _realise(self, amount_in_wei: int) -> None:
        """The path of an estimate. A power's margin of error counts on both ways: an input that a pool asks for an
        output may fall short of it by a hair, or be more than it takes; where the output is coarse, short is a
        whole unit. The least input that buys it is looked for."""
        low = high = amount_in_wei
        reached = self._reaches(amount_in_wei)
        for shift in _HAIRS:
            hair = (amount_in_wei >> shift) + 1
            if reached:
                high, low = low, amount_in_wei - hair
                if low <= 0 or not self._reaches(low):
                    break
            else:
                low, high = high, amount_in_wei + hair
                if self._reaches(high):
                    break
        else:
            return
        low = max(low, 0)
        while high - low > max(1, high >> _EXACT_ENOUGH):
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(middle) else (middle, high)

    def _reaches(self, amount_in_wei: int) -> bool:
        pivot, wanted = self._best_pivot
        amounts, _ = self.forward(amount_in_wei)
        return len(amounts) > pivot and amounts[pivot] >= wanted

    def result(self) -> ExactCycle | None:
        """The best path that was seen, or None."""
        if self.best is None:
            return None
        cost = self.best[-1] - self.best[0] - self.best_net
        return ExactCycle(self.best, self.best_gas, self.used, cost)


def finish(
    hops: Sequence[ExactHop],
    amount_in: float,
    context: BlockContext,
    *,
    expected_profit: float = 0.0,
    max_quotes: int = DEFAULT_QUOTES,
    costs: Costs = NO_COSTS,
) -> ExactCycle | None:
    """Exact amounts near the float optimum ``amount_in``; None where nothing is left after ``costs``.

    ``expected_profit`` is the float profit there, before costs; it tells how flat the optimum is, and where
    the exact quotes disagree with it the segments were only an approximation and the search brackets anew. At most
    ``max_quotes`` exact quotes are made; fewer than three per hop can't find anything. Where all families of the
    path quote compiled, so does the search; it takes the same steps.
    """
    from ouro.strategies.compiled import Verdict, finish_compiled
    from ouro.strategies.staircase import search

    if not (math.isfinite(amount_in) and amount_in >= 0.0) or not hops:
        return None
    verdict = finish_compiled(hops, amount_in, context, expected_profit, max_quotes, costs)
    if not isinstance(verdict, Verdict):
        return verdict
    if verdict is Verdict.NOTHING:
        return None
    quotes = Quotes(hops, context, max_quotes, costs)
    with contextlib.suppress(OutOfQuotesError):
        search(quotes, max(1, int(amount_in)), expected_profit)
    quotes.settle()
    return quotes.result()
