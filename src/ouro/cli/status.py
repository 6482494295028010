"""``ouro status``: one screen, whether an engine runs or not."""

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_CODES = {"healthy": 0, "attention": 1, "stopped": 3}


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("status")
    def status(
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    ) -> None:
        """Is it healthy, what did it earn, why did it not trade? Asks no process, so it answers when they don't.

        Exit code 0 where all is well, 1 where something needs you, 3 where no engine runs.
        """
        import json

        from ouro.config.load import load_config
        from ouro.monitoring.overview import overview

        told = overview(load_config(config))
        if as_json:
            typer.echo(json.dumps(told))
        else:
            _show(told)
        raise typer.Exit(EXIT_CODES[told["verdict"]])


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ouro.cli.output import console
    from ouro.monitoring.story.reasons import meaning
    from ouro.monitoring.story.words import coins

    screen = console()
    colour = {"healthy": "green", "attention": "yellow", "stopped": "red"}[told["verdict"]]
    usd = "" if told["net_usd"] is None else f"   net {told['net_usd']:+,.2f} USD"
    screen.print(Text.assemble((told["verdict"].upper(), f"bold {colour}"), f"   mode {told['mode']}{usd}"))
    for problem in told["problems"]:
        screen.print(Text(f"  ! {problem}", style="yellow"))
    table = Table(box=None, pad_edge=False)
    for heading in ("chain", "state", "block", "age", "pools", "seen", "sent", "landed", "net", "USD", "p99 sent"):
        table.add_column(heading, justify="left" if heading in ("chain", "state") else "right", no_wrap=True)
    for name, chain in told["chains"].items():
        state = chain["state"] if chain["freshness"] == "ready" else f"{chain['state']}, {chain['freshness']}"
        state = "halted" if chain["halted_by"] and chain["alive"] else state if chain["alive"] else chain["state"]
        rate = chain.get("success_rate")
        table.add_row(
            name,
            state,
            "" if chain["block"] is None else str(chain["block"]),
            _age(chain["block_age_ms"]) if chain["alive"] else "",
            str(chain["pools"] or ""),
            str(chain.get("opportunities", "")),
            str(chain.get("attempts", "")),
            "" if rate is None else f"{chain['landed']} ({_percent(rate)})",
            _rounded(coins(chain["net_profit_wei"], plus=True)) if "net_profit_wei" in chain else "",
            "" if chain.get("net_profit_usd") is None else f"{chain['net_profit_usd']:+,.2f}",
            "" if chain["sent_p99_ms"] is None else f"~{chain['sent_p99_ms']:.0f} ms",
        )
    screen.print(table)
    for name, chain in told["chains"].items():
        if chain.get("refused"):
            shown = ", ".join(f"{times:,} × {meaning(reason)}" for reason, times in chain["refused"].items())
            screen.print(Text(f"{name} did not send {chain['refused_total']:,}: {shown}", style="dim"))
    places = [f"metrics {told['metrics']}"] if told["metrics"] else []
    places += [f"ledger {told['ledger']}"] if told["ledger"] else []
    if told["alerts"]["standing"]:
        places.append(f"{told['alerts']['standing']} alerts stand (ouro alerts list)")
    if places:
        screen.print(Text("   ".join(places), style="dim"), soft_wrap=True)


def _age(age_ms: int | None) -> str:
    if age_ms is None:
        return ""
    return f"{age_ms} ms" if age_ms < 10_000 else f"{age_ms / 1_000:.0f} s"


def _percent(share: float) -> str:
    """With a decimal, rounded down: 100 % is all of them."""
    return f"{int(share * 1_000) / 10:g}%"


def _rounded(coins_text: str) -> str:
    """To six places; the books have all of them."""
    whole, point, places = coins_text.partition(".")
    return f"{whole}{point}{places[:6]}"
