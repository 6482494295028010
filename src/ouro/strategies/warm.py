"""How kernels are compiled before they are needed."""

import time

import numpy as np


def warm() -> float:
    """Compile (or load) every kernel once with small markets; returns the seconds it took.

    Call it at start-up, and once before tests are spread over processes, so that they don't all compile at once.
    """
    from ouro.protocols.kernels.warmup import run_exact_kernels
    from ouro.search.convex.warm import warm_convex
    from ouro.search.warmup import run_every_kernel

    started = time.perf_counter()
    run_every_kernel()
    warm_convex()
    run_exact_kernels()
    _run_finish()
    return time.perf_counter() - started


def _run_finish() -> None:
    """The exact finish of a path without pools: refused at once."""
    from ouro.protocols.kernels.concentrated import HEADER
    from ouro.strategies.kernels.finish import finish_one, finish_paths, finish_scratch

    headers, limbs = np.zeros((1, HEADER), dtype=np.uint64), np.zeros((1, 4), dtype=np.uint64)
    scratch, one = finish_scratch(), np.ones(1)
    # read-only, as the bytes of headers are
    headers.flags.writeable = False
    finish_one(headers, 1, 1.0, 1.0, 0, 0.0, 1, np.zeros(1, dtype=np.int32), scratch)
    edges, hops, verdicts = np.zeros((1, 4), dtype=np.int32), np.ones(1, dtype=np.int8), np.zeros(1, dtype=np.int8)
    writeable = headers.copy()
    finish_paths(edges, hops, one, one, writeable, 0, 0.0, 1, scratch, limbs, limbs.copy(), verdicts)
