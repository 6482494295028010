"""The gate of a running engine: limits, breakers, screening and budgets, as the configuration says."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from ouro.config.model import OuroConfig
from ouro.risk.breakers import Board, Halts, breakers_of
from ouro.risk.breakers.money import Drawdown
from ouro.risk.budget import Budgets
from ouro.risk.gate import FinalRecord, RealisedResult, RiskGate
from ouro.risk.screening import Screening, ScreeningError, load_screening
from ouro.risk.state import DAY_MS
from ouro.types import PAPER_LANE, Mode

DRAWDOWN_DAYS = 30
"""How far back the peak of net equity is looked for at a start."""

log = structlog.get_logger(__name__)


def build_gate(config: OuroConfig, chains: Collection[str], control: Halts | None = None) -> RiskGate:
    """The gate with everything that guards it.

    What can't be read (a screening list, say) refuses every plan of its chain and says so loudly, again and again:
    it never means that nothing is checked.
    """
    own = {name: config.chains[name].risk for name in chains}
    overrides = {name: limits for name, limits in own.items() if limits is not None}
    folder: Path = config.data_dir / "risk"
    gate = RiskGate(config.risk, config.mode, chains, overrides=overrides, control=control, state_dir=folder)
    for name in chains:
        limits = config.limits_of(name)
        screening, problem = _screening(config, name)
        gate.equip(
            name,
            board=Board(name, breakers_of(limits.breakers, limits.risk_capital_wei), control),
            screening=screening,
            budgets=Budgets.of(name, config.risk.limits, folder / "budgets.json", frozenset(config.chains)),
            problem=problem,
        )
    return gate


def _screening(config: OuroConfig, chain: str) -> tuple[Screening | None, str]:
    """The list of a chain, and why nothing may be traded on it (empty: it may)."""
    settings = config.chains[chain]
    try:
        screening = load_screening(config.limits_of(chain).screening)
    except ScreeningError as error:
        log.critical("nothing_is_traded", chain=chain, reason=f"risk.{error}")
        return None, f"the risk configuration can't be used: risk.{error}"
    if screening is None:
        return None, ""
    paid = [settings.executor, settings.owner, settings.bribe.recipient, *settings.operators]
    paid += [loan.lender for loan in settings.loans]
    # An allow list names whom we trade with; our own accounts need not be on it, but must not be denied.
    denied = sorted(address for address in paid if address in screening.denied)
    if denied:
        reason = f"{denied[0]} of the configuration is denied by {screening.file} of {screening.as_of}"
        log.critical("nothing_is_traded", chain=chain, reason=reason)
        return screening, reason
    log.info("screening", chain=chain, file=screening.file, as_of=screening.as_of, sha256=screening.sha256)
    return screening, ""


class History(Protocol):
    """What is read of the books (`ouro.ledger.books.Books`)."""

    def realised(self, since_ms: int, *, paper: bool = False) -> Sequence[RealisedResult]: ...
    def attempts(self, *, booked_since_ms: int | None = None) -> Sequence[FinalRecord]: ...


def restore_from_books(
    gate: RiskGate, books: History, mode: Mode, control_history: Iterable[Mapping[str, Any]] = ()
) -> None:
    """At a restart: today's results, what the rolling windows hold, equity and its peak.

    ``control_history``: the events of the store of halts (`ouro.control.ControlStore.history`).
    """
    paper = mode is Mode.PAPER
    day_ago = gate.day_start_ms() - DAY_MS
    realised = books.realised(day_ago, paper=paper)
    gate.restore((), [result for result in realised if result.at_ms >= gate.day_start_ms()])
    nets = {result.attempt_id: result.net_native_wei for result in realised}
    records = [r for r in books.attempts(booked_since_ms=day_ago) if (r.attempt.lane == PAPER_LANE) == paper]
    gate.restore_windows(records, nets)
    month_ago = gate.day_start_ms() - DRAWDOWN_DAYS * DAY_MS
    restore_drawdown(gate, books.realised(month_ago, paper=paper), drawdown_taken_ms(control_history, gate.chains))


def drawdown_taken_ms(history: Iterable[Mapping[str, Any]], chains: Collection[str]) -> dict[str, int]:
    """By chain, when a person last lifted a halt of the drawdown breaker."""
    taken: dict[str, int] = {}
    for event in history:
        if event.get("event") != "resume":
            continue
        for halt in event.get("halts", ()):
            if halt.get("source") == "breaker:drawdown" and halt.get("mode") != "throttle":
                for chain in chains if halt.get("chain") is None else (halt["chain"],):
                    taken[chain] = int(event.get("at_ms", 0))
    return taken


def restore_drawdown(gate: RiskGate, realised: Iterable[RealisedResult], since_ms: Mapping[str, int]) -> None:
    """At a restart: equity and its peak from the results in the books, in order.

    ``since_ms``: by chain, when a person last lifted a drawdown's halt; what was lost before has been taken.
    """
    nets: dict[str, tuple[int, int]] = {}
    for result in sorted(realised, key=lambda item: item.at_ms):
        if result.at_ms >= since_ms.get(result.chain, 0):
            net, peak = nets.get(result.chain, (0, 0))
            net += result.net_native_wei
            nets[result.chain] = net, max(peak, net)
    for chain, (net, peak) in nets.items():
        board = gate.board(chain)
        drawdown: Drawdown | None = None if board is None else board.drawdown
        if drawdown is not None:
            drawdown.restore(net, peak)
