"""A great many random orders through the real gate, in several processes at once: none may get over any limit.

Each process is the gate of one chain. Every approval is counted anew by a model that shares no code with the gate,
what is in flight included; the limits over all processes are looked at while nobody can lease. Seeded: what is
drawn depends on the seed alone (what is approved, also on the clock).
"""

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import orjson

from ouro.config.model import RiskConfig
from ouro.config.risk import LimitRule
from ouro.control import ControlStore
from ouro.risk.approved import Approved
from ouro.risk.budget import Budgets
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Mode, Outcome, OutcomeKind, Plan

_COIN, _GWEI = 10**18, 10**9
_HEAD = ChainCondition(10, "0xhead", "ready", native_usd=1_000.0)
_POOLS = tuple(f"0x{number:040x}" for number in range(1, 9))
_TOKENS = tuple(f"0x{number + 100:040x}" for number in range(4))
_CENTS_PER_COIN = 100_000
_GLOBAL_OPEN, _GLOBAL_NOTIONAL_CENTS = 16, 60_000_000
_SLOT = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one process's orders. ``broken`` says which limit was exceeded and how; it has to be empty."""

    intents: int
    approved: int
    refused: dict[str, int]
    restarts: int
    broken: list[str]


class _Sum:
    """An independent sum: in flight, and final within a window."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms, self.held, self.final = window_ms, 0, 0
        self.entries: deque[tuple[int, int]] = deque()

    def now(self, now_ms: int) -> int:
        while self.entries and now_ms - self.entries[0][0] >= self.window_ms:
            self.final -= self.entries.popleft()[1]
        return self.held + self.final

    def move(self, held: int, final: int, now_ms: int) -> None:
        self.held -= held
        if final:
            self.entries.append((now_ms, final))
            self.final += final


@dataclass(slots=True)
class _Limits:
    """The limits of a process, drawn by its seed; each is near enough to be met all the time."""

    notional: int
    gas: int
    open_attempts: int
    daily_loss: int
    notional_minute: int
    token_minute: int
    gas_hour: int
    pool_open: int
    messages: int

    @classmethod
    def drawn(cls, rng: random.Random) -> "_Limits":
        return cls(
            notional=rng.randint(_COIN, 2 * _COIN),
            gas=rng.randint(5 * 10**15, 10**16),
            open_attempts=rng.randint(4, 16),
            daily_loss=10**21,
            notional_minute=rng.randint(150, 500) * _COIN,
            token_minute=rng.randint(100, 400) * _COIN,
            gas_hour=rng.randint(10, 60) * _COIN,
            pool_open=rng.randint(2, 6),
            messages=rng.randint(3, 20),
        )

    def config(self, folder: Path) -> RiskConfig:
        rules = (
            {"measure": "notional", "per": "minute", "max_wei": self.notional_minute},
            {"measure": "notional", "scope": "token", "per": "minute", "max_wei": self.token_minute},
            {"measure": "gas", "per": "hour", "max_wei": self.gas_hour},
            {"measure": "open", "scope": "pool", "max_count": self.pool_open},
            {"measure": "messages", "per": "second", "max_count": self.messages},
            {"measure": "open", "scope": "all", "max_count": _GLOBAL_OPEN},
            {"measure": "notional", "scope": "all", "per": "minute", "max_usd_cents": _GLOBAL_NOTIONAL_CENTS},
        )
        return RiskConfig(
            kill_file=folder / "kill",
            max_notional_wei=self.notional,
            max_gas_cost_wei=self.gas,
            max_open_attempts=self.open_attempts,
            max_daily_loss_wei=self.daily_loss,
            max_reverts_per_hour=10**9,
            max_wasted_gas_per_hour_wei=10**24,
            limits=tuple(LimitRule.model_validate(rule) for rule in rules),
        )


@dataclass(slots=True)
class _Model:
    """The count of what was let through, made without the gate's code."""

    limits: _Limits
    open: dict[str, Plan] = field(default_factory=dict)
    orders: set[tuple[object, ...]] = field(default_factory=set)
    notional: _Sum = field(default_factory=lambda: _Sum(60_000))
    gas: _Sum = field(default_factory=lambda: _Sum(3_600_000))
    tokens: dict[str, _Sum] = field(default_factory=lambda: {token: _Sum(60_000) for token in _TOKENS})
    messages: deque[int] = field(default_factory=deque)
    broken: list[str] = field(default_factory=list)

    def approved(self, plan: Plan, now_ms: int) -> None:
        order = (plan.found_at_hash, *((hop.pool, hop.amount_in_wei) for hop in plan.hops))
        if order in self.orders:
            self.broken.append(f"the same order twice: {plan.plan_id}")
        self.orders.add(order)
        self.open[plan.plan_id] = plan
        spent, gas = plan.hops[0].amount_in_wei, plan.gas_limit * plan.fee.max_fee_per_gas_wei
        self.notional.held += spent
        self.gas.held += gas
        for hop in plan.hops:
            self.tokens[hop.token_in].held += spent
        self.messages.append(now_ms)
        while now_ms - self.messages[0] >= 1_000:
            self.messages.popleft()
        limits, pools = self.limits, Counter(hop.pool for other in self.open.values() for hop in other.hops)
        for name, value, limit in (
            ("notional of a trade", spent, limits.notional),
            ("gas of a trade", gas, limits.gas),
            ("open attempts", len(self.open), limits.open_attempts),
            ("open of a pool", max(pools.values()), limits.pool_open),
            ("messages a second", len(self.messages), limits.messages),
            ("notional a minute", self.notional.now(now_ms), limits.notional_minute),
            ("gas an hour", self.gas.now(now_ms), limits.gas_hour),
            *((f"notional a minute of {t}", s.now(now_ms), limits.token_minute) for t, s in self.tokens.items()),
        ):
            if value > limit:
                self.broken.append(f"{name}: {value} over {limit}")

    def settled(self, plan: Plan, gas_paid: int, now_ms: int, *, sent: bool) -> None:
        del self.open[plan.plan_id]
        spent, gas = plan.hops[0].amount_in_wei, plan.gas_limit * plan.fee.max_fee_per_gas_wei
        self.notional.move(spent, spent if sent else 0, now_ms)
        self.gas.move(gas, gas_paid, now_ms)
        for hop in plan.hops:
            self.tokens[hop.token_in].move(spent, spent if sent else 0, now_ms)


class _Worker:
    """One process: a chain, its gate, its model, and its two numbers in the memory that all share."""

    def __init__(self, number: int, seed: int, folder: Path, shared: memoryview, workers: int) -> None:
        self.rng = random.Random(f"{seed}|{number}")  # noqa: S311 - repeatable draws, no secrets
        self.chain, self.number, self.folder = f"chain{number}", number, folder
        self.limits = _Limits.drawn(self.rng)
        self.config = self.limits.config(folder)
        self.model = _Model(self.limits)
        self.now_ms = 0
        self.shared, self.workers = shared, workers
        self.refused: Counter[str] = Counter()
        self.count = self.approvals = self.restarts = 0
        self.minute = _Sum(60_000)
        self.gate = self._gate()

    def _gate(self) -> RiskGate:
        control = ControlStore(self.folder / "control")
        gate = RiskGate(self.config, Mode.LIVE, [self.chain], lambda: self.now_ms, control=control)
        self.budgets = Budgets.of(self.chain, self.config.limits, self.folder / "budgets.json")
        gate.equip(self.chain, budgets=self.budgets)
        return gate

    def tick(self) -> None:
        """A clock that all processes share, and that runs a thousand times as fast as the wall's."""
        self.now_ms = 10**12 + time.monotonic_ns() // 1_000
        self._publish()

    def _publish(self) -> None:
        at = self.number * 2 * _SLOT
        self.shared[at : at + _SLOT] = len(self.model.open).to_bytes(_SLOT, "little")
        cents = -(-self.minute.now(self.now_ms) * _CENTS_PER_COIN // _COIN)
        self.shared[at + _SLOT : at + 2 * _SLOT] = cents.to_bytes(_SLOT, "little")

    def step(self) -> None:
        self.tick()
        choice = self.rng.random()
        if choice < 0.55 or not self.model.open:
            self._intend()
        elif choice < 0.999:
            self._finish()
        elif choice < 0.9998:
            self._look_at_all()
        else:
            self._restart()

    def _intend(self) -> None:
        rng = self.rng
        self.count += 1
        amount = round(10 ** rng.uniform(17, 18.4)) if rng.random() < 0.97 else rng.choice((_COIN, 2 * _COIN))
        price = round(10 ** rng.uniform(9.5, 10.6))
        size = rng.choice((2, 2, 3))
        pools, first = rng.sample(_POOLS, size), rng.randrange(len(_TOKENS))
        tokens = [_TOKENS[(first + k) % len(_TOKENS)] for k in range(size)]
        profit = 10**16
        hops = tuple(
            Hop(pools[k], "uniswap_v2", tokens[k], tokens[(k + 1) % size], 0, 1, amount,
                amount + (profit if k == size - 1 else 0))
            for k in range(size)
        )  # fmt: skip
        fee = FeeBid(price, min(price, _GWEI), legacy=False)
        plan = Plan(
            f"{self.chain}-{self.count}", self.chain, hops, tokens[0], profit, 1, profit, 300_000, 200_000, fee,
            1, 10, "0xhead", 11, "public", b"\x01",
        )  # fmt: skip
        answer = self.gate.check(plan, _HEAD)
        if not isinstance(answer, Approved):
            self.refused[str(answer.reason)] += 1
            return
        self.approvals += 1
        self.minute.held += amount
        self.model.approved(plan, self.now_ms)
        self._publish()
        if rng.random() < 0.02:  # a replay storm: the same order under other names
            for again in range(3):
                if isinstance(self.gate.check(replace(plan, plan_id=f"{plan.plan_id}-{again}"), _HEAD), Approved):
                    self.model.broken.append(f"a duplicate of {plan.plan_id} was approved")
                self.count += 1

    def _finish(self) -> None:
        rng = self.rng
        plan = self.model.open[rng.choice(tuple(self.model.open))]
        amount = plan.hops[0].amount_in_wei
        if rng.random() < 0.1:
            self.gate.release(self.chain, plan.plan_id)
            self.minute.move(amount, 0, self.now_ms)
            self.model.settled(plan, 0, self.now_ms, sent=False)
            self._publish()
            return
        kind = rng.choice(tuple(OutcomeKind))
        included = kind not in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED)
        paid = rng.randint(0, plan.gas_limit * plan.fee.max_fee_per_gas_wei) if included else 0
        profit = plan.gross_profit_wei if kind is OutcomeKind.LANDED else 0
        block = (11, "0xb") if included else (None, None)
        attempt = Attempt(
            f"a-{plan.plan_id}", plan.plan_id, self.chain, AttemptKind.TRADE, "0x1", 0, "", b"", "public", 11
        )
        outcome = Outcome(attempt.attempt_id, kind, *block, 0, paid, profit, (), (), "")
        for _ in range(rng.choice((1, 1, 2))):
            self.gate.on_outcome(attempt, plan, outcome)
        self.minute.move(amount, amount, self.now_ms)
        self.model.settled(plan, paid, self.now_ms, sent=True)
        self._publish()

    def _look_at_all(self) -> None:
        """Under the lock of the leases nobody can get more, so all uses together must be within the limit."""
        with self.budgets.file.locked():
            used = bytes(self.shared[: 2 * _SLOT * self.workers])
        values = [int.from_bytes(used[k : k + _SLOT], "little") for k in range(0, len(used), _SLOT)]
        opened, cents = sum(values[0::2]), sum(values[1::2])
        if opened > _GLOBAL_OPEN:
            self.model.broken.append(f"open over all chains: {opened} over {_GLOBAL_OPEN}")
        if cents > _GLOBAL_NOTIONAL_CENTS:
            self.model.broken.append(f"notional over all chains: {cents} over {_GLOBAL_NOTIONAL_CENTS}")

    def _restart(self) -> None:
        """A new gate that only knows what the journal has in flight; everything final is the past's."""
        self.restarts += 1
        self.gate = self._gate()
        for plan in self.model.open.values():
            attempt = Attempt(
                f"a-{plan.plan_id}", plan.plan_id, self.chain, AttemptKind.TRADE, "0x1", 0, "", b"", "public", 11
            )
            self.gate.on_attempt(attempt, plan)
        held = self.model
        fresh = _Model(self.limits, dict(held.open), set(), broken=held.broken)
        fresh.notional.held, fresh.gas.held = held.notional.held, held.gas.held
        for token, total in held.tokens.items():
            fresh.tokens[token].held = total.held
        self.model = fresh


def _run(number: int, seed: int, intents: int, folder: Path, name: str, workers: int) -> Result:
    memory = SharedMemory(name)
    assert memory.buf is not None
    worker = _Worker(number, seed, folder, memory.buf, workers)
    try:
        while worker.count < intents and not worker.model.broken:
            worker.step()
        worker.shared = memoryview(bytearray(2 * _SLOT * workers))
    finally:
        memory.close()
    return Result(worker.count, worker.approvals, dict(worker.refused), worker.restarts, worker.model.broken)


def run(intents: int, seed: int, processes: int = 2) -> list[Result]:
    """At least ``intents`` orders over ``processes`` processes; the result of each."""
    folder = Path(tempfile.mkdtemp(prefix="ouro-intents-"))
    memory = SharedMemory(create=True, size=2 * _SLOT * processes)
    assert memory.buf is not None
    memory.buf[:] = bytes(len(memory.buf))
    share = -(-intents // processes)
    try:
        context = multiprocessing.get_context("spawn")
        with context.Pool(processes) as pool:
            jobs = [(number, seed, share, folder, memory.name, processes) for number in range(processes)]
            return pool.starmap(_run, jobs, chunksize=1)
    finally:
        memory.close()
        memory.unlink()
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ouro.testnet.drills.intents``: run, print a line of JSON, fail if any limit was exceeded."""
    parser = argparse.ArgumentParser(prog="python -m ouro.testnet.drills.intents")
    parser.add_argument("--intents", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    results = run(chosen.intents, chosen.seed, chosen.processes)
    refused: Counter[str] = Counter()
    for result in results:
        refused.update(result.refused)
    broken = [text for result in results for text in result.broken]
    figures = {
        "intents": sum(result.intents for result in results),
        "approved": sum(result.approved for result in results),
        "restarts": sum(result.restarts for result in results),
        "over_a_limit": len(broken),
        "broken": broken[:10],
        "refused": dict(refused.most_common()),
        "seed": chosen.seed,
        "processes": chosen.processes,
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")
    return 1 if broken or figures["intents"] < chosen.intents else 0


if __name__ == "__main__":
    sys.exit(main())
