"""Limits over all chains, whose engines may be processes of their own: one file of leases, one lock.

Each holder (a chain) has leased of each limit at least what it uses of it, in flight included; the leases of all
together never exceed the limit. What is leased can be spent without asking anybody; only when a lease is too small
is the file locked, read and written. A holder that died keeps its lease until it starts again (it then says what it
really uses) or until its window has passed, so a crash can only make the limit tighter.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ouro.config.risk import LimitRule
from ouro.flock import lock_within
from ouro.risk.limits import Reason
from ouro.risk.meters import Meter
from ouro.risk.rules import Facts, Rule
from ouro.types import Outcome

_CHUNKS = 16
"""A lease grows by at least this part of the limit, so that it seldom has to."""

_CENTS = 100
_COIN = 10**18

log = structlog.get_logger(__name__)


class BudgetError(Exception):
    """The leases can't be read or written; the text says which file and why."""


@dataclass(slots=True)
class LeaseFile:
    """The leases of every limit: ``{name: {holder: [amount, until_ms]}}``."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[dict[str, dict[str, list[int]]]]:
        """The leases, which nobody else can change meanwhile; what is changed in them is written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("a") as lock:
                if not lock_within(lock):
                    raise BudgetError(f"{lock.name}: another process has held it for seconds; end that one")
                leases = self._read()
                yield leases
                fresh = self.path.with_suffix(f".{os.getpid()}.new")
                # Not synced to the disk: it outlives processes, and with the machine every process begins anew.
                fresh.write_text(json.dumps(leases))
                fresh.replace(self.path)
        except OSError as error:
            raise BudgetError(f"{self.path}: {error.strerror or error}") from None

    def _read(self) -> dict[str, dict[str, list[int]]]:
        try:
            values: Any = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except (ValueError, UnicodeDecodeError) as error:
            raise BudgetError(f"{self.path}: is damaged ({error}); stop every engine, then remove it") from None
        good = isinstance(values, dict) and all(
            isinstance(holders, dict)
            and all(
                isinstance(v, list) and len(v) == 2 and all(type(n) is int for n in v) for v in holders.values()
            )
            for holders in values.values()
        )
        if not good:
            raise BudgetError(f"{self.path}: is damaged; stop every engine, then remove it")
        return values

    def leased(self, name: str, holder: str) -> int:
        """What a holder has leased. Raises ``BudgetError``."""
        with self.locked() as leases:
            return leases.get(name, {}).get(holder, [0, 0])[0]

    def lease(
        self, name: str, holder: str, least: int, wanted: int, maximum: int, now_ms: int, window_ms: int
    ) -> int:
        """Lease at least ``least`` of ``maximum``, ``wanted`` where there is as much; what is leased now.

        Less than ``least`` means that there is no more. Raises ``BudgetError``.
        """
        with self.locked() as leases:
            holders = leases.setdefault(name, {})
            for other in [who for who, (_, until_ms) in holders.items() if until_ms and until_ms <= now_ms]:
                del holders[other]
            taken = sum(amount for who, (amount, _) in holders.items() if who != holder)
            mine = min(wanted, maximum - taken)
            if mine < least:
                return holders.get(holder, [0, 0])[0]
            holders[holder] = [mine, now_ms + 2 * window_ms if window_ms else 0]
            return mine

    def give_back(self, name: str, holder: str, held: int) -> None:
        """Keep no more than ``held`` of a lease that never expires. Raises ``BudgetError``."""
        with self.locked() as leases:
            holders = leases.get(name, {})
            if held < holders.get(holder, [0, 0])[0]:
                holders[holder][0] = held
                if not held:
                    del holders[holder]

    def forget(self, name: str, known: Collection[str]) -> list[str]:
        """Take away what holders that are not ``known`` leased without an end; their names."""
        with self.locked() as leases:
            holders = leases.get(name, {})
            gone = [who for who, (_, until_ms) in holders.items() if not until_ms and who not in known]
            for who in gone:
                del holders[who]
            return gone


@dataclass(slots=True)
class _Shared:
    rule: Rule
    name: str
    meter: Meter
    lease: int = 0
    renewed_ms: int = 0


@dataclass(slots=True)
class Budgets:
    """One chain's part in the limits over all chains. Money is in USD cents, at the price of the moment."""

    holder: str
    file: LeaseFile
    _shared: list[_Shared] = field(default_factory=list)
    known: Collection[str] = ()
    _held: dict[str, list[tuple[_Shared, int, int]]] = field(default_factory=dict)
    _unpriced: dict[str, Facts] = field(default_factory=dict)
    _carried: bool = False

    @classmethod
    def of(cls, holder: str, configs: Iterable[LimitRule], path: Path, known: Collection[str] = ()) -> "Budgets":
        """Those of ``configs`` that are over all chains. ``known``: every chain of the configuration, if told: what
        another one still has is given to these."""
        shared = [
            _Shared(Rule(config), f"{config.measure} per {config.per}", Meter(config.window_ms))
            for config in configs
            if config.scope == "all"
        ]
        return cls(holder, LeaseFile(path), shared, known)

    def problem(self, facts: Facts, native_usd: float | None, now_ms: int) -> tuple[Reason, str] | None:
        """Why the plan would go over one of them; leases what it needs."""
        if not self._shared:
            return None
        if not self._carried or self._unpriced:
            try:
                self._catch_up(native_usd, now_ms)
            except BudgetError as error:
                return Reason.BUDGET, f"the common budgets can't be used: {error}"
        for shared in self._shared:
            config = shared.rule.config
            amount = _in_unit(shared.rule, facts, native_usd)
            if amount is None:
                return Reason.NO_PRICE, f"{shared.name} of all chains is in USD, and the native coin has no price"
            if config.per == "trade" and config.measure != "open":
                if amount > config.maximum:
                    return Reason.BUDGET, f"{shared.name} of all chains: {amount}, the limit is {config.maximum}"
                continue
            needed = shared.meter.used(now_ms) + amount
            if needed <= shared.lease and (not config.window_ms or now_ms - shared.renewed_ms < config.window_ms):
                continue
            wanted = needed + config.maximum // _CHUNKS
            try:
                got = self.file.lease(
                    shared.name, self.holder, needed, wanted, config.maximum, now_ms, config.window_ms
                )
            except BudgetError as error:
                return Reason.BUDGET, f"the common budgets can't be used: {error}"
            if got < needed:
                return Reason.BUDGET, (
                    f"{shared.name} of all chains: {self.holder} would use {needed}; of {config.maximum} for all "
                    f"it has {got}, and there is no more"
                )
            shared.lease, shared.renewed_ms = got, now_ms
        return None

    def _catch_up(self, native_usd: float | None, now_ms: int) -> None:
        """At the first question: what an earlier process leased counts as used for its whole window. And what was
        in flight before there was a price gets one."""
        first = not self._carried
        if first:
            for shared in self._shared:
                leased = self.file.leased(shared.name, self.holder)
                if not shared.meter.window_ms:
                    shared.lease = leased
                    self._forget_unknown(shared)
                elif leased:
                    shared.meter.add(now_ms, leased)
            self._carried = True
        if native_usd is not None:
            waiting, self._unpriced = self._unpriced, {}
            for plan_id, facts in waiting.items():
                self.hold(plan_id, facts, native_usd, now_ms)
        if first and not self._unpriced:
            for shared in self._shared:
                self._give_back(shared)

    def _forget_unknown(self, shared: _Shared) -> None:
        gone = self.file.forget(shared.name, self.known) if self.known else []
        if gone:
            log.warning("leases_taken_back", limit=shared.name, chains=gone, reason="not in the configuration")

    def _give_back(self, shared: _Shared) -> None:
        """What has no window is free again as soon as it isn't held: other chains may need it."""
        if shared.meter.window_ms or shared.lease <= shared.meter.held:
            return
        try:
            self.file.give_back(shared.name, self.holder, shared.meter.held)
        except BudgetError as error:  # the lease stays what it is, and the next one that ends tries again
            log.warning("lease_not_given_back", limit=shared.name, chain=self.holder, error=str(error))
        else:
            shared.lease = shared.meter.held

    def hold(self, plan_id: str, facts: Facts, native_usd: float | None, now_ms: int) -> None:
        """Count an approval as in flight. Without a price it counts as soon as there is one."""
        if not self._shared or plan_id in self._held:
            return
        if native_usd is None and any(shared.rule.config.max_usd_cents for shared in self._shared):
            self._unpriced[plan_id] = facts
            return
        held: list[tuple[_Shared, int, int]] = []
        for shared in self._shared:
            amount = _in_unit(shared.rule, facts, native_usd) or 0
            worst = facts.amount(shared.rule.measure)
            if shared.rule.measure == "messages":
                shared.meter.add(now_ms, 1)
            else:
                shared.meter.held += amount
                held.append((shared, amount, worst))
        self._held[plan_id] = held

    def release(self, plan_id: str) -> None:
        """It was not sent."""
        self._unpriced.pop(plan_id, None)
        for shared, amount, _ in self._held.pop(plan_id, ()):
            shared.meter.held -= amount
            self._give_back(shared)

    def settle(self, plan_id: str, outcome: Outcome, net_wei: int, now_ms: int) -> None:
        """Final: what was held becomes what happened, at the price it was held at."""
        self._unpriced.pop(plan_id, None)
        for shared, amount, worst in self._held.pop(plan_id, ()):
            shared.meter.held -= amount
            self._give_back(shared)
            measure = shared.rule.measure
            if measure == "open":
                continue
            happened = amount
            if measure == "gas":
                happened = -(-amount * min(outcome.gas_cost_wei, worst) // worst) if worst else 0
            elif measure == "loss":
                happened = -(-amount * min(max(0, -net_wei), worst) // worst) if worst else 0
            if happened and shared.meter.window_ms:
                shared.meter.add(now_ms, happened)


def _in_unit(rule: Rule, facts: Facts, native_usd: float | None) -> int | None:
    amount = facts.amount(rule.measure)
    if rule.config.max_usd_cents is None:
        return amount
    if native_usd is None or not native_usd > 0:
        return None
    # Rounded up to the cent, so that many small ones don't count as nothing.
    micros = round(native_usd * 1_000_000)
    return -(-amount * micros * _CENTS // (_COIN * 1_000_000))
