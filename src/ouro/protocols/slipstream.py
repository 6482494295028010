"""Slipstream (Aerodrome, Velodrome): Uniswap V3 keyed by tick spacing; the factory tells each swap its fee.

``fee_ppm`` is ``factory.getSwapFee(pool)``: a fee module may answer anything up to 10 % at any block, so the field
is ``must_refresh``. Staked liquidity shares in fees only; it changes nothing for a trader.
"""

from collections.abc import Mapping
from typing import ClassVar

from ouro.hashing import topic
from ouro.protocols import v3_events
from ouro.protocols.base import Source
from ouro.protocols.eventdata import data_words, uint
from ouro.protocols.proof import Proof
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_events import TransferDelta
from ouro.protocols.v3_state import Layout, UniswapV3State
from ouro.types import Log

COLLECT_FEES_TOPIC = topic("CollectFees(address,uint128,uint128)")


class SlipstreamState(UniswapV3State, frozen=True):
    """A pool; ``fee_protocol`` is always 0."""

    family: ClassVar[str] = "slipstream"
    layout: ClassVar[Layout] = Layout(
        slot0=6,
        liquidity=16,
        ticks=17,
        bitmap=18,
        observations=20,
        tick_words=6,
        outside_word=5,
        packs_protocol_fee=False,
        liquidity_shares_word=True,
    )
    max_fee_protocol: ClassVar[int] = 0


def _collect_fees(state: SlipstreamState, log: Log, timestamp: int) -> TransferDelta:
    amount0, amount1 = data_words(log, 2, "CollectFees")
    return TransferDelta(-uint(amount0, 128, "amount0"), -uint(amount1, 128, "amount1"))


READERS: dict[str, v3_events.Reader] = {
    **{
        key: reader
        for key, reader in v3_events.READERS.items()
        if key not in (v3_events.SET_FEE_PROTOCOL_TOPIC, v3_events.COLLECT_PROTOCOL_TOPIC)
    },
    COLLECT_FEES_TOPIC: _collect_fees,
}


class Slipstream(UniswapV3):
    """The family; stateless."""

    name: ClassVar[str] = "slipstream"
    proof: ClassVar[Proof] = Proof(105_000)
    kind: ClassVar[type[UniswapV3State]] = SlipstreamState
    readers: ClassVar[Mapping[str, v3_events.Reader]] = READERS
    topics: ClassVar[tuple[str, ...]] = tuple(READERS)
    sources: ClassVar[Mapping[str, Source]] = {**UniswapV3.sources, "fee_ppm": Source.MUST_REFRESH}
