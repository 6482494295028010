"""``ouro run``: the engine."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ouro.engine.status import ChainStatus

if TYPE_CHECKING:
    from ouro.config.model import OuroConfig

_LINE_EVERY = 20
"""Status ticks (4 a second) between plain lines where there is no terminal."""

_PREDECESSOR_ENDS_S = 10.0


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
        one_process: Annotated[
            bool, typer.Option("--one-process", help="All chains in this process, instead of one for each.")
        ] = False,
        logs: Annotated[
            str | None, typer.Option(metavar="json|console", help="The form of the logs, over the configuration's.")
        ] = None,
        status_fd: Annotated[int | None, typer.Option(hidden=True, help="Where the supervisor listens.")] = None,
    ) -> None:
        """Run the engine in the configured mode. Ctrl-C finishes what is under way, then stops.

        Several chains get a process each, started again when it dies. SIGUSR1 halts trading, as `ouro halt` does.
        Logs go to stderr; to a file in the data folder where the live view would be drawn over them.
        """
        import asyncio
        import os

        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config
        from ouro.engine.chosen import chosen_chains

        if logs is not None:
            os.environ["OURO_MONITORING__LOGS"] = logs  # so that the chains' processes hear it, too
        loaded = load_config(config)
        form = loaded.monitoring.logs
        names = chosen_chains(loaded, chain or ())
        if status_fd is not None:
            configure_logs(form=form)
            _run_as_child(loaded, names, blocks, status_fd)
            return
        supervised = len(names) > 1 and not one_process
        with ExitStack() as stack:
            written: TextIO | None = None
            shown = _View(loaded.mode.value, enabled=view)
            if shown.live and sys.stderr.isatty():
                loaded.data_dir.mkdir(parents=True, exist_ok=True)
                path = loaded.data_dir / "engine.log"
                written = stack.enter_context(path.open("a", encoding="utf-8"))
                configure_logs(file=written, form=form)
                shown.note = f"logs: {path}"
            else:
                configure_logs(form=form)
            stack.enter_context(shown)
            from ouro.monitoring.hooks import watched

            stack.enter_context(watched(loaded, config, _say))
            if supervised:
                from ouro.engine.supervisor import supervise

                asyncio.run(supervise(loaded, config, names, blocks=blocks, listener=shown.update, errors=written))
                return
            # Numba is configured before anything imports it.
            from ouro.engine.runner import run_engine

            asyncio.run(run_engine(loaded, blocks=blocks, chains=names, listener=shown.update, announce=_say))


def _run_as_child(config: "OuroConfig", names: Sequence[str], blocks: int | None, status_fd: int) -> None:
    """One chain of a supervisor: its status goes there, and it waits for a predecessor that is just dying."""
    import asyncio

    from ouro.engine.runner import run_engine
    from ouro.engine.status_wire import StatusSender

    sender = StatusSender(status_fd)

    def tell(statuses: Sequence[ChainStatus]) -> None:
        for status in statuses:
            sender.send(status)

    asyncio.run(
        run_engine(
            config, blocks=blocks, chains=names, listener=tell, announce=_say, lock_patience_s=_PREDECESSOR_ENDS_S
        )
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _View:
    """The rich view on a terminal's second screen, one line per chain now and then elsewhere.

    The last state stays on the first screen, whichever way the run ends.
    """

    def __init__(self, mode: str, *, enabled: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self.note = ""
        self._mode = mode
        self._enabled = enabled
        self._ticks = 0
        self._statuses: Sequence[ChainStatus] = ()
        self._console = Console(file=sys.stdout)
        drawable = enabled and self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False, screen=True) if drawable else None

    @property
    def live(self) -> bool:
        """Whether it draws."""
        return self._live is not None

    def __enter__(self) -> "_View":
        return self

    def __exit__(self, *_: object) -> None:
        from ouro.cli.view import EngineView

        if self._live is None or not self._live.is_started:
            return
        self._live.stop()
        self._console.print(EngineView(self._statuses, self._mode, self.note))

    def update(self, statuses: Sequence[ChainStatus]) -> None:
        """Called four times a second."""
        from ouro.cli.view import EngineView, plain_line

        self._statuses = statuses
        if self._live is not None:
            # Started with the first picture: what fails before it leaves the screen as it was.
            self._live.start()
            picture = EngineView(statuses, self._mode, self.note, height=self._console.height)
            self._live.update(picture, refresh=True)
        elif self._enabled and self._ticks % _LINE_EVERY == 0:
            for status in statuses:
                print(plain_line(status), flush=True)
        self._ticks += 1
