"""Breakers that look at how trades go: unexplained reverts, wrong predictions, runaway repetition."""

from collections import OrderedDict

from ouro.config.risk import GasErrorConfig, RepeatConfig, RevertsConfig, SimulationConfig
from ouro.risk.breakers.base import Latch, Window
from ouro.risk.breakers.events import ApprovedOrder, BlockDone, Event, ReleasedOrder, SettledTrade
from ouro.types import OutcomeKind

_PPM = 1_000_000
_KEPT_PATHS = 4_096


class Reverts(Latch):
    """Trades that reverted though nobody was ahead of them: ours is the bug. Competitive misses are not counted."""

    interests = (SettledTrade, BlockDone)

    def __init__(self, config: RevertsConfig) -> None:
        super().__init__("reverts", config.mode, config.heal_ms)
        self._most = config.max_reverts
        self._seen = Window(config.window_ms)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, SettledTrade) and event.kind is OutcomeKind.REVERTED:
            count = self._seen.add(event.at_ms)
            if count >= self._most:
                self.trip(f"{count} trades reverted though nobody moved their pools", event.at_ms)

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._seen.clear()


class Simulation(Latch):
    """Landed trades brought less than was predicted and simulated."""

    interests = (SettledTrade, BlockDone)

    def __init__(self, config: SimulationConfig) -> None:
        super().__init__("simulation", config.mode, config.heal_ms)
        self._tolerance, self._most = config.tolerance_ppm, config.max_differences
        self._seen = Window(config.window_ms)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if not isinstance(event, SettledTrade) or event.kind is not OutcomeKind.LANDED or event.explained:
            return
        predicted, realised = event.predicted_profit_wei, event.realised_profit_wei
        if (predicted - realised) * _PPM <= self._tolerance * abs(predicted):
            return
        count = self._seen.add(event.at_ms)
        if count >= self._most:
            self.trip(
                f"{count} trades brought less than predicted, the last {realised} for {predicted}", event.at_ms
            )

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._seen.clear()


class GasError(Latch):
    """Landed trades used much more gas than estimated."""

    interests = (SettledTrade, BlockDone)

    def __init__(self, config: GasErrorConfig) -> None:
        super().__init__("gas_error", config.mode, config.heal_ms)
        self._tolerance, self._most = config.tolerance_ppm, config.max_errors
        self._seen = Window(config.window_ms)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if not isinstance(event, SettledTrade) or event.kind is not OutcomeKind.LANDED:
            return
        if (
            event.expected_gas
            and (event.gas_used - event.expected_gas) * _PPM > self._tolerance * event.expected_gas
        ):
            count = self._seen.add(event.at_ms)
            if count >= self._most:
                self.trip(
                    f"{count} trades used far more gas than estimated, the last {event.gas_used} for "
                    f"{event.expected_gas}",
                    event.at_ms,
                )

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._seen.clear()


class Repeat(Latch):
    """A runaway loop: one path again and again without ever landing, or more approvals than a chain can want."""

    interests = (SettledTrade, ApprovedOrder, ReleasedOrder, BlockDone)

    def __init__(self, config: RepeatConfig) -> None:
        super().__init__("repeat", config.mode, config.heal_ms)
        self._config = config
        self._all = Window(config.window_ms)
        self._paths: OrderedDict[int, Window] = OrderedDict()

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, SettledTrade):
            if event.kind is OutcomeKind.LANDED:
                self._paths.pop(event.path, None)
            return
        if isinstance(event, ReleasedOrder):
            # A loop that sends nothing (pre-flight refuses, the signer is down) is no runaway.
            self._all.take_back(event.at_ms)
            if event.path in self._paths:
                self._paths[event.path].take_back(event.at_ms)
            return
        if not isinstance(event, ApprovedOrder):
            return
        config = self._config
        path = self._paths.get(event.path)
        if path is None:
            path = self._paths[event.path] = Window(config.window_ms)
            if len(self._paths) > _KEPT_PATHS:
                self._paths.popitem(last=False)
        same, everything = path.add(event.at_ms), self._all.add(event.at_ms)
        if same >= config.max_same_path:
            self.trip(f"one path was approved {same} times in {config.window_ms} ms and never landed", event.at_ms)
        elif everything >= config.max_approvals:
            self.trip(f"{everything} approvals in {config.window_ms} ms", event.at_ms)

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._all.clear()
        self._paths.clear()
