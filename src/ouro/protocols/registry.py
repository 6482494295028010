"""The AMM families that the rest of the system can use, by name. A new family is one line here."""

from ouro.protocols.algebra_adaptive import AlgebraAdaptive
from ouro.protocols.algebra_integral import AlgebraIntegral
from ouro.protocols.base import Family
from ouro.protocols.pancakeswap_v3 import PancakeV3
from ouro.protocols.slipstream import Slipstream
from ouro.protocols.solidly import Solidly
from ouro.protocols.swapr import Swapr
from ouro.protocols.uniswap_v2 import UniswapV2
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.uniswap_v4 import UniswapV4

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
    )
}
