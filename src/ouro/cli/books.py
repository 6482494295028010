"""``ouro ledger``, ``ouro report`` and ``ouro reconcile``: what the books say, and whether the chain agrees."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")]
ChainOption = Annotated[str | None, typer.Option("--chain", help="Only this chain.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

_DIFFERENT = 1


class AttemptState(StrEnum):
    """How far an attempt has come, as the ledger stores it."""

    JOURNALED = "journaled"
    SENT = "sent"
    FINAL = "final"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("ledger")
    def ledger(
        config: ConfigOption = Path("ouro.toml"),
        chain: ChainOption = None,
        state: Annotated[AttemptState | None, typer.Option(help="Only attempts that have come so far.")] = None,
        limit: Annotated[int, typer.Option(min=1, help="The latest so many attempts.")] = 50,
        full: Annotated[bool, typer.Option("--full", help="Whole hashes and exact amounts.")] = False,
    ) -> None:
        """List attempts and what became of them."""
        from rich.console import Console

        from ouro.ledger.render import attempts_table

        _check_chain(config, chain)
        with _books(config) as books:
            records = books.attempts(chain=chain, states=[state.value] if state else (), limit=limit)
        Console().print(attempts_table(records, full=full))

    @app.command("report")
    def report(
        config: ConfigOption = Path("ouro.toml"),
        session: Annotated[str | None, typer.Option(help="Only this run (see the ledger's sessions).")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Counts, profit and loss, latency and reconciliation, from the books alone."""
        from rich.console import Console

        from ouro.ledger.errors import LedgerError
        from ouro.ledger.render import summary_view
        from ouro.ledger.report import summary, summary_json

        with _books(config) as books:
            if session is not None and session not in {run.session_id for run in books.sessions()}:
                raise LedgerError(f"ledger {books.name}: there is no session {session!r} in it")
            figures = summary(books, session)
        if as_json:
            typer.echo(summary_json(figures))
        else:
            Console().print(summary_view(figures))

    @app.command("reconcile")
    def reconcile(config: ConfigOption = Path("ouro.toml"), chain: ChainOption = None) -> None:
        """Compare the books with every owned balance on the chain now; exit code 1 if any differs."""
        import asyncio
        import logging

        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config

        configure_logs(logging.ERROR)
        _check_chain(config, chain)
        names = [chain] if chain else list(load_config(config).chains)
        differences = sum(asyncio.run(_reconcile(config, name)) for name in names)
        raise typer.Exit(_DIFFERENT if differences else 0)


async def _reconcile(config_path: Path, name: str) -> int:
    from ouro.chain.pool import EndpointPool
    from ouro.chain.quantity import parse_quantity
    from ouro.config.load import load_config
    from ouro.ledger.reconcile import reconcile

    chain = load_config(config_path).chains[name]
    async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
        head = parse_quantity(await node.call("eth_blockNumber", []))
        with _books(config_path) as books:
            result = await reconcile(books, name, node, head)
    for item in result.differences:
        token = item.token or "native"
        typer.echo(
            f"{name}: {item.account} {token}: books {item.expected_wei}, chain {item.actual_wei} {item.problem}"
        )
    typer.echo(
        f"{name}: {result.balances_checked} balances at block {head}, largest difference "
        f"{result.max_abs_difference_wei} wei"
    )
    return len(result.differences)


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
