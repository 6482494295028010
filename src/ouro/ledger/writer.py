"""The thread that writes the books, so that deciding and sending never wait for a disk.

Two queues: urgent (signed bytes, which somebody waits for) and normal; within each, order is kept. What was handed
in stays in memory until its transaction committed, however long the database is locked.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ouro.ledger.database import database_error, is_transient
from ouro.ledger.errors import LedgerError
from ouro.ledger.operations import Operation

log = logging.getLogger(__name__)

_BATCH = 256
_FIRST_DELAY_S = 0.02
_LONGEST_DELAY_S = 1.0
_TRUST_NUDGES_S = 2.0
"""Who has nudged will nudge again for so long."""


@dataclass(slots=True, eq=False)
class _Job:
    """An operation (None for a barrier), who waits for it, and who is told that it is committed."""

    operation: Operation | None
    future: Future[None] | None = None
    after: Callable[[], None] | None = None


class Writer:
    """Writes operations in batches of one transaction each, retrying until they are in.

    ``collect`` is asked, on the thread, for sums that became due; ``committed`` is told when they are in.
    After ``give_up_s`` of failures the writer is not healthy: whoever waits for urgent operations gets a
    `LedgerError` and these (never sent, so never needed) are forgotten; everything else is kept and retried.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        collect: Callable[[], Sequence[Operation]],
        committed: Callable[[], None],
        queue_limit: int,
        give_up_s: float,
        interval_s: float,
    ) -> None:
        self._engine, self._name = engine, name
        self._collect, self._committed = collect, committed
        self._queue_limit, self._give_up_s, self._interval_s = queue_limit, give_up_s, interval_s
        self._urgent: deque[_Job] = deque()
        self._normal: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._asked = False
        self._nudged_at = -_TRUST_NUDGES_S
        self._failing_since: float | None = None
        self._problem: LedgerError | None = None
        self._rejected: list[str] = []
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> LedgerError | None:
        """Why no new trade may be made: the database fails for long, the queue is full, a record was refused."""
        if self._problem is not None:
            return self._problem
        if len(self._normal) > self._queue_limit:
            return LedgerError(
                f"ledger {self._name}: {len(self._normal)} records wait to be written; it is too slow"
            )
        if self._rejected:
            return LedgerError(f"ledger {self._name}: a record was refused: {self._rejected[0]}")
        return None

    @property
    def waiting(self) -> int:
        """Records in the queues."""
        return len(self._normal) + len(self._urgent)

    def put(self, operation: Operation, after: Callable[[], None] | None = None) -> None:
        """Queue ``operation``; returns at once. It is written at the next ``nudge``, or when it is time."""
        self._enqueue(self._normal, _Job(operation, after=after), wake=len(self._normal) > _BATCH)

    def nudge(self) -> None:
        """Now is a good time: nobody is deciding. While somebody says so, the writer does not choose its own."""
        with self._wake:
            self._nudged_at = time.monotonic()
            if self._normal:
                self._wake.notify()

    def put_urgent(self, operation: Operation) -> Future[None]:
        """Queue ``operation`` before all normal ones; the future resolves after the commit."""
        job = _Job(operation, Future())
        assert job.future is not None
        problem = self.problem
        if problem is not None:
            job.future.set_exception(problem)
        else:
            self._enqueue(self._urgent, job)
        return job.future

    def flush(self, timeout_s: float) -> None:
        """Wait until everything handed in so far is committed; `LedgerError` after ``timeout_s``."""
        barrier = _Job(None, Future())
        assert barrier.future is not None
        self._enqueue(self._normal, barrier)
        try:
            barrier.future.result(timeout_s)
        except TimeoutError:
            waiting = len(self._normal) + len(self._urgent)
            why = f" ({self._problem})" if self._problem else ""
            raise LedgerError(f"ledger {self._name}: {waiting} records not written in {timeout_s} s{why}") from None

    def stop(self, timeout_s: float) -> None:
        """Write what is left and end the thread; `LedgerError` if it could not."""
        try:
            self.flush(timeout_s)
        finally:
            with self._wake:
                self._closing = True
                self._wake.notify()
            self._thread.join(timeout_s)

    def _enqueue(self, queue: deque[_Job], job: _Job, *, wake: bool = True) -> None:
        with self._wake:
            if self._closing:
                raise LedgerError(f"ledger {self._name}: it is closed")
            queue.append(job)
            if wake:
                self._asked = True
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                nudged = self._nudged_at
                if not (self._urgent or self._asked or self._closing):
                    self._wake.wait(self._interval_s)
                if self._closing:
                    return
                on_timer = nudged == self._nudged_at and not (self._urgent or self._asked)
                if on_timer and time.monotonic() - nudged < _TRUST_NUDGES_S:
                    continue
                self._asked = len(self._normal) > _BATCH
                urgent = [self._urgent.popleft() for _ in range(min(_BATCH, len(self._urgent)))]
                # A barrier promises that all urgent ones are in, so normal ones only follow the last of these.
                room = 0 if self._urgent else min(_BATCH, len(self._normal))
                normal = [self._normal.popleft() for _ in range(room)]
            self._write_until_in(urgent, normal, self._collect())

    def _write_until_in(self, urgent: list[_Job], normal: list[_Job], sums: Sequence[Operation]) -> None:
        delay_s = _FIRST_DELAY_S
        if not (urgent or normal or sums):
            return
        while True:
            urgent = [job for job in urgent if not (job.future and job.future.cancelled())]
            jobs = [*urgent, *normal]
            try:
                self._transact([*(job.operation for job in jobs), *sums])
            except Exception as error:
                if not is_transient(error):
                    self._write_one_by_one(jobs, sums)
                    self._committed()
                    return
                if self._failed(error):
                    self._refuse_waiting(urgent)
                    urgent = []
                if self._pause(delay_s):
                    self._put_back(normal)
                    return
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            else:
                self._succeeded(jobs)
                self._committed()
                return

    def _transact(self, operations: Sequence[Operation | None]) -> None:
        if all(operation is None for operation in operations) and self._failing_since is None:
            return
        with self._engine.begin() as connection:
            if self._failing_since is not None:
                # With nothing left to write, only this proves that the database is back.
                connection.execute(text("SELECT 1"))
            for operation in operations:
                if operation is not None:
                    operation.apply(connection)

    def _write_one_by_one(self, jobs: list[_Job], sums: Sequence[Operation]) -> None:
        """Something in the batch can't be written: find it, set it aside, write the rest."""
        for job in [*jobs, *(_Job(operation) for operation in sums)]:
            delay_s = _FIRST_DELAY_S
            while True:
                try:
                    self._transact([job.operation])
                except Exception as error:
                    if is_transient(error):
                        too_long = self._failed(error)
                        if not (too_long and job.future and job.operation) and not self._pause(delay_s):
                            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
                            continue
                    self._reject(job, error)
                else:
                    self._succeeded([job])
                break

    def _reject(self, job: _Job, error: Exception) -> None:
        known = database_error(self._name, error) if isinstance(error, SQLAlchemyError) else error
        reason = known if isinstance(known, LedgerError) else LedgerError(f"ledger {self._name}: {known!r}")
        if job.future is not None:
            # Whoever waits for it decides; nothing was booked and nothing is lost.
            _resolve(job.future, reason)
            return
        self._rejected.append(str(reason))
        log.error(
            "ledger record refused, no new trades until the books are looked at: %s: %r", reason, job.operation
        )

    def _failed(self, error: Exception) -> bool:
        """Note a failure; whether it has lasted too long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("%s", _words(self._name, error))
        if now - self._failing_since < self._give_up_s:
            return False
        if self._problem is None:
            log.error("no new trades until this is cured: %s", _words(self._name, error))
        self._problem = _words(self._name, error)
        return True

    def _succeeded(self, jobs: list[_Job]) -> None:
        if self._failing_since is not None:
            log.warning("ledger %s: written again", self._name)
        self._failing_since, self._problem = None, None
        for job in jobs:
            if job.future is not None:
                _resolve(job.future, None)
            if job.after is not None:
                self._tell(job.after)

    def _tell(self, after: Callable[[], None]) -> None:
        try:
            after()
        except Exception:  # the record is in the books: whoever can't hear of it must not end this thread
            log.exception("ledger %s: a record is written, but what follows on it failed", self._name)

    def _refuse_waiting(self, taken: list[_Job]) -> None:
        with self._wake:
            waiting = [*taken, *self._urgent]
            self._urgent.clear()
        for job in waiting:
            if job.future is not None:
                _resolve(job.future, self._problem)

    def _pause(self, delay_s: float) -> bool:
        """Wait before trying again; whether the writer is being stopped."""
        deadline = time.monotonic() + delay_s
        with self._wake:
            while not self._closing and (left := deadline - time.monotonic()) > 0:
                self._wake.wait(left)
            return self._closing

    def _put_back(self, jobs: list[_Job]) -> None:
        with self._wake:
            self._normal.extendleft(reversed(jobs))


def _resolve(future: Future[None], error: Exception | None) -> None:
    if future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _words(name: str, error: Exception) -> LedgerError:
    if isinstance(error, SQLAlchemyError):
        return database_error(name, error)
    return LedgerError(f"ledger {name}: {error!r}")
