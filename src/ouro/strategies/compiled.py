"""The exact finish of one path by the compiled search, where every family of the path has an exact header."""

from collections.abc import Sequence
from enum import Enum, auto

import numpy as np

from ouro.protocols.base import QuoteError
from ouro.protocols.kernels.concentrated import HEADER
from ouro.protocols.quotes import from_limbs
from ouro.search.sizing import MAX_HOPS
from ouro.strategies.exact import Costs, ExactCycle, ExactHop
from ouro.strategies.kernels.finish import ELSEWHERE, FOUND, finish_one, finish_scratch
from ouro.types import BlockContext

_PATH = np.arange(MAX_HOPS, dtype=np.int32)


class Verdict(Enum):
    """Why there are no amounts."""

    NOTHING = auto()
    ELSEWHERE = auto()


def finish_compiled(
    hops: Sequence[ExactHop],
    amount_in: float,
    context: BlockContext,
    expected_profit: float,
    max_quotes: int,
    costs: Costs,
) -> ExactCycle | Verdict:
    """As ``exact.finish``; ``ELSEWHERE`` where a hop has a tax or no header, or the kernel knows no such shape.

    The amounts are quoted once more by the families themselves, which also tells the gas.
    """
    steps = max_quotes // len(hops) - 2
    if steps < 1:
        return Verdict.NOTHING
    if len(hops) > MAX_HOPS or any(hop.tax_in_ppm for hop in hops):
        return Verdict.ELSEWHERE
    now = context.timestamp
    headers = [hop.family.exact_header(hop.family.at(hop.state, now), hop.i, hop.j) for hop in hops]
    if any(header is None for header in headers):
        return Verdict.ELSEWHERE
    limbs = b"".join(header.limbs for header in headers if header is not None)
    rows = np.frombuffer(limbs, dtype=np.uint64).reshape(-1, HEADER)
    scratch = finish_scratch()
    verdict, tried = finish_one(
        rows, len(hops), amount_in, expected_profit, costs.loan_ppm, costs.per_gas, steps, _PATH, scratch
    )
    if verdict == ELSEWHERE:
        return Verdict.ELSEWHERE
    if verdict != FOUND:
        return Verdict.NOTHING
    amounts = tuple(from_limbs(scratch[1, : len(hops) + 1]))
    gas = 0
    try:
        for hop, sent, received in zip(hops, amounts, amounts[1:], strict=False):
            quote = hop.family.quote_in(hop.state, hop.i, hop.j, sent, context)
            if quote.amount_out_wei != received:
                return Verdict.ELSEWHERE
            gas += quote.gas
    except QuoteError:
        return Verdict.ELSEWHERE
    cost = costs.total_wei(amounts[0], gas)
    cycle = ExactCycle(amounts, gas, (int(tried) + 2) * len(hops), cost)
    return cycle if cycle.net_wei > 0 else Verdict.NOTHING
