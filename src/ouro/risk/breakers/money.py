"""Breakers that look at money: drawdown, loss rate, books that differ."""

from ouro.config.risk import DrawdownConfig, LedgerConfigOfRisk, LossRateConfig
from ouro.risk.breakers.base import HaltMode, Latch, Window
from ouro.risk.breakers.events import BlockDone, Event, Reconciled, SettledTrade, WithdrawnTrade

_PPM = 1_000_000


class Drawdown(Latch):
    """Net equity against its peak, in three tiers. Equity is the risk capital and every result since the start.

    A throttle heals with time only if the drawdown is below its tier again; the higher tiers need a person, and
    then count from the equity of that moment.
    """

    interests = (SettledTrade, WithdrawnTrade, BlockDone)

    def __init__(self, config: DrawdownConfig, capital_wei: int) -> None:
        super().__init__("drawdown", "stop", config.heal_ms)
        self._config, self._capital = config, capital_wei
        self.net_wei = self.peak_net_wei = 0

    def restore(self, net_wei: int, peak_net_wei: int) -> None:
        """What the books say of before this process; judged with the next event."""
        self.net_wei, self.peak_net_wei = net_wei, max(0, net_wei, peak_net_wei)

    @property
    def drawdown_ppm(self) -> int:
        """How far below its peak, in ppm of the peak, rounded up."""
        return self.with_loss_ppm(0)

    def with_loss_ppm(self, loss_wei: int) -> int:
        """The same if so much more were lost."""
        peak = self._capital + self.peak_net_wei
        down = self.peak_net_wei - self.net_wei + loss_wei
        return -(-down * _PPM // peak) if peak > 0 else _PPM

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        match event:
            case SettledTrade():
                self.net_wei += event.net_wei
            case WithdrawnTrade():
                self.net_wei -= event.net_wei
            case _:
                if isinstance(event, BlockDone):
                    self._heal_if_better(event.at_ms)
                return
        self.peak_net_wei = max(self.peak_net_wei, self.net_wei)
        self._judge(event.at_ms)

    def _judge(self, at_ms: int) -> None:
        down, config = self.drawdown_ppm, self._config
        tiers: tuple[tuple[HaltMode, int], ...] = (
            ("stop", config.halt_ppm),
            ("reduce_only", config.reduce_only_ppm),
            ("throttle", config.throttle_ppm),
        )
        for mode, tier in tiers:
            if down >= tier:
                self.trip(f"net equity is {down} ppm below its peak, the tier is {tier}", at_ms, mode)
                return

    def _heal_if_better(self, at_ms: int) -> None:
        if self.drawdown_ppm < self._config.throttle_ppm:
            self.heal(at_ms)
        else:
            self._judge(at_ms)

    def reset(self) -> None:
        """A person takes the loss: from here on it counts anew."""
        super().reset()
        self._capital += self.net_wei
        self.net_wei = self.peak_net_wei = 0


class LossRate(Latch):
    """Losses within a time, not netted with gains."""

    interests = (SettledTrade, BlockDone)

    def __init__(self, config: LossRateConfig, capital_wei: int) -> None:
        super().__init__("loss_rate", config.mode, config.heal_ms)
        self._limit = capital_wei * config.max_loss_ppm // _PPM
        self._lost = Window(config.window_ms)

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, SettledTrade) and event.net_wei < 0:
            lost = self._lost.add(event.at_ms, -event.net_wei)
            if lost > self._limit:
                self.trip(f"{lost} wei were lost within the window, the limit is {self._limit}", event.at_ms)

    def reset(self) -> None:
        """See ``Breaker.reset``."""
        super().reset()
        self._lost.clear()


class LedgerMismatch(Latch):
    """The books are not what the chain says."""

    interests = (Reconciled, BlockDone)

    def __init__(self, config: LedgerConfigOfRisk) -> None:
        super().__init__("ledger", config.mode, config.heal_ms)
        self._allowed = config.max_difference_wei

    def observe(self, event: Event) -> None:
        """See ``Breaker.observe``."""
        self.heal(event.at_ms)
        if isinstance(event, Reconciled) and event.max_abs_difference_wei > self._allowed:
            self.trip(f"books and chain differ by {event.max_abs_difference_wei} wei", event.at_ms)
