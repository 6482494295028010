"""The gate of a running engine: limits, breakers, screening and budgets, as the configuration says."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import structlog

from ouro.config.model import OuroConfig
from ouro.risk.breakers import Board, Halts, breakers_of
from ouro.risk.breakers.money import Drawdown
from ouro.risk.budget import Budgets
from ouro.risk.gate import RealisedResult, RiskGate
from ouro.risk.screening import Screening, ScreeningError, load_screening

log = structlog.get_logger(__name__)


def build_gate(config: OuroConfig, chains: Collection[str], halts: Halts | None = None) -> RiskGate:
    """The gate with everything that guards it.

    What can't be read (a screening list, say) refuses every plan of its chain and says so loudly, again and again:
    it never means that nothing is checked.
    """
    own = {name: config.chains[name].risk for name in chains}
    overrides = {name: limits for name, limits in own.items() if limits is not None}
    folder: Path = config.data_dir / "risk"
    gate = RiskGate(config.risk, config.mode, chains, overrides=overrides, halts=halts, state_dir=folder)
    for name in chains:
        limits = config.limits_of(name)
        screening, problem = _screening(config, name)
        gate.equip(
            name,
            board=Board(name, breakers_of(limits.breakers, limits.risk_capital_wei), halts),
            screening=screening,
            budgets=Budgets.of(name, config.risk.limits, folder / "budgets.json"),
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
