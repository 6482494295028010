"""Values that go into the books and come out of them, and their JSON forms."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from ouro.types import (
    Address,
    Attempt,
    AttemptKind,
    FeeBid,
    Hop,
    Outcome,
    OutcomeKind,
    Plan,
    Transfer,
)

INCLUDED = frozenset({OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED})


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """Change of one balance by one outcome. ``token`` is None for the native coin; ``cause`` is gas or trade."""

    account: Address
    token: Address | None
    change_wei: int
    cause: str


@dataclass(frozen=True, slots=True)
class BlockStats:
    """What one block of one chain brought. ``decided_us`` runs from the socket read, None if undecided."""

    number: int
    pools: int
    cycles: int
    opportunities: int
    decided_us: int | None


@dataclass(frozen=True, slots=True)
class Opening:
    """A balance as it was at the end of ``block_number``, before Ouro's first entry on it."""

    chain: str
    account: Address
    token: Address | None
    block_number: int
    amount_wei: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One run of the engine; times in unix milliseconds, ``ended_at_ms`` None if it did not close its books."""

    session_id: str
    mode: str
    config_hash: str
    code_version: str
    started_at_ms: int
    last_seen_ms: int
    ended_at_ms: int | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt with everything the books say of it. ``outcome`` is the one that holds now, if any.

    ``reversals`` counts outcomes that a reorg (or a later truth) withdrew. Latencies count from the socket read.
    """

    attempt: Attempt
    session_id: str
    state: str
    journaled_at_ms: int
    sent_at_ms: int | None
    decided_us: int | None
    signed_us: int | None
    sent_us: int | None
    plan: Plan | None
    outcome: Outcome | None
    outcome_at_ms: int | None
    reversals: int

    @property
    def is_trade(self) -> bool:
        """Whether this is a trade, not the cancel of one."""
        return self.attempt.kind is AttemptKind.TRADE


def native_value_wei(plan: Plan, amount_wei: int) -> int:
    """``amount_wei`` of the plan's profit token in native wei, at the price the plan was made with (rounded down).

    Exact when the profit token is the wrapped native coin, because then value equals profit.
    """
    if plan.gross_profit_wei <= 0:
        return 0
    return amount_wei * plan.value_native_wei // plan.gross_profit_wei


def plan_to_json(plan: Plan) -> str:
    """Everything of ``plan``; amounts are JSON integers of any size."""
    values = asdict(plan)
    values["calldata"] = "0x" + plan.calldata.hex()
    return json.dumps(values, separators=(",", ":"))


def plan_from_json(text: str) -> Plan:
    """Inverse of `plan_to_json`."""
    values: dict[str, Any] = json.loads(text)
    values["hops"] = tuple(Hop(**hop) for hop in values["hops"])
    values["fee"] = FeeBid(**values["fee"])
    values["calldata"] = bytes.fromhex(values["calldata"][2:])
    return Plan(**values)


def transfers_to_json(transfers: tuple[Transfer, ...]) -> str:
    """A list of [token or null, source, destination, amount]."""
    rows = [[item.token, item.source, item.destination, item.amount_wei] for item in transfers]
    return json.dumps(rows, separators=(",", ":"))


def transfers_from_json(text: str) -> tuple[Transfer, ...]:
    """Inverse of `transfers_to_json`."""
    return tuple(Transfer(*row) for row in json.loads(text))


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """Columns of an outcome's row that say what happened (not when it was recorded)."""
    return {
        "attempt_id": outcome.attempt_id,
        "kind": outcome.kind.value,
        "block_number": outcome.block_number,
        "block_hash": outcome.block_hash,
        "gas_used": outcome.gas_used,
        "gas_cost_wei": outcome.gas_cost_wei,
        "l1_fee_wei": outcome.l1_fee_wei,
        "realised_profit_wei": outcome.realised_profit_wei,
        "realised_amounts_json": json.dumps(list(outcome.realised_amounts_wei), separators=(",", ":")),
        "transfers_json": transfers_to_json(outcome.transfers),
        "reason": outcome.reason,
    }


def outcome_from_row(row: Any) -> Outcome:
    """The outcome that a row of the ``outcomes`` table holds."""
    return Outcome(
        attempt_id=row.attempt_id,
        kind=OutcomeKind(row.kind),
        block_number=row.block_number,
        block_hash=row.block_hash,
        gas_used=row.gas_used,
        gas_cost_wei=row.gas_cost_wei,
        realised_profit_wei=row.realised_profit_wei,
        realised_amounts_wei=tuple(json.loads(row.realised_amounts_json)),
        transfers=transfers_from_json(row.transfers_json),
        reason=row.reason,
        l1_fee_wei=row.l1_fee_wei,
    )


def attempt_from_row(row: Any) -> Attempt:
    """The attempt that a row of the ``attempts`` table holds."""
    return Attempt(
        attempt_id=row.attempt_id,
        plan_id=row.plan_id,
        chain=row.chain,
        kind=AttemptKind(row.kind),
        operator=row.operator,
        nonce=row.nonce,
        tx_hash=row.tx_hash,
        raw_tx=bytes(row.raw_tx),
        lane=row.lane,
        max_block_number=row.max_block_number,
        replaces=row.replaces,
    )


def check_outcome(outcome: Outcome) -> None:
    """Raise ValueError for an outcome that contradicts itself, before it gets near the books."""
    included = outcome.kind in INCLUDED
    if included and (outcome.block_number is None or not outcome.block_hash):
        raise ValueError(f"outcome of {outcome.attempt_id}: {outcome.kind.value} needs block_number and block_hash")
    if not included and (outcome.gas_cost_wei or outcome.transfers):
        raise ValueError(f"outcome of {outcome.attempt_id}: {outcome.kind.value} can't cost gas or move tokens")
    if outcome.gas_cost_wei < 0 or any(item.amount_wei < 0 for item in outcome.transfers):
        raise ValueError(f"outcome of {outcome.attempt_id}: negative gas cost or transfer")
    if not 0 <= outcome.l1_fee_wei <= outcome.gas_cost_wei:
        raise ValueError(f"outcome of {outcome.attempt_id}: l1_fee_wei is a part of gas_cost_wei")
    if outcome.realised_profit_wei and outcome.kind is not OutcomeKind.LANDED:
        raise ValueError(f"outcome of {outcome.attempt_id}: only a landed trade realises a profit")
