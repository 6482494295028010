"""The command: ``ouro``. Each group of commands is a file of its own; imports are late, so that help is instant."""

import sys

import typer

from ouro.cli import bench, books, config_check, demo, doctor, run, scan, signer
from ouro.cli.errors import EXIT_BAD_INPUT, known_problem

app = typer.Typer(
    name="ouro",
    help="Multi-chain DEX arbitrage: exact pools, complete search, atomic execution, every wei accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
demo.register(app)
run.register(app)
signer.register(app)
config_check.register(app)
books.register(app)
doctor.register(app)
scan.register(app)
bench.register(app)


def main() -> None:
    """Entry point: problems a person can act on are one line on stderr and exit code 2, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problem = known_problem(error)
        if problem is None:
            raise
        print(f"ouro: {problem}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
