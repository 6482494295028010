"""``ouro bench``: the measurements behind the performance claims, from a source checkout."""

import sys
from pathlib import Path
from typing import Annotated

import typer

_ROOT = Path(__file__).resolve().parents[3]


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``app``."""

    @app.command("bench")
    def bench(
        quick: Annotated[bool, typer.Option("--quick", help="Short: asserts results, measures little.")] = False,
        output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    ) -> None:
        """Measure the search, the sizing and the whole-network optimum; one table on stdout."""
        if not (_ROOT / "benchmarks" / "full.py").is_file():
            typer.echo(
                "ouro: the benchmarks are part of the source checkout, not of the installed package", err=True
            )
            raise typer.Exit(2)
        sys.path.insert(0, str(_ROOT))
        from benchmarks.full import main

        main(quick, output)
