"""The AMM families that the rest of the system can use, by name, and what proves each. A new one is one line here.

A family without a whole proof is off unless the configuration asks for it, and live only with a signed-off
override: ``DexConfig.unproven`` and ``DexConfig.sign_off``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ouro.protocols.algebra_adaptive import AlgebraAdaptive
from ouro.protocols.algebra_integral import AlgebraIntegral
from ouro.protocols.balancer_v2_stable import BalancerV2Stable
from ouro.protocols.balancer_v2_weighted import BalancerV2Weighted
from ouro.protocols.base import Family
from ouro.protocols.pancakeswap_v3 import PancakeV3
from ouro.protocols.slipstream import Slipstream
from ouro.protocols.solidly import Solidly
from ouro.protocols.swapr import Swapr
from ouro.protocols.uniswap_v2 import UniswapV2
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.uniswap_v4 import UniswapV4

PROVEN_CASES = 100_000
"""Random cases against the real contract that count as a whole proof, with no mismatch among them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A family's comparison with the real contract; docs/protocols.md has seeds and what was compared."""

    cases: int = 0
    mismatches: int = 0

    @property
    def whole(self) -> bool:
        """Whether the family may trade like any other."""
        return self.cases >= PROVEN_CASES and not self.mismatches

    def __str__(self) -> str:
        if self.whole:
            return f"proven: {self.cases:,} cases, 0 mismatches"
        return f"not proven: {self.cases:,} of {PROVEN_CASES:,} cases, {self.mismatches} mismatches"


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        UniswapV2(),
        UniswapV3(),
        Solidly(),
        PancakeV3(),
        Slipstream(),
        UniswapV4(),
        AlgebraIntegral(),
        AlgebraAdaptive(),
        Swapr(),
        BalancerV2Weighted(),
        BalancerV2Stable(),
    )
}

PROOFS: Mapping[str, Proof] = {
    "uniswap_v2": Proof(100_000),
    "uniswap_v3": Proof(100_000),
    "solidly": Proof(100_000),
    "pancakeswap_v3": Proof(105_000),
    "slipstream": Proof(105_000),
    "uniswap_v4": Proof(100_000),
    "algebra_integral": Proof(100_000),
    "algebra_adaptive": Proof(100_000),
    "swapr": Proof(100_000),
    "balancer_v2_weighted": Proof(200_000),
    "balancer_v2_stable": Proof(150_000),
}


def proof_of(family: str) -> Proof:
    """What proves ``family``; an empty proof where nothing is on record."""
    return PROOFS.get(family, Proof())
