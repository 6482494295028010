"""Swapr (DXswap) and other pairs of the Uniswap V2 kind whose fee is set pair by pair.

The setter of the factory changes a pair's fee (in 1/10,000, at most 10 %) without an event, so ``fee_ppm`` is
``must_refresh``; everything else is Uniswap V2's, the storage slots of what a swap changes included.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ouro.hashing import selector
from ouro.protocols.base import Source
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Read, Script, answer_words, unsigned
from ouro.protocols.uniswap_v2 import PAIR_CALLS, UniswapV2, UniswapV2State

_SWAP_FEE = selector("swapFee()")
_PPM_PER_BPS = 100


class SwaprState(UniswapV2State, frozen=True):
    """A pair with a fee of its own."""

    family: ClassVar[str] = "swapr"


class Swapr(UniswapV2):
    """The family; stateless."""

    name: ClassVar[str] = "swapr"
    kind: ClassVar[type[UniswapV2State]] = SwaprState
    sources: ClassVar[Mapping[str, Source]] = {**UniswapV2.sources, "fee_ppm": Source.MUST_REFRESH}

    def read(self, pool: NewPool) -> Script[UniswapV2State]:
        """As every pair, and its own fee."""
        reads = [Read(pool.address, data, gas) for data, gas in PAIR_CALLS]
        *answers, fee = yield [*reads, _fee_read(pool.address)]
        return self.state_of(pool, answers, _fee_ppm(fee))

    def refresh(self, state: UniswapV2State, pool: NewPool) -> Script[UniswapV2State]:
        """The pair's own fee again."""
        [answer] = yield [_fee_read(state.address)]
        fee_ppm = _fee_ppm(answer)
        return state if fee_ppm == state.fee_ppm else msgspec.structs.replace(state, fee_ppm=fee_ppm)


def _fee_read(pair: str) -> Read:
    return Read(pair, _SWAP_FEE, 4_000)


def _fee_ppm(answer: bytes | None) -> int:
    return unsigned(answer_words(answer, 1, "swapFee()")[0], 32, "swapFee") * _PPM_PER_BPS
