"""Swapr (DXswap) and other pairs of the Uniswap V2 kind whose fee is set pair by pair.

The setter of the factory changes a pair's fee (in 1/10,000, at most 10 %) without an event, so ``fee_ppm`` is
``must_refresh``; everything else is Uniswap V2's, the storage slots of what a swap changes included.
"""

from collections.abc import Mapping
from typing import ClassVar

from ouro.protocols.base import Source
from ouro.protocols.uniswap_v2 import UniswapV2, UniswapV2State


class SwaprState(UniswapV2State, frozen=True):
    """A pair with a fee of its own."""

    family: ClassVar[str] = "swapr"


class Swapr(UniswapV2):
    """The family; stateless."""

    name: ClassVar[str] = "swapr"
    kind: ClassVar[type[UniswapV2State]] = SwaprState
    sources: ClassVar[Mapping[str, Source]] = {**UniswapV2.sources, "fee_ppm": Source.MUST_REFRESH}
