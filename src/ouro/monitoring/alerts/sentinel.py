"""The process that tells people; `ouro run` starts it where there is somebody to tell.

It outlives its parent on purpose. The parent says "bye" on the pipe when it ends in order; where the pipe ends
without that, the engine died, which is what somebody has to be told.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from ouro.config.load import load_config
from ouro.config.model import OuroConfig
from ouro.monitoring.alerts.courier import AlertError, Courier, notifier_of
from ouro.monitoring.alerts.sources import RUNBOOKS, Sources
from ouro.monitoring.alerts.store import Alert, AlertStore, alerts_file
from ouro.monitoring.metrics import FOLDER, AnyMetrics, Metrics, NullMetrics

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
BYE = b"bye\n"
_LAST_WORDS_S = 60.0
_DEAD = "engine"


def problems(config: OuroConfig) -> list[str]:
    """What is wrong with the destinations, each in one line without secrets."""
    found = []
    for destination in config.alerts.destinations:
        try:
            notifier_of(destination)
        except AlertError as error:
            found.append(str(error))
    return found


class Sentinel:
    """Looks for what is wrong, queues it, and has the couriers deliver it."""

    def __init__(
        self, config: OuroConfig, store: AlertStore, metrics: AnyMetrics, clock_ms: Callable[[], int] | None = None
    ) -> None:
        """``clock_ms``: unix milliseconds, the machine's by default."""
        clock = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self._store, self._metrics = store, metrics
        self._sources = Sources(config, since_s=clock() / 1_000)
        self._raised: set[str] = set(store.standing())
        self._told: dict[str, tuple[int, int | None]] = {}
        self._lock = threading.Lock()
        self._couriers = [
            Courier(destination, config.alerts, store, told=self._note, clock_ms=clock)
            for destination in config.alerts.destinations
        ]

    def start(self) -> None:
        """Begin to deliver."""
        for courier in self._couriers:
            courier.start()

    def look(self) -> None:
        """Queue what is wrong now and was not before; what no longer is, is over."""
        found = self._sources.look()
        over = self._raised - found.keys() - {_DEAD}
        for key in found.keys() - self._raised:
            if self._store.raise_alert(found[key]):
                log.warning("alert", key=key, severity=found[key].severity, title=found[key].title)
        if over:
            self._store.resolve(over)
        self._raised = set(found) | (self._raised & {_DEAD})
        with self._lock:
            told = dict(self._told)
        for name, (waiting, delivered_ms) in told.items():
            self._metrics.set("ouro_alerts_waiting", waiting, name)
            if delivered_ms is not None:
                self._metrics.set("ouro_alerts_delivered_timestamp_seconds", delivered_ms / 1_000, name)

    def engine_is_back(self) -> None:
        """Whoever starts a sentinel is an engine that lives."""
        self._store.resolve([_DEAD])
        self._raised.discard(_DEAD)

    def engine_died(self) -> None:
        """The parent went without a word."""
        title = "the engine died: nothing is traded on any chain"
        detail = "its process ended without saying so (killed, out of memory, power?); the journal has what is open"
        self._store.raise_alert(Alert(_DEAD, "critical", title, detail, "", f"{RUNBOOKS}/engine-dead.md"))
        log.error("engine_died")

    def waiting(self) -> int:
        """Alerts that some destination has not taken."""
        with self._lock:
            return sum(waiting for waiting, _ in self._told.values())

    def stop(self, patience_s: float) -> None:
        """Deliver what can be and end."""
        for courier in self._couriers:
            courier.stop(patience_s)

    def _note(self, name: str, waiting: int, delivered_ms: int | None) -> None:
        with self._lock:
            before = self._told.get(name, (0, None))[1]
            self._told[name] = (waiting, delivered_ms or before)


def run(config: OuroConfig, parent: int) -> None:
    """Until the parent, at the other end of the descriptor ``parent``, is gone."""
    store = AlertStore(alerts_file(config.data_dir))
    store.forget_old()
    metrics: AnyMetrics = NullMetrics()
    if config.monitoring.metrics == "on":
        metrics = Metrics.open(config.data_dir / FOLDER, "alerts")
    sentinel = Sentinel(config, store, metrics)
    sentinel.engine_is_back()
    sentinel.start()
    heard = b""
    while True:
        sentinel.look()
        readable, _, _ = select.select([parent], [], [], LOOK_EVERY_S)
        if not readable:
            continue
        data = os.read(parent, 64)
        heard += data
        if not data or heard.endswith(BYE):
            break
    if not heard.endswith(BYE):
        sentinel.engine_died()
        deadline = time.monotonic() + _LAST_WORDS_S
        time.sleep(2 * LOOK_EVERY_S)
        while sentinel.waiting() and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
    sentinel.stop(5.0)
    metrics.close()


@contextmanager
def sentinel_beside(
    config: OuroConfig, config_file: Path, announce: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Run the process beside the block, where somebody wants to be told. What is wrong with a destination, or keeps
    the process from starting, is announced; it never stops what is in the block."""
    if not config.alerts.destinations:
        yield
        return
    for problem in problems(config):
        announce(f"alerts: {problem}; trading goes on, and what could not be delivered is kept")
    process = None
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "ouro.monitoring.alerts.sentinel", "--config", str(config_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        announce(f"alerts: nobody is told anything: {error}; trading goes on")
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            try:
                process.stdin.write(BYE)
                process.stdin.close()
                process.wait(10.0)
            except (OSError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """The process."""
    from ouro.cli.logs import configure_logs

    parser = argparse.ArgumentParser(prog="python -m ouro.monitoring.alerts.sentinel")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's end ends it
    configure_logs()
    run(load_config(arguments.config), sys.stdin.fileno())


if __name__ == "__main__":
    main()
