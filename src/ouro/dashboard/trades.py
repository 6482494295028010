"""One attempt as the pages show it: small, exact, made once from its rows in the books."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ouro.types import AttemptKind, OutcomeKind

OPEN = "open"
"""The outcome of an attempt that has none yet."""

STRATEGIES = ("cross_dex", "triangular", "n_hop", "netted")
_BY_HOPS = {2: "cross_dex", 3: "triangular"}
_MS_PER_S = 1_000


@dataclass(frozen=True, slots=True)
class Trade:
    """An attempt in short. Amounts are exact native wei of its chain; times unix milliseconds, latencies us."""

    attempt_id: str
    session_id: str
    chain: str
    is_trade: bool
    strategy: str
    path: tuple[str, ...]
    hops: int
    outcome: str
    reason: str
    block_number: int | None
    tx_hash: str
    lane: str
    journaled_at_ms: int
    settled_at_ms: int | None
    was_sent: bool
    expected_wei: int
    gross_wei: int
    gas_wei: int
    decided_us: int | None
    sent_us: int | None

    @property
    def net_wei(self) -> int:
        """Realised profit minus gas."""
        return self.gross_wei - self.gas_wei

    @property
    def is_final(self) -> bool:
        """Whether it is known what became of it."""
        return self.outcome != OPEN

    @property
    def landed(self) -> bool:
        """Whether it brought its profit."""
        return self.outcome == OutcomeKind.LANDED.value

    @property
    def at_ms(self) -> int:
        """When it counts: at its outcome, until then at its journaling."""
        return self.settled_at_ms or self.journaled_at_ms


def strategy_of(hops: list[Mapping[str, Any]]) -> str:
    """The shape of a plan: hops that are no chain are netted."""
    chained = all(before["token_out"] == after["token_in"] for before, after in itertools.pairwise(hops))
    return _BY_HOPS.get(len(hops), "n_hop") if chained else "netted"


def trade_from_rows(row: Any, fact: Any | None, plan_json: str | None) -> Trade:
    """From an attempt's row, its standing outcome (if any) and its plan (if any)."""
    plan = json.loads(plan_json) if plan_json else None
    hops = plan["hops"] if plan else []
    realised = fact.realised_profit_wei if fact is not None else 0
    gross = 0
    # As in the books: at the price that the plan was made with, rounded down.
    if plan and plan["gross_profit_wei"] > 0:
        gross = realised * plan["value_native_wei"] // plan["gross_profit_wei"]
    path = tuple(hop["token_in"] for hop in hops) + ((hops[-1]["token_out"],) if hops else ())
    return Trade(
        attempt_id=row.attempt_id,
        session_id=row.session_id,
        chain=row.chain,
        is_trade=row.kind == AttemptKind.TRADE.value,
        strategy=strategy_of(hops) if hops else row.kind,
        path=path,
        hops=len(hops),
        outcome=fact.kind if fact is not None else OPEN,
        reason=fact.reason if fact is not None else "",
        block_number=fact.block_number if fact is not None else None,
        tx_hash=row.tx_hash,
        lane=row.lane,
        journaled_at_ms=row.journaled_at_ms,
        settled_at_ms=fact.recorded_at_ms if fact is not None else None,
        was_sent=row.sent_at_ms is not None,
        expected_wei=plan["expected_net_native_wei"] if plan else 0,
        gross_wei=gross,
        gas_wei=fact.gas_cost_wei if fact is not None else 0,
        decided_us=row.decided_us,
        sent_us=row.sent_us,
    )
