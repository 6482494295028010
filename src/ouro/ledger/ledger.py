"""The books as the engine writes them."""

import contextlib
import logging
import math
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ouro.ledger.activity import AddBlocks, AddRefusals, LatencyLog, PurgeSamples, SetPrice
from ouro.ledger.ahead import WriteAhead
from ouro.ledger.books import Books
from ouro.ledger.database import database_error, is_transient, ledger_name, migrate, open_engine
from ouro.ledger.errors import LedgerError
from ouro.ledger.operations import (
    EndSession,
    JournalAttempt,
    MarkSent,
    Operation,
    RecordOpening,
    RecordOutcome,
    RecordReconciliation,
    ReverseOutcome,
    StartSession,
    decode_attempt,
    encode_attempt,
)
from ouro.ledger.reconcile import Reconciliation
from ouro.ledger.records import BalanceEntry, BlockStats, Opening, SessionInfo, check_outcome, plan_to_json
from ouro.ledger.writer import Writer
from ouro.types import Address, Attempt, Outcome, Plan, Refused

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_DETAIL_CHARS = 500
_LONGEST_US = 2**32 - 1
_REMEMBERED_ATTEMPTS = 4_096
_PREPARED_PLANS = 64
_TAKE_OVER_S = 60.0

log = logging.getLogger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Refusals:
    count: int = 0
    samples: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Blocks:
    blocks: int = 0
    decided: int = 0
    opportunities: int = 0
    last: BlockStats | None = None


class Ledger:
    """Writes the books; every method may be called from any thread and returns without waiting for the database.

    Reading is in ``books`` (`ouro.ledger.books.Books`), which may also be opened alone. Contradictory values raise
    ValueError at once; a database that can't be written makes ``healthy`` False; everything is kept and retried.
    """

    def __init__(
        self,
        engine: Engine,
        url: str,
        *,
        refusal_samples: int,
        retention_days: int,
        queue_limit: int,
        give_up_s: float,
        interval_s: float,
        clock_ms: Callable[[], int],
        ahead: WriteAhead | None = None,
    ) -> None:
        self._ahead = ahead
        self._journaled: OrderedDict[str, bytes] = OrderedDict()
        self._plan_forms: OrderedDict[str, str] = OrderedDict()
        self.name = ledger_name(url)
        self._engine, self._clock_ms = engine, clock_ms
        self._refusal_samples, self._retention_ms = refusal_samples, retention_days * _DAY_MS
        self._session_id = ""
        self._lock = threading.Lock()
        self._refusals: dict[tuple[str, str, int], _Refusals] = {}
        self._samples_kept: dict[tuple[str, str, int], int] = {}
        self._blocks: dict[str, _Blocks] = {}
        self._latencies: dict[str, LatencyLog] = {}
        self._new_latencies: dict[str, list[int]] = {}
        self._next_purge_ms = 0
        self.books = Books(open_engine(url, write=False), self.name)
        self._writer = Writer(
            engine,
            self.name,
            collect=self._collect,
            committed=self._committed,
            queue_limit=queue_limit,
            give_up_s=give_up_s,
            interval_s=interval_s,
        )
        self._take_over_left()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        refusal_samples: int = 20,
        retention_days: int = 90,
        queue_limit: int = 20_000,
        give_up_s: float = 5.0,
        interval_s: float = 0.25,
        clock_ms: Callable[[], int] = _now_ms,
        ahead: Path | None = None,
    ) -> Self:
        """Open ``url`` (created and migrated as needed) and start the writer.

        With the folder ``ahead``, attempts are durable there first and come into the database afterwards, those
        that a dead process left there as well. A locked database is waited for up to ``give_up_s``. Raises
        `LedgerError`.
        """
        engine = open_engine(url, write=True)
        _migrate_patiently(engine, ledger_name(url), give_up_s)
        files = None
        if ahead is not None:
            try:
                files = WriteAhead(ahead)
            except OSError as error:
                engine.dispose()
                raise LedgerError(f"ledger {ledger_name(url)}: {ahead}: {error.strerror or error}") from None
        return cls(
            engine,
            url,
            refusal_samples=refusal_samples,
            retention_days=retention_days,
            queue_limit=queue_limit,
            give_up_s=give_up_s,
            interval_s=interval_s,
            clock_ms=clock_ms,
            ahead=files,
        )

    @property
    def healthy(self) -> bool:
        """Whether a new trade may be made; ``problem`` says why not."""
        return self._writer.problem is None

    @property
    def problem(self) -> LedgerError | None:
        """What is wrong with the books now, if anything."""
        return self._writer.problem

    @property
    def waiting(self) -> int:
        """Records that have not been handed to the database yet."""
        return self._writer.waiting

    @property
    def session_id(self) -> str:
        """The run that is being written; raises `LedgerError` before `start_session`."""
        self._require_session()
        return self._session_id

    def _require_session(self) -> None:
        if not self._session_id:
            raise LedgerError(f"ledger {self.name}: start_session comes before the first record")

    def start_session(
        self, *, mode: str, config_hash: str, code_version: str, session_id: str | None = None
    ) -> str:
        """Begin a run and wait until its row is written; its id."""
        now_ms = self._clock_ms()
        info = SessionInfo(session_id or uuid.uuid4().hex, mode, config_hash, code_version, now_ms, now_ms, None)
        self._writer.put_urgent(StartSession(info)).result()
        self._session_id = info.session_id
        return info.session_id

    def journal_attempt(
        self, attempt: Attempt, plan: Plan | None, *, decided_us: int | None = None, signed_us: int | None = None
    ) -> Future[None]:
        """Make the signed bytes durable. Send only after the future resolved; await it by `asyncio.wrap_future`.

        ``plan`` may be None for a cancel. Latencies count from the socket read. If the future raises
        (`LedgerError`) the attempt must not be sent and is not in the books. If it was cancelled late (a time-out)
        the attempt may be in them: record a dropped outcome for it.
        """
        form = None if plan is None else self._plan_forms.pop(plan.plan_id, None)
        operation = JournalAttempt(self.session_id, attempt, plan, self._clock_ms(), decided_us, signed_us, form)
        if self._ahead is None:
            return self._writer.put_urgent(operation)
        return self._journal_ahead(operation, self._ahead)

    def _journal_ahead(self, operation: JournalAttempt, ahead: WriteAhead) -> Future[None]:
        outer: Future[None] = Future()
        attempt = operation.attempt
        problem = self.problem
        if problem is None and self._journaled.setdefault(attempt.attempt_id, attempt.raw_tx) != attempt.raw_tx:
            problem = LedgerError(
                f"attempt {attempt.attempt_id}: its id is already booked for other bytes; it was not journaled"
                " and must not be sent"
            )
        if problem is not None:
            outer.set_exception(problem)
            return outer
        while len(self._journaled) > _REMEMBERED_ATTEMPTS:
            self._journaled.popitem(last=False)

        def durable(written: "Future[int]") -> None:
            error = written.exception()
            if error is None:
                # Into the queue before anybody is told, so that what follows on it finds it there.
                with contextlib.suppress(LedgerError):  # closing: the next opening takes it over
                    self._writer.put(operation, lambda: ahead.taken_over(written.result()))
                if outer.set_running_or_notify_cancel():
                    outer.set_result(None)
                return
            log.error("%s: %s: journaling in the database instead, which is slower", self.name, error)
            try:
                slower = self._writer.put_urgent(operation)
            except LedgerError as closed:  # what is raised in here nobody hears, and somebody waits
                if outer.set_running_or_notify_cancel():
                    outer.set_exception(closed)
                return
            slower.add_done_callback(lambda done: _hand_on(done, outer))

        ahead.append(encode_attempt(operation)).add_done_callback(durable)
        return outer

    def _take_over_left(self) -> None:
        """What a process that died had made durable, and nobody may have sent, comes into the books first."""
        if self._ahead is None:
            return
        for number, payload in enumerate(self._ahead.found, start=1):
            try:
                operation = decode_attempt(payload)
            except ValueError as error:
                raise LedgerError(
                    f"ledger {self.name}: an attempt in the write-ahead file can't be read ({error}); it was"
                    " written by another version: start that one once, it takes it over"
                ) from None
            self._writer.put(operation, lambda number=number, ahead=self._ahead: ahead.taken_over(number))
        if self._ahead.found:
            log.warning("%s: %d attempts of a process that died are taken over", self.name, len(self._ahead.found))
            self._writer.flush(_TAKE_OVER_S)

    def between_blocks(self) -> None:
        """Nobody is deciding now: what waits may be written."""
        self._writer.nudge()

    def prepare(self, plan: Plan) -> None:
        """Write down what the journal will hold of ``plan`` while there is nothing else to do."""
        self._plan_forms[plan.plan_id] = plan_to_json(plan)
        while len(self._plan_forms) > _PREPARED_PLANS:
            self._plan_forms.popitem(last=False)

    def mark_sent(self, attempt_id: str, sent_at_ms: int | None = None, *, sent_us: int | None = None) -> None:
        """A lane took the attempt; ``sent_us`` counts from the socket read."""
        self._writer.put(MarkSent(attempt_id, self._clock_ms() if sent_at_ms is None else sent_at_ms, sent_us))

    def record_outcome(self, outcome: Outcome, entries: Sequence[BalanceEntry]) -> None:
        """Book what became of an attempt, once however often it is told (`ouro.ledger.entries` makes the entries).

        A different outcome than the one that stands withdraws that one first.
        """
        check_outcome(outcome)
        if entries and outcome.block_number is None:
            raise ValueError(f"outcome of {outcome.attempt_id}: balance entries need a block")
        self._writer.put(RecordOutcome(outcome, tuple(entries), self._clock_ms()))

    def reverse_outcome(self, attempt_id: str, reason: str) -> None:
        """The outcome's block was orphaned: withdraw it and its entries by new records; the attempt is open."""
        self._writer.put(ReverseOutcome(attempt_id, reason, self._clock_ms()))

    def record_opening(
        self, chain: str, account: Address, token: Address | None, block_number: int, amount_wei: int
    ) -> None:
        """Balance of a newly owned account at the end of ``block_number``; later ones of the same are ignored."""
        opening = Opening(chain, account, token, block_number, amount_wei)
        self._writer.put(RecordOpening(self.session_id, opening))

    def record_reconciliation(self, chain: str, result: Reconciliation) -> None:
        """Keep the result of `ouro.ledger.reconcile.reconcile` for the reports."""
        operation = RecordReconciliation(
            self.session_id,
            chain,
            result.block_number,
            self._clock_ms(),
            result.balances_checked,
            result.max_abs_difference_wei,
            [difference.as_json() for difference in result.differences],
        )
        self._writer.put(operation)

    def record_price(self, chain: str, native_usd: float, source: str) -> None:
        """Latest USD price of a chain's native coin; the last one of a session values its report."""
        if not (math.isfinite(native_usd) and native_usd >= 0):
            raise ValueError(f"{chain}: {native_usd} is no price")
        self._writer.put(SetPrice(self.session_id, chain, repr(native_usd), source))

    def record_refusal(self, chain: str, refused: Refused) -> None:
        """Count a refusal; the first few of each reason and hour are kept whole."""
        self._require_session()
        now_ms = self._clock_ms()
        key = (chain, refused.reason, now_ms // _HOUR_MS)
        with self._lock:
            bucket = self._refusals.setdefault(key, _Refusals())
            bucket.count += 1
            kept = self._samples_kept.get(key, 0)
            if kept < self._refusal_samples:
                self._samples_kept[key] = kept + 1
                bucket.samples.append((now_ms, refused.plan_id, refused.detail[:_DETAIL_CHARS]))

    def record_block(self, chain: str, stats: BlockStats) -> None:
        """Count a block."""
        self._require_session()
        with self._lock:
            blocks = self._blocks.setdefault(chain, _Blocks())
            blocks.blocks += 1
            blocks.opportunities += stats.opportunities
            blocks.last = stats
            if stats.decided_us is not None:
                blocks.decided += 1
                self._new_latencies.setdefault(chain, []).append(min(max(stats.decided_us, 0), _LONGEST_US))

    def unresolved_attempts(self, chain: str) -> list[Attempt]:
        """Attempts of any session without a final outcome, oldest first: what recovery must follow up."""
        self.flush()
        return [record.attempt for record in self.books.unresolved(chain)]

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until all that was recorded is committed; `LedgerError` if that takes longer."""
        self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> None:
        """Write everything, end the session, stop. `LedgerError` if something could not be written."""
        if self._session_id:
            self._writer.put(EndSession(self._session_id, self._clock_ms()))
        try:
            self._writer.stop(timeout_s)
        finally:
            if self._ahead is not None:
                self._ahead.close()
            self.books.close()
            self._engine.dispose()

    def _collect(self) -> list[Operation]:
        """On the writer's thread: sums since the last time, as operations."""
        operations: list[Operation] = []
        now_ms = self._clock_ms()
        with self._lock:
            refusals, self._refusals = self._refusals, {}
            blocks, self._blocks = self._blocks, {}
            latencies, self._new_latencies = self._new_latencies, {}
            hour = now_ms // _HOUR_MS
            self._samples_kept = {key: kept for key, kept in self._samples_kept.items() if key[2] >= hour}
        session = self._session_id
        for (chain, reason, refused_hour), bucket in refusals.items():
            operations.append(AddRefusals(session, chain, reason, refused_hour, bucket.count, bucket.samples))
        for chain, sums in blocks.items():
            assert sums.last is not None
            last = sums.last
            counters = (sums.blocks, sums.decided, sums.opportunities, last.pools, last.cycles, last.number)
            operations.append(AddBlocks(session, chain, now_ms, *counters))
        for chain, values_us in latencies.items():
            history = self._latencies.setdefault(chain, LatencyLog(session, chain))
            history.values_us.extend(values_us)
            operations.append(history)
        if now_ms >= self._next_purge_ms and session:
            self._next_purge_ms = now_ms + _HOUR_MS
            operations.append(PurgeSamples(now_ms - self._retention_ms))
        return operations

    def _committed(self) -> None:
        for history in self._latencies.values():
            history.forget_full_chunks()


def _hand_on(done: "Future[None]", outer: "Future[None]") -> None:
    if not outer.set_running_or_notify_cancel():
        return
    error = done.exception()
    if error is None:
        outer.set_result(None)
    else:
        outer.set_exception(error)


def _migrate_patiently(engine: Engine, name: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            migrate(engine, name)
        except SQLAlchemyError as error:
            if not is_transient(error) or time.monotonic() >= deadline:
                engine.dispose()
                raise database_error(name, error) from None
            time.sleep(0.05)
        except (LedgerError, OSError) as error:
            engine.dispose()
            raise error if isinstance(error, LedgerError) else LedgerError(f"ledger {name}: {error}") from None
        else:
            return
