"""``ouro ledger`` and ``ouro report``: what the books say."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
