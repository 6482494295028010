"""Looks at the stages now and then: falls at once, proposes when the gates hold, takes back what no longer does."""

import time
from collections.abc import Callable

import structlog

from ouro.capital.evidence import Evidence, demotion, evidence_of, gate_problems
from ouro.capital.stages import ChainStage, StageStore, next_stage
from ouro.config.capital import StagesConfig
from ouro.ledger.books import Books

log = structlog.get_logger(__name__)


class StageKeeper:
    """Evaluates chains from the books. Every method reads the database: call it off the hot path."""

    def __init__(
        self,
        store: StageStore,
        books: Books,
        config: StagesConfig,
        capital_wei: Callable[[str], int],
        *,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        """``capital_wei`` gives a chain's risk capital, which drawdown is measured on."""
        self._store, self._books, self._config, self._capital_wei = store, books, config, capital_wei
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)

    def evidence(self, chain: str) -> Evidence:
        """What the books say of ``chain`` in its stage. Raises `LedgerError`."""
        at = self._store.of(chain)
        return evidence_of(self._books, chain, at, capital_wei=self._capital_wei(chain), now_ms=self._clock_ms())

    def missing(self, chain: str, found: Evidence) -> list[str]:
        """What the next stage still wants."""
        return gate_problems(found, self._config.of(found.stage).gates)

    def look(self, chain: str) -> ChainStage:
        """Demote, propose or withdraw as the books say. Raises `LedgerError` or `CapitalError`."""
        at = self._store.of(chain)
        if at.since_ms == 0:
            return self.begin(chain)
        found = self.evidence(chain)
        fall = demotion(found, self._config.of(at.stage))
        if fall is not None:
            log.critical("stage_demoted", chain=chain, stage=fall[0], was=at.stage, why=fall[1])
            return self._store.demote(chain, *fall)
        missing = self.missing(chain, found)
        if missing:
            return self._store.withdraw(chain, "; ".join(missing)) if at.proposal is not None else at
        if next_stage(at.stage) is None or at.proposal is not None:
            return at
        log.warning("stage_proposed", chain=chain, stage=next_stage(at.stage), todo="ouro stage approve")
        return self._store.propose(chain, found.as_json())

    def begin(self, chain: str) -> ChainStage:
        """A chain that was never looked at begins to be observed now."""
        return self._store.begin(chain)
