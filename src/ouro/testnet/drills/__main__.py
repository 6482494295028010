"""``python -m ouro.testnet.drills``: every kind of fault with every seed; resumable, one line a scenario.

Results are kept in ``--results`` (JSON lines); scenarios that passed there are not played again. ``--report``
writes the table. Exit code 1 if anything failed.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ouro.testnet.drills.faults import KINDS
from ouro.testnet.drills.ground import ground
from ouro.testnet.drills.report import write_report
from ouro.testnet.drills.scenario import play


def scenarios(kinds: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int, str]]:
    """Every kind with every seed; those that lose also without breakers."""
    return [
        (kind, seed, breakers)
        for seed in seeds
        for kind in kinds
        for breakers in (("on", "off") if KINDS[kind].losing else ("on",))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make drills")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--seeds", type=int, default=8, help="how many seeds of each kind")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(".cache/drills.jsonl"))
    parser.add_argument("--report", type=Path, default=None, help="write the table of all results there")
    parser.add_argument("--fresh", action="store_true", help="play again what has passed")
    parser.add_argument("--verbose", action="store_true")
    chosen = parser.parse_args(arguments)
    if not chosen.verbose:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    if chosen.fresh:
        chosen.results.unlink(missing_ok=True)
    done = read_results(chosen.results)
    passed = {(row["kind"], row["seed"], row["breakers"]) for row in done if not row["failed"]}
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    todo = [item for item in scenarios(chosen.kinds, seeds) if item not in passed]
    failures = asyncio.run(_play_all(todo, chosen.results)) if todo else 0
    if chosen.report is not None:
        write_report(read_results(chosen.results), chosen.report)
    return 1 if failures else 0


def read_results(path: Path) -> list[dict[str, Any]]:
    """The latest result of each scenario."""
    rows: dict[tuple[str, int, str], dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        rows[row["kind"], row["seed"], row["breakers"]] = row
    return [row for row in rows.values() if row["kind"] in KINDS]


async def _play_all(todo: Sequence[tuple[str, int, str]], results: Path) -> int:
    failures = 0
    folder = Path(tempfile.mkdtemp(prefix="ouro-drills-"))
    try:
        with ground(folder / "chain") as place:
            for number, (kind, seed, breakers) in enumerate(todo, 1):
                result = await play(place, kind, seed, folder / f"{number}", breakers)
                failures += bool(result.failed)
                with results.open("a") as stream:
                    stream.write(json.dumps(result.as_json()) + "\n")
                sys.stdout.write(
                    f"{number}/{len(todo)} {kind} seed {seed} breakers {breakers}: {result.sent} sent, "
                    f"{result.landed} landed, drawdown {result.drawdown_ppm / 10_000:.2f} %, "
                    f"{', '.join(result.tripped) or 'nothing tripped'}, {result.seconds:.1f} s"
                    + (f"  FAILED: {'; '.join(result.failed)}" if result.failed else "")
                    + "\n"
                )
                sys.stdout.flush()
                if not result.failed:
                    shutil.rmtree(folder / f"{number}", ignore_errors=True)
    finally:
        if not failures:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stdout.write(f"what failed is kept in {folder}\n")
    return failures


if __name__ == "__main__":
    sys.exit(main())
