"""``ouro dashboard`` as a process, on a free port of loopback."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

PASSWORD = "correct horse battery"
PATIENCE_S = 60.0
"""For whatever is waited for: only ever used up by a failure."""


def wait_until(what: str, condition: Callable[[], Any]) -> Any:
    """Until ``condition`` gives something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


class Site:
    """Use as a context manager."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start("127.0.0.1:0")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, listen: str) -> None:
        """Start it and wait for its address, which it prints once it can be asked."""
        command = [sys.executable, "-m", "ouro.cli", "dashboard", "--config", str(self.config), "--listen", listen]
        log = self.config.with_name("dashboard.log").open("a")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ)
        log.close()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, f"no address: {line!r} {self.log()}"
        self.url = found.group()

    def wait_loaded(self) -> None:
        """Until the books have been read once."""
        wait_until("the books", lambda: self.get("healthz").json()["word"] != "Loading")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def restart(self) -> None:
        """End it and start it anew at the same address."""
        self.stop()
        self.start(httpx.URL(self.url).netloc.decode())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One request without a session."""
        return httpx.get(self.url + path, timeout=PATIENCE_S, **options)

    def log(self) -> str:
        """What it said on stderr."""
        path = self.config.with_name("dashboard.log")
        return path.read_text() if path.exists() else ""


class Visitor:
    """Somebody with cookies, as far as forms need no browser."""

    def __init__(self, site: Site) -> None:
        self.client = httpx.Client(base_url=site.url, timeout=PATIENCE_S, follow_redirects=False)

    def log_in(self, name: str, password: str) -> httpx.Response:
        """Post the form."""
        return self.client.post("/login", data={"name": name, "password": password})

    def csrf(self) -> str:
        """The token of the forms."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get("/control").text)
        assert found, "no form: is nobody logged in?"
        return found.group(1)

    def post(self, path: str, **fields: str) -> httpx.Response:
        """A form with its token."""
        return self.client.post(path, data={"csrf": self.csrf(), **fields})
