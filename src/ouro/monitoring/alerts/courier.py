"""Takes what waits for one destination there: grouped, not in quiet hours, again until it is taken."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from ouro.chain.redact import scrub, url_secrets
from ouro.config.alerts import AlertsConfig, Destination, Severity, parse_hours
from ouro.config.redact import redact_text
from ouro.monitoring.alerts.store import Alert, AlertStore

log = structlog.get_logger(__name__)

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 2_000, 300_000
_POLL_S = 0.25
_TIMEOUT_S = 4
_SHOWN = 20
_TYPES: Mapping[Severity, str] = {"info": "info", "warning": "warning", "critical": "failure"}
_SIGNS: Mapping[Severity, str] = {"info": "info", "warning": "WARNING", "critical": "CRITICAL"}


class AlertError(Exception):
    """A destination that can't be used or did not take a message; one line without secrets, with what to do."""


def backoff_ms(tries: int) -> int:
    """The pause after so many failures in a row."""
    return min(FIRST_PAUSE_MS << min(tries - 1, 20), LONGEST_PAUSE_MS)


def address_of(destination: Destination, environment: Mapping[str, str] | None = None) -> str:
    """Its Apprise address, read now. Raises ``AlertError``."""
    name = destination.name
    if destination.url_env is not None:
        found = (os.environ if environment is None else environment).get(destination.url_env, "").strip()
        if not found:
            raise AlertError(f"destination {name}: the variable {destination.url_env} is not set")
        return found
    assert destination.url_file is not None
    try:
        text = destination.url_file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise AlertError(f"destination {name}: {destination.url_file}: {reason}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise AlertError(f"destination {name}: {destination.url_file} is empty; its first line is the address")
    return lines[0]


def notifier_of(destination: Destination) -> tuple[Any, str]:
    """Apprise for this destination, and the address. Raises ``AlertError``."""
    import logging

    from apprise import Apprise, AppriseAsset

    # Its own logger prints addresses at some levels; what went wrong is told by the callback, and scrubbed.
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    address = address_of(destination)
    asset = AppriseAsset(app_id="Ouro", app_desc="Ouro", app_url="", plugin_paths=[], storage_mode="memory")
    apprise = Apprise(asset=asset)
    if not apprise.add(address):
        scheme = address.split("://", 1)[0] if "://" in address else "nothing before ://"
        raise AlertError(
            f"destination {destination.name}: what it names is no address that Apprise knows ({scheme}, "
            f"{len(address)} characters); see the list of services in Apprise's documentation"
        )
    return apprise, address


def send(destination: Destination, title: str, body: str, severity: Severity) -> None:
    """One message now. Raises ``AlertError`` when it was not taken."""
    apprise, address = notifier_of(destination)
    words: list[str] = []

    def listen(entry: Any, _service: Any = None) -> None:
        if getattr(entry, "level", "") in ("WARNING", "ERROR", "CRITICAL"):
            words.append(" ".join(str(getattr(entry, "message", entry)).split()))

    try:
        taken = apprise.notify(
            title=title,
            body=body,
            notify_type=_TYPES[severity],
            timeout=_TIMEOUT_S,
            log_callback=listen,
            log_level=30,
        )
    except Exception as error:  # plugins are many and raise what they like
        words.append(f"{type(error).__name__}: {error}")
        taken = False
    if not taken:
        reason = scrub(redact_text("; ".join(dict.fromkeys(words))), url_secrets(address)) or "no reason given"
        raise AlertError(f"destination {destination.name}: not delivered: {reason}")


def is_quiet(config: AlertsConfig, now_ms: int) -> bool:
    """Whether ``now_ms`` is in the quiet hours."""
    hours = parse_hours(config.quiet_hours)
    if hours is None:
        return False
    now = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(config.zone)).time()
    begin, end = hours
    return begin <= now < end if begin <= end else now >= begin or now < end


def ready(alerts: Sequence[Alert], config: AlertsConfig, now_ms: int) -> list[Alert]:
    """What of the due ``alerts`` goes out in one message now.

    Critical ones at once, and whatever else waits goes with them; others when the oldest has waited ``group_ms``,
    so that what happens together is read together. In quiet hours only critical ones.
    """
    if is_quiet(config, now_ms):
        return [alert for alert in alerts if alert.severity == "critical"]
    urgent = any(alert.severity == "critical" for alert in alerts)
    waited_ms = max((now_ms - alert.raised_ms for alert in alerts), default=-1)
    return list(alerts) if urgent or waited_ms >= config.group_ms else []


def message(alerts: Sequence[Alert]) -> tuple[str, str, Severity]:
    """Title, body and severity of one message about all of ``alerts``, the worst first."""
    order: tuple[Severity, ...] = ("critical", "warning", "info")
    ranked = sorted(alerts, key=lambda alert: (order.index(alert.severity), alert.id))
    worst = ranked[0]
    more = f" (and {len(ranked) - 1} more)" if len(ranked) > 1 else ""
    parts = []
    for alert in ranked[:_SHOWN]:
        over = "  It is over." if alert.resolved_ms is not None else ""
        lines = [f"{_SIGNS[alert.severity]}: {alert.title}{over}", alert.detail]
        lines += [f"Runbook: {alert.runbook}"] if alert.runbook else []
        parts.append("\n".join(line for line in lines if line))
    if len(ranked) > _SHOWN:
        parts.append(f"{len(ranked) - _SHOWN} more: ouro alerts list")
    return f"Ouro {_SIGNS[worst.severity]}: {worst.title}{more}", "\n\n".join(parts), worst.severity


class Courier:
    """One destination's thread, so that one that hangs does not hold up the others."""

    def __init__(
        self,
        destination: Destination,
        config: AlertsConfig,
        store: AlertStore,
        *,
        told: Callable[[str, int, int | None], None] = lambda name, waiting, delivered_ms: None,
        clock_ms: Callable[[], int],
    ) -> None:
        """``told`` hears how many wait and when the last was taken, after each round."""
        self._destination, self._config, self._store = destination, config, store
        self._told, self._clock_ms = told, clock_ms
        self._since_ms = clock_ms() - 3_600_000
        self._stop = threading.Event()
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name=f"alerts-{destination.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """Try what waits once more and end."""
        self._stop.set()
        self._thread.join(patience_s)

    def round(self) -> int:
        """Deliver what is due; how many wait still."""
        destination, config = self._destination, self._config
        repeat_ms = config.repeat_minutes * 60_000
        due = self._store.due(destination.name, destination.least, self._since_ms, repeat_ms)
        going = ready(due, config, self._clock_ms())
        if not going:
            return len(due)
        try:
            send(destination, *message(going))
        except AlertError as error:
            self._store.failed(going, destination.name, str(error), backoff_ms)
            if str(error) != self._failing:
                self._failing = str(error)
                log.warning("alerts_not_delivered", destination=destination.name, reason=str(error))
            return len(due)
        self._failing = ""
        self._store.delivered(going, destination.name)
        log.info("alerts_delivered", destination=destination.name, count=len(going))
        self._told(destination.name, len(due) - len(going), self._clock_ms())
        return len(due) - len(going)

    def _run(self) -> None:
        while True:
            ending = self._stop.is_set()
            try:
                self._told(self._destination.name, self.round(), None)
            except Exception as error:
                log.error(
                    "alerts_courier", destination=self._destination.name, error=f"{type(error).__name__}: {error}"
                )
                self._stop.wait(1.0)
            if ending:
                return
            self._stop.wait(_POLL_S)
