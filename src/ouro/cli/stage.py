"""``ouro stage`` and ``ouro capital``: how far the operation may go, and on what budgets."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ouro.cli.errors import EXIT_DIFFERENT

if TYPE_CHECKING:
    from ouro.capital.keeper import StageKeeper
    from ouro.capital.stages import StageStore
    from ouro.config.model import OuroConfig

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")]
ChainOption = Annotated[str | None, typer.Option("--chain", help="Only this chain.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_DAY_MS = 86_400_000


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="Stages: observe, paper, canary, limited, full.", no_args_is_help=True)
    app.add_typer(group, name="stage")
    _register_stages(group)
    budgets = typer.Typer(help="Budgets per chain, strategy and token.", no_args_is_help=True)
    app.add_typer(budgets, name="capital")
    _register_budgets(budgets)


def _register_stages(group: typer.Typer) -> None:
    @group.command("show")
    def show(
        config: ConfigOption = Path("ouro.toml"), chain: ChainOption = None, as_json: JsonOption = False
    ) -> None:
        """Where each chain stands, what the books say, and what the next stage still wants."""
        shown: dict[str, Any] = {}
        with _keeper(config) as (settings, store, keeper):
            for name in _chains(settings, chain):
                at, found = store.of(name), keeper.evidence(name)
                proposal = None if at.proposal is None else at.proposal.to
                shown[name] = {
                    "stage": at.stage,
                    "since_ms": at.since_ms,
                    "by": at.by,
                    "why": at.why,
                    "proposed": proposal,
                    "missing": keeper.missing(name, found),
                    "evidence": found.as_json(),
                    "caps": settings.capital.stages.of(at.stage).caps.model_dump(),
                    "problem": store.problem,
                }
            state = settings.capital.stages.state
        if as_json:
            typer.echo(json.dumps({"state": state, "chains": shown}))
            return
        if state == "off":
            typer.echo('stages are off: set state = "on" in [capital.stages]')
        for name, values in shown.items():
            _tell(name, values)

    @group.command("propose")
    def propose(config: ConfigOption = Path("ouro.toml"), chain: ChainOption = None) -> None:
        """Propose the next stage where its gates hold; exit code 1 where they don't anywhere."""
        proposed = 0
        with _keeper(config) as (settings, store, keeper):
            for name in _chains(settings, chain):
                keeper.begin(name)
                found = keeper.evidence(name)
                missing = keeper.missing(name, found)
                if missing:
                    typer.echo(f"{name}: stays at {found.stage}: {'; '.join(missing)}")
                    continue
                made = store.propose(name, found.as_json())
                proposed += 1
                to = made.proposal.to if made.proposal is not None else made.stage
                typer.echo(f"{name}: {to} is proposed; a person approves it by `ouro stage approve --chain {name}`")
        raise typer.Exit(0 if proposed else EXIT_DIFFERENT)

    @group.command("approve")
    def approve(
        by: Annotated[str, typer.Option("--by", help="Who approves.")],
        why: Annotated[str, typer.Option("--why", help="For what reason.")],
        chain: Annotated[str, typer.Option("--chain", help="Which chain.")],
        config: ConfigOption = Path("ouro.toml"),
    ) -> None:
        """Approve what was proposed; the gates are looked at once more."""
        with _keeper(config) as (settings, store, keeper):
            (name,) = _chains(settings, chain)
            made = store.approve(
                name, by=by, why=why, confirm=lambda _: "; ".join(keeper.missing(name, keeper.evidence(name)))
            )
        typer.echo(f"{name}: at stage {made.stage}, approved by {made.by}")

    @group.command("demote")
    def demote(
        to: Annotated[str, typer.Option("--to", help="A lower stage.")],
        by: Annotated[str, typer.Option("--by", help="Who demotes.")],
        why: Annotated[str, typer.Option("--why", help="For what reason.")],
        chain: Annotated[str, typer.Option("--chain", help="Which chain.")],
        config: ConfigOption = Path("ouro.toml"),
    ) -> None:
        """Go back to a lower stage; that needs no proposal."""
        from ouro.config.capital import STAGES

        chosen = next((stage for stage in STAGES if stage == to), None)
        if chosen is None:
            raise typer.BadParameter(f"--to {to!r} is not one of {', '.join(STAGES)}")
        with _keeper(config) as (settings, store, _):
            (name,) = _chains(settings, chain)
            made = store.demote(name, chosen, f"{by}: {why}")
        typer.echo(f"{name}: at stage {made.stage}")


def _register_budgets(group: typer.Typer) -> None:
    @group.command("show")
    def show(config: ConfigOption = Path("ouro.toml"), as_json: JsonOption = False) -> None:
        """The budgets in force."""
        from ouro.capital.budgets import budget_path, read_budgets
        from ouro.config.load import load_config

        made = read_budgets(budget_path(load_config(config).data_dir))
        if as_json:
            typer.echo("null" if made is None else made.to_json(), nl=made is None)
        elif made is None:
            typer.echo("no budgets are made yet; make them by `ouro capital apply`")
        else:
            _tell_budgets(made.budgets)

    @group.command("apply")
    def apply(
        by: Annotated[str, typer.Option("--by", help="Who puts them in force.")],
        why: Annotated[str, typer.Option("--why", help="For what reason.")],
        config: ConfigOption = Path("ouro.toml"),
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    ) -> None:
        """Make budgets from the realised returns of the books and put them in force."""
        from ouro.audit import note
        from ouro.capital.budgets import budget_path, write_budgets
        from ouro.config.load import load_config

        settings = load_config(config)
        made = _allocated(settings)
        _tell_budgets(made.budgets)
        if dry_run:
            return
        body = {"by": by, "why": why, "budgets_sha256": made.digest, "inputs_sha256": made.inputs_sha256}
        note(settings.data_dir / "audit", "budgets_applied", body)
        write_budgets(budget_path(settings.data_dir), made)
        typer.echo(f"in force, digest {made.digest}")


def _allocated(settings: "OuroConfig") -> Any:
    from contextlib import closing

    from ouro.capital.allocate import allocate
    from ouro.capital.drawdown import grossman_zhou_ppm
    from ouro.capital.returns import scenarios_of
    from ouro.ledger.books import Books, net_native_wei
    from ouro.ledger.period import usd_cents
    from ouro.types import PAPER_LANE

    budgets, now_ms = settings.capital.budgets, time.time_ns() // 1_000_000
    if not budgets.capital_usd_cents:
        from ouro.capital.errors import CapitalError

        raise CapitalError("capital.budgets.capital_usd_cents: set what may be lost in all, in US cents")
    with closing(Books.open(settings.ledger.url)) as books:
        since_ms = now_ms - budgets.lookback_days * _DAY_MS
        records = [each for each in books.attempts(booked_since_ms=since_ms) if each.attempt.lane != PAPER_LANE]
        activity = books.activity()
    prices = {name: seen.native_usd for name, seen in activity.items() if seen.native_usd}
    equity = peak = budgets.capital_usd_cents
    for record in sorted(records, key=lambda each: each.outcome_at_ms or 0):
        equity += usd_cents(net_native_wei(record), prices.get(record.attempt.chain)) or 0
        peak = max(peak, equity)
    multiplier = grossman_zhou_ppm(equity, peak, budgets.floor_ppm)
    scenarios = scenarios_of(records, budgets)
    return allocate(scenarios, budgets, prices, multiplier_ppm=multiplier, now_ms=now_ms)


def _tell_budgets(budgets: Any) -> None:
    for each in budgets:
        typer.echo(f"{each.chain} {each.strategy} {each.token}: {each.wei} wei")
    if not budgets:
        typer.echo("no chain has a USD price in the books yet: nothing can be allocated")


def _tell(name: str, values: dict[str, Any]) -> None:
    found = values["evidence"]
    typer.echo(f"{name}: stage {values['stage']}, by {values['by']}: {values['why']}")
    if values["problem"]:
        typer.echo(f"  {values['problem']}")
    typer.echo(
        f"  {found['hours']} h, {found['landed']}/{found['trades']} trades landed (95 %: from "
        f"{found['success_lower_ppm'] / 10_000:.2f} % to {found['success_upper_ppm'] / 10_000:.2f} %), drawdown "
        f"{found['drawdown_ppm'] / 10_000:.2f} %, uptime {found['uptime_ppm'] / 10_000:.3f} %, "
        f"{found['broken_reconciliations']} of {found['reconciliations']} comparisons broken"
    )
    if values["proposed"]:
        typer.echo(f"  {values['proposed']} is proposed: `ouro stage approve --chain {name} --by NAME --why TEXT`")
    for text in values["missing"]:
        typer.echo(f"  missing: {text}")


@contextmanager
def _keeper(config_path: Path) -> "Iterator[tuple[OuroConfig, StageStore, StageKeeper]]":
    from contextlib import closing

    from ouro.audit import note
    from ouro.capital.keeper import StageKeeper
    from ouro.capital.stages import StageStore, stage_path
    from ouro.config.load import load_config
    from ouro.ledger.books import Books

    config = load_config(config_path)
    store = StageStore(stage_path(config.data_dir), lambda kind, body: note(config.data_dir / "audit", kind, body))
    with closing(Books.open(config.ledger.url)) as books:
        keeper = StageKeeper(
            store, books, config.capital.stages, lambda name: config.limits_of(name).risk_capital_wei
        )
        yield config, store, keeper


def _chains(config: "OuroConfig", chain: str | None) -> list[str]:
    from ouro.capital.errors import CapitalError

    if chain is not None and chain not in config.chains:
        raise CapitalError(
            f"--chain {chain!r}: there is no such chain; the configuration has {', '.join(config.chains)}"
        )
    return [chain] if chain is not None else list(config.chains)
