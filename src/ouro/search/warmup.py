"""One call of every kernel with the types of the hot path, so that nothing is compiled while a block waits."""

import numpy as np

from ouro.search.arrays import build_arrays, constant_product
from ouro.search.finder import Finder, Method
from ouro.search.sizing import path_output, scratch, size_cycles


def run_every_kernel() -> None:
    """Search a market of three pools in every way there is."""
    pools = [constant_product(0, 1, 1e6, 2e6), constant_product(1, 2, 1e6, 1e6), constant_product(2, 0, 1e6, 1e6)]
    arrays = build_arrays(pools)
    for method in Method:
        finder = Finder(arrays, [0], 3, method=method)
        finder.evaluate_all()
        finder.count_cycles()
    work, position = scratch()
    edges = np.array([[0, 2, 4]], dtype=np.int32)
    hops = np.array([3], dtype=np.int8)
    selected = np.zeros(1, dtype=np.int64)
    out = np.zeros(1)
    size_cycles(
        edges,
        hops,
        selected,
        1,
        arrays.seg_start,
        arrays.seg_count,
        arrays.segs,
        0.0,
        work,
        position,
        out,
        out.copy(),
    )
    path_output(edges[0], 3, 1.0, arrays.seg_start, arrays.seg_count, arrays.segs)
