"""``ouro run`` that dies by SIGKILL at one exact point: the first argument names it, the rest goes to ``ouro``.

Points: ``signed`` (a trade's bytes exist, the journal does not know them), ``journaled`` (durable, not sent),
``sent`` (the node has it, the journal does not know that), ``landed`` (included, its outcome not booked), and
``cancel_signed``, ``cancel_journaled`` for the cancel of a nonce whose bytes were lost.
"""

import os
import signal
import sys

from ouro.cli.main import main
from ouro.engine import bookkeeping
from ouro.types import Attempt, AttemptKind, Outcome, OutcomeKind, Plan

POINT = sys.argv.pop(1)


def die_at(point: str) -> None:
    """As if the power went."""
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingBooks(bookkeeping.ChainBooks):
    """The real books, and then none."""

    async def attempt(self, attempt: Attempt, plan: Plan | None, decided_us: int | None, signed_us: int) -> None:
        """See ``ChainBooks.attempt``."""
        prefix = "cancel_" if attempt.kind is AttemptKind.CANCEL else ""
        die_at(prefix + "signed")
        await super().attempt(attempt, plan, decided_us, signed_us)
        die_at(prefix + "journaled")

    def sent(self, attempt_id: str, sent_us: int | None) -> None:
        """See ``ChainBooks.sent``."""
        die_at("sent")
        super().sent(attempt_id, sent_us)

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None:
        """See ``ChainBooks.outcome``."""
        if outcome.kind is OutcomeKind.LANDED:
            die_at("landed")
        super().outcome(attempt, plan, outcome)


if __name__ == "__main__":
    import ouro.engine.world

    ouro.engine.world.ChainBooks = CrashingBooks
    main()
