"""``ouro report --day`` and ``--month``: from the command line's words to the room that counts."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ouro.config.model import OuroConfig


class ReportFormat(StrEnum):
    """How a period's report is written."""

    MD = "md"
    CSV = "csv"
    HTML = "html"
    JSON = "json"


def read_format(text: str) -> ReportFormat:
    """The format that a person named."""
    try:
        return ReportFormat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(ReportFormat)}") from None


def write_period(
    config_path: Path,
    *,
    kind: str,
    date: str | None,
    form: ReportFormat,
    transactions: bool,
    output: Path | None,
) -> None:
    """Write the report of a day or a month to ``output``, or to stdout."""
    from contextlib import closing

    from ouro.config.load import load_config
    from ouro.ledger.books import Books
    from ouro.ledger.period import period_of, period_report, transactions_of
    from ouro.ledger.period_formats import to_csv, to_html, to_markdown, transactions_csv

    config = load_config(config_path)
    period = period_of(kind, date, time.time_ns() // 1_000_000)
    if transactions and form is not ReportFormat.CSV:
        raise typer.BadParameter("--transactions is written as CSV: add --format csv")
    with closing(Books.open(config.ledger.url)) as books:
        if transactions:
            text = transactions_csv(transactions_of(books, period))
        else:
            report = period_report(
                books, period, costs=config.costs, limits=limits_of(config), halts=_halts(config)
            )
            if form is ReportFormat.JSON:
                text = json.dumps(report, allow_nan=False) + "\n"
            else:
                text = {"md": to_markdown, "csv": to_csv, "html": to_html}[form.value](report)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    typer.echo(f"{output}: written", err=True)


def limits_of(config: "OuroConfig") -> dict[str, Any]:
    """The limits that a report compares with, by chain."""
    from ouro.ledger.period import ChainLimits

    found = {}
    for name in config.chains:
        limits = config.limits_of(name)
        found[name] = ChainLimits(
            capital_wei=limits.risk_capital_wei,
            max_notional_wei=limits.max_notional_wei,
            max_gas_cost_wei=limits.max_gas_cost_wei,
            max_daily_loss_wei=limits.max_daily_loss_wei,
            max_open_attempts=limits.max_open_attempts,
        )
    return found


def _halts(config: "OuroConfig") -> list[dict[str, Any]]:
    from ouro.control import ControlStore
    from ouro.control.store import control_folder

    return ControlStore(control_folder(config.data_dir)).history()
