"""Looks at the operators' balances every few blocks, off the hot path."""

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from ouro.config.model import ChainConfig
from ouro.config.risk import GasTankConfig
from ouro.types import Address, BlockUpdate

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """What is needed of a node."""

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]: ...


class Told(Protocol):
    """What is told of balances (`ouro.risk.gate.RiskGate`)."""

    def on_balance(self, chain: str, operator: Address, balance_wei: int) -> None: ...


class TankWatch:
    """Called with each settled block. Raises what the node's connection raises."""

    def __init__(self, told: Told, chain: str, config: ChainConfig, node: Reader, tank: GasTankConfig) -> None:
        self._told, self._chain, self._node = told, chain, node
        self._operators, self._every = config.operators, tank.every_blocks
        self._next = 0

    async def __call__(self, update: BlockUpdate) -> None:
        """Read and tell, if it is time."""
        if update.number < self._next:
            return
        self._next = update.number + self._every
        answers = await self._node.batch([("eth_getBalance", [who, "latest"]) for who in self._operators])
        for who, answer in zip(self._operators, answers, strict=True):
            try:
                balance = int(answer, 16)
            except (TypeError, ValueError):
                log.warning("balance_unreadable", chain=self._chain, operator=who, answer=str(answer)[:80])
                continue
            self._told.on_balance(self._chain, who, balance)
