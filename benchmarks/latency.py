"""From the socket to the lane: a recording through the whole engine, block by block, with the time of every stage.

``python -m benchmarks.latency``; see README.md for what is real in it (nearly everything) and what is not.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson

from benchmarks.graphs import data_folder, machine
from benchmarks.record import loads
from ouro.config.load import config_to_toml
from ouro.engine.stages import STAGES, BlockTimes
from ouro.execution.lanes import Capabilities, Handover, SendResult
from ouro.hashing import keccak
from ouro.ledger.ledger import Ledger
from ouro.replay.feed import Pace
from ouro.replay.generate import Scale, generate
from ouro.replay.recording import Recording
from ouro.replay.session import Played, config_for, play
from ouro.signer.client import SignerClient
from ouro.signer.keys import RAW_KEYS_ENV, KeyRing
from ouro.strategies.warm import warm
from ouro.testnet.process import spawn
from ouro.types import Mode

OPERATORS = 8
WARM_UP_BLOCKS = 50
QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
TARGETS_MS = {"p50": 3.0, "p99": 10.0, "max": 25.0}
_BARS = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 25, 50, 100, float("inf"))


REAL_TIME_PRIORITY = 20


def isolate(process: int, core: int) -> str:
    """Keep ``process`` (0: this one) on one core, ahead of everything else there; what came of it, for the report.

    The target is measured with everything else on the other core. On a shared machine only the scheduler can give
    that, and only to root; elsewhere the figures contain whatever else runs.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, {cores[core % len(cores)]})
        os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(REAL_TIME_PRIORITY))
    except OSError as error:
        return f"not isolated ({error.strerror})"
    return f"core {cores[core % len(cores)]}, first in line"


def bench_keys() -> list[bytes]:
    """Keys of the operators; known to everybody, for nothing but this."""
    return [keccak(f"bench operator {k}".encode()) for k in range(OPERATORS)]


class SinkLane:
    """Takes signed bytes as a node's socket would: written to the kernel, read by somebody, never answered."""

    name: ClassVar[str] = "public"
    capabilities: ClassVar[Capabilities] = Capabilities(False, False, False, False, True)

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.sent_bytes = self.received_bytes = 0
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while data := self._theirs.recv(1 << 16):
            self.received_bytes += len(data)

    async def send(self, raw_tx: bytes) -> SendResult:
        """The request as it would go to a node, to its last byte."""
        payload = orjson.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + raw_tx.hex()]}
        )
        self._ours.sendall(payload)
        self.sent_bytes += len(payload)
        return SendResult(Handover.ACCEPTED)

    def close(self) -> None:
        """End the reader; everything that was sent has been read then."""
        self._ours.close()
        self._reader.join(5.0)
        self._theirs.close()


@dataclass
class Measured:
    """All decided blocks of a run, warm-up left out, with what else the kernel did to the process meanwhile."""

    times: list[BlockTimes] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    _switches: int = 0

    def add(self, times: BlockTimes) -> None:
        """Called at the end of each block, on the loop."""
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        self.times.append(times)
        self.preempted.append(switches - self._switches)
        self._switches = switches


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank; NaN of nothing."""
    ranked = sorted(values)
    return (
        ranked[min(len(ranked) - 1, max(0, -(-int(q * 100_000) * len(ranked) // 100_000) - 1))] if ranked else 0.0
    )


def totals_ms(times: Sequence[BlockTimes], stage: str) -> list[float]:
    """From the socket read to ``stage``, of the blocks that reached it."""
    return [(getattr(each, stage) - each.received) / 1e6 for each in times if getattr(each, stage)]


def rows(times: Sequence[BlockTimes]) -> list[dict[str, Any]]:
    """Time of each stage by itself, then since the socket read."""
    steps: dict[str, list[float]] = {stage: [] for stage in STAGES[1:]}
    for each in times:
        for stage, us in each.steps_us().items():
            steps[stage].append(us / 1_000)
    found = []
    for stage in STAGES[1:]:
        total = totals_ms(times, stage)
        row: dict[str, Any] = {"stage": stage, "blocks": len(total)}
        row |= {name: round(quantile(steps[stage], q), 3) for name, q in QUANTILES}
        row |= {f"since_socket_{name}": round(quantile(total, q), 3) for name, q in QUANTILES}
        found.append(row)
    return found


def handed_on_ms(times: Sequence[BlockTimes]) -> list[float]:
    """Every decided block, to its last stage: sent where there was something to send."""
    return [(each.last_ns() - each.received) / 1e6 for each in times]


@contextmanager
def signer(folder: Path, recording: Recording) -> Iterator[int]:
    """The real signing process, with the recording's operators; its process id."""
    config = folder / "ouro.toml"
    config.write_text(config_to_toml(config_for(recording, folder, Mode.LIVE)))
    keys = ",".join("0x" + key.hex() for key in bench_keys())
    environment = {**os.environ, RAW_KEYS_ENV: keys}
    process = spawn(
        [sys.executable, "-m", "ouro.signer", config], log=folder / "signer.log", environment=environment
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


async def run(recording: Recording, folder: Path, every_ms: float) -> tuple[Played, Measured, SinkLane]:
    """Play ``recording`` through the whole path; every block has ``every_ms``."""
    config = config_for(recording, folder, Mode.LIVE)
    client = SignerClient(config.signer.socket)
    await client.wait_ready()
    ledger = Ledger.open(config.ledger.url, ahead=folder / "ahead")
    ledger.start_session(mode="live", config_hash="bench", code_version="bench")
    measured, lane = Measured(), SinkLane()
    try:
        played = await play(
            recording,
            folder,
            mode=Mode.LIVE,
            pace=Pace(every_ms=every_ms),
            wire=True,
            timed=measured.add,
            ledger=ledger,
            signer=client,
            lane=lane,
        )
    finally:
        await client.close()
        await asyncio.to_thread(ledger.close)
        lane.close()
    return played, measured, lane


def recording_for(arguments: argparse.Namespace) -> Path:
    """The given recording, or one made for this run and kept for the next."""
    if arguments.recording is not None:
        return arguments.recording
    scale = Scale(pools=arguments.pools, blocks=arguments.blocks, logs=arguments.logs, touched=arguments.touched)
    data = data_folder()
    numbers = (scale.pools, scale.blocks, scale.logs, scale.touched, arguments.seed)
    name = "-".join(map(str, numbers)) + ("-recorded" if data else "-seeded")
    path = Path(tempfile.gettempdir()) / f"ouro-bench-{os.getuid()}" / f"{name}.ouro"
    if not path.is_file():
        sys.stderr.write(f"generating {scale.blocks} blocks of {scale.pools} pools\n")
        generate(path, scale, seed=arguments.seed, operators=KeyRing(bench_keys()).addresses, data=data)
    return path


def report(
    recording: Recording, played: Played, measured: Measured, lane: SinkLane, every_ms: float
) -> dict[str, Any]:
    """Everything that was measured, as JSON-safe values."""
    times = measured.times[WARM_UP_BLOCKS:]
    acting = [each for each in times if each.sent]
    slowest = max(range(len(times)), key=lambda k: times[k].last_ns() - times[k].received)
    whole = handed_on_ms(times)
    return {
        "machine": machine(),
        "load": loads(),
        "recording": recording.origin.source,
        "pools": len(recording.origin.states),
        "every_ms": every_ms,
        "decided_blocks": len(times),
        "superseded_blocks": played.status.superseded,
        "blocks_with_transactions": len(acting),
        "transactions": sum(each.transactions for each in times),
        "refused": {str(name): count for name, count in played.status.refused.items()},
        "logs_per_block": round(sum(each.logs for each in times) / len(times), 1),
        "touched_per_block": round(sum(each.touched for each in times) / len(times), 1),
        "candidates_per_block": round(sum(each.candidates for each in times) / len(times), 1),
        "bytes_to_lane": lane.sent_bytes,
        "stages": rows(times),
        "signed_ms": {name: round(quantile(totals_ms(times, "signed"), q), 3) for name, q in QUANTILES},
        "sent_ms": {name: round(quantile(totals_ms(times, "sent"), q), 3) for name, q in QUANTILES},
        "decided_or_sent_ms": {name: round(quantile(whole, q), 3) for name, q in QUANTILES},
        "targets_ms": TARGETS_MS,
        "histogram_ms": histogram(totals_ms(times, "sent")),
        "slowest": {
            **asdict(times[slowest]),
            "steps_ms": {stage: round(us / 1_000, 3) for stage, us in times[slowest].steps_us().items()},
            "preempted_times": measured.preempted[WARM_UP_BLOCKS + slowest],
        },
        "blocks_preempted": sum(count > 0 for count in measured.preempted[WARM_UP_BLOCKS:]),
    }


def histogram(values: Sequence[float]) -> list[dict[str, Any]]:
    """How many up to each bar, above the one before."""
    found, low = [], 0.0
    for high in _BARS:
        found.append(
            {"up_to_ms": high if high < 1e9 else None, "count": sum(low < value <= high for value in values)}
        )
        low = high
    return found


def show(found: dict[str, Any]) -> None:
    """The table on stdout."""
    write = sys.stdout.write
    write(f"{found['machine']}, {found['load']}\n{found['recording']}: {found['pools']} pools, ")
    write(f"{found['logs_per_block']} logs and {found['touched_per_block']} touched pools a block, ")
    write(f"a block every {found['every_ms']} ms\n")
    write(f"{found['decided_blocks']} blocks decided, {found['superseded_blocks']} superseded, ")
    write(f"{found['blocks_with_transactions']} with {found['transactions']} transactions\n\n")
    names = [name for name, _ in QUANTILES]
    write(f"{'ms':<12}{'blocks':>7}" + "".join(f"{name:>9}" for name in names))
    write("   since socket" + "".join(f"{name:>9}" for name in names) + "\n")
    for row in found["stages"]:
        write(f"{row['stage']:<12}{row['blocks']:>7}" + "".join(f"{row[name]:>9.3f}" for name in names))
        write(" " * 15 + "".join(f"{row[f'since_socket_{name}']:>9.3f}" for name in names) + "\n")
    write("\nsent, ms after the socket read\n")
    most = max((bar["count"] for bar in found["histogram_ms"]), default=0) or 1
    for bar in found["histogram_ms"]:
        label = "more" if bar["up_to_ms"] is None else f"<= {bar['up_to_ms']:g}"
        write(f"{label:>8} {bar['count']:>6} {'#' * (60 * bar['count'] // most)}\n")
    slow = found["slowest"]
    write(f"\nslowest: block {slow['number']}, {slow['logs']} logs, {slow['candidates']} candidates, ")
    write(f"{slow['transactions']} transactions, preempted {slow['preempted_times']} times: {slow['steps_ms']}\n")
    write(f"blocks preempted by others: {found['blocks_preempted']}\n")


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--recording", type=Path, help="play this one instead of a generated one")
    parser.add_argument("--pools", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=1_100)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--touched", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-ms", type=float, default=40.0, help="distance between blocks")
    parser.add_argument("--isolate", action="store_true", help="a core for the engine alone (needs root)")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    arguments = parser.parse_args(argv)
    recording = Recording.open(recording_for(arguments))
    warm()
    placed = "wherever the scheduler puts it"
    with tempfile.TemporaryDirectory(prefix="ouro latency ") as name, signer(Path(name), recording) as signing:
        if arguments.isolate:
            # the signer first: this process's cores are what is left to choose from
            placed = f"signer {isolate(signing, 1)}; engine {isolate(0, 0)}"
        played, measured, lane = asyncio.run(run(recording, Path(name), arguments.every_ms))
    gc.collect()
    found = report(recording, played, measured, lane, arguments.every_ms) | {"placed": placed}
    text = json.dumps(found, indent=1)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")
    if arguments.json:
        sys.stdout.write(text + "\n")
    else:
        show(found)


if __name__ == "__main__":
    main()
