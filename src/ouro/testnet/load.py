"""Sustained load: ``python -m ouro.testnet.load`` runs the demo hard for minutes and says what it held.

Asserted: so many trades landed a minute, every attempt with a final outcome, books and chain equal to the wei, and
flat memory in every process of ours. The figures are one JSON object on stdout; exit code 1 names what was missed.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.testnet.demo import Demo, DemoOptions
from ouro.types import OutcomeKind

_SAMPLE_EVERY_S = 5.0
_WARM_UP_SHARE = 0.3
"""Of the samples: caches fill, the largest blocks come; growth is measured after it."""

_MIB = 1 << 20
_FIRST_LANDED_WITHIN_S = 240.0


@dataclass(slots=True)
class Samples:
    """Resident memory by what a process does, and CPU seconds that each had used."""

    times_s: list[float] = field(default_factory=list)
    rss_mib: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_s: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, demo: Demo) -> None:
        """One look at the processes below this one."""
        self.times_s.append(time.monotonic())
        for name, process in processes(demo).items():
            try:
                self.rss_mib[name].append(process.memory_info().rss / _MIB)
                used = process.cpu_times()
            except psutil.Error:
                continue
            spent = used.user + used.system
            self.cpu_s[name] = (self.cpu_s.get(name, (spent, spent))[0], spent)

    def growth_percent(self, name: str) -> float:
        """From the mean of the third after warm-up to that of the last third; positive is more."""
        values = self.rss_mib[name]
        steady = values[round(len(values) * _WARM_UP_SHARE) :]
        third = max(1, len(steady) // 3)
        first, last = steady[:third], steady[-third:]
        if not first or not sum(first):
            return 0.0
        return 100 * (sum(last) / len(last) / (sum(first) / len(first)) - 1)


def processes(demo: Demo) -> dict[str, psutil.Process]:
    """Those that the demo started, by what they do: ``chain NAME``, supervisor, signer, agents, node."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "ouro.signer" in words:
            found["signer"] = process
        elif "ouro.testnet.agents" in words:
            found[f"agents {words[-1].rpartition('-')[2].removesuffix('.json')}"] = process
        elif "--status-fd" in words:
            found[f"chain {words[words.index('--chain') + 1]}"] = process
        elif "ouro.cli" in words:
            found["supervisor"] = process
        elif "--chain-id" in words:
            ports = {str(chain.node.config.chain_id): name for name, chain in demo.testnet.chains.items()}
            found[f"node {ports.get(words[words.index('--chain-id') + 1], '?')}"] = process
    return found


class LoadRun:
    """One run of ``options`` that trades for ``minutes`` after every chain has landed its first trade."""

    def __init__(self, options: DemoOptions, work_dir: Path, minutes: float) -> None:
        self.demo = Demo(options, work_dir, lambda text: print(text, file=sys.stderr, flush=True))
        self.samples = Samples()
        self._seconds = minutes * 60
        self._ended = threading.Event()
        self._window_ms = (0, 0)

    def run(self) -> dict[str, Any]:
        """The figures."""
        watcher = threading.Thread(target=self._watch, name="load-watch", daemon=True)
        watcher.start()
        try:
            figures = self.demo.run()
        finally:
            self._ended.set()
        watcher.join(30)
        return self._measured(figures)

    def _watch(self) -> None:
        if not self._wait_until_all_land():
            self.demo.ask_to_stop()
            return
        began = time.monotonic()
        began_ms = time.time_ns() // 1_000_000
        while time.monotonic() - began < self._seconds:
            self.samples.take(self.demo)
            if self._ended.wait(_SAMPLE_EVERY_S):
                return
        self._window_ms = (began_ms, time.time_ns() // 1_000_000)
        self.demo.ask_to_stop()

    def _wait_until_all_land(self) -> bool:
        deadline = time.monotonic() + _FIRST_LANDED_WITHIN_S
        while time.monotonic() < deadline and not self._ended.wait(1.0):
            try:
                books = Books.open(self.demo.ledger_url)
            except LedgerError:
                continue
            try:
                records = books.attempts(limit=5_000)
            except LedgerError:
                continue
            finally:
                books.close()
            landed = {r.attempt.chain for r in records if r.outcome and r.outcome.kind is OutcomeKind.LANDED}
            if landed >= set(self.demo.options.chains):
                return True
        return False

    def _measured(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        books = Books.open(self.demo.ledger_url)
        try:
            records = [record for record in books.attempts() if record.is_trade]
            refused = books.refusals()
        finally:
            books.close()
        since, until = self._window_ms
        minutes = (until - since) / 60_000
        landed_at = [
            record.outcome_at_ms or 0
            for record in records
            if record.outcome is not None and record.outcome.kind is OutcomeKind.LANDED
        ]
        within = [at for at in landed_at if since <= at < until]
        by_minute = Counter((at - since) // 60_000 for at in within)
        whole = [by_minute.get(minute, 0) for minute in range(int(minutes))]
        kinds = Counter(r.outcome.kind.value if r.outcome is not None else "open" for r in records)
        span_s = max(1e-9, self.samples.times_s[-1] - self.samples.times_s[0]) if self.samples.times_s else 1.0
        return {
            "minutes": round(minutes, 2),
            "landed_in_window": len(within),
            "landed_per_minute": round(len(within) / minutes, 1) if minutes > 0 else 0.0,
            "landed_in_slowest_minute": min(whole, default=0),
            "attempts": len(records),
            "outcomes": dict(kinds),
            "open_at_the_end": kinds.get("open", 0),
            "max_abs_reconciliation_difference_wei": figures["max_abs_reconciliation_difference_wei"],
            "balances_compared": figures["balances_compared"],
            "chains": {name: self._chain(name, chain, refused) for name, chain in figures["chains"].items()},
            "rss_mib": {n: round(v[-1], 1) for n, v in sorted(self.samples.rss_mib.items())},
            "rss_growth_percent": {
                n: round(self.samples.growth_percent(n), 2) for n in sorted(self.samples.rss_mib)
            },
            "cpu_cores": {n: round((b - a) / span_s, 3) for n, (a, b) in sorted(self.samples.cpu_s.items())},
            "ledger_mib": round((self.demo.work_dir / "ledger.db").stat().st_size / _MIB, 1),
        }

    def _chain(
        self, name: str, chain: Mapping[str, Any], refused: Mapping[str, Mapping[str, int]]
    ) -> dict[str, Any]:
        return {
            "block_time_ms": round(self.demo.testnet.chains[name].block_time_s * 1_000),
            **{key: chain[key] for key in ("blocks", "blocks_decided", "attempts", "landed", "latency_ms")},
            "predicted_equals_executed": chain["predicted_equals_executed"],
            "refused": dict(refused.get(name, {})),
        }


def missed(figures: Mapping[str, Any], least_per_minute: float, most_growth_percent: float) -> list[str]:
    """What was asked for and not held, each in a sentence."""
    wrong: list[str] = []
    if figures["landed_per_minute"] < least_per_minute:
        wrong.append(f"{figures['landed_per_minute']} landed a minute, {least_per_minute:g} were asked for")
    if figures["open_at_the_end"]:
        wrong.append(f"{figures['open_at_the_end']} attempts have no final outcome")
    if figures["max_abs_reconciliation_difference_wei"] != 0:
        wrong.append(f"books and chain differ by {figures['max_abs_reconciliation_difference_wei']} wei")
    for name, chain in figures["chains"].items():
        if chain["latency_ms"]["decided"]["p99"] > chain["block_time_ms"]:
            wrong.append(f"{name}: decisions took {chain['latency_ms']['decided']['p99']} ms, longer than a block")
    for name, growth in figures["rss_growth_percent"].items():
        if growth > most_growth_percent and not name.startswith("node "):
            wrong.append(f"{name}: memory grew by {growth} % after warm-up, {most_growth_percent:g} % are allowed")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="load-test", description="Sustained load on local chains.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--chains", default="ethereum,fantom,arbitrum,base")
    parser.add_argument("--block-time", type=float, default=0.5, help="seconds")
    parser.add_argument("--intensity", type=float, default=2.0, help="of the market agents")
    parser.add_argument("--operators", type=int, default=12, help="on each chain")
    parser.add_argument("--open-attempts", type=int, default=24, help="on each chain")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least-per-minute", type=float, default=1_000.0)
    parser.add_argument("--most-growth", type=float, default=5.0, help="percent of memory after warm-up")
    parser.add_argument("--work-dir", type=Path, required=True)
    asked = parser.parse_args(arguments)
    options = DemoOptions(
        blocks=None,
        seed=asked.seed,
        intensity=asked.intensity,
        block_time_s=asked.block_time,
        chains=tuple(asked.chains.split(",")),
        operators=asked.operators,
        agents="apart",
        max_open_attempts=asked.open_attempts,
    )
    work_dir: Path = asked.work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    if (work_dir / "ledger.db").exists():
        print(f"load-test: {work_dir} holds an earlier run; name another --work-dir", file=sys.stderr)
        return 2
    figures = LoadRun(options, work_dir, asked.minutes).run()
    wrong = missed(figures, asked.least_per_minute, asked.most_growth)
    print(json.dumps({**figures, "missed": wrong}, indent=1))
    for line in wrong:
        print(f"load-test: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
