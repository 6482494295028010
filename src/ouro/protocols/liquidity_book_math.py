"""Liquidity Book (LFJ, v2.1 and v2.2) in integers: bin prices, fees that follow volatility, swaps bin by bin.

Source: the Liquidity Book white paper and documentation (constant-sum bins ``p·x + y``, price ``(1 + step)^(id -
2^23)`` in 128.128 fixed point; base fee plus a fee that grows with the square of the bins moved lately).
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from ouro.protocols.base import QuoteError

FEE_UNIT = 10**18
MAX_FEE = 10**17
BPS = 10_000
CENTRE = 1 << 23
MAX_ID = (1 << 24) - 1
MAX_EXPONENT = 1 << 20
"""The contract's power takes 21 bits; where the 21st is set no price of a real step fits 128.128 any more."""
MAX_AMOUNT = (1 << 128) - 1
_U256 = (1 << 256) - 1
_SCALE = 1 << 128


class FeeParameters(NamedTuple):
    """Set by the factory, in the order of ``StaticFeeParametersSet``: periods in seconds, shares of 10,000."""

    base_factor: int
    filter_period: int
    decay_period: int
    reduction_factor: int
    variable_fee_control: int
    protocol_share: int
    max_volatility: int


class Volatility(NamedTuple):
    """What the variable fee remembers: accumulator, reference, the bin that distances count from, since when."""

    accumulator: int
    reference: int
    id_reference: int
    updated: int


@lru_cache(maxsize=1 << 16)
def price_of(bin_id: int, bin_step: int) -> int:
    """Y per X of a bin, 128.128, by the contract's squarings. Raises ``QuoteError`` where there is none."""
    exponent = bin_id - CENTRE
    if not exponent:
        return _SCALE
    if abs(exponent) >= MAX_EXPONENT:
        raise QuoteError(f"bin {bin_id} has no price")
    base = _SCALE + (bin_step << 128) // BPS
    inverted = exponent < 0
    if base >= _SCALE:  # powers of what is below one stay within 128 bits
        base, inverted = _U256 // base, not inverted
    result, left = _SCALE, abs(exponent)
    while left:
        if left & 1:
            result = result * base >> 128
        base = base * base >> 128
        left >>= 1
    if not result:
        raise QuoteError(f"bin {bin_id} has no price")
    return _U256 // result if inverted else result


def at_time(fees: FeeParameters, volatility: Volatility, active_id: int, now: int) -> Volatility:
    """References as the first swap at ``now`` sets them: kept for the filter period, then decayed, then none."""
    elapsed = now - volatility.updated
    if elapsed < fees.filter_period:
        return volatility._replace(updated=now)
    kept = volatility.accumulator * fees.reduction_factor // BPS if elapsed < fees.decay_period else 0
    return volatility._replace(reference=kept, id_reference=active_id, updated=now)


def in_bin(fees: FeeParameters, volatility: Volatility, bin_id: int) -> Volatility:
    """The accumulator while the swap is in ``bin_id``."""
    reached = volatility.reference + abs(bin_id - volatility.id_reference) * BPS
    return volatility._replace(accumulator=min(reached, fees.max_volatility))


def total_fee(fees: FeeParameters, bin_step: int, accumulator: int) -> int:
    """Of 10^18. Raises ``QuoteError`` where the pair reverts."""
    base = fees.base_factor * bin_step * 10**10
    swing = accumulator * bin_step
    variable = (swing * swing * fees.variable_fee_control + 99) // 100 if fees.variable_fee_control else 0
    if base + variable > MAX_FEE:
        raise QuoteError("the fee would be above a tenth: the pair refuses it")
    return base + variable


def fee_on_top(net: int, fee: int) -> int:
    """What has to be added to ``net`` so that it is left after the fee."""
    return -(-net * fee // (FEE_UNIT - fee))


def fee_within(gross: int, fee: int) -> int:
    """The fee inside ``gross``, rounded up."""
    return -(-gross * fee // FEE_UNIT)


def net_for(out: int, price: int, swap_for_y: bool) -> int:
    """The input without fee that buys ``out`` of a bin, rounded up."""
    return -(-(out << 128) // price) if swap_for_y else -(-out * price >> 128)


def out_for(net: int, price: int, swap_for_y: bool) -> int:
    """What an input without fee buys, rounded down."""
    return net * price >> 128 if swap_for_y else (net << 128) // price


class BinStep(NamedTuple):
    """One bin as a swap finds it: what empties it (fee included), the fee in that, and what it then gives."""

    bin_id: int
    price: int
    fee: int
    accumulator: int
    gross: int
    fee_wei: int
    out: int


class Filled(NamedTuple):
    """What a swap did in one bin."""

    bin_id: int
    gross: int
    out: int
    protocol_fee: int
    accumulator: int


def steps(
    bins: Mapping[int, tuple[int, int]],
    ids: Iterable[int],
    fees: FeeParameters,
    volatility: Volatility,
    bin_step: int,
    swap_for_y: bool,
) -> Iterator[BinStep]:
    """The bins that a swap goes through in order; ``ids`` begin with the active one. Empty ones are passed over."""
    for bin_id in ids:
        held = bins.get(bin_id, (0, 0))
        out = held[1] if swap_for_y else held[0]
        if not out:
            continue
        accumulator = in_bin(fees, volatility, bin_id).accumulator
        fee = total_fee(fees, bin_step, accumulator)
        price = price_of(bin_id, bin_step)
        net = net_for(out, price, swap_for_y)
        charged = fee_on_top(net, fee)
        gross = net + charged
        if gross > MAX_AMOUNT:
            raise QuoteError("the amount would leave 128 bits")
        yield BinStep(bin_id, price, fee, accumulator, gross, charged, out)


def within(step: BinStep, gross: int, swap_for_y: bool) -> int:
    """What less than the bin's whole input buys."""
    return min(out_for(gross - fee_within(gross, step.fee), step.price, swap_for_y), step.out)


def least_within(step: BinStep, out: int, swap_for_y: bool) -> int:
    """The least input that buys ``out``, at most all, of a bin."""
    if out >= step.out:
        return step.gross
    net = net_for(out, step.price, swap_for_y)
    gross = net + fee_on_top(net, step.fee)
    while gross > 0 and within(step, gross - 1, swap_for_y) >= out:
        gross -= 1
    while within(step, gross, swap_for_y) < out:
        gross += 1
    return gross


def filled(step: BinStep, gross: int, out: int, protocol_share: int) -> Filled:
    """A swap's part in a bin, with the protocol's share of its fee."""
    paid = step.fee_wei if gross == step.gross else fee_within(gross, step.fee)
    return Filled(step.bin_id, gross, out, paid * protocol_share // BPS, step.accumulator)
