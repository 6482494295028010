"""``ouro signer``: the process that holds the keys."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("signer")
    def signer(config: ConfigOption = Path("ouro.toml")) -> None:
        """Hold the keys and sign within the hard caps; keys come from the keystore or the environment."""
        from ouro.config.load import load_config
        from ouro.signer.main import run_signer

        raise typer.Exit(run_signer(load_config(config)))
