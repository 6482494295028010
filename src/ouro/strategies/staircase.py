"""The search for the best integer amounts near a float optimum, by exact quotes alone.

Three shapes occur over the amounts of the coarsest token of a path. Smooth: climb and look at the neighbours that
rounding could prefer. A saw: a pool that takes its fee from a coarse input rounds it up, so the profit rises
slowly for 1/fee units and then falls by nearly one; the best tooth and its point are found by steps of one
tooth. And a curve whose segments were an approximation: bracketed on a grid over decades first.
"""

import math
from typing import Any

from ouro.strategies.exact import PPM, Quotes

_ROUNDING_WEI = 4.0
_FEW = 2
_GRID = 5
_DISAGREE = 1e-7
_GOLDEN = 0.381966011250105
_PRECISION = 1e-7
_NARROW_STEPS = 40


def search(quotes: Quotes, amount_in_wei: int, expected_profit: float) -> None:
    """Look for the best path; what was best is kept in ``quotes``. Raises ``OutOfQuotesError`` from it."""
    n_hops = len(quotes.hops)
    amounts = _start(quotes, amount_in_wei)
    if len(amounts) <= n_hops or amounts[-1] <= 0:
        # one unit of what this hop gives is worth more than the float optimum
        pivot, start = min(len(amounts), n_hops), 1
    else:
        pivot = min(range(1, len(amounts)), key=amounts.__getitem__)
        start = amounts[pivot]
    unit_worth = amounts[0] / start
    if len(amounts) > n_hops and _disagrees(amounts, expected_profit, unit_worth):
        start = _bracket(quotes, pivot, start)
        peak = _narrow(quotes, pivot, max(1, start // 2), start * 2)
        _scan(quotes, pivot, peak, _FEW)
        return
    quotes.at(pivot, start)
    if unit_worth <= 1.0:
        return
    peak = _climb(quotes, pivot, start)
    peak = _best_tooth(quotes, pivot, peak, unit_worth, amount_in_wei, expected_profit)
    window = _window(amount_in_wei, expected_profit, unit_worth, _ROUNDING_WEI)
    _scan(quotes, pivot, peak, max(_FEW, window))


def _start(quotes: Quotes, amount_in_wei: int) -> tuple[int, ...]:
    """Exact amounts at the float optimum; where that lies a rounding beyond what a pool has, at what it has."""
    amounts, error = quotes.forward(amount_in_wei)
    if error is None or not error.partial_in:
        return amounts
    hop = len(amounts) - 1
    most = error.partial_in
    if hop == 0:
        full, _ = quotes.forward(most)
    else:
        # at the pool's end exactly: the last unit that the hops before can bring without going beyond
        needed = most
        for before in range(hop - 1, -1, -1):
            needed, _ = quotes.need(before, needed)
        full, error = quotes.forward(needed)
        shave = 1
        while error is not None and shave < needed and shave < 1 << 40:
            full, error = quotes.forward(needed - shave)
            shave *= 8
    return full if len(full) > len(amounts) else quotes.forward(amount_in_wei - max(1, amount_in_wei >> 30))[0]


def _disagrees(amounts: tuple[int, ...], expected_profit: float, unit_worth: float) -> bool:
    found = amounts[-1] - amounts[0]
    rounding = 30.0 * unit_worth + 1e-12 * amounts[0] + 10.0
    return expected_profit > 0.0 and abs(found - expected_profit) > _DISAGREE * expected_profit + rounding


def _bracket(quotes: Quotes, pivot: int, start: int) -> int:
    """The best of a grid of powers of two around ``start``."""
    grid = {max(1, start << k if k >= 0 else start >> -k) for k in range(-_GRID, _GRID + 1)}
    known = [(net, amount) for amount in sorted(grid) if (net := quotes.at(pivot, amount)) is not None]
    return max(known)[1] if known else start


def _narrow(quotes: Quotes, pivot: int, low: int, high: int) -> int:
    """Parabolic steps, golden ones where those fail (Brent), over the pivot's amount between two bounds.

    The profit is flat at its top, so an amount that is right to 1e-6 is right to about 1e-12 in money.
    """

    def net(amount: int) -> int:
        found = quotes.at(pivot, amount)
        return -(1 << 255) if found is None else found

    best = low + int(_GOLDEN * (high - low))
    second = third = best
    top = second_net = third_net = net(best)
    last = before_last = high - low
    for _ in range(_NARROW_STEPS):
        middle = (low + high) // 2
        if high - low <= max(4, int(_PRECISION * best)):
            break
        p = q = 0.0
        if before_last > 4:
            r = float(best - second) * float(third_net - top)
            q = float(best - third) * float(second_net - top)
            p = float(best - third) * q - float(best - second) * r
            q = 2.0 * (q - r)
            p, q = (-p, q) if q > 0 else (p, -q)
        move = int(p / q) if q else 0
        inside = low < best + move < high and abs(move) < before_last // 2
        if not move or not inside or top == -(1 << 255):
            before_last = high - best if best < middle else low - best
            move = int(_GOLDEN * before_last)
            before_last = abs(before_last)
        else:
            before_last = last
        last = abs(move)
        least = max(1, int(_PRECISION * best))
        trial = best + (move if last >= least else least if move > 0 else -least)
        found = net(trial)
        if found >= top:
            low, high = (best, high) if trial >= best else (low, best)
            third, third_net, second, second_net, best, top = second, second_net, best, top, trial, found
        else:
            low, high = (trial, high) if trial < best else (low, trial)
            if found >= second_net or second == best:
                third, third_net, second, second_net = second, second_net, trial, found
            elif found >= third_net or third in (best, second):
                third, third_net = trial, found
    return best


def _climb(quotes: Quotes, pivot: int, start: int) -> int:
    """Walk uphill over the pivot's amount with steps that double while they pay, then shrink to one."""
    for direction in (1, -1):
        there = _climb_one_way(quotes, pivot, start, direction)
        if there != start:
            return there
    return start


def _climb_one_way(quotes: Quotes, pivot: int, at: int, direction: int) -> int:
    step = 1
    best = quotes.at(pivot, at)
    rising = True
    while step:
        there = quotes.at(pivot, at + direction * step)
        if there is not None and (best is None or there > best):
            at, best = at + direction * step, there
            step = step * 2 if rising else step >> 1
        else:
            rising = False
            step >>= 1
    return at


def _best_tooth(
    quotes: Quotes, pivot: int, peak: int, unit_worth: float, amount_in_wei: int, expected_profit: float
) -> int:
    """From the peak of one tooth to that of the best; ``peak`` itself where there are no teeth.

    Peaks of teeth differ by the curve's loss and by the part of a unit that the fee leaves over, which at a peak is
    below the fee's share of a unit: that bounds how far away a better tooth can be.
    """
    if pivot >= len(quotes.hops):
        return peak
    fee = _fee_of(quotes.hops[pivot].state)
    top, beyond = quotes.at(pivot, peak), quotes.at(pivot, peak + 1)
    if not fee or top is None or beyond is None or top - beyond < 0.5 * unit_worth:
        return peak
    period = 1.0 / fee
    bases = (peak, 1)

    def tooth(number: int) -> tuple[int, int]:
        shift = number * period
        found = [(-1 << 255, peak)]
        for amount in {bases[0] + math.floor(shift), bases[0] + math.ceil(shift)}:
            net = quotes.at(pivot, amount)
            if net is not None:
                found.append((net, amount))
        return max(found)

    best, best_amount, number = top, peak, 0
    for direction in (1, -1):
        step, rising, moved = 1, True, False
        while step:
            net, amount = tooth(number + direction * step)
            if net > best:
                best, best_amount, number, moved = net, amount, number + direction * step, True
                step = step * 2 if rising else step >> 1
            else:
                rising = False
                step >>= 1
        if moved:
            break
    reach = _window(amount_in_wei, expected_profit, unit_worth, unit_worth * fee)
    home = number
    for away in range(2, 2 + int(reach / period)):
        for where in (home + away, home - away):
            net, amount = tooth(where)
            if net > best:
                best, best_amount = net, amount
    return best_amount


def _fee_of(state: Any) -> float:
    """The share of an input that a pool takes, as exactly as it knows it; 0.0 where no state tells one."""
    if (swap_fee := getattr(state, "swap_fee", None)) is not None:
        return swap_fee / 10**18
    return getattr(state, "fee_ppm", 0) / PPM


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


def _scan(quotes: Quotes, pivot: int, centre: int, window: int) -> None:
    for offset in range(1, window + 1):
        quotes.at(pivot, centre + offset)
        quotes.at(pivot, centre - offset)
