"""Hours of replay in one process: does memory grow, does a block take longer than it did?

``make soak ARGS="--hours 2"``. A recording is played again and again through the engine with real books, a session
each time as after a re-sync. After each pass: resident memory, and what deciding a block took of the processor's
time (wall time says nothing on a machine that others use as well). Lines of least squares after the warm-up.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import quantile, recording_for
from ouro.engine.stages import BlockTimes
from ouro.ledger.ledger import Ledger
from ouro.replay.recording import Recording
from ouro.replay.session import play
from ouro.strategies.warm import warm
from ouro.types import Mode

WARM_UP = 0.2
"""Of the passes: pools of memory fill, caches too."""
MEMORY_PER_HOUR = 0.01
DRIFT_PER_HOUR = 0.05


def resident_bytes() -> int:
    """Memory of this process that is in use, what the allocator keeps for later given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096


async def one_pass(recording: Recording, folder: Path, ledger: Ledger) -> dict[str, float]:
    """The recording once, to its end."""
    before: float | None = None
    spent: list[float] = []

    def timed(_: BlockTimes) -> None:
        nonlocal before
        now = time.thread_time()
        if before is not None:
            spent.append((now - before) * 1e3)
        before = now

    await play(recording, folder, mode=Mode.PAPER, timed=timed, ledger=ledger)
    await asyncio.to_thread(ledger.flush)
    return {"blocks": len(spent), "p50_ms": quantile(spent, 0.5), "p99_ms": quantile(spent, 0.99)}


def slope_per_hour(hours: Sequence[float], values: Sequence[float]) -> float:
    """Growth by the least squares, as a share of the mean."""
    if len(hours) < 3:
        return float("nan")
    return float(np.polyfit(hours, values, 1)[0] / np.mean(values))


def summary(passes: list[dict[str, float]]) -> dict[str, Any]:
    """Figures after the warm-up."""
    kept = passes[int(WARM_UP * len(passes)) :]
    hours = [each["hours"] for each in kept]
    memory = slope_per_hour(hours, [each["resident_mb"] for each in kept])
    drift = slope_per_hour(hours, [each["p50_ms"] for each in kept])
    drift_p99 = slope_per_hour(hours, [each["p99_ms"] for each in kept])
    return {
        "passes": len(passes),
        "hours": round(passes[-1]["hours"], 3),
        "blocks": int(sum(each["blocks"] for each in passes)),
        "resident_mb_first_last": [round(kept[0]["resident_mb"], 1), round(kept[-1]["resident_mb"], 1)],
        "memory_growth_percent_per_hour": round(100 * memory, 3),
        "p50_ms_first_last": [round(kept[0]["p50_ms"], 3), round(kept[-1]["p50_ms"], 3)],
        "p50_drift_percent_per_hour": round(100 * drift, 2),
        "p99_drift_percent_per_hour": round(100 * drift_p99, 2),
        "passed": bool(memory < MEMORY_PER_HOUR and drift < DRIFT_PER_HOUR),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--recording", type=Path, help="play this one instead of a generated one")
    parser.add_argument("--pools", type=int, default=1_000)
    parser.add_argument("--blocks", type=int, default=2_000)
    parser.add_argument("--logs", type=int, default=60)
    parser.add_argument("--touched", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a line of JSON for each pass, the summary last")
    arguments = parser.parse_args(argv)
    recording = Recording.open(recording_for(arguments))
    warm()
    began = time.monotonic()
    passes: list[dict[str, float]] = []
    output = None if arguments.output is None else arguments.output.open("w")
    with tempfile.TemporaryDirectory(prefix="ouro soak ") as name:
        folder = Path(name)
        ledger = Ledger.open(f"sqlite:///{folder / 'soak.db'}", ahead=folder / "ahead")
        ledger.start_session(mode="paper", config_hash="soak", code_version="soak")
        while time.monotonic() - began < arguments.hours * 3_600 or len(passes) < 3:
            found = asyncio.run(one_pass(recording, folder, ledger))
            found |= {
                "hours": (time.monotonic() - began) / 3_600,
                "resident_mb": resident_bytes() / 1e6,
            }
            passes.append(found)
            line = json.dumps({key: round(value, 4) for key, value in found.items()})
            sys.stderr.write(line + "\n")
            if output is not None:
                output.write(line + "\n")
                output.flush()
        ledger.close()
    text = json.dumps(summary(passes))
    if output is not None:
        output.write(text + "\n")
        output.close()
    sys.stdout.write(text + "\n")
    return 0 if summary(passes)["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
