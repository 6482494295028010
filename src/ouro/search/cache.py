"""Where the kernels' machine code is kept; see ``ouro.kernel_cache``."""

from ouro.kernel_cache import activate, kernel_fingerprint

__all__ = ["activate", "kernel_fingerprint"]
