"""``ouro config``: look at a configuration before anything starts."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
    app.add_typer(group, name="config")

    @group.command("check")
    def check(path: Annotated[Path, typer.Argument(help="The configuration (TOML).")] = Path("ouro.toml")) -> None:
        """Read the file and the OURO_* environment; every problem is one line naming its field."""
        from ouro.config.load import load_config

        config = load_config(path)
        chains = ", ".join(f"{name} ({chain.chain_id})" for name, chain in config.chains.items())
        typer.echo(f"{path}: fine; mode {config.mode.value}; chains {chains}")
