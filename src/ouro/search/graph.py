"""The token graph of a market: adjacency both ways, reduced to the edges that can lie on a short cycle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from ouro.search.arrays import Bool, Float64, Int32, Int64, MarketArraysLike
from ouro.search.sizing import MAX_HOPS

MIN_HOPS = 2
FAR = 127


class SearchInputError(ValueError):
    """The search was asked for something it can't do; says what and what to change."""


@dataclass(frozen=True, slots=True)
class TokenGraph:
    """Adjacency in compressed rows.

    ``out_edges[out_start[t]:out_start[t+1]]`` leave token t, sorted by (token they lead to, edge);
    ``in_edges`` alike, sorted by (token they come from, edge). ``distance[s, t]`` is the number of hops between
    start token s and token t, ``FAR`` beyond reach. Only edges that lie on some closed walk of at most
    ``max_hops`` hops through a start token are kept.
    """

    n_tokens: int
    n_edges: int
    max_hops: int
    starts: Int32
    edge_pool: Int32
    token_in: Int32
    token_out: Int32
    out_start: Int64
    out_edges: Int32
    out_heads: Int32
    in_start: Int64
    in_edges: Int32
    in_tails: Int32
    distance: np.ndarray


def check_request(start_token_ids: Sequence[int], max_hops: int) -> Int32:
    """The start tokens, distinct and in ascending order. Raises ``SearchInputError``."""
    if not MIN_HOPS <= max_hops <= MAX_HOPS:
        raise SearchInputError(f"max_hops is {max_hops}: from {MIN_HOPS} to {MAX_HOPS} can be searched")
    starts = np.unique(np.asarray(list(start_token_ids), dtype=np.int64))
    if len(starts) == 0:
        raise SearchInputError("no start token given: name at least one token that cycles begin and end with")
    if starts[0] < 0:
        raise SearchInputError(f"start token id {starts[0]} is negative")
    return starts.astype(np.int32)


def build_graph(arrays: MarketArraysLike, start_token_ids: Sequence[int], max_hops: int) -> TokenGraph:
    """Adjacency of ``arrays`` for cycles of up to ``max_hops`` hops. Start tokens without a pool are no error."""
    starts = check_request(start_token_ids, max_hops)
    n_edges = int(arrays.n_edges)
    edge_pool = np.ascontiguousarray(arrays.edge_pool[:n_edges], dtype=np.int32)
    token_in = np.ascontiguousarray(arrays.edge_token_in[:n_edges], dtype=np.int32)
    token_out = np.ascontiguousarray(arrays.edge_token_out[:n_edges], dtype=np.int32)
    n_tokens = 1 + max(int(token_in.max(initial=-1)), int(token_out.max(initial=-1)), int(starts[-1]))
    usable = (token_in != token_out) & (token_in >= 0) & (token_out >= 0)
    usable = _drop_dead_ends(usable, starts, edge_pool, token_in, token_out, n_tokens)
    distance = np.full((len(starts), n_tokens), FAR, dtype=np.int8)
    for row, start in enumerate(starts):
        _hops_from(int(start), usable, token_in, token_out, max_hops, distance[row])
    usable &= _on_short_cycle(distance, token_in, token_out, max_hops)
    kept = np.flatnonzero(usable).astype(np.int32)
    out_start, out_edges = _rows(kept, token_in, token_out, n_tokens)
    in_start, in_edges = _rows(kept, token_out, token_in, n_tokens)
    return TokenGraph(
        n_tokens=n_tokens,
        n_edges=n_edges,
        max_hops=max_hops,
        starts=starts,
        edge_pool=edge_pool,
        token_in=token_in,
        token_out=token_out,
        out_start=out_start,
        out_edges=out_edges,
        out_heads=token_out[out_edges],
        in_start=in_start,
        in_edges=in_edges,
        in_tails=token_in[in_edges],
        distance=distance,
    )


def _rows(kept: Int32, own: Int32, other: Int32, n_tokens: int) -> tuple[Int64, Int32]:
    order = np.lexsort((kept, other[kept], own[kept]))
    edges = np.ascontiguousarray(kept[order])
    start = np.zeros(n_tokens + 1, dtype=np.int64)
    np.cumsum(np.bincount(own[edges], minlength=n_tokens), out=start[1:])
    return start, edges


def _drop_dead_ends(
    usable: Bool, starts: Int32, edge_pool: Int32, token_in: Int32, token_out: Int32, n_tokens: int
) -> Bool:
    """Leave out tokens with one pool, again and again: a cycle enters and leaves a token by different pools."""
    while True:
        edges = np.flatnonzero(usable)
        keys = np.unique(token_in[edges].astype(np.int64) << 32 | edge_pool[edges])
        pools_of_token = np.bincount(keys >> 32, minlength=n_tokens)
        alive = pools_of_token >= 2
        next_usable = usable & alive[token_in] & alive[token_out]
        if next_usable.sum() == len(edges):
            return next_usable
        usable = next_usable


def _hops_from(start: int, usable: Bool, token_in: Int32, token_out: Int32, max_hops: int, row: np.ndarray) -> None:
    row[start] = 0
    for hop in range(1, max_hops // 2 + 2):
        reached = usable & (row[token_in] == hop - 1)
        heads = token_out[reached]
        row[heads[row[heads] == FAR]] = hop


def _on_short_cycle(distance: np.ndarray, token_in: Int32, token_out: Int32, max_hops: int) -> Bool:
    wanted = np.zeros(len(token_in), dtype=np.bool_)
    for row in distance.astype(np.int32):
        wanted |= row[token_in] + 1 + row[token_out] <= max_hops
    return wanted


@njit(cache=True, nogil=True)
def first_at_least(values: Int32, low: int, high: int, wanted: int) -> int:
    """First index in sorted ``values[low:high]`` whose value is at least ``wanted``; ``high`` if none."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def as_float64(values: np.ndarray) -> Float64:
    """``values`` as the kernels want them: float64, contiguous; no copy where they already are."""
    return np.ascontiguousarray(values, dtype=np.float64)
