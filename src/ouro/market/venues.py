"""What the market knows of each family: how its pools are read, and which of their fields have to be read again."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ouro.chain.rpc import Caller
from ouro.market import sync_adaptive, sync_algebra, sync_solidly, sync_v2, sync_v3, sync_v4
from ouro.market.creation import NewPool
from ouro.market.multicall import Read
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage
from ouro.protocols.uniswap_v4 import DYNAMIC_FEE_FLAG, NATIVE
from ouro.types import Address, Log, PoolId

__all__ = ["NATIVE", "VENUES", "Venue", "pool_of"]

Reading: TypeAlias = Callable[[Caller, Address, Sequence[NewPool], PinnedBlock], Awaitable[Sequence[Any | Garbage]]]


@dataclass(frozen=True, slots=True)
class Venue:
    """One family's readers.

    ``reads`` and ``told`` go together: the calls that tell what no log tells, and the state with their answers;
    ``refreshed`` says whether a state has such fields at all. ``managed`` pools live inside one contract, which
    emits their logs with the pool's id as first argument.
    """

    read: Reading
    reads: Callable[[Any, NewPool], list[Read]] | None = None
    told: Callable[[Any, Sequence[bytes | None]], Any] | None = None
    refreshed: Callable[[Any], bool] = lambda _: True
    managed: bool = False

    def must_refresh(self, state: Any) -> bool:
        """Whether ``state`` has fields that have to be read again at every block."""
        return self.reads is not None and self.refreshed(state)

    def home(self, pool: NewPool) -> Address:
        """The contract that has the pool's code."""
        return pool.factory if self.managed else pool.address


def _has_dynamic_fee(state: Any) -> bool:
    return state.key_fee == DYNAMIC_FEE_FLAG


VENUES: Mapping[str, Venue] = {
    "uniswap_v2": Venue(sync_v2.read),
    "swapr": Venue(sync_v2.read, sync_v2.fee_reads, sync_v2.with_fee),
    "uniswap_v3": Venue(sync_v3.read),
    "pancakeswap_v3": Venue(sync_v3.read),
    "slipstream": Venue(sync_v3.read, sync_v3.fee_reads, sync_v3.with_fee),
    "solidly": Venue(sync_solidly.read, sync_solidly.fee_reads, sync_solidly.with_fee),
    "algebra_integral": Venue(sync_algebra.read),
    "algebra_adaptive": Venue(sync_adaptive.read, sync_adaptive.fee_reads, sync_adaptive.with_fee),
    "uniswap_v4": Venue(sync_v4.read, sync_v4.fee_reads, sync_v4.with_fee, _has_dynamic_fee, managed=True),
}


def pool_of(log: Log, managers: Collection[Address]) -> PoolId:
    """The pool that a log would be of: its emitter, or for one of the managers the pool that the log names."""
    if log.address in managers and len(log.topics) > 1:
        return log.topics[1]
    return log.address
