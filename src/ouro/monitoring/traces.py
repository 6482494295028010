"""One name from block to receipt in all logs: ``trace``, the block's chain and number."""

import structlog

from ouro.execution.submit import Submitted
from ouro.types import Attempt, Outcome

log = structlog.get_logger("ouro.trade")

_COIN_WEI = 10**18


def begin_block(chain: str, number: int) -> None:
    """Everything that this task, and those that it starts, log from here on is about this block."""
    structlog.contextvars.bind_contextvars(trace=f"{chain}-{number}")


def trace_of(plan_id: str) -> str:
    """The trace of the block that a plan was made on."""
    return plan_id.rpartition("-")[0]


def log_sent(submitted: Submitted, *, whole: bool) -> None:
    """A transaction left, or was withheld at the last moment. Which one it is only where ``whole``: until it has
    landed, others could look for it."""
    attempt = submitted.attempt
    named = {"tx": attempt.tx_hash, "operator": attempt.operator, "nonce": attempt.nonce} if whole else {}
    log.info(
        "sent",
        chain=attempt.chain,
        trace=trace_of(attempt.plan_id),
        plan=attempt.plan_id,
        lane=attempt.lane,
        handover=submitted.handover.value,
        signed_ms=submitted.signed_us / 1_000,
        sent_ms=submitted.sent_us / 1_000,
        **named,
    )


def log_outcome(attempt: Attempt, outcome: Outcome | None) -> None:
    """What became of it; None where a reorganisation took its outcome back, and it is open again."""
    about = {
        "chain": attempt.chain,
        "trace": trace_of(attempt.plan_id),
        "plan": attempt.plan_id,
        "kind": attempt.kind.value,
    }
    if outcome is None:
        log.warning("outcome_withdrawn", **about)
        return
    log.info(
        "outcome",
        **about,
        tx=attempt.tx_hash,
        outcome=outcome.kind.value,
        block=outcome.block_number,
        gas_native=outcome.gas_cost_wei / _COIN_WEI,
        reason=outcome.reason,
    )
