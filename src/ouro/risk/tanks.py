"""Gas tanks: what each operator has to pay gas with, and who has to be refilled."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ouro.config.risk import GasTankConfig
from ouro.types import Address

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refill:
    """A proposal: send so much to an operator. Nothing in here can send it."""

    chain: str
    operator: Address
    balance_wei: int
    amount_wei: int


@dataclass(slots=True)
class GasTanks:
    """The tanks of one chain as they were read last; a balance that was never read is not held against anybody."""

    chain: str
    config: GasTankConfig
    file: Path | None = None
    _balances: dict[Address, int] = field(default_factory=dict)
    _low: set[Address] = field(default_factory=set)

    def observe(self, operator: Address, balance_wei: int) -> None:
        """A balance as a node has it."""
        self._balances[operator] = balance_wei
        low = balance_wei < self.config.refill_below_wei
        if low == (operator in self._low):
            return
        (self._low.add if low else self._low.discard)(operator)
        if low:
            log.warning(
                "gas_tank_low", chain=self.chain, operator=operator, balance_wei=balance_wei,
                refill_wei=self.config.refill_to_wei - balance_wei,
            )  # fmt: skip
        self._write()

    def problem(self, operator: Address, worst_cost_wei: int) -> str:
        """Why ``operator`` must not send something that may cost so much, empty when it may."""
        balance = self._balances.get(operator)
        if balance is None:
            return ""
        least = max(self.config.stop_below_wei, worst_cost_wei)
        if balance >= least:
            return ""
        return f"operator {operator} has {balance} wei, {least} are needed: refill it"

    def all_dry(self) -> bool:
        """Whether no operator is left that could pay."""
        stop = self.config.stop_below_wei
        return bool(self._balances) and all(balance < max(1, stop) for balance in self._balances.values())

    def proposals(self) -> list[Refill]:
        """What would fill the tanks that are low."""
        return [
            Refill(self.chain, who, self._balances[who], self.config.refill_to_wei - self._balances[who])
            for who in sorted(self._low)
        ]

    def _write(self) -> None:
        if self.file is None:
            return
        rows = [
            {"operator": item.operator, "balance_wei": str(item.balance_wei), "amount_wei": str(item.amount_wei)}
            for item in self.proposals()
        ]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.file.with_suffix(".new")
            fresh.write_text(json.dumps({"chain": self.chain, "refills": rows}, indent=1))
            fresh.replace(self.file)
        except OSError as error:
            log.error("refills_not_written", file=str(self.file), error=str(error))
