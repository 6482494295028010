"""``ouro demo``: the whole path on local chains that run the real protocol contracts."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ouro.types import Mode

ALL = "all"
USUAL_BLOCKS = 60
LONGEST_BLOCKS = 600
_PIPE_WIDTH = 200
"""On each chain, when the run goes on until everything has landed."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("demo")
    def demo(
        blocks: Annotated[
            int | None,
            typer.Option(
                min=1,
                help=f"Blocks on each chain: {USUAL_BLOCKS}; at most {LONGEST_BLOCKS} with --until-landed.",
            ),
        ] = None,
        forever: Annotated[bool, typer.Option("--forever", help="Run until Ctrl-C.")] = False,
        seed: Annotated[int, typer.Option(help="Seed of the market agents.")] = 1,
        rivals: Annotated[int, typer.Option(min=0, max=8, help="Rival arbitrageurs on each chain.")] = 0,
        mode: Annotated[Mode, typer.Option(help="live sends; paper re-simulates; observe only looks.")] = Mode.LIVE,
        chains: Annotated[
            str | None,
            typer.Option(help="Which local chains, separated by commas, or all; usually ethereum,fantom."),
        ] = None,
        until_landed: Annotated[
            bool | None,
            typer.Option(
                "--until-landed/--all-blocks",
                help="End once a cycle has landed through every kind of pool, and fail if that never happens. "
                "Usual with --chains all.",
            ),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")] = False,
        work_dir: Annotated[Path | None, typer.Option(help="Keep logs, books and configuration here.")] = None,
        view: Annotated[bool, typer.Option(help="Show the live view (on stderr).")] = True,
        ui: Annotated[
            bool, typer.Option(help="Serve the page in the browser, too (its address is on stderr).")
        ] = True,
    ) -> None:
        """Start local chains, trade on them, and account for every wei."""
        from rich.console import Console

        from ouro.ledger.render import summary_view
        from ouro.ledger.report import summary_json
        from ouro.testnet.demo import DemoOptions, run_demo

        landed = chains == ALL if until_landed is None else until_landed
        usual = LONGEST_BLOCKS if landed else USUAL_BLOCKS
        options = DemoOptions(
            blocks=None if forever else blocks or usual,
            seed=seed,
            rivals=rivals,
            mode=mode,
            work_dir=work_dir,
            chains=_chosen(chains),
            until_landed=landed,
            page=ui,
        )
        figures = run_demo(
            options, lambda text: print(text, file=sys.stderr, flush=True), sys.stderr if view else None
        )
        if as_json:
            print(summary_json(figures))
        else:
            # Into a file or a pipe at its full width.
            width = None if sys.stdout.isatty() else _PIPE_WIDTH
            console = Console(file=sys.stdout, width=width)
            console.print(summary_view(figures))
            console.print(coverage_view(figures))
        if landed and figures["kinds_without_landed"]:
            missing = ", ".join(figures["kinds_without_landed"])
            print(f"ouro: no cycle landed through {missing}; more --blocks may help", file=sys.stderr)
            raise typer.Exit(1)


def _chosen(chains: str | None) -> tuple[str, ...]:
    """Names of local chains. Raises ``typer.BadParameter`` naming the one that there is not."""
    from ouro.testnet.compositions import all_names
    from ouro.testnet.profiles import PROFILES

    if chains is None:
        return tuple(PROFILES)
    if chains == ALL:
        return all_names()
    names = tuple(dict.fromkeys(name.strip() for name in chains.split(",")))
    unknown = [name for name in names if name not in all_names()]
    if unknown:
        known = ", ".join(all_names())
        raise typer.BadParameter(
            f"no local chain is called {unknown[0]!r}; there are {known}", param_hint="--chains"
        )
    return names


def coverage_view(figures: Mapping[str, Any]) -> Table:
    """Landed trades by kind of pool and chain (of them not as predicted, if any)."""
    chains = list(figures["chains"])
    table = Table(title="landed by kind of pool", title_justify="left")
    table.add_column("")
    for name in chains:
        table.add_column(name, justify="right")
    for kind, row in figures["kinds"].items():
        table.add_row(kind, *(_cell(row.get(name)) for name in chains))
    return table


def _cell(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return ""
    off = counts["landed"] - counts["predicted_equals_executed"]
    return f"{counts['landed']:,}" + (f" ({off:,} not as predicted)" if off else "")
