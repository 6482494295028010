"""All breakers of a chain together, and their trips in the store of halts, where they outlive the process."""

from collections.abc import Sequence
from typing import Any, Protocol, get_args

import structlog

from ouro.config.risk import BreakersConfig
from ouro.risk.breakers.base import SEVERITY, Breaker, Tripped
from ouro.risk.breakers.events import Event
from ouro.risk.breakers.money import Drawdown, LedgerMismatch, LossRate
from ouro.risk.breakers.surroundings import ClockSkew, DeepReorg, Latency, Nodes
from ouro.risk.breakers.trades import GasError, Repeat, Reverts, Simulation

log = structlog.get_logger(__name__)


class HaltLike(Protocol):
    """What is read of a halt (`ouro.control.Halt`)."""

    @property
    def chain(self) -> str | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def why(self) -> str: ...


class Halts(Protocol):
    """What is used of the store of halts (`ouro.control.ControlStore`)."""

    def in_force(self, chain: str | None = None, strategy: str | None = None) -> tuple[Any, ...]: ...
    def halt(
        self, *, by: str, why: str, chain: str | None, mode: Any, source: str, until_ms: int | None
    ) -> Any: ...


def breakers_of(config: BreakersConfig, capital_wei: int) -> list[Breaker]:
    """Those that are on."""
    made: list[tuple[str, Breaker]] = [
        (config.drawdown.state, Drawdown(config.drawdown, capital_wei)),
        (config.loss_rate.state, LossRate(config.loss_rate, capital_wei)),
        (config.reverts.state, Reverts(config.reverts)),
        (config.simulation.state, Simulation(config.simulation)),
        (config.gas_error.state, GasError(config.gas_error)),
        (config.nodes.state, Nodes(config.nodes)),
        (config.reorg.state, DeepReorg(config.reorg)),
        (config.latency.state, Latency(config.latency)),
        (config.repeat.state, Repeat(config.repeat)),
        (config.clock.state, ClockSkew(config.clock)),
        (config.ledger.state, LedgerMismatch(config.ledger)),
    ]
    return [breaker for state, breaker in made if state == "on"]


class Board:
    """The breakers of one chain.

    A trip is written into ``halts`` before `observe` returns, and stands there until a person lifts it or, for a
    throttle, its time has passed. Without a store trips hold for this process alone. What can't be written there
    holds in this process all the same.
    """

    def __init__(self, chain: str, breakers: Sequence[Breaker], halts: Halts | None = None) -> None:
        self.chain = chain
        self.breakers = tuple(breakers)
        self._halts = halts
        self._interested = {
            kind: tuple(b for b in self.breakers if not b.interests or kind in b.interests)
            for kind in get_args(Event)
        }
        self.drawdown = next((breaker for breaker in self.breakers if isinstance(breaker, Drawdown)), None)
        """The one that the gate asks how much may still be lost."""
        self._written: dict[str, Tripped] = {}
        self._unwritten: set[str] = set()

    def observe(self, event: Event) -> list[tuple[str, Tripped]]:
        """Tell every breaker; what tripped (or tripped worse) by it."""
        self._heed_resumes()
        fresh: list[tuple[str, Tripped]] = []
        for breaker in self._interested.get(type(event), self.breakers):
            breaker.observe(event)
            tripped = breaker.state()
            if tripped is None:
                self._written.pop(breaker.name, None)
                self._unwritten.discard(breaker.name)
            elif tripped != self._written.get(breaker.name) or breaker.name in self._unwritten:
                self._write(breaker.name, tripped)
                fresh.append((breaker.name, tripped))
        return fresh

    def _write(self, name: str, tripped: Tripped) -> None:
        if self._written.get(name) != tripped:
            log.critical(
                "breaker_tripped", chain=self.chain, breaker=name, mode=tripped.mode, reason=tripped.reason
            )
        self._written[name] = tripped
        if self._halts is None:
            return
        try:
            self._halts.halt(
                by=f"breaker {name}",
                why=tripped.reason,
                chain=self.chain,
                mode=tripped.mode,
                source=f"breaker:{name}",
                until_ms=tripped.until_ms,
            )
            self._unwritten.discard(name)
        except Exception as error:  # whatever the store's trouble: it holds here, and is tried again
            self._unwritten.add(name)
            log.critical("trip_not_written", chain=self.chain, breaker=name, error=str(error))

    def _heed_resumes(self) -> None:
        """Whose halt a person has lifted begins anew."""
        if self._halts is None or not self._written:
            return
        standing = {(halt.source, halt.mode) for halt in self._halts.in_force(self.chain, None)}
        if any(source == "breaker:control_store" for source, _ in standing):
            return  # unreadable is not lifted
        for breaker in self.breakers:
            written = self._written.get(breaker.name)
            if written is None or breaker.name in self._unwritten or written.mode == "throttle":
                continue
            if (f"breaker:{breaker.name}", written.mode) not in standing:
                log.warning("breaker_reset", chain=self.chain, breaker=breaker.name)
                breaker.reset()
                del self._written[breaker.name]

    def in_force(self) -> list[tuple[str, Tripped]]:
        """What holds in this process, worst first."""
        self._heed_resumes()
        found = [(breaker.name, state) for breaker in self.breakers if (state := breaker.state()) is not None]
        return sorted(found, key=lambda item: -SEVERITY[item[1].mode])

    @property
    def tripped(self) -> bool:
        """Whether any holds in this process (cheap)."""
        return bool(self._written)
