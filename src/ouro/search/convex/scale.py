"""From a network as it is to one that floating point likes: only what can matter, in units of value.

Every token gets a reference price ν₀ (given, or spread along the deepest pools); an amount counts as ``amount·ν₀``
and the variables are ``w = √(ν/ν₀) - 1``. Reserves from 1 to 1e30 and tokens of 0 to 24 decimals then look the
same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ouro.search.arrays import Bool, Float64, Int32, Int64
from ouro.search.convex.kernels import kept_links, spread_prices
from ouro.search.convex.network import CurveEdge, LinearEdge, Network, WeightedPool

MIN_ROOT = 1e-9
"""Lowest √(ν/ν₀) of a token without a price in one scaling; the next one may go as far again."""

_LEAST_REFERENCE = 1e-200


@dataclass(frozen=True, slots=True)
class Scaled:
    """``token_ids``/``edge_ids`` lead back to the network. ``price`` is c/ν₀, ``floor`` the lowest w.

    ``a, b, lead, cap_x, cap_y`` are per piece, ``start`` per edge, see ``kernels``.
    """

    network: Network
    token_ids: Int64
    reference: Float64
    price: Float64
    floor: Float64
    edge_ids: Int64
    edge_in: Int32
    edge_out: Int32
    start: Int64
    a: Float64
    b: Float64
    lead: Float64
    cap_x: Float64
    cap_y: Float64
    weighted: tuple[WeightedPool, ...]
    linear: tuple[LinearEdge, ...]
    curves: tuple[CurveEdge, ...]

    @property
    def n_tokens(self) -> int:
        """Number of tokens that are left."""
        return len(self.token_ids)

    @property
    def pieces(self) -> tuple[Any, ...]:
        """The arguments that all edge kernels share."""
        return (
            self.edge_in,
            self.edge_out,
            self.start,
            self.a,
            self.b,
            self.lead,
            self.cap_x,
            self.cap_y,
        )


def _checked_prices(network: Network, prices: Float64 | Sequence[float]) -> Float64:
    checked = np.asarray(prices, dtype=np.float64)
    if checked.shape != (network.n_tokens,):
        raise ValueError(f"{checked.shape} prices for {network.n_tokens} tokens: give one per token")
    if not np.all((checked >= 0.0) & (checked < np.inf)):
        bad = int(np.flatnonzero(~((checked >= 0.0) & (checked < np.inf)))[0])
        raise ValueError(f"the price of token {bad} is {checked[bad]}: prices are finite and not negative")
    return checked


def _special_links(network: Network) -> tuple[Int32, Int32, Float64, Float64, Bool]:
    """Special pools as links with the reserves of a product pool of the same price; True where a part of a pool."""
    rows: list[tuple[int, int, float, float, bool]] = []
    for pool in network.weighted:
        hub = pool.reserves[0] / pool.weights[0]
        rest = zip(pool.tokens[1:], pool.reserves[1:], pool.weights[1:], strict=True)
        rows += [(pool.tokens[0], token, hub, reserve / weight, True) for token, reserve, weight in rest]
    rows += [
        (edge.token_in, edge.token_out, edge.cap_in, edge.cap_in * edge.rate, False) for edge in network.linear
    ]
    for curve in network.curves:
        rate = curve.slope(curve.cap_in * 1e-9)
        rows.append((curve.token_in, curve.token_out, curve.cap_in, curve.cap_in * rate, False))
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    return (
        np.array(columns[0], dtype=np.int32),
        np.array(columns[1], dtype=np.int32),
        np.array(columns[2], dtype=np.float64),
        np.array(columns[3], dtype=np.float64),
        np.array(columns[4], dtype=np.bool_),
    )


def scaled(network: Network, prices: Float64 | Sequence[float], reference: Float64 | None = None) -> Scaled:
    """The part of ``network`` that can matter at ``prices`` (0: no price), scaled.

    ``reference`` are prices to scale by, those of the block before, say; entries that aren't positive are spread.
    Raises ValueError on prices that are negative, infinite or NaN.
    """
    price = _checked_prices(network, prices)
    special = _special_links(network)
    alive = _alive_edges(network, price, special)
    ids = np.flatnonzero(alive)
    known = price if reference is None else np.where(price > 0.0, price, reference)
    known = np.where((known > 0.0) & (known < np.inf), known, 0.0)
    first = network.seg_start[ids]
    token_in = np.concatenate([network.edge_in[ids], special[0]])
    token_out = np.concatenate([network.edge_out[ids], special[1]])
    used = np.zeros(network.n_tokens, dtype=np.bool_)
    used[token_in] = True
    used[token_out] = True
    if not np.all(known[used] > 0.0):
        known = spread_prices(
            known,
            token_in.astype(np.int64),
            token_out.astype(np.int64),
            np.concatenate([network.segs[first, 0], special[2]]),
            np.concatenate([network.segs[first, 1], special[3]]),
        )
    priceless = used & ~(known > 0.0)
    if np.any(priceless):
        used &= ~priceless
        ids = ids[used[network.edge_in[ids]] & used[network.edge_out[ids]]]
    return _assemble(network, price, known, used, ids)


def _alive_edges(network: Network, price: Float64, special: tuple[Int32, Int32, Float64, Float64, Bool]) -> Bool:
    edge_in, edge_out = network.edge_in, network.edge_out
    # both directions of a pool are one link
    twin = np.zeros(network.n_edges, dtype=np.bool_)
    if network.n_edges > 1:
        same = network.edge_pool[1:] == network.edge_pool[:-1]
        twin[1:] = same & (edge_in[1:] == edge_out[:-1]) & (edge_out[1:] == edge_in[:-1])
    lead = np.flatnonzero(~twin)
    head = np.concatenate([edge_in[lead], special[0]])
    tail = np.concatenate([edge_out[lead], special[1]])
    fixed = np.concatenate([np.zeros(len(lead), dtype=np.bool_), np.ones(len(special[4]), dtype=np.bool_)])
    kept = kept_links(network.n_tokens, head, tail, fixed, price > 0.0)
    return kept[np.cumsum(~twin) - 1] if network.n_edges else twin


def _assemble(network: Network, price: Float64, known: Float64, used: Bool, ids: Int64) -> Scaled:
    token_ids = np.flatnonzero(used)
    compact = np.full(network.n_tokens, -1, dtype=np.int32)
    compact[token_ids] = np.arange(len(token_ids), dtype=np.int32)
    counts = np.diff(network.seg_start)[ids]
    start = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    rows = np.arange(start[-1]) + np.repeat(network.seg_start[ids] - start[:-1], counts)
    segs = network.segs[rows]
    value_in = np.repeat(known[network.edge_in[ids]], counts)
    value_out = np.repeat(known[network.edge_out[ids]], counts)
    r_in, r_out, gamma, cap = segs.T
    a, b = np.sqrt(r_out * value_out), np.sqrt(r_in / gamma * value_in)
    cap_x = cap * value_in
    with np.errstate(invalid="ignore"):
        full = np.where(np.isinf(cap), 1.0, gamma * cap / (r_in + gamma * cap))
    reference = known[token_ids]
    scaled_price = price[token_ids] / reference
    return Scaled(
        network=network,
        token_ids=token_ids,
        reference=reference,
        price=scaled_price,
        floor=np.maximum(np.sqrt(scaled_price), MIN_ROOT) - 1.0,
        edge_ids=ids,
        edge_in=compact[network.edge_in[ids]],
        edge_out=compact[network.edge_out[ids]],
        start=start,
        a=a,
        b=b,
        lead=a - b,
        cap_x=cap_x,
        cap_y=r_out * value_out * full,
        weighted=tuple(
            _weighted(pool, known, compact) for pool in network.weighted if used[list(pool.tokens)].all()
        ),
        linear=tuple(
            _linear(edge, known, compact) for edge in network.linear if used[edge.token_in] and used[edge.token_out]
        ),
        curves=tuple(
            _curve(edge, known, compact) for edge in network.curves if used[edge.token_in] and used[edge.token_out]
        ),
    )


def _weighted(pool: WeightedPool, known: Float64, compact: Int32) -> WeightedPool:
    return WeightedPool(
        pool.pool,
        tuple(int(compact[token]) for token in pool.tokens),
        tuple(float(r * known[token]) for r, token in zip(pool.reserves, pool.tokens, strict=True)),
        pool.weights,
        pool.gamma,
    )


def _linear(edge: LinearEdge, known: Float64, compact: Int32) -> LinearEdge:
    value_in, value_out = float(known[edge.token_in]), float(known[edge.token_out])
    return LinearEdge(
        edge.pool,
        int(compact[edge.token_in]),
        int(compact[edge.token_out]),
        edge.rate * value_out / value_in,
        edge.cap_in * value_in,
    )


def _curve(edge: CurveEdge, known: Float64, compact: Int32) -> CurveEdge:
    value_in, value_out = float(known[edge.token_in]), float(known[edge.token_out])
    ratio = value_out / value_in
    return CurveEdge(
        edge.pool,
        int(compact[edge.token_in]),
        int(compact[edge.token_out]),
        lambda x: edge.out(x / value_in) * value_out,
        lambda x: edge.slope(x / value_in) * ratio,
        edge.cap_in * value_in,
    )


def with_edges(problem: Scaled, keep: Bool) -> Scaled:
    """The problem with only the edges where ``keep`` is True; tokens and special pools stay."""
    kept = np.flatnonzero(keep)
    counts = np.diff(problem.start)[kept]
    start = np.zeros(len(kept) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    rows = np.arange(start[-1]) + np.repeat(problem.start[kept] - start[:-1], counts)
    return replace(
        problem,
        edge_ids=problem.edge_ids[kept],
        edge_in=problem.edge_in[kept],
        edge_out=problem.edge_out[kept],
        start=start,
        a=problem.a[rows],
        b=problem.b[rows],
        lead=problem.lead[rows],
        cap_x=problem.cap_x[rows],
        cap_y=problem.cap_y[rows],
    )


def recentred(problem: Scaled, w: Float64) -> Scaled:
    """The same problem with the prices at ``w`` as reference, so that they become ``w = 0``.

    Tokens without a price may fall by the whole range again.
    """
    s = 1.0 + w
    counts = np.diff(problem.start)
    s_in, s_out = np.repeat(s[problem.edge_in], counts), np.repeat(s[problem.edge_out], counts)
    a, b = problem.a * s_out, problem.b * s_in
    cap_x = problem.cap_x * s_in * s_in
    known, same = s * s, np.arange(problem.n_tokens, dtype=np.int32)
    at_price = problem.price > 0.0
    # a token at its floor stays there exactly
    held = w <= problem.floor
    price = problem.price / known
    # a price may not leave the range of floats, however often it falls
    lowest = np.where(problem.reference * known > _LEAST_REFERENCE, MIN_ROOT - 1.0, 0.0)
    return replace(
        problem,
        reference=problem.reference * known,
        price=np.where(held & at_price, 1.0, price),
        floor=np.where(at_price, np.where(held, 0.0, np.sqrt(price) - 1.0), lowest),
        a=a,
        b=b,
        lead=a - b,
        cap_x=cap_x,
        cap_y=problem.cap_y * s_out * s_out,
        weighted=tuple(_weighted(pool, known, same) for pool in problem.weighted),
        linear=tuple(_linear(edge, known, same) for edge in problem.linear),
        curves=tuple(_curve(edge, known, same) for edge in problem.curves),
    )


def starting_point(problem: Scaled, prices: Float64) -> Float64:
    """``w`` of the given prices of the network's tokens, not below the floor."""
    ratio = np.asarray(prices, dtype=np.float64)[problem.token_ids] / problem.reference
    ratio = np.where((ratio > 0.0) & (ratio < math.inf), ratio, 1.0)
    return np.maximum(np.sqrt(ratio) - 1.0, problem.floor)
