"""What running costs beside gas, and what the operation wants to reach."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ouro.config.fields import NonNegativeInt, Ppm, Section


class CostItem(Section):
    """One bill: a machine, a node, a data feed. ``chain`` charges it to one chain, none to the whole."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    kind: Literal["infrastructure", "node", "data", "other"] = "infrastructure"
    usd_cents_per_month: NonNegativeInt
    chain: str | None = None


class PhaseTarget(Section):
    """What a phase of the operation has to reach. ``uptime_ppm`` 995000 is 99.5 %; the profit is net, a month.

    ``execution_ms`` is from the socket read of a block to the hand-over of the transaction, at the 99th percentile.
    """

    name: Annotated[str, Field(min_length=1, max_length=40)]
    success_ppm: Ppm
    execution_ms: Annotated[int, Field(gt=0)]
    uptime_ppm: Ppm
    drawdown_ppm: Ppm = 50_000
    profit_from_usd_cents: int | None = None
    profit_to_usd_cents: int | None = None

    @model_validator(mode="after")
    def _band(self) -> Self:
        low, high = self.profit_from_usd_cents, self.profit_to_usd_cents
        if high is not None and low is None:
            raise ValueError("profit_to_usd_cents: needs profit_from_usd_cents, too")
        if high is not None and low is not None and high <= low:
            raise ValueError(f"profit_to_usd_cents ({high}) must be above profit_from_usd_cents ({low})")
        return self


_PHASES = (
    PhaseTarget(name="1", success_ppm=800_000, execution_ms=500, uptime_ppm=995_000),
    PhaseTarget(name="2", success_ppm=900_000, execution_ms=200, uptime_ppm=999_000),
    PhaseTarget(name="3", success_ppm=950_000, execution_ms=100, uptime_ppm=999_000),
)


class CostsConfig(Section):
    """The bills that net profit is charged with, and the targets that reports compare with."""

    items: tuple[CostItem, ...] = ()
    phases: tuple[PhaseTarget, ...] = _PHASES

    def check_chains(self, chains: Collection[str]) -> None:
        """Raises ValueError for a bill of a chain that is not configured."""
        for item in self.items:
            if item.chain is not None and item.chain not in chains:
                known = ", ".join(chains)
                raise ValueError(f"costs.items {item.name!r}: there is no chain {item.chain!r}; known are {known}")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, names in (
            ("items", [item.name for item in self.items]),
            ("phases", [p.name for p in self.phases]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what}: {twice!r} is named twice")
        return self
