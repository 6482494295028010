"""Compiled exact sizing. Importing this package settles where Numba keeps the machine code."""

from ouro.kernel_cache import activate

activate()
