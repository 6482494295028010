"""One call of every exact kernel with the types of the hot path."""

import numpy as np

from ouro.protocols.kernels import book
from ouro.protocols.kernels.concentrated import HEADER


def run_exact_kernels() -> None:
    """Quotes through a book of one pair, and a table of two ticks."""
    from ouro.protocols.v3_exact import ExactTables, run

    tables = ExactTables((-60, 60), {-60: (1000, 1000), 60: (1000, -1000)})
    header = tables.header(True, 1 << 96, 0, 1000, 60, 3000)
    if header is not None:
        run(header.limbs, 1, True)
    headers = np.zeros((1, HEADER), dtype=np.uint64)
    edges = np.zeros(1, dtype=np.int32)
    amounts = np.ones((2, 4), dtype=np.uint64)
    outs = np.zeros((1, 4), dtype=np.uint64)
    statuses = np.zeros(1, dtype=np.int8)
    book.quote_many(headers, edges, amounts[:1], outs, statuses)
    book.quote_path(headers, edges, 1, amounts)
    book.sqrt_ratios(np.zeros(1, dtype=np.int64), outs)
