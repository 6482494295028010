"""What an engine process calls to be watched: three lines of its runner."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from ouro.config.model import OuroConfig
from ouro.ledger.ledger import Ledger
from ouro.monitoring.metrics import FOLDER, AnyMetrics, Metrics, NullMetrics
from ouro.monitoring.sampler import Observed, Sampler
from ouro.risk.gate import RiskGate

log = structlog.get_logger(__name__)


class Parts(Protocol):
    """What the chains of a process share (`ouro.engine.world.Shared`)."""

    @property
    def config(self) -> OuroConfig: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def risk(self) -> RiskGate: ...
    @property
    def metrics(self) -> AnyMetrics: ...


def open_metrics(config: OuroConfig, process: str = "engine") -> AnyMetrics:
    """The metrics of this process; none where they are off, or where their files can't be written."""
    if config.monitoring.metrics == "off":
        return NullMetrics()
    try:
        return Metrics.open(config.data_dir / FOLDER, process)
    except OSError as error:
        log.warning("metrics_off", folder=str(config.data_dir / FOLDER), error=str(error))
        return NullMetrics()


def engine_sampler(shared: Parts, engines: Sequence[Observed]) -> Sampler:
    """Looks at ``engines`` once a second; run it beside them (`ouro.monitoring.sampler.sampled`)."""
    ledger = shared.ledger
    return Sampler(
        shared.metrics,
        engines,
        limits=shared.config.limits_of,
        exposure=shared.risk.exposure,
        queues=lambda: {"ledger": ledger.waiting},
        books_problem=lambda: ledger.problem,
    )
