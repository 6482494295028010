"""The command: ``ouro``. Each group of commands is a file of its own; imports are late, so that help is instant."""

import sys
from typing import Annotated

import typer

from ouro import __version__
from ouro.cli import (
    alerts,
    audit,
    bench,
    books,
    config_check,
    contract,
    dashboard,
    demo,
    doctor,
    halt,
    keystore,
    migrate,
    record,
    run,
    scan,
    signer,
    stage,
    status,
    trades,
    why,
)
from ouro.cli.errors import EXIT_BAD_INPUT, known_problem

app = typer.Typer(
    name="ouro",
    help="Multi-chain DEX arbitrage: exact pools, complete search, atomic execution, every wei accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ouro {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that need no command."""


demo.register(app)
run.register(app)
signer.register(app)
halt.register(app)
keystore.register(app)
config_check.register(app)
books.register(app)
audit.register(app)
stage.register(app)
doctor.register(app)
contract.register(app)
scan.register(app)
bench.register(app)
record.register(app)
status.register(app)
trades.register(app)
why.register(app)
alerts.register(app)
migrate.register(app)
dashboard.register(app)


def main() -> None:
    """Entry point: problems a person can act on are one line on stderr and exit code 2, never a traceback."""
    try:
        app(prog_name="ouro")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problem = known_problem(error)
        if problem is None:
            raise
        print(f"ouro: {problem}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
