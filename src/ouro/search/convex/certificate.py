"""A feasible flow from the dual's prices, and the duality gap it proves.

At the dual optimum the flows of tokens priced above their floor cancel only to rounding. A spanning tree of trading
edges moves what is left, token by token from the leaves, to tokens that have a surplus anyway; each move is
along an edge at its marginal price, so it costs second order only. What comes out is exactly feasible.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from ouro.search.arrays import Bool, Float64, Int32, Int64
from ouro.search.convex.dual import DualSolution

_PASSES = 200
_ROUNDING = 1e-14


@dataclass(frozen=True, slots=True)
class Certificate:
    """``bound`` (dual) and ``value`` (primal) in units of the prices; nothing can beat ``bound``.

    ``taken``/``given`` per edge and ``net`` per token in scaled units, ``net >= 0``. ``gap`` is
    ``(bound - value)/bound``. ``fixed`` corrections were made; ``stranded`` tokens could not be made whole, which
    leaves the value at 0: nothing is proven then.
    """

    bound: float
    value: float
    taken: Float64
    given: Float64
    net: Float64
    fixed: int
    stranded: int

    @property
    def gap(self) -> float:
        """Relative duality gap; 0 where there is nothing to win."""
        return (self.bound - self.value) / self.bound if self.bound > 0.0 else 0.0

    def __str__(self) -> str:
        return f"value {self.value:.6g}, bound {self.bound:.6g}, duality gap {self.gap:.2e}"


@njit(cache=True, nogil=True)
def _given(edge: int, taken: float, start: Int64, a: Float64, b: Float64, cap_x: Float64, cap_y: Float64) -> float:
    """Output of an edge for input ``taken``; NaN beyond its capacity."""
    total = 0.0
    left = taken
    for piece in range(start[edge], start[edge + 1]):
        if left <= cap_x[piece]:
            base = b[piece] * b[piece]
            return total + a[piece] * a[piece] * left / (base + left)
        total += cap_y[piece]
        left -= cap_x[piece]
    # rounding may leave a trace of the last piece
    return total if left <= 1e-12 * taken else np.nan


@njit(cache=True, nogil=True)
def _taken(edge: int, given: float, start: Int64, a: Float64, b: Float64, cap_x: Float64, cap_y: Float64) -> float:
    """Input of an edge for output ``given``; NaN beyond its capacity."""
    total = 0.0
    left = given
    for piece in range(start[edge], start[edge + 1]):
        whole = a[piece] * a[piece]
        if (cap_x[piece] == np.inf and left < whole) or (left <= cap_y[piece] and cap_x[piece] < np.inf):
            return total + b[piece] * b[piece] * left / (whole - left)
        if cap_x[piece] == np.inf:
            return np.nan
        total += cap_x[piece]
        left -= cap_y[piece]
    return total if left <= 1e-12 * given else np.nan


@njit(cache=True, nogil=True)
def spanning_forest(
    n_tokens: int, edge_in: Int32, edge_out: Int32, usable: Bool, root: Bool
) -> tuple[Int64, Int64]:
    """Breadth-first over usable edges from all roots: visiting order and each token's edge to its parent (-1)."""
    begin = np.zeros(n_tokens + 1, dtype=np.int64)
    for edge in range(edge_in.size):
        if usable[edge]:
            begin[edge_in[edge] + 1] += 1
            begin[edge_out[edge] + 1] += 1
    for token in range(n_tokens):
        begin[token + 1] += begin[token]
    cursor = begin[:-1].copy()
    incident = np.empty(begin[-1], dtype=np.int64)
    for edge in range(edge_in.size):
        if usable[edge]:
            incident[cursor[edge_in[edge]]] = edge
            cursor[edge_in[edge]] += 1
            incident[cursor[edge_out[edge]]] = edge
            cursor[edge_out[edge]] += 1
    parent = np.full(n_tokens, -1, dtype=np.int64)
    seen = root.copy()
    order = np.empty(n_tokens, dtype=np.int64)
    head, tail = 0, 0
    for token in range(n_tokens):
        if root[token]:
            order[tail] = token
            tail += 1
    while head < tail:
        token = order[head]
        head += 1
        for at in range(begin[token], begin[token + 1]):
            edge = incident[at]
            other = edge_in[edge] + edge_out[edge] - token
            if not seen[other]:
                seen[other] = True
                parent[other] = edge
                order[tail] = other
                tail += 1
    return order[:tail], parent


@njit(cache=True, nogil=True)
def _settle(
    order: Int64,
    parent: Int64,
    may_keep: Bool,
    edge_in: Int32,
    edge_out: Int32,
    start: Int64,
    a: Float64,
    b: Float64,
    cap_x: Float64,
    cap_y: Float64,
    taken: Float64,
    given: Float64,
    net: Float64,
) -> int:
    """Bring every token's net flow to zero (or leave what may be kept), leaves first; returns how many."""
    fixed = 0
    for at in range(order.size - 1, -1, -1):
        token = order[at]
        edge = int(parent[token])
        if edge < 0 or net[token] == 0.0 or (net[token] > 0.0 and may_keep[token]):
            continue
        if edge_out[edge] == token:
            y = float(given[edge] - net[token])
            x = _taken(edge, y, start, a, b, cap_x, cap_y) if y >= 0.0 else np.nan
        else:
            x = float(taken[edge] + net[token])
            y = _given(edge, x, start, a, b, cap_x, cap_y) if x >= 0.0 else np.nan
        if not (0.0 <= x < np.inf and 0.0 <= y < np.inf):
            continue
        fixed += 1
        if edge_out[edge] == token:
            net[edge_in[edge]] += taken[edge] - x
        else:
            net[edge_out[edge]] += y - given[edge]
        taken[edge], given[edge] = x, y
        net[token] = 0.0
    return fixed


@njit(cache=True, nogil=True)
def _spend_less(
    token: int,
    edge_in: Int32,
    edge_out: Int32,
    start: Int64,
    a: Float64,
    b: Float64,
    cap_x: Float64,
    cap_y: Float64,
    taken: Float64,
    given: Float64,
    net: Float64,
) -> None:
    """Make a token whole by the largest trades that spend it doing less."""
    while net[token] < 0.0:
        largest = -1
        for edge in range(edge_in.size):
            if edge_in[edge] == token and taken[edge] > 0.0 and (largest < 0 or taken[edge] > taken[largest]):
                largest = edge
        if largest < 0:
            return
        x = max(taken[largest] + net[token], 0.0)
        y = _given(largest, x, start, a, b, cap_x, cap_y)
        net[token] = net[token] + (taken[largest] - x) if x == 0.0 else 0.0
        net[edge_out[largest]] += y - given[largest]
        taken[largest], given[largest] = x, y


def _net(solution: DualSolution, taken: Float64, given: Float64, absolute: bool = False) -> Float64:
    """What is left of each token; with ``absolute`` all that moves of it instead."""
    problem, special = solution.problem, solution.special
    n, sign = problem.n_tokens, 1.0 if absolute else -1.0
    net = np.zeros(n)
    net += np.bincount(problem.edge_out, given, n)
    net += sign * np.bincount(problem.edge_in, taken, n)
    np.add.at(net, special.weighted_tokens, np.abs(special.weighted_flows) if absolute else special.weighted_flows)
    np.add.at(net, special.linear_out, special.linear_given)
    np.add.at(net, special.linear_in, sign * special.linear_taken)
    for k, curve in enumerate(special.curves):
        net[curve.token_out] += special.curve_given(k)
        net[curve.token_in] += sign * special.curve_taken[k]
    return net


def _without_specks(solution: DualSolution, taken: Float64, given: Float64) -> Float64:
    """The net flows summed anew; trades that spend what isn't there are taken back, rounding of sums is no debt."""
    problem = solution.problem
    net = np.zeros(problem.n_tokens)
    for _ in range(_PASSES):
        net = _net(solution, taken, given)
        moved = _net(solution, taken, given, absolute=True)
        net[(net < 0.0) & (-net <= _ROUNDING * moved)] = 0.0
        back = (net < 0.0)[problem.edge_in] & (taken > 0.0)
        if not np.any(back):
            break
        taken[back] = given[back] = 0.0
    return net


def certify(solution: DualSolution) -> Certificate:
    """A feasible flow near the dual's, and the gap. Never raises."""
    problem = solution.problem
    taken, given = solution.taken.copy(), solution.given.copy()
    net = _net(solution, taken, given)
    nu = (1.0 + solution.w) ** 2
    scale = max(float(solution.bound), 1e-300)
    usable = solution.stiffness > 0.0
    surplus = (problem.price > 0.0) & (net * nu > 1e-7 * scale)
    may_keep = (nu <= problem.price * (1.0 + 1e-9)) | (problem.price == 0.0) & (solution.w <= problem.floor)
    edges = (problem.edge_in, problem.edge_out)
    curves = (problem.start, problem.a, problem.b, problem.cap_x, problem.cap_y)
    order, parent = spanning_forest(problem.n_tokens, *edges, usable, surplus)
    fixed = 0
    for _ in range(_PASSES):
        fixed += _settle(order, parent, may_keep, *edges, *curves, taken, given, net)
        short = np.flatnonzero(net < 0.0)
        if not len(short):
            break
        for token in short.tolist():
            _spend_less(token, *edges, *curves, taken, given, net)
    net = _without_specks(solution, taken, given)
    stranded = int(np.sum(net < 0.0))
    value = 0.0 if stranded else float(problem.price @ net)
    return Certificate(solution.bound, value, taken, given, net, fixed, stranded)
