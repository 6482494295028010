"""``ouro scan``: the profitable cycles of a recorded pool snapshot, best first."""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ouro.cli.errors import file_problem

if TYPE_CHECKING:
    from ouro.strategies.scan import Scan, ScanCycle
    from ouro.strategies.snapshot import Snapshot

COLUMNS = ("n_hops", "pools", "tokens", "amount_in", "amount_out", "profit")

WRAPPED_NATIVE = {
    1: "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    10: "0x4200000000000000000000000000000000000006",
    56: "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
    100: "0xe91d153e0b41518a2ce8dd3d7944fa863463a97d",
    128: "0x5545153ccfca01fbd7dd11c0b23ba694d9509a6f",
    137: "0x0d500b1d8e8ef31e21c99d1db9a6444d3adf1270",
    250: "0x21be370d5312f44cb42ce377bc9b8a0cef1a4c83",
    8453: "0x4200000000000000000000000000000000000006",
    42161: "0x82af49447d8a07e3bd95bd0d56f35241523fbab1",
    43114: "0xb31f66aa3c1e785363f0875a1b74e27b85fd66c7",
}
_NAMED_ROWS = 1_000


class ScanError(Exception):
    """The request can't be done; says which part of it and what to do."""


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``app``."""

    @app.command("scan")
    def scan(
        snapshot: Annotated[Path, typer.Argument(help="Pool snapshot: CSV, plain or gzip.")],
        start: Annotated[
            list[str] | None, typer.Option("--start", help="native, or a token's address; may be repeated.")
        ] = None,
        max_hops: Annotated[int, typer.Option(min=2, max=5, help="Longest cycle.")] = 4,
        min_profit: Annotated[
            int, typer.Option(min=0, help="Least profit in the start token's smallest unit.")
        ] = 1,
        fee_ppm: Annotated[int, typer.Option(help="Fee of rows without one; 3000 is 0.30 %.")] = 3000,
        as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout (the default).")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False,
        date: Annotated[
            str | None, typer.Option("--date", help="Only rows of this snapshot_date (a file may mix several).")
        ] = None,
        chain_id: Annotated[int | None, typer.Option("--chain-id", min=1, help="Only this chain's rows.")] = None,
        memory_mb: Annotated[int, typer.Option(min=64, help="Memory for results; more goes to disk.")] = 2048,
        name_all: Annotated[bool, typer.Option("--name-all", help="Name every bad or flagged row.")] = False,
    ) -> None:
        """Find every profitable cycle of a snapshot, sized in exact integers.

        Columns: n_hops, pools, tokens, amount_in, amount_out, profit; best first. A v3 pool without tick map
        is used only inside its current tick-spacing bucket; cycles through one carry a flag in JSON and are
        counted on stderr.
        """
        from ouro.search.cycles import CycleBudgetError
        from ouro.strategies.scan import Scan
        from ouro.strategies.snapshot import SnapshotError, read_snapshot

        if as_csv and as_json:
            raise typer.BadParameter("--csv and --json exclude each other")
        try:
            budget = memory_mb << 20
            pools = read_snapshot(snapshot, fee_ppm=fee_ppm, chain_id=chain_id, date=date, budget_bytes=budget)
            _say_left_out(pools, name_all)
            if not pools.states:
                raise ScanError(f"{snapshot}: no row can be used")
            search = Scan(
                pools,
                [_start_token(name, pools.chain_id) for name in start or ["native"]],
                max_hops=max_hops,
                min_profit_wei=min_profit,
                budget_bytes=budget,
            )
            _say_used(pools, search, fee_ppm, name_all)
            with _ProgressBar() as bar:
                found = search.run(bar.show)
                flagged = (_write_json if as_json else _write_csv)(found, sys.stdout)
        except (
            ScanError,
            SnapshotError,
            CycleBudgetError,
            FileNotFoundError,
            PermissionError,
            IsADirectoryError,
        ) as error:
            typer.echo(f"ouro: {file_problem(error) if isinstance(error, OSError) else error}", err=True)
            raise typer.Exit(2) from error
        except BrokenPipeError:
            # whoever read the best ones has seen enough; nothing more can be written, not even at exit
            sys.stdout = None  # type: ignore[assignment]
            raise typer.Exit(0) from None
        count, through_buckets = flagged
        typer.echo(
            f"{count:,} profitable cycles; {through_buckets:,} of them use a v3 pool that is known only inside its "
            "current tick-spacing bucket",
            err=True,
        )


def _start_token(name: str, chain_id: int) -> str:
    if name.lower() == "native":
        if chain_id not in WRAPPED_NATIVE:
            raise ScanError(f"the wrapped native token of chain {chain_id} isn't known: name it with --start 0x…")
        return WRAPPED_NATIVE[chain_id]
    text = name.lower()
    if len(text) != 42 or not text.startswith("0x") or not all(c in "0123456789abcdef" for c in text[2:]):
        raise ScanError(f"--start {name!r}: 'native' or a token's address (0x and 40 hex digits) is expected")
    return text


def say(text: str) -> None:
    """To stderr: stdout is for cycles."""
    typer.echo(text, err=True)


def _say_left_out(pools: "Snapshot", name_all: bool) -> None:
    from ouro.strategies.snapshot import count_reasons

    say(f"chain {pools.chain_id}: {len(pools.states):,} pools usable, {len(pools.bad_rows):,} rows left out")
    for reason, count in count_reasons(pools.bad_rows).items():
        say(f"  {count:,} × {reason}")
    limit = len(pools.bad_rows) if name_all else _NAMED_ROWS
    for row in pools.bad_rows[:limit]:
        say(f"  line {row.line}: {row.pool}: {row.reason}")
    if len(pools.bad_rows) > limit:
        say(f"  … and {len(pools.bad_rows) - limit:,} more; --name-all names every one")


def _say_used(pools: "Snapshot", search: "Scan", fee_ppm: int, name_all: bool) -> None:
    if pools.default_fees:
        say(f"{pools.default_fees:,} pools without fee_ppm: {fee_ppm} is taken")
    if pools.bucket_only:
        flagged = sorted(pools.bucket_only)
        shown = flagged if name_all else flagged[:3]
        more = "" if len(shown) == len(flagged) else ", …"
        say(
            f"flagged: {len(flagged):,} v3 pools without tick map, used only inside their current tick-spacing "
            f"bucket ({', '.join(shown)}{more})"
        )
    if len(pools.dates) > 1:
        dates = ", ".join(f"{when} ({count:,})" for when, count in sorted(pools.dates.items()))
        say(f"warning: rows of several dates, so gaps between them may be no arbitrage: {dates}; see --date")
    for token in search.missing_starts:
        say(f"warning: no usable pool has the start token {token}")


class _ProgressBar:
    """A bar on stderr, one per phase; silent where stderr is no terminal except for the end of each phase."""

    def __enter__(self) -> "_ProgressBar":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)


def _fields(cycle: "ScanCycle") -> tuple[int, str, str, int, int, int]:
    return (
        len(cycle.pools),
        "|".join(cycle.pools),
        "|".join(cycle.tokens),
        cycle.amount_in_wei,
        cycle.amount_out_wei,
        cycle.profit_wei,
    )


def _write_csv(cycles: Iterable["ScanCycle"], out: TextIO) -> tuple[int, int]:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = flagged = 0
    for cycle in cycles:
        writer.writerow(_fields(cycle))
        count += 1
        flagged += bool(cycle.bucket_only)
    out.flush()
    return count, flagged


def _write_json(cycles: Iterable["ScanCycle"], out: TextIO) -> tuple[int, int]:
    """An array of objects with the columns' names; ``bucket_only`` lists the flagged pools of a cycle."""
    out.write("[")
    count = flagged = 0
    for cycle in cycles:
        entry = dict(zip(COLUMNS, _fields(cycle), strict=True)) | {"bucket_only": list(cycle.bucket_only)}
        out.write(("," if count else "") + "\n" + json.dumps(entry))
        count += 1
        flagged += bool(cycle.bucket_only)
    out.write("\n]\n")
    out.flush()
    return count, flagged
