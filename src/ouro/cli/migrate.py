"""``ouro migrate``: bring the books to this version, with a copy of the old ones kept."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("migrate")
    def migrate_ledger(
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        backup: Annotated[bool, typer.Option(help="Keep a copy of an SQLite ledger beside it first.")] = True,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    ) -> None:
        """Bring the ledger's schema to what this version reads and writes. Makes a new one where there is none."""
        import json

        from ouro.config.load import load_config
        from ouro.ledger.database import bring_up

        loaded = load_config(config)
        before, after, copy = bring_up(loaded.ledger.url, backup=backup)
        if as_json:
            typer.echo(
                json.dumps({"before": before, "after": after, "backup": None if copy is None else str(copy)})
            )
        elif before == after:
            typer.echo(f"schema {after}: nothing to do")
        else:
            typer.echo(
                f"schema {before or 'none'} → {after}" + ("" if copy is None else f"; the old one is {copy}")
            )
