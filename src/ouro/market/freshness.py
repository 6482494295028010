"""Ready, Delayed or Stale: whether a source is known to be current enough to build an order on."""

import time
from collections.abc import Callable
from enum import StrEnum

from ouro.config.model import FreshnessConfig
from ouro.market.market import Market
from ouro.types import PoolId

_NS_PER_MS = 1_000_000


class Level(StrEnum):
    """ready: trade. delayed: trade, but say so. stale: no order."""

    READY = "ready"
    DELAYED = "delayed"
    STALE = "stale"


class ChainFreshness:
    """How old the last block of one chain is, by the monotonic clock that ``BlockUpdate.received_ns`` is read from.

    A chain is stale until its market is loaded and a block has come, while it re-syncs, and when its last block is
    older than ``stale_ms``.
    """

    def __init__(
        self,
        config: FreshnessConfig,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._clock_ns = clock_ns
        self._wall_s = wall_s
        self._timestamp: int | None = None
        self._last_ns: int | None = None
        self.reason = "no block yet"

    def seen(self, received_ns: int, timestamp: int | None = None) -> None:
        """A block was applied. An older reading than the last one does not make the source younger.

        ``timestamp`` is the block's own (unix seconds): a node that catches up delivers old blocks quickly.
        """
        self._timestamp = timestamp
        if self._last_ns is None or received_ns > self._last_ns:
            self._last_ns = received_ns
        self.reason = ""

    def lost(self, reason: str) -> None:
        """The thread is lost (re-sync, rollback that can't be done): stale until the next ``seen``."""
        self._last_ns, self._timestamp = None, None
        self.reason = reason

    @property
    def age_ms(self) -> float | None:
        """Age of the last block, by when it was read and by its own timestamp; None when there is none."""
        if self._last_ns is None:
            return None
        since_read_ms = (self._clock_ns() - self._last_ns) / _NS_PER_MS
        if self._timestamp is None:
            return since_read_ms
        # Block times are whole seconds, so up to one of them is not age.
        return max(since_read_ms, (self._wall_s() - self._timestamp - 1.0) * 1_000)

    @property
    def level(self) -> Level:
        """The level at this moment."""
        age_ms = self.age_ms
        if age_ms is None or age_ms >= self._config.stale_ms:
            return Level.STALE
        return Level.DELAYED if age_ms >= self._config.delayed_ms else Level.READY

    @property
    def may_order(self) -> bool:
        """Whether an order may be built on this chain's state."""
        return self.level is not Level.STALE

    def explain(self) -> str:
        """Level and cause, for people."""
        age_ms = self.age_ms
        if age_ms is None:
            return f"{Level.STALE.value}: {self.reason}"
        return f"{self.level.value}: last block {age_ms:.0f} ms ago"


def pool_level(chain: ChainFreshness, market: Market, pool: PoolId) -> Level:
    """Level of one pool: that of its chain, and stale while it is in quarantine, unknown, or not read again."""
    return chain.level if market.tradable(pool) else Level.STALE
