"""Breakers that look at what the engine stands on: nodes, reorgs, its own speed, the clock."""

from collections import deque

from ouro.config.risk import ClockConfig, LatencyConfig, NodesConfig, ReorgConfig
from ouro.risk.breakers.base import Latch, Window
from ouro.risk.breakers.events import BlockDone, Event, NodesDisagree, Reorganised

_PPM = 1_000_000


class Nodes(Latch):
    """Nodes that contradict each other, or whose blocks arrive stale time and again."""

    interests = (NodesDisagree, BlockDone)

    def __init__(self, config: NodesConfig) -> None:
        super().__init__("nodes", config.mode, config.heal_ms)
        self._config = config
        self._disagreements, self._stale = Window(config.window_ms), Window(config.window_ms)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, NodesDisagree):
            count = self._disagreements.add(event.at_ms)
            if count >= self._config.max_disagreements:
                self.trip(event.detail, event.at_ms)
        elif isinstance(event, BlockDone) and event.stale:
            count = self._stale.add(event.at_ms)
            if count >= self._config.max_stale:
                self.trip(f"{count} blocks arrived stale", event.at_ms, "throttle")

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._disagreements.clear()
        self._stale.clear()


class DeepReorg(Latch):
    """Many blocks left the chain at once."""

    interests = (Reorganised, BlockDone)

    def __init__(self, config: ReorgConfig) -> None:
        super().__init__("reorg", config.mode, config.heal_ms)
        self._depth = config.min_depth

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, Reorganised) and event.depth >= self._depth:
            self.trip(f"{event.depth} blocks were reorganised away", event.at_ms)


class Latency(Latch):
    """The objective of deciding in time is missed too often."""

    interests = (BlockDone,)

    def __init__(self, config: LatencyConfig) -> None:
        super().__init__("latency", config.mode, config.heal_ms)
        self._config = config
        self._late: deque[bool] = deque(maxlen=config.blocks)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if not isinstance(event, BlockDone) or event.decided_ms is None:
            return
        self._late.append(event.decided_ms > self._config.objective_ms)
        late = sum(self._late)
        if len(self._late) == self._config.blocks and late * _PPM > self._config.burnt_ppm * len(self._late):
            self.trip(
                f"{late} of {len(self._late)} blocks were decided later than {self._config.objective_ms} ms",
                event.at_ms,
            )
            self._late.clear()

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._late.clear()


class ClockSkew(Latch):
    """The clock by which limits and prices are dated can't be trusted."""

    interests = (BlockDone,)

    def __init__(self, config: ClockConfig) -> None:
        super().__init__("clock", config.mode, config.heal_ms)
        self._config = config
        self._offset_ms: int | None = None

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if not isinstance(event, BlockDone):
            return
        offset = event.at_ms - event.monotonic_ms
        if self._offset_ms is not None and abs(offset - self._offset_ms) > self._config.max_jump_ms:
            self.trip(f"the clock jumped by {offset - self._offset_ms} ms", event.at_ms)
        self._offset_ms = offset
        skew = event.block_time_ms - event.at_ms
        # Blocks from the past are late, which freshness judges; blocks from the future are a wrong clock.
        if skew > self._config.max_skew_ms:
            self.trip(f"block {event.number} is {skew} ms ahead of the clock", event.at_ms)
