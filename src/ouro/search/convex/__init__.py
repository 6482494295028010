"""The optimum over all pools at once: the convex dual, its certificate, and fixed costs per pool.

Maximise the value ``c·Ψ`` of what is left over, ``Ψ`` being the sum of all pools' net flows, with ``Ψ >= 0``. The
dual is ``min Σ arb_p(ν)`` over prices ``ν >= c``, ``arb_p`` being what pool p gives to somebody who trades at ν
(Angeris, Evans, Chitra, Boyd 2022; Diamandis, Resnick, Chitra, Angeris 2023). In ``s = √ν`` a constant-product
direction is ``arb = (√r_out·s_out - √(r_in/γ)·s_in)₊²``: no roots, no divisions, and piecewise quadratic, so Newton
ends.
"""

from ouro.search.convex.certificate import Certificate, certify
from ouro.search.convex.dual import DualSolution, solve
from ouro.search.convex.network import Network, NetworkBuilder, network_of_arrays

__all__ = [
    "Certificate",
    "DualSolution",
    "Network",
    "NetworkBuilder",
    "certify",
    "network_of_arrays",
    "solve",
]
