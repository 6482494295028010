"""``ouro trades``: attempts and refusals by filter, page by page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ouro.ledger.records import AttemptRecord
    from ouro.monitoring.trades import RefusedLine

_HIDDEN = "redacted"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("trades")
    def trades(
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        chain: Annotated[str | None, typer.Option(help="Only this chain.")] = None,
        outcome: Annotated[
            list[str] | None,
            typer.Option(help="Only landed, lost, reverted, expired, dropped or open (repeatable)."),
        ] = None,
        lane: Annotated[str | None, typer.Option(help="Only this lane.")] = None,
        since: Annotated[
            str | None, typer.Option(help="From then: 2h (ago; s, m, h, d), or a date and time.")
        ] = None,
        until: Annotated[str | None, typer.Option(help="Before then.")] = None,
        refused: Annotated[
            bool, typer.Option("--refused", help="Instead what was refused, as far as samples are kept.")
        ] = False,
        reason: Annotated[str | None, typer.Option(help="With --refused: only this code.")] = None,
        cancels: Annotated[
            bool, typer.Option("--cancels", help="Also transactions that took back a nonce.")
        ] = False,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="Lines of a page.")] = 20,
        page: Annotated[int, typer.Option(min=1, help="Which page; 1 has the newest.")] = 1,
        show_open: Annotated[bool, typer.Option("--show-open", help="Also show what may still land.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, amounts in wei.")] = False,
    ) -> None:
        """Trades, the newest first. `ouro why ID` tells the whole story of one of them."""
        import json

        from ouro.config.load import load_config
        from ouro.monitoring.trades import Filter, FilterError, moment_ms
        from ouro.monitoring.trades import refused as read_refused
        from ouro.monitoring.trades import trades as read_trades

        loaded = load_config(config)
        if chain is not None and chain not in loaded.chains:
            raise FilterError(f"no chain {chain!r} in {config}; it has {', '.join(loaded.chains)}")
        if reason is not None and not refused:
            raise FilterError("--reason is about what was refused: add --refused")
        wanted = Filter(
            chain=chain,
            outcomes=tuple(outcome or ()),
            lane=lane,
            since_ms=None if since is None else moment_ms(since),
            until_ms=None if until is None else moment_ms(until),
            cancels=cancels,
        )
        offset = (page - 1) * limit
        if refused:
            lines = read_refused(loaded.ledger.url, wanted, reason=reason, limit=limit, offset=offset)
            if as_json:
                typer.echo(json.dumps({"page": page, "refused": [_refused_json(line) for line in lines]}))
            else:
                _show_refused(lines)
            return
        found = read_trades(loaded.ledger.url, wanted, limit=limit, offset=offset)
        rows = [_row(record, show_open=show_open) for record in found.records]
        pages = -(-found.total // limit)
        if as_json:
            typer.echo(json.dumps({"total": found.total, "page": page, "pages": pages, "trades": rows}))
            return
        _show(rows, found.total, page, pages)


def _row(record: "AttemptRecord", *, show_open: bool) -> dict[str, Any]:
    from ouro.ledger.books import gross_native_wei, net_native_wei
    from ouro.ledger.report import predicted_equals_executed

    attempt, outcome, plan = record.attempt, record.outcome, record.plan
    hidden = outcome is None and not show_open
    return {
        "plan_id": attempt.plan_id,
        "attempt_id": _HIDDEN if hidden else attempt.attempt_id,
        "tx_hash": _HIDDEN if hidden else attempt.tx_hash,
        "chain": attempt.chain,
        "kind": attempt.kind.value,
        "lane": attempt.lane,
        "journaled_at_ms": record.journaled_at_ms,
        "outcome": "open" if outcome is None else outcome.kind.value,
        "reason": "" if outcome is None else outcome.reason,
        "block": None if outcome is None else outcome.block_number,
        "hops": None if plan is None else len(plan.hops),
        "pools": _HIDDEN if hidden else [] if plan is None else list(plan.pools),
        "expected_net_wei": _HIDDEN if hidden or plan is None else plan.expected_net_native_wei,
        "gross_wei": gross_native_wei(record),
        "gas_wei": 0 if outcome is None else outcome.gas_cost_wei,
        "net_wei": net_native_wei(record),
        "exact": predicted_equals_executed(record),
        "decided_us": record.decided_us,
        "signed_us": record.signed_us,
        "sent_us": record.sent_us,
    }


def _refused_json(line: "RefusedLine") -> dict[str, Any]:
    from dataclasses import asdict

    from ouro.monitoring.story.reasons import meaning

    return asdict(line) | {"meaning": meaning(line.reason)}


def _show(rows: list[dict[str, Any]], total: int, page: int, pages: int) -> None:
    from rich.table import Table

    from ouro.cli.output import console
    from ouro.monitoring.story.words import coins, when

    if not rows:
        typer.echo("no such trades" if total == 0 else f"page {page} is empty: there are {pages}")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("when (UTC)", "chain", "outcome", "block", "net", "exact", "sent ms", "id"):
        table.add_column(
            heading, justify="right" if heading in ("block", "net", "sent ms") else "left", no_wrap=True
        )
    styles = {"landed": "green", "lost": "yellow", "reverted": "red"}
    for row in rows:
        style = styles.get(row["outcome"], "dim")
        table.add_row(
            when(row["journaled_at_ms"])[:19],
            row["chain"],
            f"[{style}]{row['outcome']}[/]",
            "" if row["block"] is None else str(row["block"]),
            coins(row["net_wei"], plus=True) if row["outcome"] != "open" else "",
            "yes" if row["exact"] else "",
            "" if row["sent_us"] is None else f"{row['sent_us'] / 1_000:.1f}",
            row["plan_id"],
        )
    console().print(table)
    if pages > 1:
        typer.echo(
            f"page {page} of {pages}, {total} in all" + (f"; next: --page {page + 1}" if page < pages else "")
        )


def _show_refused(lines: "list[RefusedLine]") -> None:
    from ouro.monitoring.story.reasons import meaning
    from ouro.monitoring.story.words import when

    for line in lines:
        detail = f" ({line.detail})" if line.detail else ""
        typer.echo(f"{when(line.at_ms)[:19]}  {line.plan_id}  {line.reason}: {meaning(line.reason)}{detail}")
    if not lines:
        typer.echo("no such refusals in the samples; `ouro status` has the counts, `ouro why` asks the audit trail")
