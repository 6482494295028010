"""Exact quotes in batches: pools as headers in one array, amounts as arrays, no Python between the quotes.

``QuoteBook`` holds one header per directed edge (as the market numbers them) and keeps alive what they point to.
Kernels that want more than these functions (sizing) take ``book.headers`` and call ``kernels.book.quote_path``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import ExactHeader, Family
from ouro.protocols.kernels import book as kernels
from ouro.protocols.kernels.concentrated import DONE, EXHAUSTED, HEADER, REFUSED

__all__ = ["DONE", "EXHAUSTED", "REFUSED", "QuoteBook", "from_limbs", "to_limb_rows"]

Limbs = npt.NDArray[np.uint64]
_LIMBS = 4


def to_limb_rows(amounts: Sequence[int]) -> Limbs:
    """Amounts below 2^256 as rows of four little-endian limbs."""
    raw = b"".join(amount.to_bytes(8 * _LIMBS, "little") for amount in amounts)
    return np.frombuffer(bytearray(raw), dtype=np.uint64).reshape(-1, _LIMBS)


def from_limbs(rows: Limbs) -> list[int]:
    """The inverse."""
    raw = np.ascontiguousarray(rows).tobytes()
    return [int.from_bytes(raw[k : k + 32], "little") for k in range(0, len(raw), 32)]


class QuoteBook:
    """Headers by edge. An edge without one is refused by every quote."""

    def __init__(self, n_edges: int) -> None:
        self.headers: Limbs = np.zeros((n_edges, HEADER), dtype=np.uint64)
        self._keeps: dict[int, object] = {}

    def set(self, edge: int, header: ExactHeader | None) -> None:
        """Put, replace or (None) remove an edge."""
        if header is None:
            self.headers[edge] = 0
            self._keeps.pop(edge, None)
            return
        self.headers[edge] = np.frombuffer(header.limbs, dtype=np.uint64)
        self._keeps[edge] = header.keeps

    def set_pool(self, family: Family, state: object, edges: Sequence[tuple[int, int, int]]) -> None:
        """All edges of a pool: ``(edge, i, j)``."""
        for edge, i, j in edges:
            self.set(edge, family.exact_header(state, i, j))

    def _check(self, edges: npt.NDArray[np.int32]) -> None:
        if len(edges) and (int(edges.min()) < 0 or int(edges.max()) >= len(self.headers)):
            raise IndexError(f"edges must lie in [0, {len(self.headers)})")

    def quote_many(self, edges: npt.NDArray[np.int32], amounts: Limbs) -> tuple[Limbs, npt.NDArray[np.int8]]:
        """Exact outputs of gross inputs by row, and ``DONE``, ``EXHAUSTED`` (output of what fits) or ``REFUSED``.

        Shapes: edges (m,), amounts (m, 4). Raises ``IndexError`` for an edge that the book doesn't have.
        """
        self._check(edges)
        if amounts.shape != (len(edges), _LIMBS):
            raise ValueError(f"amounts: shape ({len(edges)}, {_LIMBS}) is expected, got {amounts.shape}")
        outs = np.zeros_like(amounts)
        statuses = np.zeros(len(edges), dtype=np.int8)
        kernels.quote_many(self.headers, edges, np.ascontiguousarray(amounts), outs, statuses)
        return outs, statuses

    def quote_path(self, edges: npt.NDArray[np.int32], amount_in: int) -> list[int]:
        """Exact amounts along a path, ``amount_in`` first; it ends before a hop that can't be done in full."""
        amounts = np.zeros((len(edges) + 1, _LIMBS), dtype=np.uint64)
        amounts[0] = to_limb_rows([amount_in])[0]
        self._check(edges)
        done = int(kernels.quote_path(self.headers, edges, len(edges), amounts))
        return from_limbs(amounts[: done + 1])
