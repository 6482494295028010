"""The page beside a demo: started with it, ended with it, and never a reason for it to fail."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ouro.dashboard.access import set_password
from ouro.testnet.process import end, spawn


class DemoPage:
    """``ouro dashboard`` on a free port of loopback, with a password of the demo's own for halting."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process, self.url = process, url

    @classmethod
    def start(
        cls, config: Path, data_dir: Path, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> "DemoPage | None":
        """Start it and say where it is; it is there a moment later. None, with the reason said, when it can't be.

        ``environment`` must hold no secret.
        """
        password = secrets.token_urlsafe(9)
        listen = f"127.0.0.1:{_free_port()}"
        command = [sys.executable, "-m", "ouro.cli", "dashboard", "--config", str(config), "--listen", listen]
        # The page must not take time from what it shows.
        polite = ["nice", "-n", "10", *command] if os.name == "posix" else command
        try:
            set_password(data_dir, password)
            process = spawn(polite, log=config.with_name("dashboard.log"), environment=environment)
        except Exception as error:  # whatever it is: the demo goes on without
            say(f"no page in the browser: {error}")
            return None
        url = f"http://{listen}/"
        say(f"dashboard: {url}  (to halt from it: any name, password {password})")
        return cls(process, url)

    def stop(self) -> None:
        """End it."""
        end(self._process, grace_s=3.0)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
