"""PancakeSwap V3: Uniswap V3 with a wider protocol fee, another Swap event and slot0 in two words.

The protocol fee (a share of the fee in 1/10,000, changeable) takes nothing from a trader beyond the pool's fee.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ouro.hashing import selector, topic
from ouro.protocols import v3_events
from ouro.protocols.eventdata import data_words, uint
from ouro.protocols.proof import Proof
from ouro.protocols.reads import uint_word
from ouro.protocols.storage import Place, ViewCall, account_in
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_events import FeeProtocolDelta, SwapDelta
from ouro.protocols.v3_reading import Getters
from ouro.protocols.v3_state import Layout, UniswapV3State
from ouro.protocols.v3_storage import farm_slot
from ouro.types import Log

SWAP_TOPIC = topic("Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)")
SET_FEE_PROTOCOL_TOPIC = topic("SetFeeProtocol(uint32,uint32,uint32,uint32)")


class PancakeV3State(UniswapV3State, frozen=True):
    """A pool; ``fee_protocol`` is token0's share in the lower 16 bits, token1's above."""

    family: ClassVar[str] = "pancakeswap_v3"
    layout: ClassVar[Layout] = Layout(slot0=0, liquidity=5, ticks=6, bitmap=7, observations=9, fee_word=True)
    max_fee_protocol: ClassVar[int] = (1 << 32) - 1
    first_fee_protocol: ClassVar[Mapping[int, int]] = {
        fee: share | share << 16 for fee, share in ((100, 3300), (500, 3400), (2500, 3200), (10_000, 3200))
    }


def _swap(state: PancakeV3State, log: Log, timestamp: int) -> SwapDelta:
    return v3_events.read_swap(data_words(log, 7, "Swap"), timestamp)


def _fee_protocol(state: PancakeV3State, log: Log, timestamp: int) -> FeeProtocolDelta:
    _, _, new0, new1 = data_words(log, 4, "SetFeeProtocol")
    return FeeProtocolDelta(uint(new0, 16, "feeProtocol0New") | uint(new1, 16, "feeProtocol1New") << 16)


_ACCUMULATE_REWARD = selector("accumulateReward(uint32)") + uint_word((1 << 32) - 1)
_CHANGED = (v3_events.SWAP_TOPIC, v3_events.SET_FEE_PROTOCOL_TOPIC)
READERS: dict[str, v3_events.Reader] = {
    **{key: reader for key, reader in v3_events.READERS.items() if key not in _CHANGED},
    SWAP_TOPIC: _swap,
    SET_FEE_PROTOCOL_TOPIC: _fee_protocol,
}


class PancakeV3(UniswapV3):
    """The family; stateless."""

    name: ClassVar[str] = "pancakeswap_v3"
    proof: ClassVar[Proof] = Proof(105_000)
    kind: ClassVar[type[UniswapV3State]] = PancakeV3State
    readers: ClassVar[Mapping[str, v3_events.Reader]] = READERS
    topics: ClassVar[tuple[str, ...]] = tuple(READERS)
    getters: ClassVar[Getters] = Getters(fee_protocol_bits=32)
    swap_topic: ClassVar[str] = SWAP_TOPIC
    swap_words: ClassVar[int] = 7

    def view_calls(self, state: UniswapV3State, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The farm that the pool reports to, where it has one."""
        farm = words.get((state.address, farm_slot(state)), 0)
        return [ViewCall(account_in(farm), _ACCUMULATE_REWARD, state.address)] if farm else []
