"""``ouro alerts``: what people were told, what could not be delivered, and whether they can be told at all."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ouro.cli.errors import EXIT_BAD_INPUT

if TYPE_CHECKING:
    from ouro.monitoring.alerts.store import Alert, Delivery

EXIT_NOT_DELIVERED = 1
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Alerts to people: what was told, and whether it can be.")
    app.add_typer(group, name="alerts")

    @group.command("list")
    def list_alerts(
        config: ConfigOption = Path("ouro.toml"),
        standing: Annotated[bool, typer.Option("--standing", help="Only what still holds.")] = False,
        limit: Annotated[int, typer.Option(min=1, help="So many, the newest first.")] = 20,
        as_json: JsonOption = False,
    ) -> None:
        """Alerts, newest first, and how it stands with their delivery. Exit code 1 where one is undelivered."""
        import json
        from dataclasses import asdict

        from ouro.config.load import load_config
        from ouro.monitoring.alerts.store import AlertStore, alerts_file

        loaded = load_config(config)
        path = alerts_file(loaded.data_dir)
        kept = AlertStore(path).list(standing=standing, limit=limit) if path.is_file() else []
        undelivered = any(item.error for alert, told in kept for item in told if alert.resolved_ms is None)
        if as_json:
            rows = [{**asdict(alert), "deliveries": [asdict(item) for item in told]} for alert, told in kept]
            typer.echo(json.dumps({"alerts": rows, "destinations": _destinations(loaded)}))
        else:
            for alert, told in kept:
                _show(alert, told)
            if not kept:
                typer.echo("no alerts")
            if not loaded.alerts.destinations:
                typer.echo("nobody is told: [[alerts.destinations]] names no one", err=True)
        raise typer.Exit(EXIT_NOT_DELIVERED if undelivered else 0)

    @group.command("test")
    def test(
        config: ConfigOption = Path("ouro.toml"),
        destination: Annotated[str, typer.Option(help="Only this one.")] = "",
        as_json: JsonOption = False,
    ) -> None:
        """Send a message to each destination now, and retry what was not delivered; exit code 1 on failure."""
        import json

        from ouro.config.load import load_config
        from ouro.monitoring.alerts.courier import AlertError, send
        from ouro.monitoring.alerts.store import AlertStore, alerts_file

        loaded = load_config(config)
        chosen = [item for item in loaded.alerts.destinations if destination in ("", item.name)]
        if not chosen:
            known = ", ".join(item.name for item in loaded.alerts.destinations) or "none"
            typer.echo(f"ouro: no destination {destination or 'at all'} in {config}; known: {known}", err=True)
            raise typer.Exit(EXIT_BAD_INPUT)
        results: dict[str, str] = {}
        for item in chosen:
            try:
                send(item, "Ouro: test", "If you read this, alerts reach you.", "info")
                results[item.name] = ""
            except AlertError as error:
                results[item.name] = str(error)
        if alerts_file(loaded.data_dir).is_file():
            AlertStore(alerts_file(loaded.data_dir)).retry_now()
        if as_json:
            typer.echo(
                json.dumps(
                    {"delivered": {name: not problem for name, problem in results.items()}}
                    | {"problems": {name: problem for name, problem in results.items() if problem}}
                )
            )
        else:
            for name, problem in results.items():
                typer.echo(problem or f"destination {name}: delivered")
        raise typer.Exit(EXIT_NOT_DELIVERED if any(results.values()) else 0)


def _destinations(config: Any) -> list[dict[str, str]]:
    return [{"name": item.name, "least": item.least} for item in config.alerts.destinations]


def _show(alert: "Alert", told: "list[Delivery]") -> None:
    over = "" if alert.resolved_ms is None else f"  over {_when(alert.resolved_ms)}"
    typer.echo(f"{_when(alert.raised_ms)}  {alert.severity:<8}  {alert.title}{over}")
    if alert.detail:
        typer.echo(f"    {alert.detail}")
    for item in told:
        state = f"delivered {_when(item.delivered_ms)}" if item.delivered_ms else f"{item.tries} tries"
        typer.echo(f"    {item.destination}: {state}{': ' + item.error if item.error else ''}")
    if alert.runbook and alert.resolved_ms is None:
        typer.echo(f"    {alert.runbook}")


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
