"""Networks from the literature with known optima, for tests and measurements."""

import numpy as np

from ouro.search.arrays import Float64
from ouro.search.convex.network import Network, NetworkBuilder


def random_network(n_pools: int, token_factor: float, seed: int = 1234) -> tuple[Network, Float64]:
    """The scaling benchmark of CFMMRouter: ``round(f·√m)`` tokens, reserves up to 1000, fee 0.3 % or none.

    Draws, in this order: per pool two distinct tokens (``choice``), all reserves ``(m, 2)``, all fee factors
    (``choice``), the token prices. Optima with PCG64 and seed 1234 at f = 2: 6,999.31 (m = 100), 79,531.37 (1,000),
    770,695.39 (10,000). Returns the network and the prices.
    """
    rng = np.random.default_rng(seed)
    n_tokens = round(token_factor * n_pools**0.5)
    tokens = np.array([rng.choice(n_tokens, 2, replace=False) for _ in range(n_pools)])
    reserves = 1000.0 * rng.random((n_pools, 2))
    gammas = rng.choice([0.997, 1.0], n_pools)
    prices = rng.random(n_tokens)
    builder = NetworkBuilder(n_tokens)
    for pool in range(n_pools):
        token0, token1 = tokens[pool].tolist()
        builder.add_product(token0, token1, *reserves[pool].tolist(), gamma=float(gammas[pool]))
    return builder.build(), prices


def triangle() -> tuple[Network, Float64]:
    """Three pools in a ring whose tokens are priced 2, 10.2, 20; optimum 206.147, best single cycle 205.59."""
    builder = NetworkBuilder(3)
    builder.add_product(0, 1, 100.0, 200.0, gamma=0.997)
    builder.add_product(1, 2, 300.0, 200.0, gamma=0.997)
    builder.add_product(2, 0, 200.0, 400.0, gamma=0.997)
    return builder.build(), np.array([2.0, 10.2, 20.0])


def mixed() -> tuple[Network, Float64]:
    """A weighted pool of four tokens, three products, one constant sum (Angeris et al. 2022); optimum 21.4998."""
    builder = NetworkBuilder(4)
    builder.add_weighted((0, 1, 2, 3), (4.0, 4.0, 4.0, 4.0), (4.0, 3.0, 2.0, 1.0), gamma=0.998)
    builder.add_product(0, 1, 10.0, 1.0, gamma=0.997)
    builder.add_product(1, 2, 1.0, 5.0, gamma=0.997)
    builder.add_product(2, 3, 40.0, 50.0, gamma=0.997)
    builder.add_constant_sum(2, 3, 10.0, 10.0, gamma=0.999)
    return builder.build(), np.array([1.5, 10.0, 2.0, 3.0])
