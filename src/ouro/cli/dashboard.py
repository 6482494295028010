"""``ouro dashboard``: the page in the browser, and its password."""

import sys
from pathlib import Path
from typing import Annotated

import typer

_CONFIG = Path("ouro.toml")
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="The page in the browser: looks at the books and the engine, halts by password.")
    app.add_typer(group, name="dashboard")

    @group.callback(invoke_without_command=True)
    def dashboard(
        context: typer.Context,
        config: ConfigOption = _CONFIG,
        listen: Annotated[
            str | None,
            typer.Option(help="HOST:PORT; port 0 takes a free one. By default as configured, on loopback."),
        ] = None,
    ) -> None:
        """Serve the page until Ctrl-C. Trading neither waits for it nor notices when it is gone."""
        if context.invoked_subcommand is not None:
            return
        from ouro.config.dashboard import listen_address
        from ouro.config.load import load_config
        from ouro.dashboard.addresses import is_loopback
        from ouro.dashboard.server import serve

        loaded = load_config(config)
        address = loaded.dashboard.listen if listen is None else listen
        try:
            host, _ = listen_address(address)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--listen") from None
        if not is_loopback(host):
            print(f"ouro: {host} is reached by others: put TLS before it", file=sys.stderr)
        serve(loaded, address, lambda url: print(f"dashboard: {url}", flush=True))

    @group.command("password")
    def password(
        config: ConfigOption = _CONFIG,
        stdin: Annotated[bool, typer.Option("--stdin", help="Read it from the standard input, one line.")] = False,
    ) -> None:
        """Set the password for halting and resuming; only its hash (argon2) is kept."""
        from ouro.config.load import load_config
        from ouro.dashboard.access import set_password

        loaded = load_config(config)
        if stdin:
            typed = sys.stdin.readline().rstrip("\n")
        else:
            typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        print(f"kept in {set_password(loaded.data_dir, typed)}")
