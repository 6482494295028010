"""The one address at which an instance's metrics are read: the sum over the files of all its processes."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ouro.config.monitoring import split_address
from ouro.monitoring.metrics import FOLDER

log = structlog.get_logger(__name__)

_ADDRESS_FILE = "endpoint.json"


@dataclass(frozen=True, slots=True)
class Served:
    """Where the metrics are; ``url`` is empty where nothing is served, and ``problem`` says why."""

    url: str
    problem: str = ""


@contextmanager
def serve_metrics(
    data_dir: Path, listen: str, announce: Callable[[str], None] = lambda text: None
) -> Iterator[Served]:
    """Serve ``http://listen/metrics`` on a thread of this process until the end of the block.

    Never raises for what is wrong with the address: a taken port is told to ``announce`` and to the log, and
    everything else goes on without the endpoint. Call it in the parent process, before the others begin: it
    removes the files of processes that are gone.
    """
    if listen == "off":
        yield Served("", "monitoring.listen is off")
        return
    folder = data_dir / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        forget_dead(folder)
        server, url = _start(folder, listen)
    except OSError as error:
        reason = error.strerror or str(error)
        problem = (
            f"metrics are not served: {listen}: {reason}; trading goes on. Free the port, or set monitoring.listen "
            'to another one (port 0 takes a free one, "off" serves none)'
        )
        log.warning("metrics_not_served", listen=listen, reason=reason)
        announce(problem)
        yield Served("", problem)
        return
    address = folder / _ADDRESS_FILE
    address.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    log.info("metrics_served", address=url.removeprefix("http://"))
    try:
        yield Served(url)
    finally:
        server.shutdown()
        server.server_close()
        with contextlib.suppress(OSError):
            address.unlink()


def served_at(data_dir: Path) -> str:
    """The address of a running instance's metrics; empty where none is served."""
    try:
        told = json.loads((data_dir / FOLDER / _ADDRESS_FILE).read_text(encoding="utf-8"))
        return str(told["url"]) if is_alive(int(told["pid"])) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def forget_dead(folder: Path) -> None:
    """Remove the files of processes that are gone: their counts were theirs alone, as after any restart."""
    for file in folder.glob("*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not is_alive(int(pid)):
            with contextlib.suppress(OSError):
                file.unlink()


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _start(folder: Path, listen: str) -> tuple[Any, str]:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    host, port = split_address(listen)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    server, _ = start_http_server(port, host, registry)
    shown = f"[{host}]" if ":" in host else host
    return server, f"http://{shown}:{server.server_port}/metrics"
