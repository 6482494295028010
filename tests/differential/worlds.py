"""What the long run goes through: one world per family, made when its turn comes."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from tests.differential.adaptive_cases import AlgebraAdaptiveWorld
from tests.differential.algebra_cases import AlgebraIntegralWorld
from tests.differential.balancer_stable_cases import BalancerV2StableWorld
from tests.differential.balancer_v3_cases import FAMILIES, BalancerV3World
from tests.differential.balancer_weighted_cases import BalancerV2WeightedWorld
from tests.differential.dialect_cases import PancakeV3World, SlipstreamWorld
from tests.differential.erc4626_cases import Erc4626World
from tests.differential.saddle_cases import SaddleWorld
from tests.differential.solidly_cases import SolidlyWorld
from tests.differential.v2_cases import SwaprWorld, V2World
from tests.differential.v3_cases import V3World
from tests.differential.v4_cases import V4World


class World(Protocol):
    """Real contracts of a family and what was compared with them."""

    tally: Any

    def scenario(self, rng: random.Random, cases: int) -> None:
        """Make a random pool, try ``cases`` quotes on it and undo everything. Raises ``Mismatch``."""
        ...


WORLDS: dict[str, Callable[[], World]] = {
    "uniswap_v2": V2World,
    "uniswap_v3": V3World,
    "solidly": SolidlyWorld,
    "pancakeswap_v3": PancakeV3World,
    "slipstream": SlipstreamWorld,
    "uniswap_v4": V4World,
    "algebra_integral": AlgebraIntegralWorld,
    "algebra_adaptive": AlgebraAdaptiveWorld,
    "swapr": SwaprWorld,
    "saddle": SaddleWorld,
    "balancer_v2_weighted": BalancerV2WeightedWorld,
    "balancer_v2_stable": BalancerV2StableWorld,
    "erc4626": Erc4626World,
}

SLOW_WORLDS: dict[str, Callable[[], World]] = {name: partial(BalancerV3World, name) for name in FAMILIES}
"""Those whose contracts take minutes to compile: only where they are named."""
