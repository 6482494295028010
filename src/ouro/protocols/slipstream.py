"""Slipstream (Aerodrome, Velodrome): Uniswap V3 keyed by tick spacing; the factory tells each swap its fee.

``fee_ppm`` is ``factory.getSwapFee(pool)``: a fee module may answer anything up to 10 % at any block, so the field
is ``must_refresh``. Staked liquidity shares in fees only; it changes nothing for a trader.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from ouro.hashing import selector, topic
from ouro.protocols import v3_events, v3_reading
from ouro.protocols.base import Source
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of, tick_spacing_of
from ouro.protocols.eventdata import data_words, uint
from ouro.protocols.listings import POOLS, FactoryList, Listing, ListKind, spacing_of
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_events import TransferDelta
from ouro.protocols.v3_state import Layout, UniswapV3State
from ouro.types import Address, Log

POOL_CREATED = topic("PoolCreated(address,address,int24,address)")
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


def _told_spacing(answers: Sequence[bytes | None]) -> dict[str, int]:
    return {"tick_spacing": spacing_of(answers[0], "tickSpacing()")}


_LIST = ListKind((POOLS,), (selector("tickSpacing()"),), _told_spacing)


def _announced(event: Announcement) -> NewPool:
    pool, spacing = address_of(event.words[0], "pool"), tick_spacing_of(event.topics[3])
    return event.pool(pool, event.indexed_pair(), tick_spacing=spacing)


class Slipstream(UniswapV3):
    """The family; stateless."""

    name: ClassVar[str] = "slipstream"
    proof: ClassVar[Proof] = Proof(105_000)
    kind: ClassVar[type[UniswapV3State]] = SlipstreamState
    readers: ClassVar[Mapping[str, v3_events.Reader]] = READERS
    topics: ClassVar[tuple[str, ...]] = tuple(READERS)
    sources: ClassVar[Mapping[str, Source]] = {**UniswapV3.sources, "fee_ppm": Source.MUST_REFRESH}
    creations: ClassVar[Mapping[str, CreationReader]] = {POOL_CREATED: _announced}
    getters: ClassVar[v3_reading.Getters] = v3_reading.Getters(None, tick_words=10, fee_told=True)

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Its list of pools."""
        return FactoryList(dex, _LIST)

    def refresh(self, state: UniswapV3State, pool: NewPool) -> Script[UniswapV3State]:
        """The fee, as the pool asks its factory."""
        fee_ppm = yield from v3_reading.fee_again(state.address)
        return state if fee_ppm == state.fee_ppm else msgspec.structs.replace(state, fee_ppm=fee_ppm)

    def view_calls(self, state: UniswapV3State, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """Both fees come from the factory and its modules."""
        return [ViewCall(state.address, selector("fee()")), ViewCall(state.address, selector("unstakedFee()"))]
