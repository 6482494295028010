# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
# (Numba's decorators change the signatures that the type checker sees.)
"""Exact quotes over arrays: one header per directed edge, amounts as little-endian limbs.

``headers`` has shape (n, HEADER), ``amounts`` and the results shape (m, 4), all uint64 and C-contiguous. The tables
that headers point to must stay alive; ``ouro.protocols.quotes.QuoteBook`` sees to that.
"""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.balancer_stable import stable_curve_in
from ouro.protocols.kernels.bins import BINS, bins_in
from ouro.protocols.kernels.concentrated import (
    BALANCER_STABLE,
    CONCENTRATED,
    CONSTANT_PRODUCT,
    DONE,
    EXHAUSTED,
    RATIO,
    REFUSED,
    STABLE,
    VOLATILE,
    WEIGHTED,
    exact_in,
    kind_of,
    limb,
)
from ouro.protocols.kernels.crypto import CRYPTO, crypto_in
from ouro.protocols.kernels.ratio import ratio_in
from ouro.protocols.kernels.solidly import stable_in, volatile_in
from ouro.protocols.kernels.stableswap import STABLESWAP, stableswap_in
from ouro.protocols.kernels.ticks import sqrt_ratio_at_tick
from ouro.protocols.kernels.weighted import weighted_in
from ouro.protocols.kernels.wide import (
    bit_length,
    floor_div,
    load64,
    load128,
    load256,
    store,
    to192,
    to256,
)

MAX_RESERVE_BITS = 112


@njit(cache=True, nogil=True)
def constant_product_in(header: int, amount: Any) -> Any:
    """(status, output) of a pair: header limbs 4 fee, 6-7 reserve in, 8-9 reserve out."""
    reserve_in = to256(load128(limb(header, 6)))
    zero = amount - amount
    if bit_length(amount) > MAX_RESERVE_BITS or bit_length(reserve_in + amount) > MAX_RESERVE_BITS:
        return REFUSED, zero
    kept = np.uint64(1_000_000) - load64(limb(header, 4))
    net = to192(amount) * to192(to256(kept))
    reserve_out = load128(limb(header, 8))
    divisor = to192(reserve_in) * to192(to256(np.uint64(1_000_000))) + net
    out = floor_div(to256(net) * to256(reserve_out), to256(divisor))
    return (REFUSED if out == zero else DONE), out


@njit(cache=True, nogil=True)
def quote_edge(header: int, amount: Any) -> Any:
    """(status, output) of one edge for an exact input. ``EXHAUSTED`` comes with the output of what fits."""
    kind = kind_of(header)
    zero = amount - amount
    if amount == zero:
        return REFUSED, zero
    if kind == CONSTANT_PRODUCT:
        return constant_product_in(header, amount)
    if kind == STABLE:
        return stable_in(header, amount)
    if kind == VOLATILE:
        return volatile_in(header, amount)
    if kind == STABLESWAP:
        return stableswap_in(header, amount)
    if kind == BINS:
        return bins_in(header, amount)
    if kind == WEIGHTED:
        return weighted_in(header, amount)
    if kind == RATIO:
        return ratio_in(header, amount)
    if kind == CRYPTO:
        return crypto_in(header, amount)
    if kind == BALANCER_STABLE:
        return stable_curve_in(header, amount)
    if kind == CONCENTRATED:
        if bit_length(amount) > 255:
            return REFUSED, zero
        status, _, out, _, _, _, _ = exact_in(header, amount)
        return (EXHAUSTED if status == EXHAUSTED else DONE), out
    return REFUSED, zero


@njit(cache=True, nogil=True)
def quote_many(
    headers: np.ndarray, edges: np.ndarray, amounts: np.ndarray, outs: np.ndarray, statuses: np.ndarray
) -> None:
    """``outs[k]``, ``statuses[k]``: exact output of ``amounts[k]`` through edge ``edges[k]``."""
    base = np.uint64(headers.ctypes.data)
    stride = headers.shape[1]
    amount_base = np.uint64(amounts.ctypes.data)
    out_base = np.uint64(outs.ctypes.data)
    for k in range(len(edges)):
        status, out = quote_edge(limb(base, edges[k] * stride), load256(limb(amount_base, 4 * k)))
        store(limb(out_base, 4 * k), out)
        statuses[k] = status


@njit(cache=True, nogil=True)
def quote_path(headers: np.ndarray, edges: np.ndarray, n_hops: int, amounts: np.ndarray) -> int:
    """Exact amounts along a path: ``amounts[0]`` goes in, ``amounts[k + 1]`` comes out of hop k.

    Returns the number of hops that could be done in full.
    """
    base = np.uint64(headers.ctypes.data)
    stride = headers.shape[1]
    amount_base = np.uint64(amounts.ctypes.data)
    for hop in range(n_hops):
        amount = load256(limb(amount_base, 4 * hop))
        status, out = quote_edge(limb(base, edges[hop] * stride), amount)
        store(limb(amount_base, 4 * hop + 4), out)
        if status != DONE:
            return hop
    return n_hops


@njit(cache=True, nogil=True)
def sqrt_ratios(ticks: np.ndarray, prices: np.ndarray) -> None:
    """``prices[k]`` (4 limbs): sqrt price of ``ticks[k]``, each within the contract's range."""
    base = np.uint64(prices.ctypes.data)
    for k in range(len(ticks)):
        store(limb(base, 4 * k), sqrt_ratio_at_tick(ticks[k]))
