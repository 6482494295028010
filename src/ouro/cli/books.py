"""``ouro ledger``, ``ouro report`` and ``ouro reconcile``: what the books say, and whether the chain agrees."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.errors import exit_code
from ouro.cli.period import ReportFormat, read_format, write_period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.ledger.reconcile import Reconciliation
    from ouro.ledger.records import SessionInfo

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")]
ChainOption = Annotated[str | None, typer.Option("--chain", help="Only this chain.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

_SESSIONS_NAMED = 5
_TABLE_WIDTH = 120
_NO_LIMIT = 1_000


class AttemptState(StrEnum):
    """How far an attempt has come, as the ledger stores it."""

    JOURNALED = "journaled"
    SENT = "sent"
    FINAL = "final"


def _read_state(text: str) -> AttemptState:
    try:
        return AttemptState(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(AttemptState)}") from None


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("ledger")
    def ledger(
        config: ConfigOption = Path("ouro.toml"),
        chain: ChainOption = None,
        state: Annotated[
            AttemptState | None,
            typer.Option(
                parser=_read_state, metavar="journaled|sent|final", help="Only attempts that have come so far."
            ),
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="The latest so many attempts.")] = 50,
        full: Annotated[bool, typer.Option("--full", help="Whole hashes and exact amounts.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout, amounts in wei.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, amounts in wei.")] = False,
    ) -> None:
        """List attempts and what became of them."""
        from rich.console import Console

        from ouro.ledger.render import attempts_csv, attempts_json, attempts_table

        if as_csv and as_json:
            raise typer.BadParameter("--csv and --json exclude each other")
        _check_chain(config, chain)
        with _books(config) as books:
            records = books.attempts(chain=chain, states=[state.value] if state else (), limit=limit)
        if as_json or as_csv:
            typer.echo((attempts_json if as_json else attempts_csv)(records), nl=False)
            return
        console = Console()
        if full or not console.is_terminal or console.width < _TABLE_WIDTH:
            console = Console(width=_NO_LIMIT)  # whole lines, which a terminal wraps and a pipe needs
        console.print(attempts_table(records, full=full))

    @app.command("report")
    def report(
        date: Annotated[
            str | None,
            typer.Argument(help="Which day (2026-11-23) or month (2026-11); by default the running one."),
        ] = None,
        config: ConfigOption = Path("ouro.toml"),
        session: Annotated[str | None, typer.Option(help="Only this run (a wrong one names the latest).")] = None,
        as_json: JsonOption = False,
        day: Annotated[
            bool, typer.Option("--day", help="A day's profit and loss by cause, limits, targets.")
        ] = False,
        month: Annotated[bool, typer.Option("--month", help="The same of a month.")] = False,
        form: Annotated[
            ReportFormat | None,
            typer.Option("--format", parser=read_format, metavar="md|csv|html|json", help="Of --day and --month."),
        ] = None,
        transactions: Annotated[
            bool, typer.Option("--transactions", help="Each transaction of the day or month, as CSV.")
        ] = False,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else stdout.")] = None,
    ) -> None:
        """Counts, profit and loss, latency and reconciliation, from the books alone."""
        if day and month:
            raise typer.BadParameter("--day and --month exclude each other")
        if day or month:
            if session is not None:
                raise typer.BadParameter("--session is of a run, not of a day or month: leave it out")
            chosen = form or (
                ReportFormat.JSON if as_json else ReportFormat.CSV if transactions else ReportFormat.MD
            )
            kind = "day" if day else "month"
            write_period(config, kind=kind, date=date, form=chosen, transactions=transactions, output=output)
            return
        if date is not None or form is not None or transactions or output is not None:
            given = "DATE" if date is not None else "--format, --transactions and --output"
            raise typer.BadParameter(f"{given} is of a day or a month: add --day or --month")
        from rich.console import Console

        from ouro.ledger.errors import LedgerError
        from ouro.ledger.render import summary_view
        from ouro.ledger.report import summary, summary_json

        with _books(config) as books:
            runs = books.sessions()
            if session is not None and session not in {run.session_id for run in runs}:
                raise LedgerError(f"ledger {books.name}: there is no session {session!r} in it; {_known(runs)}")
            figures = summary(books, session)
        if as_json:
            typer.echo(summary_json(figures))
        else:
            Console().print(summary_view(figures))

    @app.command("reconcile")
    def reconcile(
        config: ConfigOption = Path("ouro.toml"), chain: ChainOption = None, as_json: JsonOption = False
    ) -> None:
        """Compare the books with every owned balance on the chain now; exit code 1 if any differs, 2 if
        a chain could not be compared."""
        import asyncio
        import logging

        from ouro.chain.errors import ChainError
        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config

        configure_logs(logging.ERROR)
        _check_chain(config, chain)
        names = [chain] if chain else list(load_config(config).chains)
        results: dict[str, Reconciliation] = {}
        problems: dict[str, str] = {}
        for name in names:
            try:
                results[name] = asyncio.run(_reconcile(config, name))
            except ChainError as error:
                if len(names) == 1:
                    raise
                problems[name] = str(error)  # the other chains are asked all the same
                typer.echo(f"{name}: not compared: {str(error).removeprefix(f'chain {name}: ')}", err=True)
                continue
            if not as_json:
                _tell(name, results[name])
        if as_json:
            typer.echo(_as_json(results, problems))
        different = sum(bool(result.differences) for result in results.values())
        raise typer.Exit(exit_code(different, len(problems)))


async def _reconcile(config_path: Path, name: str) -> "Reconciliation":
    from ouro.chain.pool import EndpointPool
    from ouro.chain.quantity import parse_quantity
    from ouro.config.load import load_config
    from ouro.ledger.reconcile import reconcile

    chain = load_config(config_path).chains[name]
    async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
        head = parse_quantity(await node.call("eth_blockNumber", []))
        with _books(config_path) as books:
            return await reconcile(books, name, node, head)


def _tell(name: str, result: "Reconciliation") -> None:
    for item in result.differences:
        token = item.token or "native"
        typer.echo(
            f"{name}: {item.account} {token}: books {item.expected_wei}, chain {item.actual_wei} {item.problem}"
        )
    if result.balances_checked == 0:
        typer.echo(f"{name}: nothing to compare at block {result.block_number}, the books hold no balance")
        return
    typer.echo(
        f"{name}: {result.balances_checked} balances at block {result.block_number}, largest difference "
        f"{result.max_abs_difference_wei} wei"
    )


def _as_json(results: "dict[str, Reconciliation]", problems: dict[str, str]) -> str:
    import json

    chains = {
        name: {
            "block_number": result.block_number,
            "balances_compared": result.balances_checked,
            "max_abs_difference_wei": result.max_abs_difference_wei,
            "differences": [item.as_json() for item in result.differences],
        }
        for name, result in results.items()
    }
    return json.dumps({"chains": {**chains, **{name: {"problem": text} for name, text in problems.items()}}})


def _known(runs: "Sequence[SessionInfo]") -> str:
    from datetime import UTC, datetime

    if not runs:
        return "it has none yet"
    latest = []
    for run in reversed(runs[-_SESSIONS_NAMED:]):
        started = datetime.fromtimestamp(run.started_at_ms / 1000, UTC)
        latest.append(f"{run.session_id} ({run.mode}, {started:%Y-%m-%d %H:%M:%S} UTC)")
    return f"the latest are {', '.join(latest)}"


def _check_chain(config_path: Path, name: str | None) -> None:
    from ouro.config.load import load_config
    from ouro.engine.errors import EngineError

    known = load_config(config_path).chains
    if name is not None and name not in known:
        raise EngineError(f"no chain {name!r} in {config_path}; it has {', '.join(known)}")


def _books(config_path: Path):  # noqa: ANN202 - contextlib.closing of a late import
    from contextlib import closing

    from ouro.config.load import load_config
    from ouro.ledger.books import Books

    return closing(Books.open(load_config(config_path).ledger.url))
