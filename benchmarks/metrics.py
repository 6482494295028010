"""What being watched costs: the same recording with metrics and without, and the calls by themselves.

``python -m benchmarks.metrics``. Processor time of the process, because that is what the hooks take; runs with and
without alternate, so that whatever else the machine does meets both.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ouro.engine.stages import STAGES, BlockTimes
from ouro.monitoring.metrics import FOLDER, AnyMetrics, Metrics, NullMetrics
from ouro.replay.generate import Scale, generate
from ouro.replay.recording import Recording
from ouro.replay.session import play
from ouro.strategies.warm import warm
from ouro.types import BlockUpdate

FLUSH_EVERY_BLOCKS = 6
"""As with blocks of 40 ms: the engine counts what waits four times a second."""
REFUSALS_A_BLOCK = 3


def one_run(recording: Recording, folder: Path, metrics: AnyMetrics) -> tuple[float, float]:
    """Processor milliseconds a decided block: all of the process, and of its hot path (from when it was read)."""
    seen: list[BlockTimes] = []

    def timed(times: BlockTimes) -> None:
        seen.append(times)
        if len(seen) % FLUSH_EVERY_BLOCKS == 0:
            metrics.flush()

    began = time.process_time_ns()
    asyncio.run(play(recording, folder, timed=timed, metrics=metrics))
    used_ms = (time.process_time_ns() - began) / 1e6
    path_ms = statistics.median((each.last_ns() - each.read) / 1e6 for each in seen)
    return used_ms / len(seen), path_ms


def calls(folder: Path, blocks: int = 20_000) -> dict[str, float]:
    """Microseconds a block of the hooks: on the path, and when they are counted between blocks."""
    metrics = Metrics.open(folder, "bench")
    chain = metrics.of_chain("bench")
    times = BlockTimes(1, 1, candidates=9, plans=2)
    for place, stage in enumerate(STAGES[1:]):
        setattr(times, stage, 1 + 400_000 * (place + 1))
    update = BlockUpdate("bench", 1, "0x", "0x", 1, 7, 0, 0, (), 1)
    path_ns = counted_ns = 0
    for _ in range(blocks // FLUSH_EVERY_BLOCKS):
        began = time.thread_time_ns()
        for _ in range(FLUSH_EVERY_BLOCKS):
            chain.block(update)
            for _ in range(REFUSALS_A_BLOCK):
                chain.refused("below_minimum")
            chain.decided(times, 1_000, 3)
        flushing = time.thread_time_ns()
        metrics.flush()
        path_ns, counted_ns = path_ns + flushing - began, counted_ns + time.thread_time_ns() - flushing
    metrics.close()
    done = blocks // FLUSH_EVERY_BLOCKS * FLUSH_EVERY_BLOCKS
    return {"on_the_path_us": round(path_ns / done / 1e3, 2), "counted_us": round(counted_ns / done / 1e3, 2)}


def measure(runs: int, scale: Scale, seed: int) -> dict[str, Any]:
    """All figures."""
    warm()
    with tempfile.TemporaryDirectory(prefix="ouro metrics ") as name:
        folder = Path(name)
        path = folder / "bench.ouro"
        generate(path, scale, seed=seed, operators=("0x" + "11" * 20,))
        recording = Recording.open(path)
        one_run(recording, folder / "first", NullMetrics())
        used: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for run in range(runs):
            used["without"].append(one_run(recording, folder / f"without-{run}", NullMetrics()))
            metrics = Metrics.open(folder / f"with-{run}" / FOLDER, "bench")
            used["with"].append(one_run(recording, folder / f"with-{run}", metrics))
            metrics.close()
        hooks = calls(folder / "calls")
    block_ms = {name: statistics.median(ms for ms, _ in values) for name, values in used.items()}
    path_ms = {name: statistics.median(ms for _, ms in values) for name, values in used.items()}
    pairs = zip(used["with"], used["without"], strict=True)
    ratio = statistics.median(with_[0] / without[0] for with_, without in pairs) - 1
    return {
        "blocks": scale.blocks,
        "pools": scale.pools,
        "runs": runs,
        "cpu_ms_per_block": {name: round(ms, 4) for name, ms in block_ms.items()},
        "path_ms_per_block": {name: round(ms, 4) for name, ms in path_ms.items()},
        "hooks": hooks,
        "cost_of_path_percent": round(hooks["on_the_path_us"] / 10 / path_ms["without"], 3),
        "cost_of_hooks_percent": round(sum(hooks.values()) / 10 / block_ms["without"], 3),
        "measured_difference_percent": round(100 * ratio, 2),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--pools", type=int, default=2_000)
    parser.add_argument("--blocks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    scale = Scale(pools=arguments.pools, blocks=arguments.blocks, logs=200, touched=25)
    sys.stdout.write(json.dumps(measure(arguments.runs, scale, arguments.seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
