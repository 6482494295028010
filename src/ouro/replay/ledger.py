"""Books for replays that nobody will read again: everything is taken at once and only counted."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import BalanceEntry, BlockStats
from ouro.types import Attempt, Outcome, Plan, Refused

_DONE: Future[None] = Future()
_DONE.set_result(None)


class CountingLedger(Ledger):
    """A ledger without a database."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()

    @property
    def problem(self) -> LedgerError | None:
        """Nothing can be wrong with it."""
        return None

    def journal_attempt(self, attempt: Attempt, plan: Plan | None, **times: Any) -> Future[None]:
        """Count it."""
        del attempt, plan, times
        self.counters["attempts"] += 1
        return _DONE

    def mark_sent(self, attempt_id: str, sent_at_ms: int | None = None, *, sent_us: int | None = None) -> None:
        """Count it."""
        del attempt_id, sent_at_ms, sent_us
        self.counters["sent"] += 1

    def record_outcome(self, outcome: Outcome, entries: Sequence[BalanceEntry]) -> None:
        """Count it by its kind."""
        del entries
        self.counters[f"outcome_{outcome.kind.value}"] += 1

    def reverse_outcome(self, attempt_id: str, reason: str) -> None:
        """Count it."""
        del attempt_id, reason
        self.counters["reversed"] += 1

    def record_price(self, chain: str, native_usd: float, source: str) -> None:
        """Nobody asks for it."""

    def record_refusal(self, chain: str, refused: Refused) -> None:
        """Count it by its reason."""
        del chain
        self.counters[f"refused_{refused.reason}"] += 1

    def record_block(self, chain: str, stats: BlockStats) -> None:
        """Count it."""
        del chain, stats
        self.counters["blocks"] += 1

    def between_blocks(self) -> None:
        """Nothing waits."""

    def prepare(self, plan: Plan) -> None:
        """Nothing is written of it."""
