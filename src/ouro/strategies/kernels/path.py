# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
# (Numba's decorators change the signatures that the type checker sees.)
"""Exact quotes of a closed path in both directions, and what is left of it after a loan's fee and the gas of ticks.

Hops are headers of ``protocols.kernels``; amounts are 256-bit integers. What is left is biased by 2^200, so that
losses compare as unsigned integers too.
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.book import MAX_RESERVE_BITS, quote_edge
from ouro.protocols.kernels.concentrated import (
    CONCENTRATED,
    CONSTANT_PRODUCT,
    DONE,
    EXHAUSTED,
    REFUSED,
    ROW,
    exact_in,
    exact_out,
    kind_of,
    limb,
)
from ouro.protocols.kernels.wide import (
    bit_length,
    ceil_div,
    float_to256,
    load64,
    load128,
    load256,
    store,
    to256,
    to_float,
)
from ouro.protocols.uniswap_v3 import GAS_PER_TICK, GAS_PER_WORD

_BIAS_BITS = 200
_PPM = 1_000_000


@njit(cache=True, nogil=True)
def hop_header(headers: int, stride: int, path: Any, hop: int) -> Any:
    """Address of a hop's header."""
    return limb(headers, path[hop] * stride)


@njit(cache=True, nogil=True)
def need(header: int, amount_out: Any) -> Any:
    """(status, input): what gives at least ``amount_out``, as little as the family's exact-out rule tells."""
    kind = kind_of(header)
    zero = amount_out - amount_out
    if amount_out == zero:
        return REFUSED, zero
    if kind == CONSTANT_PRODUCT:
        reserve_out = to256(load128(limb(header, 8)))
        kept = np.uint64(_PPM) - load64(limb(header, 4))
        if amount_out >= reserve_out or kept == np.uint64(0):
            return REFUSED, zero
        reserve_in = to256(load128(limb(header, 6)))
        numerator = reserve_in * to256(np.uint64(_PPM)) * amount_out
        amount_in = ceil_div(numerator, (reserve_out - amount_out) * to256(kept))
        if bit_length(amount_in) > MAX_RESERVE_BITS or bit_length(reserve_in + amount_in) > MAX_RESERVE_BITS:
            return REFUSED, zero
        return DONE, amount_in
    if kind == CONCENTRATED:
        if bit_length(amount_out) > 128:
            return REFUSED, zero
        status, _, amount_in, _, _, _, _ = exact_out(header, amount_out)
        return status, amount_in
    return REFUSED, zero


@njit(cache=True, nogil=True)
def most_in(header: int, amount_in: Any) -> Any:
    """How much of ``amount_in`` the pool takes before its liquidity ends; 0 where that is not why it refuses."""
    zero = amount_in - amount_in
    if kind_of(header) != CONCENTRATED or bit_length(amount_in) > 255:
        return zero
    status, left, _, _, _, _, _ = exact_in(header, amount_in)
    return amount_in - left if status == EXHAUSTED else zero


@njit(cache=True, nogil=True)
def gas_of_ticks(header: int, amount_in: Any) -> int:
    """Gas beyond a swap that stays in its range: ticks crossed and bitmap words passed."""
    if kind_of(header) != CONCENTRATED:
        return 0
    _, _, _, passed, _, _, _ = exact_in(header, amount_in)
    first = np.int64(load64(limb(header, 3)))
    if passed <= first:
        return 0
    table = load64(limb(header, 1))
    before = load64(limb(table, first * ROW + 14))
    crossed = np.int64(load64(limb(table, passed * ROW + 14)) - before)
    return crossed * GAS_PER_TICK + (passed - first - crossed) * GAS_PER_WORD


@njit(cache=True, nogil=True)
def left_over(first: Any, last: Any, loan_ppm: int) -> Any:
    """Biased ``last - first - loan fee``."""
    left = (to256(np.uint64(1)) << _BIAS_BITS) + last - first
    if loan_ppm > 0:
        left -= ceil_div(first * to256(np.uint64(loan_ppm)), to256(np.uint64(_PPM)))
    return left


@njit(cache=True, nogil=True)
def as_float(left: Any) -> float:
    """What is left as a signed float."""
    bias = to256(np.uint64(1)) << _BIAS_BITS
    return to_float(left - bias) if left >= bias else -to_float(bias - left)


@njit(cache=True, nogil=True)
def forward(headers: int, stride: int, path: Any, n_hops: int, amounts: int) -> Any:
    """(status, hops done): fill positions 1 … of ``amounts`` (an address, 4 limbs each) from position 0."""
    for hop in range(n_hops):
        status, out = quote_edge(hop_header(headers, stride, path, hop), load256(limb(amounts, 4 * hop)))
        if status != DONE:
            return status, hop
        if out == out - out:
            # a concentrated pool takes an input that buys nothing
            return REFUSED, hop
        store(limb(amounts, 4 * hop + 4), out)
    return DONE, n_hops


@njit(cache=True, nogil=True)
def at(
    headers: int, stride: int, path: Any, n_hops: int, pivot: int, amount: Any, loan_ppm: int, per_gas: float
) -> Any:
    """(possible, what is left, input) when ``amount`` leaves position ``pivot`` for its smallest input."""
    needed = amount
    gas = 0
    for back in range(pivot):
        header = hop_header(headers, stride, path, pivot - 1 - back)
        status, needed = need(header, needed)
        if status != DONE:
            return False, needed, needed
        if per_gas > 0.0:
            gas += gas_of_ticks(header, needed)
    output = amount
    for hop in range(pivot, n_hops):
        header = hop_header(headers, stride, path, hop)
        if per_gas > 0.0:
            gas += gas_of_ticks(header, output)
        status, output = quote_edge(header, output)
        if status != DONE:
            return False, output, needed
    left = left_over(needed, output, loan_ppm)
    if gas > 0:
        left -= float_to256(per_gas * gas)
    return True, left, needed
