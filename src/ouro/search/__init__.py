"""Finding and sizing profitable cycles over plain arrays, in compiled kernels.

This room knows arrays, not protocols. Importing it settles where Numba keeps compiled kernels, so every module of
the room that imports Numba does so after this line ran.
"""

from ouro.kernel_cache import activate

activate()
