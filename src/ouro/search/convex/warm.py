"""One solve of every kind, so that no kernel is compiled while a block waits."""

from ouro.search.convex.certificate import certify
from ouro.search.convex.dual import solve
from ouro.search.convex.fixed_cost import choose_pools
from ouro.search.convex.instances import mixed, triangle


def warm_convex() -> None:
    """Compile or load the kernels of the network optimum."""
    network, prices = mixed()
    certify(solve(network, prices))
    network, _ = triangle()
    certify(solve(network, [1.0, 0.0, 0.0]))
    choose_pools(network, [1.0, 0.0, 0.0], 1e-3)
