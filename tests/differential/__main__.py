"""The long run: ``python -m tests.differential --cases 1000000 --seed 1``; exit 1 on the first mismatch."""

import argparse
import random
import sys
import time
from collections.abc import Callable
from functools import partial

from tests.differential.mirror import Mismatch
from tests.differential.worlds import SLOW_WORLDS, WORLDS

from ouro.testnet.artifacts import fetch

CASES_PER_SCENARIO = 50
_REPORT_EVERY_S = 30.0


def run(name: str, scenario: Callable[[random.Random], None], cases: int, seed: str) -> int:
    """Scenarios until ``cases`` are reached; returns the number of mismatches (it stops at the first)."""
    started = reported = time.monotonic()
    for k in range(-(-cases // CASES_PER_SCENARIO)):
        scenario_seed = f"{seed}-{name}-{k}"
        try:
            scenario(random.Random(scenario_seed))
        except Mismatch as error:
            print(f"{name}: mismatch in scenario {scenario_seed!r}: {error}")
            return 1
        if time.monotonic() - reported > _REPORT_EVERY_S:
            reported = time.monotonic()
            done = (k + 1) * CASES_PER_SCENARIO
            print(f"{name}: {done} cases, {done / (reported - started):.0f}/s", file=sys.stderr, flush=True)
    return 0


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="per family")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--family", choices=[*WORLDS, *SLOW_WORLDS, "all"], default="all")
    options = parser.parse_args(arguments)
    fetch(lambda line: print(line, file=sys.stderr))
    mismatches = 0
    for name, open_world in (WORLDS | SLOW_WORLDS).items():
        if options.family == name or (options.family == "all" and name in WORLDS):
            world = open_world()
            found = run(name, partial(world.scenario, cases=CASES_PER_SCENARIO), options.cases, options.seed)
            print(f"{name}: seed {options.seed}, {world.tally}, mismatches {found}", flush=True)
            mismatches += found
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
