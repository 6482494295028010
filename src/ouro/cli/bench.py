"""``ouro bench``: the measurements behind the performance claims, from a source checkout."""

import sys
from pathlib import Path
from typing import Annotated

import typer

_ROOT = Path(__file__).resolve().parents[3]


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``app``."""

    @app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def bench(
        context: typer.Context,
        what: Annotated[
            str,
            typer.Argument(
                help="search; risk (the check of an order); latency: the whole path (its own options follow)."
            ),
        ] = "search",
        quick: Annotated[bool, typer.Option("--quick", help="Short: asserts results, measures little.")] = False,
        output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    ) -> None:
        """Measure the search, the sizing and the whole-network optimum, or the latency; one table on stdout."""
        if what not in ("search", "latency", "risk") or (what != "latency" and context.args):
            extra = " ".join(context.args) or what
            typer.echo(f"ouro: bench knows search, latency and risk, not {extra!r}", err=True)
            raise typer.Exit(2)
        if not (_ROOT / "benchmarks" / "full.py").is_file():
            typer.echo(
                "ouro: the benchmarks are part of the source checkout, not of the installed package", err=True
            )
            raise typer.Exit(2)
        sys.path.insert(0, str(_ROOT))
        if what == "latency":
            from benchmarks.latency import main as latency

            latency([*context.args, *(["--output", str(output)] if output else [])])
            return
        if what == "risk":
            from benchmarks.risk import main as risk

            risk(quick, output)
            return
        from benchmarks.full import main

        main(quick, output)
