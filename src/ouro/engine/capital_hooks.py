"""Where stages and budgets meet a running engine."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from ouro.capital.budgets import FileBudgets, budget_path
from ouro.capital.guard import CapitalGuard
from ouro.capital.keeper import StageKeeper
from ouro.capital.stages import Auditor, StageStore, stage_path
from ouro.config.model import OuroConfig
from ouro.ledger.books import Books
from ouro.types import Mode

log = structlog.get_logger(__name__)
_DAY_MS = 86_400_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_guard(config: OuroConfig, books: Books, audit: Auditor) -> CapitalGuard | None:
    """The guard of this configuration with today's results; None where neither stages nor budgets are on."""
    stages, budgets = config.capital.stages, config.capital.budgets
    if stages.state == "off" and budgets.state == "off":
        return None
    guard = CapitalGuard(
        config.mode,
        config.limits_of,
        _now_ms,
        stages=(StageStore(stage_path(config.data_dir), audit), stages) if stages.state == "on" else None,
        budgets=FileBudgets(budget_path(config.data_dir)) if budgets.state == "on" else None,
    )
    now_ms = _now_ms()
    guard.restore(books.realised(now_ms - now_ms % _DAY_MS, paper=config.mode is Mode.PAPER))
    return guard


async def keep_stages(config: OuroConfig, chains: Sequence[str], books: Books, audit: Auditor) -> None:
    """Look at the stages until cancelled. What can't be read now is looked at again."""
    if config.capital.stages.state == "off":
        return
    keeper = StageKeeper(
        StageStore(stage_path(config.data_dir), audit),
        books,
        config.capital.stages,
        lambda chain: config.limits_of(chain).risk_capital_wei,
    )
    while True:
        for chain in chains:
            try:
                await asyncio.to_thread(keeper.look, chain)
            except Exception as error:  # whatever it is: nobody else takes a stage back
                log.error("stages_not_looked_at", chain=chain, error=str(error))
        await asyncio.sleep(config.capital.stages.evaluate_every_s)
