"""What was decided, block by block, as lines that are the same whenever recording, configuration and code are."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ouro.engine.decision import Decision
from ouro.execution.submit import Submitted
from ouro.risk.approved import Approved
from ouro.types import BlockUpdate, Plan, Refused


class DecisionJournal:
    """JSON lines: a block's opportunities and plans, what was refused and why, what was signed. No times.

    Kept in memory until ``flush``; ``digest`` is the SHA-256 of everything so far.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._sha256 = hashlib.sha256()
        self._lines: list[bytes] = []
        self.blocks = self.plans = self.transactions = 0

    def decided(self, update: BlockUpdate, decision: Decision, approved: Sequence[Approved]) -> None:
        """A block was decided on."""
        self.blocks += 1
        self.plans += len(decision.plans)
        self._add(
            {
                "block": update.number,
                "hash": update.hash,
                "candidates": decision.candidates,
                "opportunities": [
                    {
                        "cycle": [edge.pool for edge in each.cycle.edges],
                        "amounts": [str(x) for x in each.amounts_wei],
                    }
                    for each in decision.opportunities
                ],
                "plans": [_plan(plan) for plan in decision.plans],
                "approved": [each.plan.plan_id for each in approved],
            }
        )

    def refused(self, refused: Refused) -> None:
        """A plan, or what should have become one, was refused."""
        self._add({"refused": refused.plan_id, "reason": refused.reason, "detail": refused.detail})

    def submitted(self, submitted: Submitted) -> None:
        """Something was signed."""
        self.transactions += 1
        attempt = submitted.attempt
        # On paper nothing is signed, and the number that stands for a nonce is of the clock.
        signed = {"nonce": attempt.nonce, "raw": attempt.raw_tx.hex()} if attempt.raw_tx else {}
        self._add({"sent": attempt.plan_id, **signed})

    def _add(self, value: dict[str, Any]) -> None:
        line = self._encoder.encode(value) + b"\n"
        self._sha256.update(line)
        if self._file is not None:
            self._lines.append(line)

    def flush(self) -> None:
        """Write what waits."""
        if self._file is not None:
            self._file.writelines(self._lines)
            self._file.flush()
        self._lines.clear()

    def close(self) -> None:
        """Write everything and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def digest(self) -> str:
        """SHA-256 of all lines."""
        return self._sha256.hexdigest()


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "plan": plan.plan_id,
        "gross": str(plan.gross_profit_wei),
        "floor": str(plan.min_profit_wei),
        "net": str(plan.expected_net_native_wei),
        "gas": plan.gas_limit,
        "fee": [str(plan.fee.max_fee_per_gas_wei), str(plan.fee.max_priority_fee_per_gas_wei)],
        "calldata": plan.calldata.hex(),
    }
