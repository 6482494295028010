"""What the books say of a chain since it entered its stage, and whether that opens the next one or closes this."""

from dataclasses import asdict, dataclass
from typing import Any

from ouro.capital.stages import ChainStage, lower_stage
from ouro.config.capital import StageConfig, StageGates, StageName
from ouro.ledger.books import Books
from ouro.ledger.period import drawdown_ppm
from ouro.ledger.pnl import book_transaction
from ouro.ledger.stats import clopper_pearson_lower
from ouro.ledger.uptime import covered_ms
from ouro.types import PAPER_LANE, OutcomeKind

_PPM = 1_000_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Figures since ``since_ms``. Success is bounded from both sides with 95 % (Clopper-Pearson, one-sided
    each)."""

    chain: str
    stage: StageName
    since_ms: int
    until_ms: int
    trades: int
    landed: int
    success_lower_ppm: int
    success_upper_ppm: int
    drawdown_ppm: int
    uptime_ppm: int
    reconciliations: int
    broken_reconciliations: int
    unexplained: int

    @property
    def hours(self) -> int:
        """Whole hours in the stage."""
        return max(0, self.until_ms - self.since_ms) // _HOUR_MS

    def as_json(self) -> dict[str, Any]:
        """For the audit chain and for people."""
        return {**asdict(self), "hours": self.hours}


def evidence_of(books: Books, chain: str, at: ChainStage, *, capital_wei: int, now_ms: int) -> Evidence:
    """Computed from the books alone. Below canary the paper trades count, from there on the real ones."""
    paper = at.stage in ("observe", "paper")
    records = [
        record
        for record in books.attempts(chain=chain, booked_since_ms=at.since_ms)
        if (record.outcome_at_ms or 0) >= at.since_ms
        and record.outcome is not None
        and (record.attempt.lane == PAPER_LANE) == paper
    ]
    trades = [record for record in records if record.is_trade]
    landed = sum(record.outcome is not None and record.outcome.kind is OutcomeKind.LANDED for record in trades)
    entries = books.entries([record.attempt.attempt_id for record in records])
    unexplained = sum(
        bool(book_transaction(record, entries.get(record.attempt.attempt_id, ())).residuals) for record in records
    )
    begin = at.since_ms
    up, expected = covered_ms(books.spans(begin, now_ms).get(chain, []), begin, now_ms)
    checks = books.reconciled_between(begin, now_ms + 1).get(chain, {"comparisons": 0, "broken": 0})
    lower = clopper_pearson_lower(landed, len(trades))
    upper = 1.0 - clopper_pearson_lower(len(trades) - landed, len(trades))
    return Evidence(
        chain=chain,
        stage=at.stage,
        since_ms=begin,
        until_ms=now_ms,
        trades=len(trades),
        landed=landed,
        success_lower_ppm=int(lower * _PPM),
        success_upper_ppm=int(upper * _PPM),
        drawdown_ppm=drawdown_ppm(records, capital_wei) or 0,
        uptime_ppm=up * _PPM // expected if expected else 0,
        reconciliations=checks["comparisons"],
        broken_reconciliations=checks["broken"],
        unexplained=unexplained,
    )


def gate_problems(evidence: Evidence, gates: StageGates) -> list[str]:
    """What is missing for the next stage, each with the figure and what is wanted; empty when all gates hold."""
    found = evidence
    checks = (
        (found.hours >= gates.min_hours, f"hours in the stage: {found.hours}, {gates.min_hours} are wanted"),
        (found.trades >= gates.min_trades, f"trades: {found.trades}, {gates.min_trades} are wanted"),
        (
            found.success_lower_ppm >= gates.success_ppm,
            f"success, 95 % lower bound: {found.success_lower_ppm} ppm, {gates.success_ppm} are wanted",
        ),
        (
            found.drawdown_ppm <= gates.max_drawdown_ppm,
            f"drawdown: {found.drawdown_ppm} ppm, at most {gates.max_drawdown_ppm} are wanted",
        ),
        (found.uptime_ppm >= gates.uptime_ppm, f"uptime: {found.uptime_ppm} ppm, {gates.uptime_ppm} are wanted"),
        (
            found.reconciliations >= gates.min_reconciliations,
            f"comparisons of books and chain: {found.reconciliations}, {gates.min_reconciliations} are wanted",
        ),
        (found.broken_reconciliations == 0, f"comparisons with differences: {found.broken_reconciliations}"),
        (found.unexplained == 0, f"transactions that double entry can't explain: {found.unexplained}"),
    )
    return [text for holds, text in checks if not holds]


def demotion(evidence: Evidence, config: StageConfig) -> tuple[StageName, str] | None:
    """(stage, why) to fall to, None where the present one may be kept. Observe and paper risk nothing."""
    if evidence.stage in ("observe", "paper"):
        return None
    if evidence.broken_reconciliations or evidence.unexplained:
        return "paper", (
            f"{evidence.broken_reconciliations} comparisons of books and chain with differences, "
            f"{evidence.unexplained} unexplained transactions"
        )
    lower = lower_stage(evidence.stage)
    if evidence.drawdown_ppm > config.demote_drawdown_ppm:
        return lower, f"drawdown of {evidence.drawdown_ppm} ppm, {config.demote_drawdown_ppm} is the most"
    if evidence.trades and evidence.success_upper_ppm < config.demote_success_ppm:
        return lower, (
            f"success is at most {evidence.success_upper_ppm} ppm (95 %), {config.demote_success_ppm} is the least"
        )
    return None
