"""Compiled inner loops of the dual over edges of constant-product pieces.

All of it is in scaled units (see ``scale``): ``a = √r_out``, ``b = √(r_in/γ)`` of a piece,
``cap_x``/``cap_y`` what has gone in and come out when it is full. At root prices s a piece trades while
``d = a·s_out - b·s_in > 0``: it takes ``b·d/s_in``, gives ``a·d/s_out``, is worth ``d²``.

The variable is ``w = s - 1`` and ``d = lead + a·w_out - b·w_in`` with ``lead = a - b``: a narrow range has virtual
reserves a billion times what is traded, so at s near one the rounding of s alone would move more than that.
"""

import heapq

import numpy as np
from numba import njit

from ouro.search.arrays import Bool, Float64, Int32, Int64


@njit(cache=True, nogil=True)
def value_gradient(
    w: Float64,
    edge_in: Int32,
    edge_out: Int32,
    start: Int64,
    a: Float64,
    b: Float64,
    lead: Float64,
    cap_x: Float64,
    cap_y: Float64,
    gradient: Float64,
) -> float:
    """Sum of what all edges are worth at ``s = 1 + w``; adds its derivative by w to ``gradient``."""
    value = 0.0
    for edge in range(edge_in.size):
        i, o = edge_in[edge], edge_out[edge]
        w_in, w_out = w[i], w[o]
        piece = start[edge]
        d = lead[piece] + (a[piece] * w_out - b[piece] * w_in)
        if d <= 0.0:
            continue
        s_in, s_out = 1.0 + w_in, 1.0 + w_out
        stop = start[edge + 1]
        while d > 0.0:
            if b[piece] * d < cap_x[piece] * s_in:
                value += d * d
                gradient[o] += 2.0 * a[piece] * d
                gradient[i] -= 2.0 * b[piece] * d
                break
            value += s_out * s_out * cap_y[piece] - s_in * s_in * cap_x[piece]
            gradient[o] += 2.0 * s_out * cap_y[piece]
            gradient[i] -= 2.0 * s_in * cap_x[piece]
            piece += 1
            if piece == stop:
                break
            d = lead[piece] + (a[piece] * w_out - b[piece] * w_in)
    return float(value)


@njit(cache=True, nogil=True)
def edge_flows(
    w: Float64,
    edge_in: Int32,
    edge_out: Int32,
    start: Int64,
    a: Float64,
    b: Float64,
    lead: Float64,
    cap_x: Float64,
    cap_y: Float64,
    taken: Float64,
    given: Float64,
    worth: Float64,
    stiffness: Float64,
) -> None:
    """What each edge takes and gives at ``1 + w``, its worth, and ``2·a·b`` of the piece it stops in, else 0."""
    for edge in range(edge_in.size):
        w_in, w_out = w[edge_in[edge]], w[edge_out[edge]]
        s_in, s_out = 1.0 + w_in, 1.0 + w_out
        x, y, value, stiff = 0.0, 0.0, 0.0, 0.0
        for piece in range(start[edge], start[edge + 1]):
            d = lead[piece] + (a[piece] * w_out - b[piece] * w_in)
            if d <= 0.0:
                break
            if b[piece] * d < cap_x[piece] * s_in:
                x += b[piece] * d / s_in
                y += a[piece] * d / s_out
                value += d * d
                stiff = 2.0 * a[piece] * b[piece]
                break
            x += cap_x[piece]
            y += cap_y[piece]
            value += s_out * s_out * cap_y[piece] - s_in * s_in * cap_x[piece]
        taken[edge], given[edge], worth[edge], stiffness[edge] = x, y, value, stiff


@njit(cache=True, nogil=True)
def add_hessian(
    edge_in: Int32, edge_out: Int32, w: Float64, stiffness: Float64, slot: Int64, hessian: Float64
) -> None:
    """Add ``4·S·∇²·S`` of all edges to the rows of the free tokens: ``slot[token]`` or -1.

    Each trading edge is a spring between its tokens: ``2ab·[[s_in/s_out, -1], [-1, s_out/s_in]]`` for (out, in).
    """
    for edge in range(edge_in.size):
        stiff = stiffness[edge]
        if stiff == 0.0:
            continue
        i, o = edge_in[edge], edge_out[edge]
        row, column = slot[o], slot[i]
        if row >= 0:
            hessian[row, row] += stiff * (1.0 + w[i]) / (1.0 + w[o])
        if column >= 0:
            hessian[column, column] += stiff * (1.0 + w[o]) / (1.0 + w[i])
        if row >= 0 and column >= 0:
            hessian[row, column] -= stiff
            hessian[column, row] -= stiff


@njit(cache=True, nogil=True)
def _incidence(n_tokens: int, head: Int32 | Int64, tail: Int32 | Int64) -> tuple[Int64, Int64]:
    """Links at each token: those of token t are ``incident[begin[t] : begin[t + 1]]``, in order."""
    n_links = head.size
    begin = np.zeros(n_tokens + 1, dtype=np.int64)
    for link in range(n_links):
        begin[head[link] + 1] += 1
        begin[tail[link] + 1] += 1
    for token in range(n_tokens):
        begin[token + 1] += begin[token]
    cursor = begin[:-1].copy()
    incident = np.empty(2 * n_links, dtype=np.int64)
    for link in range(n_links):
        for token in (head[link], tail[link]):
            incident[cursor[token]] = link
            cursor[token] += 1
    return begin, incident


@njit(cache=True, nogil=True)
def kept_links(n_tokens: int, head: Int32, tail: Int32, fixed: Bool, priced: Bool) -> Bool:
    """Which two-token links can matter: not on a dead end of unpriced tokens, and connected to a priced token.

    A token without a price that only one pool trades can be bought but never sold. ``fixed`` links (parts of pools
    of many tokens) are never dead ends.
    """
    n_links = head.size
    degree = np.zeros(n_tokens, dtype=np.int64)
    for link in range(n_links):
        degree[head[link]] += 2 if fixed[link] else 1
        degree[tail[link]] += 2 if fixed[link] else 1
    begin, incident = _incidence(n_tokens, head, tail)
    kept = np.ones(n_links, dtype=np.bool_)
    stack = [token for token in range(n_tokens) if degree[token] == 1 and not priced[token]]
    while stack:
        token = stack.pop()
        for at in range(begin[token], begin[token + 1]):
            link = incident[at]
            if not kept[link] or fixed[link]:
                continue
            kept[link] = False
            for end in (head[link], tail[link]):
                degree[end] -= 1
                if degree[end] == 1 and not priced[end]:
                    stack.append(int(end))
    reached = priced.copy()
    queue = [token for token in range(n_tokens) if priced[token]]
    while queue:
        token = queue.pop()
        for at in range(begin[token], begin[token + 1]):
            link = incident[at]
            if not kept[link]:
                continue
            other = int(head[link]) + int(tail[link]) - token
            if not reached[other]:
                reached[other] = True
                queue.append(other)
    for link in range(n_links):
        if not reached[head[link]]:
            kept[link] = False
    return kept


@njit(cache=True, nogil=True)
def spread_prices(
    price: Float64, token_in: Int64, token_out: Int64, reserve_in: Float64, reserve_out: Float64
) -> Float64:
    """A price for every token, spread from the priced ones along the deepest pools first; 0 where none leads."""
    n_tokens = price.size
    begin, incident = _incidence(n_tokens, token_in, token_out)
    found = np.zeros(n_tokens)
    heap = [(-np.inf, 0, 0.0)]
    for token in range(n_tokens):
        if price[token] > 0.0:
            heapq.heappush(heap, (-np.inf, token, float(price[token])))
    while heap:
        _, token, worth = heapq.heappop(heap)
        if found[token] > 0.0 or worth <= 0.0:
            continue
        found[token] = worth
        for at in range(begin[token], begin[token + 1]):
            link = incident[at]
            forward = token_in[link] == token
            other = int(token_out[link] if forward else token_in[link])
            if found[other] > 0.0:
                continue
            here = float(reserve_in[link] if forward else reserve_out[link])
            there = float(reserve_out[link] if forward else reserve_in[link])
            depth = worth * here
            if 0.0 < depth < np.inf and 0.0 < depth / there < np.inf:
                heapq.heappush(heap, (-depth, other, depth / there))
    return found
