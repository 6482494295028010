"""What the engine decides, into the audit chain: found, refused, approved, sent, and what became of it.

Everything that is told here is frozen, so the records are made by the chain's own thread; the loop pays for a
queue. Each record names the record of its session, which has the hashes of configuration and code and the model
versions.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ouro import __version__
from ouro.audit import AuditChain, AuditError
from ouro.engine.decision import Decision
from ouro.execution.submit import Submitted
from ouro.ledger.reconcile import Reconciliation
from ouro.ledger.records import plan_to_json
from ouro.risk.approved import Approved
from ouro.types import Attempt, BlockUpdate, Opportunity, Outcome, Plan, Refused

FOLDER = "audit"
"""Of ``data_dir``; every process that decides something has a chain there."""

_WRITER_CHARS = 56


class DecisionListener(Protocol):
    """What is told of a chain's decisions, on the loop: quick, and never raising."""

    def decided(self, update: BlockUpdate, decision: Decision, approved: Sequence[Approved]) -> None: ...
    def refused(self, refused: Refused) -> None: ...
    def submitted(self, submitted: Submitted) -> None: ...


class AuditTrail:
    """The audit chain of one engine process, for all chains that it trades on."""

    def __init__(self, chain: AuditChain, session: Mapping[str, Any]) -> None:
        """``session`` is recorded first: everything that decisions of this run rest on beside their inputs."""
        self._chain = chain
        self._session = chain.append("session_started", session, durable=True)

    @classmethod
    def open(cls, data_dir: Path, chains: Sequence[str], session: Mapping[str, Any]) -> "AuditTrail":
        """The trail of an engine on ``chains``. Raises `AuditError` where it is damaged or can't be written."""
        audit = AuditChain.open(data_dir / FOLDER, writer=writer_of(chains))
        try:
            about = {"version": __version__, "code_sha256": code_hash(), "models": {}, "chains": list(chains)}
            return cls(audit, about | dict(session))
        except AuditError:
            audit.close()
            raise

    @property
    def problem(self) -> AuditError | None:
        """Why nothing may be decided now: it could not be recorded."""
        return self._chain.problem

    def of(self, chain: str) -> "ChainTrail":
        """What is told of one chain's decisions."""
        return ChainTrail(chain, self.later)

    def later(self, kind: str, body: Callable[[], dict[str, Any]]) -> None:
        """Record ``body``, which is made off the loop."""
        session = self._session
        self._chain.append_later(kind, lambda: {"session": session, **body()})

    def record(self, kind: str, body: Mapping[str, Any]) -> str:
        """Append at once and durably, from any thread: for what is rare and must stand before it holds."""
        return self._chain.append(kind, {"session": self._session, **body}, durable=True)

    def close(self, **totals: Any) -> None:
        """Record the orderly end. Raises `AuditError` when it can't be written."""
        try:
            self._chain.append("session_ended", {"session": self._session, **totals})
        finally:
            self._chain.close()


class ChainTrail:
    """One chain's decisions (`DecisionListener`) and outcomes. Blocks that brought nothing are counted only."""

    def __init__(self, chain: str, later: Callable[[str, Callable[[], dict[str, Any]]], None]) -> None:
        self._name, self._later = chain, later
        self._quiet = 0
        self._agreed = False

    def decided(self, update: BlockUpdate, decision: Decision, approved: Sequence[Approved]) -> None:
        """A block was decided on: what was found at which state, and which plans the gate let pass."""
        if not (decision.opportunities or decision.plans):
            self._quiet += 1
            return
        quiet, self._quiet = self._quiet, 0
        plans, verdicts = tuple(decision.plans), tuple(approved)
        self._later(
            "decided",
            lambda: {
                "chain": self._name,
                "block": update.number,
                "block_hash": update.hash,
                "quiet_blocks_before": quiet,
                "candidates": decision.candidates,
                "opportunities": [_opportunity(each) for each in decision.opportunities],
                "plans": [_plan(plan) for plan in plans],
                "approved": [
                    {"plan": item.plan.plan_id, "limits": item.limits_hash, "at_ms": item.checked_at_ms}
                    for item in verdicts
                ],
            },
        )

    def refused(self, refused: Refused) -> None:
        """A plan, or what should have become one, was refused."""
        self._later(
            "refused",
            lambda: {
                "chain": self._name,
                "plan": refused.plan_id,
                "reason": refused.reason,
                "detail": refused.detail[:500],
            },
        )

    def submitted(self, submitted: Submitted) -> None:
        """Something was signed and handed to a lane."""
        attempt = submitted.attempt
        self._later(
            "sent",
            lambda: {
                "chain": self._name,
                **_attempt(attempt),
                "lane": attempt.lane,
                "handover": submitted.handover.name.lower(),
            },
        )

    def outcome(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """An attempt ended, or (None) its outcome was withdrawn because its block was orphaned."""
        if outcome is None:
            self._later("outcome_withdrawn", lambda: {"chain": self._name, **_attempt(attempt)})
            return
        self._later(
            "outcome",
            lambda: {
                "chain": self._name,
                **_attempt(attempt),
                "outcome": outcome.kind.value,
                "block": outcome.block_number,
                "block_hash": outcome.block_hash,
                "gas_cost_wei": str(outcome.gas_cost_wei),
                "realised_profit_wei": str(outcome.realised_profit_wei),
                "reason": outcome.reason[:500],
            },
        )

    def reconciled(self, result: Reconciliation) -> None:
        """Books and chain were compared; told when it changed whether they agree, and with every difference."""
        agree = not result.differences
        if agree and self._agreed:
            return
        self._agreed = agree
        self._later(
            "reconciled",
            lambda: {
                "chain": self._name,
                "block": result.block_number,
                "balances": result.balances_checked,
                "differences": [
                    {"account": each.account, "token": each.token, "wei": str(each.difference_wei)}
                    for each in result.differences
                ],
            },
        )


class Both:
    """Two listeners as one."""

    def __init__(self, first: DecisionListener, second: DecisionListener) -> None:
        self._each = (first, second)

    def decided(self, update: BlockUpdate, decision: Decision, approved: Sequence[Approved]) -> None:
        """See `DecisionListener`."""
        for listener in self._each:
            listener.decided(update, decision, approved)

    def refused(self, refused: Refused) -> None:
        """See `DecisionListener`."""
        for listener in self._each:
            listener.refused(refused)

    def submitted(self, submitted: Submitted) -> None:
        """See `DecisionListener`."""
        for listener in self._each:
            listener.submitted(submitted)


def together(first: DecisionListener | None, second: DecisionListener | None) -> DecisionListener | None:
    """Both, one or none."""
    return Both(first, second) if first is not None and second is not None else first or second


def writer_of(chains: Sequence[str]) -> str:
    """The name of an engine process's audit chain: that of its chains, in letters that a file's name may have."""
    text = re.sub(r"[^a-z0-9_-]", "-", "-".join(sorted(chains)).lower())
    if len(text) > _WRITER_CHARS:
        text = f"{text[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return f"engine-{text}"


@cache
def code_hash() -> str:
    """SHA-256 over the names and contents of every source file of this package: which code it is that decides."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _opportunity(found: Opportunity) -> dict[str, Any]:
    return {
        "pools": list(found.cycle.pools),
        "amounts_wei": [str(amount) for amount in found.amounts_wei],
        "gross_wei": str(found.gross_profit_wei),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan.plan_id,
        "plan_sha256": hashlib.sha256(plan_to_json(plan).encode()).hexdigest(),
        "found_at": plan.found_at_hash,
        "expected_net_wei": str(plan.expected_net_native_wei),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "plan": attempt.plan_id,
        "attempt": attempt.attempt_id,
        "kind": attempt.kind.value,
        "tx_hash": attempt.tx_hash,
        "operator": attempt.operator,
        "nonce": str(attempt.nonce),
    }
