"""``ouro run``: the engine."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ouro.engine.status import ChainStatus

_LINE_EVERY = 20
"""Status ticks (4 a second) between plain lines where there is no terminal."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("run")
    def run(
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        blocks: Annotated[int | None, typer.Option(min=1, help="Stop after so many blocks on each chain.")] = None,
        chain: Annotated[list[str] | None, typer.Option(help="Only this chain (repeatable).")] = None,
        view: Annotated[bool, typer.Option(help="Show the live view on stdout.")] = True,
    ) -> None:
        """Run the engine in the configured mode. Ctrl-C finishes what is under way, then stops."""
        import asyncio

        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config

        configure_logs()
        loaded = load_config(config)
        # Numba is configured before anything imports it.
        from ouro.engine.runner import run_engine

        with _View(loaded.mode.value, enabled=view) as shown:
            asyncio.run(run_engine(loaded, blocks=blocks, chains=chain or (), listener=shown.update))


class _View:
    """The rich view on a terminal, one line per chain now and then elsewhere."""

    def __init__(self, mode: str, *, enabled: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._mode = mode
        self._enabled = enabled
        self._ticks = 0
        console = Console(file=sys.stdout)
        self._live = Live(console=console, auto_refresh=False) if enabled and console.is_terminal else None

    def __enter__(self) -> "_View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, statuses: Sequence[ChainStatus]) -> None:
        """Called four times a second."""
        from ouro.cli.view import plain_line, render

        if self._live is not None:
            self._live.update(render(statuses, self._mode), refresh=True)
        elif self._enabled and self._ticks % _LINE_EVERY == 0:
            for status in statuses:
                print(plain_line(status), flush=True)
        self._ticks += 1
