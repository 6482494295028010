"""What an engine process calls to be watched: a few lines of its runner."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog

from ouro.config.model import OuroConfig
from ouro.control import ControlStore, control_folder
from ouro.ledger.ledger import Ledger
from ouro.monitoring.alerts.sentinel import sentinel_beside
from ouro.monitoring.endpoint import serve_metrics
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


def open_metrics(config: OuroConfig, chains: Sequence[str] = ()) -> AnyMetrics:
    """The metrics of the process that runs ``chains``; none where they are off, or their files can't be written."""
    process = f"engine-{chains[0]}" if len(chains) == 1 else "engine"
    if config.monitoring.metrics == "off":
        return NullMetrics()
    try:
        return Metrics.open(config.data_dir / FOLDER, process)
    except OSError as error:
        log.warning("metrics_off", folder=str(config.data_dir / FOLDER), error=str(error))
        return NullMetrics()


@contextmanager
def watched(config: OuroConfig, config_file: Path, announce: Callable[[str], None]) -> Iterator[None]:
    """Around all that the parent process runs: serves the metrics of its processes, and has people told."""
    with (
        serve_metrics(config.data_dir, config.monitoring.address, announce),
        sentinel_beside(config, config_file, announce),
    ):
        yield


def engine_sampler(shared: Parts, engines: Sequence[Observed]) -> Sampler:
    """Looks at ``engines`` once a second; run it beside them (`ouro.monitoring.sampler.sampled`)."""
    ledger = shared.ledger
    control = ControlStore(control_folder(shared.config.data_dir))
    return Sampler(
        shared.metrics,
        engines,
        limits=shared.config.limits_of,
        exposure=shared.risk.exposure,
        halts=control.on_chain,
        queues=lambda: {"ledger": ledger.waiting},
        books_problem=lambda: ledger.problem,
    )
