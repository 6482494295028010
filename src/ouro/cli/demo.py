"""``ouro demo``: the whole path on local chains that run the real protocol contracts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ouro.types import Mode


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("demo")
    def demo(
        blocks: Annotated[int, typer.Option(min=1, help="Blocks to decide on each chain.")] = 60,
        forever: Annotated[bool, typer.Option("--forever", help="Run until Ctrl-C.")] = False,
        seed: Annotated[int, typer.Option(help="Seed of the market agents.")] = 1,
        rivals: Annotated[int, typer.Option(min=0, max=8, help="Rival arbitrageurs on each chain.")] = 0,
        mode: Annotated[Mode, typer.Option(help="live sends; paper re-simulates; observe only looks.")] = Mode.LIVE,
        as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")] = False,
        work_dir: Annotated[Path | None, typer.Option(help="Keep logs, books and configuration here.")] = None,
        view: Annotated[bool, typer.Option(help="Show the live view (on stderr).")] = True,
    ) -> None:
        """Start two local chains, trade on them, and account for every wei."""
        from rich.console import Console

        from ouro.ledger.render import summary_view
        from ouro.ledger.report import summary_json
        from ouro.testnet.demo import DemoOptions, run_demo

        console = Console(file=sys.stderr)
        options = DemoOptions(None if forever else blocks, seed, rivals, mode, work_dir=work_dir)
        figures = run_demo(
            options, lambda text: print(text, file=sys.stderr, flush=True), sys.stderr if view else None
        )
        if as_json:
            print(summary_json(figures))
        else:
            console.print(summary_view(figures))
