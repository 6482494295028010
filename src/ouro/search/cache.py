"""How kernels are compiled before they are needed."""

import time

from ouro.kernel_cache import activate, kernel_fingerprint

__all__ = ["activate", "kernel_fingerprint", "warm"]


def warm() -> float:
    """Compile (or load) every kernel once with a three-pool market; returns the seconds it took.

    Call it at start-up, and once before tests are spread over processes, so that they don't all compile at once.
    """
    from ouro.protocols.kernels.warmup import run_exact_kernels
    from ouro.search.convex.warm import warm_convex
    from ouro.search.warmup import run_every_kernel

    started = time.perf_counter()
    run_every_kernel()
    warm_convex()
    run_exact_kernels()
    return time.perf_counter() - started
